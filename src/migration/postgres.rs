//! A PostgreSQL advisory lock: of a private session, or of a transaction if a pooler shares the sessions.
//!
//! Polled, because a session that waits inside `pg_advisory_lock` deadlocks with a `CREATE INDEX CONCURRENTLY` of the holder.

mod holder;
mod link;
mod seen;
mod sessions;

use std::time::Duration;

use super::lock::{HINT_AFTER, Leftover, Lock, Try};
use super::name::Name;
use super::schema_query::SchemaQuery;
use crate::outcome::Failure;
use crate::plan::target::PostgresTarget;
use crate::probe::postgres::StatementError;
use crate::state::event::LockHolder;
use link::Link;
use seen::Seen;
use sessions::SessionFilter;
pub(super) use sessions::quoted;

/// Options for the migration's sessions: they end within half a minute after their client.
const OPTIONS: &str =
    "-c client_connection_check_interval=2000 -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/// The advice if a server does not support this lock.
pub(super) const OTHER_LOCKS: &str = "name a table for a lock row by `lock_table`, use a redis check or a file (`lock = \"file:///...\"`) \
     as the lock, or `lock = \"none\"` with one replica";

/// The transaction that is the lock, and the row that says so; PostgreSQL 17's `transaction_timeout` would end it, older ones have none.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '30s'; \
     SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
     SELECT set_config('transaction_timeout', '0', true) FROM pg_settings WHERE name = 'transaction_timeout'; ";

/// The lock, and what is known about its holders.
#[derive(Debug)]
pub(super) struct PostgresLock {
    target: PostgresTarget,
    /// The migrated database, if the lock is in another one.
    migrated: Option<PostgresTarget>,
    key: i64,
    tag: u32,
    name: Name,
    waiting: Option<Link>,
    seen: Seen,
}

impl PostgresLock {
    /// A lock that this replica does not hold yet. Names contain the lock, to distinguish the sessions of different services.
    pub(super) fn new(target: PostgresTarget, key: i64, tag: u32, migrated: Option<PostgresTarget>, instance: &str) -> Self {
        let name = Name::new(&format!("{tag:08x}"), instance);
        Self { target, migrated, key, tag, name, waiting: None, seen: Seen::default() }
    }

    /// The rows of `pg_locks` that are this lock: a key of 64 bits is shown as two halves.
    fn row(&self) -> String {
        let (high, low) = (self.key as u64 >> 32, self.key as u64 & 0xffff_ffff);
        format!(
            "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = {high} AND objid = {low} AND objsubid = 1"
        )
    }

    fn place(&self) -> SessionFilter<'_> {
        SessionFilter { tag: self.tag, database: self.migrated.as_ref().map(|target| target.database.as_str()) }
    }

    /// The notification channel for holders.
    fn channel(&self) -> String {
        format!("portcullis_mig_{:016x}", self.key as u64)
    }

    fn word(&self, word: &str, what: &str) -> String {
        format!("SELECT pg_notify('{}', {})", self.channel(), quoted(&format!("{word} {what}")))
    }

    async fn attempt_once(&mut self) -> Result<Try<Link>, StatementError> {
        let mut link = match self.waiting.take() {
            Some(link) if !link.session.is_closed() => link,
            _ => Link::open(&self.target, &self.name.of_lock(), &self.channel()).await?,
        };
        while let Some(word) = link.session.next_notification() {
            self.seen.hear(&word);
        }
        let mine = format!("EXISTS (SELECT 1 FROM pg_locks WHERE {} AND granted AND pid = pg_backend_pid())", self.row());
        // The transaction gets its id together with the lock, so that other replicas always see both.
        let held = if link.pooled && link.tells_ends { "CASE WHEN txid_current() > 0 THEN 'held' END" } else { "'held'" };
        let choose = |function: &str| {
            format!(
                "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' WHEN {mine} THEN 'ours' WHEN {function}({}) THEN {held} ELSE 'taken' END \
                 AS answer",
                self.key
            )
        };
        let statement =
            if link.pooled { format!("{BEGIN}{}", choose("pg_try_advisory_xact_lock")) } else { choose("pg_try_advisory_lock") };
        let rows = link.session.run_statement(&statement).await?;
        // The row of the setting may come before it.
        let answer = rows.last().and_then(|row| row.try_get(0).ok().flatten()).map(str::to_owned);
        match answer.as_deref() {
            Some("held") if self.holds(&mut link).await.map_err(StatementError::from)? => {
                link.begin_hold().await?;
                if !link.pooled {
                    link.session.run_statement(&self.word("begin", &self.name.of_lock())).await?;
                }
                return Ok(Try::Held(link));
            }
            Some("held") => {
                let why = format!(
                    "the migration lock at {} would not exclude other replicas: the database grants advisory locks without holding them; {OTHER_LOCKS}",
                    self.target
                );
                return Ok(Try::Unusable(why));
            }
            // The name may lead to another server at the next attempt, so the connection is closed.
            Some("standby") => return Err(link::standby().into()),
            Some("ours") if !link.pooled => {
                let why = format!(
                    "the migration lock at {} would not exclude other replicas: a pooler in between shares its sessions; name the database itself",
                    self.target
                );
                return Ok(Try::Unusable(why));
            }
            _ => {}
        }
        let (holder, transaction) = holder::of_lock(&link, &self.row()).await?;
        if link.pooled {
            link.session.run_statement("ROLLBACK").await?;
        }
        if let Some(name) = holder.words.split_once(" (").map(|(name, _)| name) {
            self.seen.meet(name, transaction.as_deref());
        }
        self.waiting = Some(link);
        Ok(Try::Taken(holder))
    }
}

impl Lock for PostgresLock {
    type Held = Link;

    fn shown(&self) -> String {
        self.target.to_string()
    }

    /// Uses the session that is kept between attempts, or a new one. What the server does not support, it will never support.
    async fn attempt(&mut self) -> Result<Try<Link>, Failure> {
        match self.attempt_once().await {
            Err(refused) if refused.is_final() => Ok(Try::Unusable(format!(
                "the migration lock at {} cannot be used, the server does not support what it needs ({}); {OTHER_LOCKS}",
                self.target,
                refused.failure.private.as_str()
            ))),
            tried => tried.map_err(|refused| refused.failure),
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        holder.words.starts_with(&self.name.of_lock())
    }

    /// A notification that was sent before the release has arrived with later replies. If notifications do not get through, the holder's
    /// transaction shows it: it is committed only if the holder released the lock.
    async fn succeeds_cleanly(&mut self, held: &mut Link) -> bool {
        while let Some(word) = held.session.next_notification() {
            if !word.ends_with(&self.name.of_lock()) {
                self.seen.hear(&word);
            }
        }
        if self.seen.ended_cleanly() {
            return true;
        }
        let Some(transaction) = self.seen.transaction().filter(|_| held.tells_ends) else { return false };
        let status = held.session.value(&format!("SELECT txid_status({transaction})")).await;
        matches!(status, Ok(Some(status)) if status == "committed")
    }

    async fn handed_on(&mut self) {
        let Some(link) = self.waiting.as_mut().filter(|link| !link.pooled) else { return std::future::pending().await };
        loop {
            let word = link.session.notification().await;
            if self.seen.hear(&word) {
                return;
            }
        }
    }

    async fn leftovers(&self, held: &mut Link) -> Result<Vec<Leftover>, Failure> {
        self.place().leftovers(held, &self.seen).await
    }

    async fn end_leftovers(&self, held: &mut Link) -> Result<(), Failure> {
        self.place().end(held, &self.seen).await
    }

    fn environment(&self, held: &Link) -> Vec<(String, String)> {
        let mut environment = vec![("PGAPPNAME".to_owned(), self.name.of_migration())];
        if held.options {
            environment.push(("PGOPTIONS".to_owned(), OPTIONS.to_owned()));
        }
        environment
    }

    async fn holds(&self, held: &mut Link) -> Result<bool, Failure> {
        let statement = format!("SELECT 1 FROM pg_locks WHERE {} AND granted AND pid = pg_backend_pid()", self.row());
        Ok(held.session.value(&statement).await?.is_some())
    }

    /// Notifies the waiting replicas which sessions certainly belong to this migration, and finds out why a migration may hang.
    async fn attend(&self, held: &mut Link, running: Duration) -> Result<Option<String>, Failure> {
        let name = self.name.of_migration();
        if !held.pooled {
            for session in self.place().proven(held, &name).await? {
                if held.proven.insert(session.clone()) {
                    tracing::debug!(session = session.0, "a session of the migration is directly connected");
                }
                // Repeated each time, for replicas that began to wait meanwhile.
                held.session.query(&self.word("direct", &session.0)).await?;
            }
        }
        if running < HINT_AFTER {
            return Ok(None);
        }
        let waits = held.session.value(&format!("SELECT pid FROM pg_locks WHERE {} AND NOT granted LIMIT 1", self.row())).await?;
        if let Some(pid) = waits {
            return Ok(Some(format!(
                "a session (pid {pid}) waits inside the server for the very lock that portcullis holds for the migration: if it is the \
                 migration's own, the tool takes the key {} by itself, and `lock_key` has to be another one or left out",
                self.key
            )));
        }
        if held.pooled && self.place().own_and_any(held, &name).await? == (false, false) {
            return Ok(Some(
                "the migration lock's transaction is the only session of this role in the database: if the migration connects through the \
                 same pooler, its pool has to be of two connections at least (pgbouncer: default_pool_size), or `lock` has to name a check \
                 of the database itself"
                    .to_owned(),
            ));
        }
        Ok(None)
    }

    async fn ended(&self, held: &mut Link) {
        held.session.ended().await;
    }

    async fn give_back(&mut self, held: Link) {
        // Closing the connection also frees it, but only once the server notices.
        let unlock = if held.pooled { "COMMIT".to_owned() } else { format!("SELECT pg_advisory_unlock({})", self.key) };
        let _ = held.session.query(&self.word("done", &self.name.of_lock())).await;
        let _ = held.session.query(&unlock).await;
        held.session.close().await;
    }

    fn schema_query(&self) -> SchemaQuery {
        SchemaQuery::postgres(self.migrated.as_ref().unwrap_or(&self.target).clone(), self.name.of_lock())
    }
}
