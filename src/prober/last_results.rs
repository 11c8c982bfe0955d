//! What peers last said that are asked once an interval at most, across everything that begins asking anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::clock::Moment;
use crate::outcome::Outcome;
use crate::plan::CheckPlan;

/// The last answers of rate-limited checks.
///
/// A task that asks a check may end and another one begin, by a reload, the restart of a module, or a fault of ours; the peer must
/// not be asked the more often for it.
#[derive(Debug, Default)]
pub struct LastResults(Mutex<Vec<LastResult>>);

#[derive(Debug)]
struct LastResult {
    check: String,
    endpoints: Vec<String>,
    began: Instant,
    outcome: Option<(Moment, Outcome)>,
}

/// Why a check is not asked now.
#[derive(Debug)]
pub(super) struct NotYet {
    /// From when on it may be asked.
    pub due: Instant,
    /// What it last said, and when.
    pub outcome: Option<(Moment, Outcome)>,
}

impl LastResults {
    /// None where the check may be asked at once.
    pub(super) fn not_yet(&self, check: &CheckPlan) -> Option<NotYet> {
        let known = self.known();
        let last = known.iter().filter(|answer| check.rate_limited && answer.is_of(check)).max_by_key(|answer| answer.began)?;
        let due = last.began + check.interval;
        (due > Instant::now()).then(|| NotYet { due, outcome: last.outcome.clone() })
    }

    /// Notes the end of a question, or with none that it was cut short and may have been heard.
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
            // Names and endpoints come and go with reloads; what holds nobody back any more is forgotten.
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
    /// Whether it came from a peer that the check asks, too.
    fn is_of(&self, check: &CheckPlan) -> bool {
        let asks = check.target.endpoints();
        self.check == check.name && self.endpoints.iter().any(|endpoint| asks.contains(&endpoint.as_str()))
    }
}
