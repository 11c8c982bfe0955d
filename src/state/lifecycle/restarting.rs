//! Starting a process again in place: a pause that grows, the dependencies asked once more, then the same start as the first.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, Lifecycle, Moment, Phase, ProcessId, Timer};
use crate::exit::Ended;
use crate::plan::process::{RestartPlan, RestartPolicy};
use crate::state::event::CheckId;

/// The status by which a process says that starting it again is of no use (s6-supervise's rule).
const PERMANENT_FAILURE: u8 = 125;

/// Where a restart stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restarting {
    /// The pause runs.
    Pausing,
    /// These dependencies have not answered again yet.
    Asking(BTreeSet<CheckId>),
}

impl Lifecycle {
    /// Whether the plan wants another start after this end.
    pub(super) fn restarts_after(&self, ended: Ended) -> bool {
        let Some(plan) = self.plan.main.as_ref().map(|main| &main.restart) else { return false };
        another_is_wanted(plan, self.snapshot.child.restarts, ended) && self.leaving.is_none() && self.stop_requests == 0
    }

    /// Leaves `running` for `starting` again. What the old process left in its group must not hold the new one's port.
    pub(super) fn restart(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.main.as_ref().map(|main| main.restart.clone()) else { return };
        let ran = now.since(self.snapshot.phase_since);
        if self.snapshot.phase == Phase::Running && ran >= plan.healthy_after {
            self.restarts_in_a_row = 0;
        }
        let pause = pause(plan.delay, plan.longest_delay, self.restarts_in_a_row);
        self.restarts_in_a_row += 1;
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

/// Whether a process that ended so is to be started again, having been so this often.
pub(super) fn another_is_wanted(plan: &RestartPlan, restarts: u32, ended: Ended) -> bool {
    let wanted = match plan.policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => ended != Ended::Code(0),
        RestartPolicy::Always => true,
    };
    let spent = plan.limit > 0 && restarts >= plan.limit;
    wanted && !spent && ended != Ended::Code(PERMANENT_FAILURE)
}

/// `first`, doubled `times` times, `longest` at most.
pub(super) fn pause(first: Duration, longest: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let seconds: Vec<u64> = [0, 1, 2, 5, 6, 40, u32::MAX].iter().map(|times| pause(first, longest, *times).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(pause(Duration::ZERO, longest, 9), Duration::ZERO);
    }
}
