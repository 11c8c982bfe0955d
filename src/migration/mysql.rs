//! A named lock of a MySQL or MariaDB server: of a session, polled, because waiting inside `GET_LOCK` would hide a lost server.

use std::time::Duration;

use super::lock::{ANSWER, Lock, Try};
use super::question::Asker;
use crate::outcome::{Class, Failure};
use crate::plan::target::MysqlTarget;
use crate::probe::mysql::Session;
use crate::state::event::LockHolder;

/// A dead man's switch: the server ends a session that has been silent for so long, and with it the lock (M9).
const SILENCE: &str = "SET SESSION wait_timeout = 30";

/// How long a holder that is done leaves its mark: longer than any pause between two tries.
const MARK: Duration = Duration::from_secs(10);

/// Where the lock is, and with whom it was seen.
#[derive(Debug)]
pub(super) struct MysqlLock {
    target: MysqlTarget,
    name: String,
    waiting: Option<Session>,
    /// The connection of the last other holder.
    seen: Option<Seen>,
    /// The last holder, when it vanished without a word.
    vanished: Option<Seen>,
    /// Our own connection, while it holds the lock.
    own: Option<String>,
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
    pub(super) const fn new(target: MysqlTarget, name: String) -> Self {
        Self { target, name, waiting: None, seen: None, vanished: None, own: None }
    }

    async fn open(&self) -> Result<Session, Failure> {
        let mut session = Session::open(&self.target, ANSWER).await?;
        session.query(SILENCE).await?;
        if session.value("SELECT @@GLOBAL.read_only").await.is_ok_and(|value| value.as_deref() == Some("1")) {
            return Err(Failure::new(Class::NotReady, "the database is a read-only replica; name the primary"));
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

impl MysqlLock {
    /// Number and description of the sessions at work that may be the vanished holder's migration, and whether they are nobody else's.
    async fn left_at_work(&self, held: &mut Session) -> Result<(Vec<(String, String)>, bool), Failure> {
        let Some(Seen { id, host: Some(place) }) = &self.vanished else { return Ok((Vec::new(), true)) };
        let own = held.value("SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()").await?;
        let told_apart = own.as_deref().is_some_and(|own| without_port(own) != place);
        let statement = format!(
            "SELECT ID, HOST, TIME FROM information_schema.PROCESSLIST WHERE ID > {id} AND ID <> CONNECTION_ID() AND DB <=> DATABASE() \
             AND USER = SUBSTRING_INDEX(USER(), '@', 1) AND COMMAND <> 'Sleep' ORDER BY ID LIMIT 50"
        );
        let rows = held.query(&statement).await?;
        let left = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(id), Some(host), time] if without_port(host) == place => {
                let time = time.as_deref().unwrap_or("?");
                Some((id.clone(), format!("connection {id} at {host}, at work for {time} s")))
            }
            _ => None,
        });
        Ok((left.collect(), told_apart))
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
            None => self.open().await?,
        };
        let answer = match session.value(&format!("SELECT GET_LOCK('{}', 0)", self.name)).await {
            Err(failure) if failure.class == Class::Protocol => Err(failure.private.as_str().to_owned()),
            answer => Ok(answer?),
        };
        match answer.as_ref().map(Option::as_deref) {
            Ok(Some("1")) => {
                self.own = session.value("SELECT CONNECTION_ID()").await?;
                Ok(Try::Held(session))
            }
            Ok(Some(_)) => {
                let (id, holder) = self.holder(&mut session).await?;
                let host = holder.address.as_deref().map(|host| without_port(host).to_owned());
                let seen = id.filter(|id| Some(id) != self.own.as_ref()).map(|id| Seen { id, host });
                self.seen = seen.or_else(|| self.seen.take());
                self.waiting = Some(session);
                Ok(Try::Taken(holder))
            }
            Ok(None) | Err(_) => {
                let why = answer.err().unwrap_or_else(|| "GET_LOCK was answered with NULL".to_owned());
                let advice = "use a lock of another kind, or `lock = \"none\"` with one replica";
                Ok(Try::Unusable(format!("the migration lock at {} cannot be used: {why}; {advice}", self.target)))
            }
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        self.own.as_ref().is_some_and(|own| holder.words.split(' ').nth(1) == Some(own))
    }

    /// A holder that took leave has left its mark.
    async fn succeeds_cleanly(&mut self, held: &mut Session) -> bool {
        let Some(seen) = &self.seen else { return true };
        let marked = held.value(&format!("SELECT IS_FREE_LOCK('{}:{}')", self.name, seen.id)).await;
        let clean = matches!(marked, Ok(Some(free)) if free == "0");
        self.vanished = self.seen.clone().filter(|_| !clean);
        clean
    }

    /// MySQL knows no name of a session by which a migration's own could be told. What is known of a holder that vanished is where it
    /// came from and when: what came later from the same place, as the same user, to the same database and is at work is its
    /// migration's, because nothing else had been started there. Where the place is ours, too, a proxy is in between or all are on one
    /// host: then it may be anybody's, and is only told.
    async fn leftovers(&self, held: &mut Session) -> Result<Vec<String>, Failure> {
        let (left, told_apart) = self.left_at_work(held).await?;
        let shown: Vec<String> = left.into_iter().map(|(_, shown)| shown).collect();
        if told_apart || shown.is_empty() {
            return Ok(shown);
        }
        tracing::warn!(
            "the last holder of the migration lock vanished, and sessions are at work that may be its migration's or anybody's, check \
             them: {}",
            shown.join(", ")
        );
        Ok(Vec::new())
    }

    async fn end_leftovers(&self, held: &mut Session) -> Result<(), Failure> {
        let (left, told_apart) = self.left_at_work(held).await?;
        for (id, _) in left.iter().filter(|_| told_apart) {
            // One that has just ended by itself is no fault.
            let _ = held.value(&format!("KILL {id}")).await;
        }
        Ok(())
    }

    async fn holds(&self, held: &mut Session) -> Result<bool, Failure> {
        Ok(held.value(&format!("SELECT IS_USED_LOCK('{}') = CONNECTION_ID()", self.name)).await?.as_deref() == Some("1"))
    }

    async fn ended(&self, held: &mut Session) {
        held.ended().await;
    }

    async fn give_back(&mut self, mut held: Session) {
        let Some(own) = self.own.take() else { return };
        // The mark first, so that no successor can miss it; it lasts as long as the connection.
        let _ = held.value(&format!("SELECT GET_LOCK('{}:{own}', 0)", self.name)).await;
        let _ = held.value(&format!("SELECT RELEASE_LOCK('{}')", self.name)).await;
        tokio::spawn(async move {
            tokio::time::sleep(MARK).await;
            held.close().await;
        });
    }

    fn asker(&self) -> Asker {
        Asker::mysql(self.target.clone())
    }
}
