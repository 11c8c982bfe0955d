//! A named lock of a MySQL or MariaDB server: of a session, polled, because waiting inside `GET_LOCK` would hide a lost server.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::lock::{ANSWER, Leftover, Lock, Try};
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::MysqlTarget;
use crate::probe::mysql::Session;
use crate::state::event::LockHolder;

/// The server ends a session without traffic after this time, and with it the lock.
const SILENCE: &str = "SET SESSION wait_timeout = 30";

/// How long a finished holder stays visible for waiting replicas: longer than any pause between two attempts.
const FAREWELL: Duration = Duration::from_millis(1500);

/// How long a waiting replica has to announce itself, after the last announced one took the lock.
const KNOWN: Duration = Duration::from_millis(700);

/// How often it meanwhile checks whether the lock was taken.
const LOOK: Duration = Duration::from_millis(20);

/// The lock, and its holders as seen by this replica.
#[derive(Debug)]
pub(super) struct MysqlLock {
    target: MysqlTarget,
    /// The migrated database, if the lock's session uses none because it may not exist yet.
    migrated: Option<MysqlTarget>,
    name: String,
    waiting: Option<Session>,
    /// The connection of the last other holder.
    seen: Option<Seen>,
    /// The last holder, if it disappeared without releasing the lock.
    vanished: Option<Seen>,
    /// Our own connection, while it holds the lock.
    own: Option<String>,
    /// Whether this replica announces that some replica waits.
    says_so: bool,
    /// Whether the previous holder was visibly done when this replica took the lock.
    clean: bool,
    /// When this replica took it.
    taken: Instant,
}

/// A holder's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Its number; a server numbers its connections in the order of their arrival.
    id: String,
    /// Its address as seen by the server, without the port.
    host: Option<String>,
}

/// The part of a process list's HOST that is not the port.
fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

impl MysqlLock {
    /// A lock that this replica does not hold yet. Its name needs no quoting: it consists of letters, digits and a colon.
    pub(super) fn new(target: MysqlTarget, name: String, migrated: Option<MysqlTarget>) -> Self {
        Self {
            target,
            migrated,
            name,
            waiting: None,
            seen: None,
            vanished: None,
            own: None,
            says_so: false,
            clean: false,
            taken: Instant::now(),
        }
    }

    /// The database that is migrated, as SQL.
    fn database(&self) -> String {
        let named = self.migrated.as_ref().and_then(|target| target.database.as_deref());
        named.map_or_else(|| "DATABASE()".to_owned(), |name| format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''")))
    }

    async fn open(&self) -> Result<Session, Failure> {
        let mut session = Session::open(&self.target, ANSWER).await?;
        session.query(SILENCE).await?;
        if session.value("SELECT @@GLOBAL.read_only").await.is_ok_and(|value| value.as_deref() == Some("1")) {
            return Err(Failure::new(ErrorKind::NotReady, "the database is a read-only replica; name the primary"));
        }
        if session.value("SELECT @@SESSION.wsrep_on").await.is_ok_and(|value| value.as_deref() == Some("1")) {
            tracing::warn!(lock = %self.target, "a cluster of several writers: its locks are each node's own, so all replicas have to name the same node");
        }
        Ok(session)
    }

    /// Who holds it; every user can see the processes of the same user.
    async fn holder(&self, session: &mut Session) -> Result<(Option<String>, LockHolder), Failure> {
        let statement = format!(
            "SELECT l.id, p.USER, p.HOST FROM (SELECT IS_USED_LOCK('{}') AS id) AS l \
             LEFT JOIN information_schema.PROCESSLIST AS p ON p.ID = l.id",
            self.name
        );
        let rows = session.query(&statement).await?;
        let Some([Some(id), user, host]) = rows.first().map(Vec::as_slice) else {
            return Ok((None, LockHolder::gone("a connection that has just ended")));
        };
        let mut words = format!("connection {id}");
        words.extend(user.as_ref().map(|user| format!(" of {user}")));
        words.extend(host.as_ref().map(|host| format!(" at {host}")));
        Ok((Some(id.clone()), LockHolder { words, address: host.clone(), ..LockHolder::default() }))
    }
}

impl Lock for MysqlLock {
    type Held = Session;

    fn shown(&self) -> String {
        self.target.to_string()
    }

    async fn attempt(&mut self) -> Result<Try<Session>, Failure> {
        let mut session = match self.waiting.take() {
            Some(session) => session,
            None => {
                self.says_so = false;
                self.open().await?
            }
        };
        // In one statement, because another replica may hold it between two statements.
        let statement = format!("SELECT GET_LOCK('{0}', 0), IS_FREE_LOCK('{0}:done')", self.name);
        let answer = match session.query(&statement).await {
            Err(failure) if failure.kind == ErrorKind::Protocol => Err(failure.private.as_str().to_owned()),
            answer => Ok(answer?.into_iter().next().unwrap_or_default()),
        };
        let answer = answer.as_ref().map(|row| (row.first().and_then(Option::as_deref), row.get(1).and_then(Option::as_deref)));
        match answer {
            Ok((Some("1"), farewell)) => {
                self.clean |= farewell == Some("0");
                self.taken = Instant::now();
                if std::mem::take(&mut self.says_so) {
                    session.value(&format!("SELECT RELEASE_LOCK('{}:next')", self.name)).await?;
                }
                self.own = session.value("SELECT CONNECTION_ID()").await?;
                Ok(Try::Held(session))
            }
            Ok((Some(_), _)) => {
                self.clean = false;
                let (id, holder) = self.holder(&mut session).await?;
                let host = holder.address.as_deref().map(|host| without_port(host).to_owned());
                let seen = id.filter(|id| Some(id) != self.own.as_ref()).map(|id| Seen { id, host });
                self.seen = seen.or_else(|| self.seen.take());
                // One of the waiting replicas holds this lock, so that the holder knows that some replica waits.
                if !self.says_so {
                    let got = session.value(&format!("SELECT GET_LOCK('{}:next', 0)", self.name)).await?;
                    self.says_so = got.as_deref() == Some("1");
                }
                self.waiting = Some(session);
                Ok(Try::Taken(holder))
            }
            Ok((None, _)) | Err(_) => {
                let why = answer.err().map_or("GET_LOCK returned NULL", String::as_str);
                let advice = "use a lock of another kind, or `lock = \"none\"` if there is only one replica";
                Ok(Try::Unusable(format!("the migration lock at {} cannot be used: {why}; {advice}", self.target)))
            }
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        self.own.as_ref().is_some_and(|own| holder.words.split(' ').nth(1) == Some(own))
    }

    /// A finished holder stays until the lock is taken.
    async fn succeeds_cleanly(&mut self, _held: &mut Session) -> bool {
        let clean = self.clean || self.seen.is_none();
        self.vanished = self.seen.clone().filter(|_| !clean);
        clean
    }

    /// MySQL has no session names to identify the sessions of a migration. Only the address and the connect time of a lost holder are
    /// known: a session may belong to its migration if it connected later from the same address, as the same user, to the same database,
    /// and has been at work since before this replica took the lock. It may also belong to another program, because a proxy shares its
    /// sessions, and all containers of a host may have the same address.
    async fn leftovers(&self, held: &mut Session) -> Result<Vec<Leftover>, Failure> {
        let Some(Seen { id, host: Some(place) }) = &self.vanished else { return Ok(Vec::new()) };
        let statement = format!(
            "SELECT ID, HOST, TIME FROM information_schema.PROCESSLIST WHERE ID > {id} AND ID <> CONNECTION_ID() AND DB <=> {} \
             AND USER = SUBSTRING_INDEX(USER(), '@', 1) AND COMMAND <> 'Sleep' AND TIME >= {} ORDER BY ID LIMIT 50",
            self.database(),
            self.taken.elapsed().as_secs()
        );
        let rows = held.query(&statement).await?;
        let left = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(id), Some(host), time] if without_port(host) == place => {
                let words = format!("connection {id} at {host}, at work for {} s", time.as_deref().unwrap_or("?"));
                Some(Leftover { id: id.clone(), words, certain: false })
            }
            _ => None,
        });
        Ok(left.collect())
    }

    async fn holds(&self, held: &mut Session) -> Result<bool, Failure> {
        Ok(held.value(&format!("SELECT IS_USED_LOCK('{}') = CONNECTION_ID()", self.name)).await?.as_deref() == Some("1"))
    }

    async fn ended(&self, held: &mut Session) {
        held.ended().await;
    }

    /// The mark goes first, so that no successor misses it. It lasts as long as the connection, which has to stay open until the lock is
    /// taken, because this process may end next.
    async fn give_back(&mut self, mut held: Session) {
        self.own = None;
        let _ = held.value(&format!("SELECT GET_LOCK('{}:done', 1)", self.name)).await;
        let released = held.value(&format!("SELECT RELEASE_LOCK('{0}') + (IS_USED_LOCK('{0}:next') IS NOT NULL)", self.name)).await;
        let queued = matches!(released, Ok(Some(both)) if both == "2");
        let limit = if queued { FAREWELL } else { KNOWN.saturating_sub(self.taken.elapsed()) };
        // A waiting replica may not have announced itself yet; without any announcement, there is no wait.
        let limit = if queued || self.seen.is_some() { limit } else { Duration::ZERO };
        let began = Instant::now();
        while began.elapsed() < limit {
            sleep(LOOK).await;
            let free = held.value(&format!("SELECT IS_FREE_LOCK('{}')", self.name)).await;
            if !matches!(free, Ok(Some(free)) if free == "1") {
                break;
            }
        }
        held.close().await;
    }

    fn schema_query(&self) -> SchemaQuery {
        SchemaQuery::mysql(self.migrated.as_ref().unwrap_or(&self.target).clone())
    }
}
