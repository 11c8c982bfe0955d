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
    seen: Option<String>,
    /// Our own connection, while it holds the lock.
    own: Option<String>,
}

impl MysqlLock {
    /// A lock that nobody holds yet. Its name needs no quoting: it is made of letters, digits and a colon.
    pub(super) const fn new(target: MysqlTarget, name: String) -> Self {
        Self { target, name, waiting: None, seen: None, own: None }
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
            return Ok((None, "a connection that has just ended".into()));
        };
        let mut words = format!("connection {id}");
        words.extend(user.as_ref().map(|user| format!(" of {user}")));
        words.extend(host.as_ref().map(|host| format!(" at {host}")));
        Ok((Some(id.clone()), LockHolder { words, instance: None, address: host.clone(), held: None }))
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
                self.seen = id.filter(|id| Some(id) != self.own.as_ref()).or_else(|| self.seen.take());
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
        let marked = held.value(&format!("SELECT IS_FREE_LOCK('{}:{seen}')", self.name)).await;
        matches!(marked, Ok(Some(free)) if free == "0")
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
