//! What a lock that keeps other replicas out has to be able to do, and the times that hold for each of them.

use std::time::Duration;

use tokio::time::timeout;

use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::probe::dial::shown;
use crate::state::event::LockHolder;

/// How long connecting, or one statement, may take before the connection is given up.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// After how many seconds of silence a server ends the holder's session, and with it the lock.
pub(super) const LEASE_SECONDS: u64 = 30;

/// How long a migration has run when what may keep it from going on is looked for.
pub(super) const HINT_AFTER: Duration = Duration::from_secs(10);

/// A session that an earlier migration may have left at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    /// Which it is, for the server.
    pub(super) id: String,
    /// Who and where it is.
    pub(super) words: String,
    /// Whether it is certainly an earlier migration's. One that may be anybody's is reported and waited for, and never ended.
    pub(super) certain: bool,
}

/// What one try yielded.
pub(super) enum Try<H> {
    /// It is ours, for as long as this lives.
    Held(H),
    /// Somebody else holds it.
    Taken(LockHolder),
    /// This lock will never keep anybody out, and why.
    Unusable(String),
}

/// A lock that can be tried for.
pub(super) trait Lock: Send + Sync {
    /// What holds it.
    type Held: Send + Sync + 'static;

    /// Where it is, without secrets.
    fn shown(&self) -> String;

    /// One try. Everything in here is bounded by the caller.
    fn attempt(&mut self) -> impl Future<Output = Result<Try<Self::Held>, Failure>> + Send;

    /// Whether this holder is an earlier session of ours, which the server has not given up yet.
    fn is_own(&self, holder: &LockHolder) -> bool;

    /// Whether the last holder before us took leave, or there was none.
    fn succeeds_cleanly(&mut self, held: &mut Self::Held) -> impl Future<Output = bool> + Send;

    /// Comes back when a holder has said that it is done; for ever where holders do not say so. Safe to cancel.
    fn handed_on(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The sessions of earlier migrations under this lock that may still be at work; none where nothing tells them from others.
    fn leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<Vec<Leftover>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Ends those that are certain, and no others.
    fn end_leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// What the migration gets into its environment, so that its sessions can be told and end with it.
    fn environment(&self, _held: &Self::Held) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether it is still ours; asking also keeps a dead man's switch from firing.
    fn holds(&self, held: &mut Self::Held) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Looks after a migration that has been running for so long: a hint where something keeps it from going on.
    fn attend(&self, _held: &mut Self::Held, _running: Duration) -> impl Future<Output = Result<Option<String>, Failure>> + Send {
        std::future::ready(Ok(None))
    }

    /// Comes back when what holds the lock has visibly ended. Safe to cancel.
    fn ended(&self, held: &mut Self::Held) -> impl Future<Output = ()> + Send;

    /// Gives it back and says so to those who queue.
    fn give_back(&mut self, held: Self::Held) -> impl Future<Output = ()> + Send;

    /// Who answers questions about the schema.
    fn schema_query(&self) -> SchemaQuery;
}

pub(super) async fn bounded<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, exchange)
        .await
        .unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}
