//! A named lock of a MySQL or MariaDB server: of a session, polled, because waiting inside `GET_LOCK` would hide a lost server.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::lock::{ANSWER, Leftover, Lock, Try};
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::MysqlTarget;
use crate::probe::mysql::Session;
use crate::state::event::LockHolder;

/// A dead man's switch: the server ends a session that has been silent for so long, and with it the lock.
const SILENCE: &str = "SET SESSION wait_timeout = 30";

/// How long a holder that is done stays to be seen by whoever queues: longer than any pause between two tries.
const FAREWELL: Duration = Duration::from_millis(1500);

/// As long has whoever queues to say so, after the last holder who had said so for all of them took the lock.
const KNOWN: Duration = Duration::from_millis(700);

/// How often it looks meanwhile whether the lock was taken.
const LOOK: Duration = Duration::from_millis(20);

/// Where the lock is, and with whom it was seen.
#[derive(Debug)]
pub(super) struct MysqlLock {
    target: MysqlTarget,
    /// The database that is migrated, where the lock's session names none because it may not be there yet.
    migrated: Option<MysqlTarget>,
    name: String,
    waiting: Option<Session>,
    /// The connection of the last other holder.
    seen: Option<Seen>,
    /// The last holder, when it vanished without a word.
    vanished: Option<Seen>,
    /// Our own connection, while it holds the lock.
    own: Option<String>,
    /// Whether we say for those who queue that somebody does.
    says_so: bool,
    /// Whether the holder before us was there to be seen taking leave when we took the lock.
    clean: bool,
    /// When we took it.
    taken: Instant,
}

/// A holder's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Its number; connections of a server are numbered in the order in which they came.
    id: String,
    /// Where it came from, as the server sees it, without its port.
    host: Option<String>,
}

/// The part of a process list's HOST that is not the port.
fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

impl MysqlLock {
    /// A lock that nobody holds yet. Its name needs no quoting: it is made of letters, digits and a colon.
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
            tracing::warn!(lock = %self.target, "a cluster of several writers: its locks are each node's own, so all replicas have to name one node");
        }
        Ok(session)
    }

    /// Who holds it; the processes of the same user are visible to everybody.
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
        // In one statement: between two, another one may have had it.
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
                // One of those who queue has it, so that a holder knows that somebody does.
                if !self.says_so {
                    let got = session.value(&format!("SELECT GET_LOCK('{}:next', 0)", self.name)).await?;
                    self.says_so = got.as_deref() == Some("1");
                }
                self.waiting = Some(session);
                Ok(Try::Taken(holder))
            }
            Ok((None, _)) | Err(_) => {
                let why = answer.err().map_or("GET_LOCK was answered with NULL", String::as_str);
                let advice = "use a lock of another kind, or `lock = \"none\"` with one replica";
                Ok(Try::Unusable(format!("the migration lock at {} cannot be used: {why}; {advice}", self.target)))
            }
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        self.own.as_ref().is_some_and(|own| holder.words.split(' ').nth(1) == Some(own))
    }

    /// A holder that took leave stays until the lock is taken.
    async fn succeeds_cleanly(&mut self, _held: &mut Session) -> bool {
        let clean = self.clean || self.seen.is_none();
        self.vanished = self.seen.clone().filter(|_| !clean);
        clean
    }

    /// MySQL knows no name of a session by which a migration's own could be told. What is known of a holder that vanished is where it
    /// came from and when: what came later from the same place, as the same user, to the same database, and has been at work since before
    /// the lock was ours, may be its migration's. It may be anybody's, too: a proxy lends its sessions, and all containers of a host may
    /// have one address.
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

    /// The mark first, so that no successor can miss it. It lasts as long as the connection, which has to be until the lock is taken,
    /// because this process may end next.
    async fn give_back(&mut self, mut held: Session) {
        self.own = None;
        let _ = held.value(&format!("SELECT GET_LOCK('{}:done', 1)", self.name)).await;
        let released = held.value(&format!("SELECT RELEASE_LOCK('{0}') + (IS_USED_LOCK('{0}:next') IS NOT NULL)", self.name)).await;
        let queued = matches!(released, Ok(Some(both)) if both == "2");
        let limit = if queued { FAREWELL } else { KNOWN.saturating_sub(self.taken.elapsed()) };
        // Whoever queued with us may not have said so yet; where nobody did, nobody is waited for.
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
