//! A PostgreSQL advisory lock: of a session that is ours alone, or of a transaction where a pooler shares the sessions.
//!
//! Polled, because a session that waits inside `pg_advisory_lock` deadlocks with a `CREATE INDEX CONCURRENTLY` of the holder (M5).

use tokio_postgres::SimpleQueryRow;

use super::lock::{ANSWER, LEASE_SECONDS, Lock, Try};
use super::name::{Name, instance_in};
use super::question::Asker;
use crate::outcome::{Class, Failure};
use crate::plan::target::PostgresTarget;
use crate::probe::postgres::Session;
use crate::state::event::LockHolder;

/// What every session of the lock asks for, each tolerated when the server refuses it: an old version, a hosted service.
///
/// The first is a dead man's switch: a holder whose host is gone loses the lock within half a minute instead of two hours (M3).
const SETTINGS: [&str; 5] = [
    "SET idle_session_timeout = '30s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET statement_timeout = 0",
];

const _: () = assert!(LEASE_SECONDS == 30);

/// The setting that ends a statement whose client is gone (PostgreSQL 14), tried on the lock's own session first: in the options
/// of a login an unknown one is fatal.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = 2000";

/// For the migration's sessions: they end within half a minute of their client (M3b).
const OPTIONS: &str =
    "-c client_connection_check_interval=2000 -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/// Where the lock is, and what was heard of its holders.
#[derive(Debug)]
pub(super) struct PostgresLock {
    target: PostgresTarget,
    key: i64,
    tag: u32,
    name: Name,
    waiting: Option<Link>,
    seen: Seen,
}

/// One session, and what it may be used for.
#[derive(Debug)]
pub(super) struct Link {
    session: Session,
    /// Whether a pooler lends us a server's session for each transaction.
    pooled: bool,
    /// Whether the migration's sessions may be given [`OPTIONS`].
    options: bool,
}

/// The last holder before us, as far as we saw one.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Nobody,
    /// Its name.
    Holding(String),
    /// It said that it was done.
    Done(String),
}

impl Seen {
    /// A holder is met; one that took leave a moment ago may still be seen.
    fn meet(&mut self, name: &str) {
        if !matches!(self, Self::Done(done) if done == name) {
            *self = Self::Holding(name.to_owned());
        }
    }

    /// A word of a holder; whether it is a leave.
    fn hear(&mut self, word: &str) -> bool {
        match word.split_once(' ') {
            Some(("begin", name)) => *self = Self::Holding(name.to_owned()),
            Some(("done", name)) if !matches!(self, Self::Holding(other) if other != name) => *self = Self::Done(name.to_owned()),
            _ => return false,
        }
        matches!(self, Self::Done(_))
    }
}

impl PostgresLock {
    /// A lock that nobody holds yet. Names carry the lock, so that one service's sessions can be told from another's.
    pub(super) fn new(target: PostgresTarget, key: i64, tag: u32, instance: &str) -> Self {
        let name = Name::new(&format!("{tag:08x}"), instance);
        Self { target, key, tag, name, waiting: None, seen: Seen::Nobody }
    }

    /// The row of `pg_locks` that is this lock: a key of 64 bits is shown as two halves.
    fn row(&self) -> String {
        let (high, low) = (self.key as u64 >> 32, self.key as u64 & 0xffff_ffff);
        format!(
            "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = {high} AND objid = {low} AND objsubid = 1 AND granted"
        )
    }

    /// The sessions that other runs' migrations have under this lock, of this role in this database.
    fn leftover_rows(&self) -> String {
        format!(
            "FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() \
             AND application_name LIKE 'portcullis-mig:{:08x}:%'",
            self.tag
        )
    }

    /// The channel on which holders come and go.
    fn channel(&self) -> String {
        format!("portcullis_mig_{:016x}", self.key as u64)
    }

    fn word(&self, word: &str) -> String {
        format!("SELECT pg_notify('{}', '{word} {}')", self.channel(), self.name.of_lock().replace('\'', "''"))
    }

    /// A session, and whether it is ours alone, which is found out before anything is set or taken: in a pooler both would stay
    /// behind in a session that others get, too (M4).
    async fn open(&self) -> Result<Link, Failure> {
        let session = Session::open(&self.target, &self.name.of_lock(), ANSWER).await?;
        let serving = session.value("SELECT pg_backend_pid()").await?;
        if session.greeted_by().await.is_some_and(|pid| serving != Some(pid.to_string())) {
            tracing::info!(lock = %self.target, "a pooler is in between: the lock is one of a transaction that stays open");
            return Ok(Link { session, pooled: true, options: false });
        }
        for setting in SETTINGS {
            if let Err(refused) = session.query(setting).await {
                tracing::debug!(setting, why = refused.private.as_str(), "the database refuses a setting of the lock's session");
            }
        }
        // It would grant the same lock a second time (M11), and does not take the listening below either.
        if session.value("SELECT pg_is_in_recovery()").await?.as_deref() == Some("t") {
            return Err(standby());
        }
        let options = session.query(CHECK_CLIENT).await.is_ok();
        session.query(&format!("LISTEN {}", self.channel())).await?;
        Ok(Link { session, pooled: false, options })
    }

    /// Who holds the lock, as far as the server shows it to this role.
    async fn holder(&self, session: &Session) -> Result<LockHolder, Failure> {
        let statement = format!(
            "SELECT application_name, pid, host(client_addr), extract(epoch FROM clock_timestamp() - backend_start)::int \
             FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE {}",
            self.row()
        );
        Ok(session.query(&statement).await?.first().map_or_else(|| LockHolder::gone("a session that has just ended"), holder))
    }
}

fn standby() -> Failure {
    Failure::new(Class::NotReady, "the database is a read-only standby; name the primary")
}

fn holder(row: &SimpleQueryRow) -> LockHolder {
    let column = |index| row.try_get(index).ok().flatten().filter(|value: &&str| !value.is_empty());
    let name = column(0);
    let mut words = name.unwrap_or("a session without a name").to_owned();
    words.extend([" (pid ", column(1).unwrap_or("unknown")]);
    words.extend(column(2).map(|address| format!(", at {address}")));
    words.push(')');
    LockHolder {
        words,
        instance: name.map(|name| instance_in(name).unwrap_or(name).to_owned()),
        address: column(2).map(str::to_owned),
        held: column(3).and_then(|seconds| seconds.parse().ok()).map(std::time::Duration::from_secs),
        gone: false,
    }
}

impl Lock for PostgresLock {
    type Held = Link;

    fn shown(&self) -> String {
        self.target.to_string()
    }

    /// Over the session that is kept between tries or a new one.
    async fn attempt(&mut self) -> Result<Try<Link>, Failure> {
        let mut link = match self.waiting.take() {
            Some(link) if !link.session.is_closed() => link,
            _ => self.open().await?,
        };
        while let Some(word) = link.session.heard() {
            self.seen.hear(&word);
        }
        let mine = format!("EXISTS (SELECT 1 FROM pg_locks WHERE {} AND pid = pg_backend_pid())", self.row());
        let choose = |function: &str| {
            format!(
                "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' WHEN {mine} THEN 'ours' WHEN {function}({}) THEN 'held' ELSE 'taken' END",
                self.key
            )
        };
        let statement = if link.pooled {
            format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '30s'; \
                 SET LOCAL statement_timeout = 0; {}",
                choose("pg_try_advisory_xact_lock")
            )
        } else {
            choose("pg_try_advisory_lock")
        };
        let answer = link.session.value(&statement).await?;
        match answer.as_deref() {
            Some("held") if self.holds(&mut link).await? => {
                if !link.pooled {
                    link.session.query(&self.word("begin")).await?;
                }
                return Ok(Try::Held(link));
            }
            Some("held") => {
                let why = format!(
                    "the migration lock at {} would not keep others out: the database grants advisory locks that nobody holds; \
                     use a lock of another kind, or `lock = \"none\"` with one replica",
                    self.target
                );
                return Ok(Try::Unusable(why));
            }
            // The name may lead to another server by the next try, so the connection is not kept.
            Some("standby") => return Err(standby()),
            Some("ours") if !link.pooled => {
                let why = format!(
                    "the migration lock at {} would not keep others out: a pooler in between shares its sessions; name the database itself",
                    self.target
                );
                return Ok(Try::Unusable(why));
            }
            _ => {}
        }
        let holder = self.holder(&link.session).await?;
        if link.pooled {
            link.session.query("ROLLBACK").await?;
        }
        if let Some(name) = holder.words.split_once(" (").map(|(name, _)| name) {
            self.seen.meet(name);
        }
        self.waiting = Some(link);
        Ok(Try::Taken(holder))
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        holder.words.starts_with(&self.name.of_lock())
    }

    /// A word that was sent before the lock was given back has come with the answers since.
    async fn succeeds_cleanly(&mut self, held: &mut Link) -> bool {
        while let Some(word) = held.session.heard() {
            if !word.ends_with(&self.name.of_lock()) {
                self.seen.hear(&word);
            }
        }
        !matches!(self.seen, Seen::Holding(_))
    }

    async fn handed_on(&mut self) {
        let Some(link) = self.waiting.as_mut().filter(|link| !link.pooled) else { return std::future::pending().await };
        loop {
            let word = link.session.hear().await;
            if self.seen.hear(&word) {
                return;
            }
        }
    }

    async fn leftovers(&self, held: &mut Link) -> Result<Vec<String>, Failure> {
        let statement = format!("SELECT application_name || ' (pid ' || pid || ')' {} ORDER BY pid", self.leftover_rows());
        let rows = held.session.query(&statement).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok().flatten().map(str::to_owned)).collect())
    }

    async fn end_leftovers(&self, held: &mut Link) -> Result<(), Failure> {
        held.session.query(&format!("SELECT pg_terminate_backend(pid) {}", self.leftover_rows())).await.map(drop)
    }

    fn environment(&self, held: &Link) -> Vec<(String, String)> {
        let mut environment = vec![("PGAPPNAME".to_owned(), self.name.of_migration())];
        if held.options {
            environment.push(("PGOPTIONS".to_owned(), OPTIONS.to_owned()));
        }
        environment
    }

    async fn holds(&self, held: &mut Link) -> Result<bool, Failure> {
        let statement = format!("SELECT 1 FROM pg_locks WHERE {} AND pid = pg_backend_pid()", self.row());
        Ok(held.session.value(&statement).await?.is_some())
    }

    async fn ended(&self, held: &mut Link) {
        held.session.ended().await;
    }

    async fn give_back(&mut self, held: Link) {
        // Closing frees it, too, but only once the server has noticed.
        let unlock = if held.pooled { "COMMIT".to_owned() } else { format!("SELECT pg_advisory_unlock({})", self.key) };
        let _ = held.session.query(&self.word("done")).await;
        let _ = held.session.query(&unlock).await;
        held.session.close().await;
    }

    fn asker(&self) -> Asker {
        Asker::postgres(self.target.clone(), self.name.of_lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_took_leave_has_left_until_another_begins() {
        let mut seen = Seen::Nobody;
        seen.meet("one");
        assert_eq!(seen, Seen::Holding("one".to_owned()));
        assert!(!seen.hear("done two"), "somebody else's leave");
        assert!(seen.hear("done one"));
        seen.meet("one");
        assert_eq!(seen, Seen::Done("one".to_owned()), "seen once more on its way out");
        assert!(!seen.hear("begin two"));
        assert_eq!(seen, Seen::Holding("two".to_owned()));
        assert!(!seen.hear("nonsense"));
    }
}
