//! The last results of rate-limited checks, kept across reloads, restarts and new tasks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::clock::Moment;
use crate::outcome::Outcome;
use crate::plan::CheckPlan;

/// The last results of rate-limited checks.
///
/// The task of a check may be replaced after a reload, the restart of a module, or an internal error; the peer must not be probed more
/// often because of that.
#[derive(Debug, Default)]
pub struct LastResults(Mutex<Vec<LastResult>>);

#[derive(Debug)]
struct LastResult {
    check: String,
    endpoints: Vec<String>,
    began: Instant,
    outcome: Option<(Moment, Outcome)>,
}

/// Why a check is not probed now.
#[derive(Debug)]
pub(super) struct NotYet {
    /// From when on it may be probed.
    pub due: Instant,
    /// Its last result, and when.
    pub outcome: Option<(Moment, Outcome)>,
}

impl LastResults {
    /// None if the check may be probed at once.
    pub(super) fn not_yet(&self, check: &CheckPlan) -> Option<NotYet> {
        let known = self.known();
        let last = known.iter().filter(|answer| check.rate_limited && answer.is_of(check)).max_by_key(|answer| answer.began)?;
        let due = last.began + check.interval;
        (due > Instant::now()).then(|| NotYet { due, outcome: last.outcome.clone() })
    }

    /// Records the end of a probe; none: it was cancelled and may have reached the peer.
    pub(super) fn note(&self, check: &CheckPlan, outcome: Option<&Outcome>) {
        if !check.rate_limited {
            return;
        }
        let began = Instant::now();
        let mut known = self.known();
        let mut outcome = outcome.map(|outcome| (Moment::now(), outcome.clone()));
        known.retain_mut(|answer| {
            let is_replaced = answer.is_of(check);
            if is_replaced && outcome.is_none() {
                outcome = answer.outcome.take();
            }
            // Names and endpoints change with reloads, so entries without effect are dropped.
            !is_replaced && began.duration_since(answer.began) <= CheckPlan::LONGEST_INTERVAL
        });
        let endpoints = check.target.endpoints().into_iter().map(str::to_owned).collect();
        known.push(LastResult { check: check.name.clone(), endpoints, began, outcome });
    }

    fn known(&self) -> MutexGuard<'_, Vec<LastResult>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastResult {
    /// Whether it came from a peer of this check.
    fn is_of(&self, check: &CheckPlan) -> bool {
        let asks = check.target.endpoints();
        self.check == check.name && self.endpoints.iter().any(|endpoint| asks.contains(&endpoint.as_str()))
    }
}
