//! One session of the lock with a PostgreSQL: whether it is ours alone, and what was agreed with the server.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryRow;

use super::seen::SessionId;
use crate::migration::lock::{ANSWER, LEASE_SECONDS};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::PostgresTarget;
use crate::probe::postgres::{Session, StatementError};

/// What every session of the lock asks for, each tolerated when the server refuses it: an old version, a hosted service.
///
/// The first is a dead man's switch: a holder whose host is gone loses the lock within half a minute instead of two hours. The last
/// three take away what the role or the database may have set for applications (`ALTER ROLE ... SET`).
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

/// The setting that ends a statement whose client is gone (PostgreSQL 14), tried on the lock's own session first: in the options
/// of a login an unknown one is fatal.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = 2000";

/// One session, and what it may be used for.
#[derive(Debug)]
pub(in crate::migration) struct Link {
    pub(super) session: Session,
    /// Whether a pooler lends us a server's session for each transaction.
    pub(super) pooled: bool,
    /// Whether the migration's sessions may be given options at their login.
    pub(super) options: bool,
    /// Whether the server tells how a transaction ended (`txid_status`, PostgreSQL 10).
    pub(super) tells_ends: bool,
    /// When the lock became ours, in seconds since 1970 by the server's clock, as SQL has it.
    pub(super) since: String,
    /// The migration's sessions that are proven to be its own.
    pub(super) proven: BTreeSet<SessionId>,
}

impl Link {
    /// A session, and whether it is ours alone, which is found out before anything is set or taken: in a pooler both would stay
    /// behind in a session that others get, too.
    pub(super) async fn open(target: &PostgresTarget, name: &str, channel: &str) -> Result<Self, StatementError> {
        let session = Session::open(target, name, ANSWER).await?;
        let serving = session.run_statement("SELECT pg_backend_pid()").await?;
        let serving = serving.first().and_then(|row| row.try_get(0).ok().flatten());
        let pooled = session.greeted_by().await.is_some_and(|pid| serving != Some(pid.to_string().as_str()));
        let knows = session.run_statement("SELECT to_regproc('pg_catalog.txid_status') IS NOT NULL").await;
        let tells_ends = knows.is_ok_and(|rows| rows.first().and_then(|row| row.try_get(0).ok().flatten()) == Some("t"));
        let mut link = Self { session, pooled, options: false, tells_ends, since: "0".to_owned(), proven: BTreeSet::new() };
        if pooled {
            tracing::info!(lock = %target, "a pooler is in between: the lock is one of a transaction that stays open");
            return Ok(link);
        }
        for setting in SETTINGS {
            if let Err(refused) = link.session.query(setting).await {
                tracing::debug!(setting, why = refused.private.as_str(), "the database refuses a setting of the lock's session");
            }
        }
        // A standby would grant the same lock a second time, and does not take the listening below either.
        if link.session.run_statement("SELECT pg_is_in_recovery()").await?.first().and_then(|row| row.try_get(0).ok().flatten())
            == Some("t")
        {
            return Err(standby().into());
        }
        link.options = link.session.query(CHECK_CLIENT).await.is_ok();
        link.session.run_statement(&format!("LISTEN {channel}")).await?;
        Ok(link)
    }

    /// The lock has just become ours.
    pub(super) async fn begin_hold(&mut self) -> Result<(), StatementError> {
        let rows = self.session.run_statement("SELECT extract(epoch FROM clock_timestamp())").await?;
        if let Some(now) = rows.first().and_then(|row| row.try_get(0).ok().flatten()) {
            now.clone_into(&mut self.since);
        }
        Ok(())
    }

    /// Asks about the server's sessions as they are now: within one transaction it would go on showing what it showed first.
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
