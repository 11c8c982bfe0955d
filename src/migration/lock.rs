//! The interface of a lock, and the timeouts that apply to every kind.

use std::time::Duration;

use tokio::time::timeout;

use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::probe::dial::shown;
use crate::state::event::LockHolder;

/// How long connecting, or one statement, may take before the connection is given up.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// After how many seconds without traffic a server ends the holder's session, and with it the lock.
pub(super) const LEASE_SECONDS: u64 = 30;

/// How long a migration runs before the keeper checks whether something blocks it.
pub(super) const HINT_AFTER: Duration = Duration::from_secs(10);

/// A session that an earlier migration may have left at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    /// Its id on the server.
    pub(super) id: String,
    /// Its name and address.
    pub(super) words: String,
    /// Whether it certainly belongs to an earlier migration. Any other session is reported and waited for, but never ended.
    pub(super) certain: bool,
}

/// The result of one attempt.
pub(super) enum Try<H> {
    /// This replica has it, as long as the guard lives.
    Held(H),
    /// Another replica holds it.
    Taken(LockHolder),
    /// This lock does not work here, and why.
    Unusable(String),
}

/// A lock that can be requested.
pub(super) trait Lock: Send + Sync {
    /// The guard that holds it.
    type Held: Send + Sync + 'static;

    /// Its place, without secrets.
    fn shown(&self) -> String;

    /// One attempt. The caller limits its time.
    fn attempt(&mut self) -> impl Future<Output = Result<Try<Self::Held>, Failure>> + Send;

    /// Whether this holder is an earlier session of this replica that the server has not closed yet.
    fn is_own(&self, holder: &LockHolder) -> bool;

    /// Whether the last holder released it properly, or there was none.
    fn succeeds_cleanly(&mut self, held: &mut Self::Held) -> impl Future<Output = bool> + Send;

    /// Returns when a holder has announced that it is done; never if the kind of lock has no such announcement. Safe to cancel.
    fn handed_on(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The sessions of earlier migrations under this lock that may still be at work; empty if they cannot be identified.
    fn leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<Vec<Leftover>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Ends only the certain ones.
    fn end_leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// Variables for the migration, so that its sessions can be identified and end with it.
    fn environment(&self, _held: &Self::Held) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether it is still held; the check also renews the server's timeout.
    fn holds(&self, held: &mut Self::Held) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Examines a long-running migration; a hint if something blocks it.
    fn attend(&self, _held: &mut Self::Held, _running: Duration) -> impl Future<Output = Result<Option<String>, Failure>> + Send {
        std::future::ready(Ok(None))
    }

    /// Returns when the session that holds the lock has visibly ended. Safe to cancel.
    fn ended(&self, held: &mut Self::Held) -> impl Future<Output = ()> + Send;

    /// Releases it and notifies the waiting replicas.
    fn give_back(&mut self, held: Self::Held) -> impl Future<Output = ()> + Send;

    /// The source of schema checks.
    fn schema_query(&self) -> SchemaQuery;
}

pub(super) async fn bounded<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, exchange)
        .await
        .unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}
