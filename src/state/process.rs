//! The state machine of every supervised process: the main process, a module, a command of the migration or of a step.
//!
//! Only the policy differs (which end ends the run, what has to be ready first), and it is in the reducer. The drawing in
//! `docs/architecture.md` has every transition.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::CheckId;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::outcome::Reason;
use crate::plan::ProcessPlan;
use crate::plan::process::{RestartPlan, RestartPolicy};

/// The status that means that a restart is of no use (s6-supervise's rule).
const PERMANENT_FAILURE: u8 = 125;

/// The minimum from which the second pause in a row is doubled: only the first restart may be immediate.
const SHORTEST_DOUBLED: Duration = Duration::from_millis(10);

/// The minimum of the longest pause, whatever is configured.
const LEAST_LONGEST: Duration = Duration::from_millis(100);

/// How long a process has to have run before a pause shorter than [`LEAST_LONGEST`] is possible again.
const LEAST_RUN: Duration = Duration::from_secs(1);

/// The state of a process; each variant has its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunState {
    /// It does not run and is not requested.
    #[default]
    Idle,
    /// It will start once its predecessors are ready; these dependencies are not ready again yet.
    Waiting(BTreeSet<CheckId>),
    /// The result of its spawn is awaited.
    Spawning,
    /// A process exists that does not execute its program yet.
    Forked,
    /// It executes its program, and its startup check has not passed yet; with the last result.
    Starting(Reason),
    /// It has been running since then.
    Up(Moment),
    /// It has been running since then, and this check of it went down: it is restarted as soon as possible.
    Unhealthy(Moment, CheckId),
    /// Its stop was requested.
    Stopping(Then),
    /// It has ended, and the leftovers in its group are being ended.
    Clearing(Then),
    /// It has ended and will be restarted after a pause.
    Backoff,
}

/// What follows after a requested end, or after the group is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Nothing: it stays stopped.
    #[default]
    Rest,
    /// It is started as for the first time.
    Install,
    /// Its start has failed; with the exit code, unless it is restarted.
    Failed(u8),
    /// It is restarted after a pause, within its limits, because a check of it went down; with how long it was up.
    Restart(Duration),
    /// The next command of the migration or step; with how this one ended, and its text.
    Next(Ended, &'static str),
}

impl RunState {
    /// The name in the log and the drawing.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting(_) => "waiting",
            Self::Spawning => "spawning",
            Self::Forked => "forked",
            Self::Starting(_) => "starting",
            Self::Up(_) => "up",
            Self::Unhealthy(..) => "unhealthy",
            Self::Stopping(_) => "stopping",
            Self::Clearing(_) => "clearing",
            Self::Backoff => "backoff",
        }
    }

    /// Whether there is a process, or will be in a moment.
    pub const fn lives(&self) -> bool {
        matches!(self, Self::Spawning) || self.runs()
    }

    /// Whether there is a process, whether or not it executes its program yet.
    pub const fn runs(&self) -> bool {
        self.may_be_stopped() || matches!(self, Self::Stopping(_))
    }

    /// Whether there is a process without a requested stop.
    pub const fn may_be_stopped(&self) -> bool {
        matches!(self, Self::Forked | Self::Starting(_)) || self.since().is_some()
    }

    /// Since when it is up; none if it is not.
    pub const fn since(&self) -> Option<Moment> {
        if let Self::Up(since) | Self::Unhealthy(since, _) = self { Some(*since) } else { None }
    }

    /// How long it has been up at `now`; none if it never was.
    pub fn ran(&self, now: Moment) -> Option<Duration> {
        if let Self::Stopping(Then::Restart(ran)) = self { Some(*ran) } else { self.since().map(|since| now.since(since)) }
    }
}

/// One supervised process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its state.
    pub state: RunState,
    /// How it is stopped: by the plan with which it was started, whatever a reload changed.
    pub rules: StopRules,
    /// Restarts since it last ran long enough or was requested, for the length of the pause and the limit.
    pub in_a_row: u32,
}

/// The rules by which one process is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct StopRules {
    /// Its stop signal, instead of the received one.
    pub signal: Option<i32>,
    /// Whether its whole group gets it.
    pub group: bool,
    /// From that signal to KILL.
    pub timeout: Duration,
}

impl StopRules {
    /// The rules of this plan.
    pub const fn of(plan: &ProcessPlan) -> Self {
        Self { signal: plan.stop_signal, group: plan.signals.group, timeout: plan.stop_timeout }
    }
}

/// Why a process is not restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRestart {
    /// The plan does not restart it after such an end.
    Policy,
    /// Its status means that a restart is of no use.
    Permanent,
    /// It was restarted too often without running long enough in between.
    Limit,
}

/// Why a process that ended in this way after `ran` is not restarted, given its restarts in a row; none if it is restarted.
pub fn refusal(plan: &RestartPlan, in_a_row: u32, ran: Option<Duration>, ended: Ended) -> Option<NoRestart> {
    let wanted = match plan.policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => ended != Ended::Code(0),
        RestartPolicy::Always => true,
    };
    match (wanted, ended) {
        (false, _) => Some(NoRestart::Policy),
        (true, Ended::Code(PERMANENT_FAILURE)) => Some(NoRestart::Permanent),
        (true, _) => is_spent(plan, in_a_row, ran).then_some(NoRestart::Limit),
    }
}

/// Whether a process has reached its limit of restarts in a row.
pub fn is_spent(plan: &RestartPlan, in_a_row: u32, ran: Option<Duration>) -> bool {
    plan.limit > 0 && !ran_well(plan, ran) && in_a_row >= plan.limit
}

/// Whether a process was up long enough that earlier restarts no longer count.
fn ran_well(plan: &RestartPlan, ran: Option<Duration>) -> bool {
    let least = if plan.delay.min(plan.longest_delay) < LEAST_LONGEST { LEAST_RUN } else { Duration::ZERO };
    ran.is_some_and(|ran| ran >= plan.healthy_after.max(least))
}

/// The pause before a restart, which is counted; `ran`: how long the process was up, none if it never was.
pub fn next_pause(plan: &RestartPlan, ran: Option<Duration>, in_a_row: &mut u32) -> Duration {
    if ran_well(plan, ran) {
        *in_a_row = 0;
    }
    let times = *in_a_row;
    *in_a_row = times.saturating_add(1);
    pause(plan.delay, plan.longest_delay, times)
}

/// `first`, doubled `times` times, at most `longest`; from the second restart on never so short that it becomes a busy loop.
fn pause(first: Duration, longest: Duration, times: u32) -> Duration {
    match times {
        0 => first.min(longest),
        _ => first.max(SHORTEST_DOUBLED).saturating_mul(2_u32.saturating_pow(times)).min(longest.max(LEAST_LONGEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let seconds: Vec<u64> = [0, 1, 2, 5, 6, 40, u32::MAX].iter().map(|times| pause(first, longest, *times).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn the_limit_counts_starts_in_a_row() {
        let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
        let plan = RestartPlan { policy: RestartPolicy::OnFailure, limit: 2, healthy_after: minute, ..RestartPlan::default() };
        let refused = |in_a_row, ran, code| refusal(&plan, in_a_row, ran, Ended::Code(code));
        assert_eq!(refused(1, None, 1), None);
        assert_eq!(refused(2, None, 1), Some(NoRestart::Limit));
        assert_eq!(refused(2, Some(Duration::from_secs(59)), 1), Some(NoRestart::Limit));
        assert_eq!(refused(2, Some(day), 1), None, "it ran well since");
        assert_eq!(refused(0, None, 125), Some(NoRestart::Permanent));
        assert_eq!(refused(0, None, 0), Some(NoRestart::Policy));
        let mut in_a_row = 0;
        for _ in 0..100 {
            assert_eq!(refused(in_a_row, Some(day), 1), None, "failures spread over days never reach it");
            next_pause(&plan, Some(day), &mut in_a_row);
        }
    }

    #[test]
    fn only_the_first_pause_may_be_none() {
        let pauses = |delay, longest_delay, healthy_after, ran| {
            let plan = RestartPlan { delay, longest_delay, healthy_after, ..RestartPlan::default() };
            let mut in_a_row = 0;
            [(); 6].map(|()| next_pause(&plan, Some(Duration::from_millis(ran)), &mut in_a_row).as_millis())
        };
        let (none, second, minute) = (Duration::ZERO, Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(pauses(none, minute, minute, 5), [0, 20, 40, 80, 160, 320]);
        assert_eq!(pauses(none, none, minute, 5), [0, 20, 40, 80, 100, 100]);
        assert_eq!(pauses(second, none, none, 5), [0, 100, 100, 100, 100, 100]);
        assert_eq!(pauses(none, minute, none, 5), [0, 20, 40, 80, 160, 320], "a run that short was not a good one");
        assert_eq!(pauses(none, minute, none, 1000), [0; 6], "one that was good is followed at once");
        assert_eq!(pauses(second, minute, none, 5), [1000; 6], "pauses of one length can be had");
    }
}
