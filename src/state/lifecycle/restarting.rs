//! Starting a process again in place: a pause that grows, the dependencies asked once more, then the same start as the first.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, Lifecycle, Moment, Phase, ProcessId, Timer};
use crate::exit::Ended;
use crate::plan::process::{RestartPlan, RestartPolicy};
use crate::state::event::CheckId;

/// The status by which a process says that starting it again is of no use (s6-supervise's rule).
const PERMANENT_FAILURE: u8 = 125;

/// What the second pause in a row is doubled from at least: only the first start again may come at once.
const SHORTEST_DOUBLED: Duration = Duration::from_millis(10);

/// What pauses in a row may grow to, however short the longest is said to be.
const LEAST_LONGEST: Duration = Duration::from_millis(100);

/// How long a process has to have run at least for a pause shorter than [`LEAST_LONGEST`] to be due again.
const LEAST_RUN: Duration = Duration::from_secs(1);

/// Where a restart stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restarting {
    /// The pause runs.
    Pausing,
    /// These dependencies have not answered again yet.
    Asking(BTreeSet<CheckId>),
}

impl Lifecycle {
    /// Whether the plan wants another start after this end of a process that was up for `ran`.
    pub(super) fn restarts_after(&self, ran: Option<Duration>, ended: Ended) -> bool {
        let Some(plan) = self.plan.main.as_ref().map(|main| &main.restart) else { return false };
        let wanted = refusal(plan, self.restarts_in_a_row, ran, ended).is_none();
        wanted && self.leaving.is_none() && self.stop_requests == 0
    }

    /// How long the process was up; none where it never was.
    pub(super) fn ran(&self, now: Moment) -> Option<Duration> {
        (self.snapshot.phase == Phase::Running).then(|| now.since(self.snapshot.phase_since))
    }

    /// Leaves `running` for `starting` again. What the old process left in its group must not hold the new one's port.
    pub(super) fn restart(&mut self, now: Moment, ran: Option<Duration>, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.main.as_ref().map(|main| main.restart.clone()) else { return };
        let pause = next_pause(&plan, ran, &mut self.restarts_in_a_row);
        self.snapshot.child.restarts += 1;
        self.enter(now, Phase::Starting);
        effects.push(Effect::Disarm(Timer::Startup));
        effects.push(Effect::AskStartup(false));
        effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGTERM));
        if pause.is_zero() {
            self.ask_again(now, effects);
        } else {
            self.restarting = Some(Restarting::Pausing);
            effects.push(Effect::Arm(Timer::Restart, pause));
        }
    }

    pub(super) fn pause_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.restarting == Some(Restarting::Pausing) {
            self.ask_again(now, effects);
        }
    }

    fn ask_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let asked: BTreeSet<CheckId> = self.plan.awaited().map(|(id, _)| id).collect();
        if asked.is_empty() {
            self.start_again(now, effects);
            return;
        }
        for (id, check) in self.plan.awaited() {
            effects.push(Effect::Arm(Timer::Wait(id), check.wait));
        }
        effects.push(Effect::AskAgain);
        self.restarting = Some(Restarting::Asking(asked));
    }

    /// A dependency answered while it was asked again.
    pub(super) fn answered_again(&mut self, now: Moment, id: CheckId, effects: &mut Vec<Effect>) {
        let Some(Restarting::Asking(asked)) = &mut self.restarting else { return };
        if asked.remove(&id) {
            effects.push(Effect::Disarm(Timer::Wait(id)));
        }
        if asked.is_empty() {
            self.start_again(now, effects);
        }
    }

    /// Whether this dependency's second wait still goes on.
    pub(super) fn asks_again(&self, id: CheckId) -> bool {
        matches!(&self.restarting, Some(Restarting::Asking(asked)) if asked.contains(&id))
    }

    fn start_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.restarting = None;
        effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGKILL));
        self.start(now, effects);
    }
}

/// Why a process is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The plan does not want it after such an end.
    Policy,
    /// Its status says that it is of no use.
    Permanent,
    /// It was started again often enough without running well in between.
    Limit,
}

/// Why a process that ended so, up for `ran`, is not to be started again after so many starts in a row; none where it is.
pub(super) fn refusal(plan: &RestartPlan, in_a_row: u32, ran: Option<Duration>, ended: Ended) -> Option<Refusal> {
    let wanted = match plan.policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => ended != Ended::Code(0),
        RestartPolicy::Always => true,
    };
    let spent = plan.limit > 0 && !ran_well(plan, ran) && in_a_row >= plan.limit;
    match (wanted, ended) {
        (false, _) => Some(Refusal::Policy),
        (true, Ended::Code(PERMANENT_FAILURE)) => Some(Refusal::Permanent),
        (true, _) => spent.then_some(Refusal::Limit),
    }
}

/// Whether a process was up for long enough for earlier starts not to count any more.
fn ran_well(plan: &RestartPlan, ran: Option<Duration>) -> bool {
    let least = if plan.delay.min(plan.longest_delay) < LEAST_LONGEST { LEAST_RUN } else { Duration::ZERO };
    ran.is_some_and(|ran| ran >= plan.healthy_after.max(least))
}

/// The pause before another start, which is counted; `ran`: how long the process was up, none where it never was.
pub(super) fn next_pause(plan: &RestartPlan, ran: Option<Duration>, in_a_row: &mut u32) -> Duration {
    if ran_well(plan, ran) {
        *in_a_row = 0;
    }
    let times = *in_a_row;
    *in_a_row = times.saturating_add(1);
    pause(plan.delay, plan.longest_delay, times)
}

/// `first`, doubled `times` times, `longest` at most; from the second on never so short that starting again is all that is done.
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
        assert_eq!(refused(2, None, 1), Some(Refusal::Limit));
        assert_eq!(refused(2, Some(Duration::from_secs(59)), 1), Some(Refusal::Limit));
        assert_eq!(refused(2, Some(day), 1), None, "it ran well since");
        assert_eq!(refused(0, None, 125), Some(Refusal::Permanent));
        assert_eq!(refused(0, None, 0), Some(Refusal::Policy));
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
