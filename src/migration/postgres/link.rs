//! One session of the lock with a PostgreSQL: whether it is private, and which settings the server accepted.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryRow;

use super::seen::SessionId;
use crate::migration::lock::{ANSWER, LEASE_SECONDS};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::PostgresTarget;
use crate::probe::postgres::{Session, StatementError};

/// Settings for every session of the lock; the server may refuse each of them: an old version, a hosted service.
///
/// With the first one, a holder whose host is gone loses the lock within half a minute instead of two hours. The last three reset limits
/// that the role or the database may have set for applications (`ALTER ROLE ... SET`).
const SETTINGS: [&str; 8] = [
    "SET idle_session_timeout = '30s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET idle_in_transaction_session_timeout = '30s'",
    "SET statement_timeout = 0",
    "SET lock_timeout = 0",
    "SET transaction_timeout = 0",
];

const _: () = assert!(LEASE_SECONDS == 30);

/// The setting that ends a statement whose client is gone (PostgreSQL 14). It is first tried on the lock's own session, because an unknown
/// setting in the login options is fatal.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = 2000";

/// One session, and what it may be used for.
#[derive(Debug)]
pub(in crate::migration) struct Link {
    pub(super) session: Session,
    /// Whether a pooler assigns a server session for each transaction.
    pub(super) pooled: bool,
    /// Whether the migration's sessions may have options in their login.
    pub(super) options: bool,
    /// Whether the server can report how a transaction ended (`txid_status`, PostgreSQL 10).
    pub(super) tells_ends: bool,
    /// When the lock was taken, in seconds since 1970 by the server's clock, as SQL text.
    pub(super) since: String,
    /// The sessions that certainly belong to the migration.
    pub(super) proven: BTreeSet<SessionId>,
}

impl Link {
    /// Opens a session and detects whether it is private, before anything is set or taken: behind a pooler both would remain in a session
    /// that others use, too.
    pub(super) async fn open(target: &PostgresTarget, name: &str, channel: &str) -> Result<Self, StatementError> {
        let session = Session::open(target, name, ANSWER).await?;
        let serving = session.run_statement("SELECT pg_backend_pid()").await?;
        let serving = serving.first().and_then(|row| row.try_get(0).ok().flatten());
        let pooled = session.greeted_by().await.is_some_and(|pid| serving != Some(pid.to_string().as_str()));
        let knows = session.run_statement("SELECT to_regproc('pg_catalog.txid_status') IS NOT NULL").await;
        let tells_ends = knows.is_ok_and(|rows| rows.first().and_then(|row| row.try_get(0).ok().flatten()) == Some("t"));
        let mut link = Self { session, pooled, options: false, tells_ends, since: "0".to_owned(), proven: BTreeSet::new() };
        if pooled {
            tracing::info!(lock = %target, "there is a pooler in between: the lock is held by a transaction that stays open");
            return Ok(link);
        }
        for setting in SETTINGS {
            if let Err(refused) = link.session.query(setting).await {
                tracing::debug!(setting, why = refused.private.as_str(), "the database refuses a setting of the lock's session");
            }
        }
        // A standby would grant the same lock a second time, and does not support LISTEN.
        if link.session.run_statement("SELECT pg_is_in_recovery()").await?.first().and_then(|row| row.try_get(0).ok().flatten())
            == Some("t")
        {
            return Err(standby().into());
        }
        link.options = link.session.query(CHECK_CLIENT).await.is_ok();
        link.session.run_statement(&format!("LISTEN {channel}")).await?;
        Ok(link)
    }

    /// Records the time at which the lock was taken.
    pub(super) async fn begin_hold(&mut self) -> Result<(), StatementError> {
        let rows = self.session.run_statement("SELECT extract(epoch FROM clock_timestamp())").await?;
        if let Some(now) = rows.first().and_then(|row| row.try_get(0).ok().flatten()) {
            now.clone_into(&mut self.since);
        }
        Ok(())
    }

    /// Reads the server's current sessions: within one transaction the server repeats the first result.
    pub(super) async fn look(&self, statement: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        if self.pooled {
            self.session.query("SELECT pg_stat_clear_snapshot()").await?;
        }
        self.session.query(statement).await
    }
}

pub(super) fn standby() -> Failure {
    Failure::new(ErrorKind::NotReady, "the database is a read-only standby; name the primary")
}
