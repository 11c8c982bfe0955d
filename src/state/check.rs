//! One check: its last records, and its state after thresholds and staleness.

pub mod durations;
pub mod history;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::outcome::{Detail, EndpointResult, ErrorKind, Outcome, Private, Reason, Volume};
use crate::plan::{Affects, CheckId, CheckPlan, ModuleId};
use durations::Durations;
use history::History;

/// How many records are kept, as in the ConfigCat Proxy.
pub const RECORDS: usize = 5;

/// The check of the heartbeat; it exists only if readiness depends on it.
pub const HEARTBEAT: &str = "heartbeat";

/// Errors in a row from which an up check is shown as degraded (ConfigCat's rule).
const DEGRADED_AFTER: u32 = 2;

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it ended.
    pub at: Moment,
    /// The result; `Ok` if it passed.
    pub kind: ErrorKind,
    /// The detail within that kind.
    pub detail: Detail,
    /// The details of a failure.
    pub private: Private,
    /// How long it took.
    pub elapsed: Duration,
    /// The result of each of several endpoints; empty for a single one, and once there is a newer record.
    pub parts: Vec<EndpointResult>,
    /// The examined file system, if it was one.
    pub volume: Option<Volume>,
}

/// A check's verdict before staleness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// No threshold was reached yet.
    #[default]
    Unknown,
    /// `success_threshold` successes in a row.
    Up,
    /// `failure_threshold` failures in a row.
    Down,
}

/// The current state of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Undecided: not probed yet, or no threshold is reached.
    Unknown,
    /// Good.
    Up,
    /// Up, but the last results were errors.
    Degraded,
    /// Not usable, or not probed for too long.
    Down,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Up, Self::Degraded, Self::Down];

    /// The name in metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Whether it counts as available.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

/// A check with its history.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its number among the checks of the plan; none for one that is set by events.
    pub id: Option<CheckId>,
    /// The module that it belongs to, if any.
    pub module: Option<ModuleId>,
    /// Its name.
    pub name: String,
    /// The kind of its target.
    pub kind: &'static str,
    /// What it counts for.
    pub affects: Affects,
    /// The target without secrets: a detail.
    pub target: String,
    /// Its API key, masked: a detail; none if there is none.
    pub masked_key: Option<String>,
    /// The age from which the last result is stale; none for a check that is set by events.
    pub stale_after: Option<Duration>,
    /// Failures in a row until it is down.
    pub failure_threshold: u32,
    /// Successes in a row until it is up.
    pub success_threshold: u32,
    /// The last runs, the oldest first, at most [`RECORDS`].
    pub records: VecDeque<Record>,
    /// Failures in a row.
    pub failures: u32,
    /// Successes in a row.
    pub passes: u32,
    /// Whether it ever passed.
    pub ever_passed: bool,
    /// The verdict of the thresholds.
    pub verdict: Verdict,
    /// When the verdict last changed.
    pub since: Moment,
    /// When it last passed.
    pub last_passed: Option<Moment>,
    /// Runs by class.
    pub totals: BTreeMap<ErrorKind, u64>,
    /// The last half hour.
    pub history: History,
    /// How long successful and failed runs took.
    pub durations: [Durations; 2],
}

impl Check {
    /// A check of the plan that has not run yet. A result is stale after two and a half intervals plus one timeout.
    pub fn new(plan: &CheckPlan) -> Self {
        Self {
            target: plan.target.to_string(),
            masked_key: plan.target.masked_key().map(str::to_owned),
            stale_after: Some(plan.interval.mul_f64(2.5) + plan.timeout),
            failure_threshold: plan.failure_threshold,
            success_threshold: plan.success_threshold,
            ..Self::event(&plan.name, plan.target.kind(), plan.affects)
        }
    }

    /// A check that is set by events instead of runs: the first event decides, and it never gets stale.
    pub fn event(name: &str, kind: &'static str, affects: Affects) -> Self {
        Self {
            id: None,
            module: None,
            name: name.to_owned(),
            kind,
            affects,
            target: String::new(),
            masked_key: None,
            stale_after: None,
            failure_threshold: 1,
            success_threshold: 1,
            records: VecDeque::with_capacity(RECORDS),
            failures: 0,
            passes: 0,
            ever_passed: false,
            verdict: Verdict::Unknown,
            since: Moment::default(),
            last_passed: None,
            totals: BTreeMap::new(),
            history: History::default(),
            durations: Default::default(),
        }
    }

    /// Adds one result; between the thresholds the old verdict stays (the kubelet's rule).
    pub fn feed(&mut self, now: Moment, outcome: Outcome) {
        let Reason { kind, detail } = outcome.reason();
        *self.totals.entry(kind).or_default() += 1;
        self.history.feed(now, outcome.result.is_ok(), outcome.elapsed);
        let [passed, failed] = &mut self.durations;
        if outcome.result.is_ok() { passed } else { failed }.observe(outcome.elapsed);
        let verdict = match outcome.result {
            Ok(()) => {
                self.passes = self.passes.saturating_add(1);
                self.failures = 0;
                self.ever_passed = true;
                self.last_passed = Some(now);
                (self.passes >= self.success_threshold).then_some(Verdict::Up)
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.passes = 0;
                (self.failures >= self.failure_threshold).then_some(Verdict::Down)
            }
        };
        if let Some(verdict) = verdict
            && self.verdict != verdict
        {
            self.verdict = verdict;
            self.since = now;
        }
        if self.records.len() == RECORDS {
            self.records.pop_front();
        }
        // The parts of older runs are not shown, and a report on many APIs is long.
        if let Some(last) = self.records.back_mut() {
            last.parts = Vec::new();
        }
        let private = outcome.result.as_ref().err().map(|failure| failure.private.clone()).unwrap_or_default();
        let Outcome { elapsed, parts, volume, .. } = outcome;
        self.records.push_back(Record { at: now, kind, detail, private, elapsed, parts, volume });
    }

    /// Until when this replica can be ready by this check; none if it cannot be.
    ///
    /// A check that readiness depends on has to pass. One that liveness depends on must not be down: unknown is no reason to kill.
    pub fn allows_ready_until(&self) -> Option<Duration> {
        let (state, _) = self.decided();
        let allows = match self.affects {
            Affects::None | Affects::Health => return Some(Duration::MAX),
            Affects::Readiness => state.passes(),
            Affects::Liveness => state != State::Down,
        };
        allows.then(|| self.fresh_until())
    }

    /// Whether this replica can be ready at `now` by this check.
    pub fn allows_ready(&self, now: Moment) -> bool {
        self.allows_ready_until().is_some_and(|until| now.mono <= until)
    }

    /// Whether it is a report on a whole system rather than a check of one dependency.
    pub fn is_report(&self) -> bool {
        self.kind == "dify"
    }

    /// Whether it is a configured dependency of the service: not the process, a module or a check of one, the heartbeat, or a report.
    pub fn is_dependency(&self) -> bool {
        self.id.is_some() && self.module.is_none() && !self.is_report()
    }

    /// The newest record.
    pub fn last(&self) -> Option<&Record> {
        self.records.back()
    }

    /// The reason for `kind`, as exactly as the newest record has it.
    pub fn why(&self, kind: ErrorKind) -> Reason {
        let detail = self.last().filter(|record| record.kind == kind).map_or(Detail::Plain, |record| record.detail);
        Reason { kind, detail }
    }

    /// The state of the check at `now`, and why if it is not simply up.
    pub fn effective(&self, now: Moment) -> (State, ErrorKind) {
        if now.mono > self.fresh_until() { (State::Down, ErrorKind::Stale) } else { self.decided() }
    }

    /// From then on its last result is stale.
    fn fresh_until(&self) -> Duration {
        let until = self.last().zip(self.stale_after).map(|(last, limit)| last.at.mono.saturating_add(limit));
        until.unwrap_or(Duration::MAX)
    }

    /// The state by the thresholds, without staleness.
    fn decided(&self) -> (State, ErrorKind) {
        let Some(last) = self.last() else { return (State::Unknown, ErrorKind::Never) };
        match self.verdict {
            Verdict::Up if self.failures >= DEGRADED_AFTER => (State::Degraded, last.kind),
            Verdict::Up => (State::Up, ErrorKind::Ok),
            Verdict::Down => (State::Down, last.kind),
            Verdict::Unknown => (State::Unknown, last.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    fn check(failure_threshold: u32, success_threshold: u32) -> Check {
        Check {
            failure_threshold,
            success_threshold,
            stale_after: Some(Duration::from_secs(28)),
            ..Check::event("db", "postgres", Affects::Health)
        }
    }

    fn fed(mut check: Check, results: &str) -> Check {
        for (second, result) in results.chars().enumerate() {
            let outcome = if result == 'o' { Outcome::passed(Duration::ZERO) } else { Outcome::failed(ErrorKind::Dns, "", Duration::ZERO) };
            check.feed(at(second as u64), outcome);
        }
        check
    }

    #[test]
    fn thresholds_decide_and_the_old_verdict_stays_between_them() {
        for (results, state) in [
            ("", State::Unknown),
            ("e", State::Unknown),
            ("ee", State::Unknown),
            ("eee", State::Down),
            ("o", State::Up),
            ("oe", State::Up),
            ("oee", State::Degraded),
            ("oeee", State::Down),
            ("oeeeo", State::Up),
        ] {
            assert_eq!(fed(check(3, 1), results).effective(at(10)).0, state, "{results}");
        }
        assert_eq!(fed(check(1, 2), "eo").effective(at(2)), (State::Down, ErrorKind::Ok));
        assert_eq!(fed(check(1, 2), "eoo").effective(at(3)), (State::Up, ErrorKind::Ok));
    }

    #[test]
    fn an_old_result_is_not_believed() {
        let check = fed(check(3, 1), "o");
        assert_eq!(check.effective(at(28)).0, State::Up);
        assert_eq!(check.effective(at(29)), (State::Down, ErrorKind::Stale));
        let event = Check { stale_after: None, ..check };
        assert_eq!(event.effective(at(1_000_000)).0, State::Up);
    }

    #[test]
    fn five_records_are_kept() {
        let check = fed(check(3, 1), "oeoeoeo");
        assert_eq!(check.records.len(), RECORDS);
        assert_eq!(check.records.front().map(|record| record.at), Some(at(2)));
        assert_eq!(check.totals.values().sum::<u64>(), 7);
    }
}
