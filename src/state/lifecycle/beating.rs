//! The heartbeat in the state of the run: the published readiness, and whether readiness depends on the heartbeat.

use super::{Affects, Check, Duration, Effect, ErrorKind, Lifecycle, Moment, Outcome, Phase, Readiness};
use crate::plan::HeartbeatPlan;
use crate::state::snapshot::HEARTBEAT;

/// The check of a required heartbeat: the first heartbeat decides, and a single failure is enough, because the record may then expire
/// before the next one.
pub(super) fn check(plan: &HeartbeatPlan) -> Check {
    Check { target: plan.target.to_string(), ..Check::event(HEARTBEAT, "heartbeat", Affects::Readiness) }
}

impl Lifecycle {
    pub(super) fn beaten(&mut self, now: Moment, result: Result<(), ErrorKind>) {
        if let Some(index) = self.snapshot.checks.heartbeat() {
            let outcome = match result {
                Ok(()) => Outcome::passed(Duration::ZERO),
                Err(kind) => Outcome::failed(kind, "", Duration::ZERO),
            };
            self.snapshot.checks.change(index, |check| check.feed(now, outcome));
        }
        let heartbeat = &mut self.snapshot.heartbeat;
        match result {
            Ok(()) => {
                heartbeat.written += 1;
                heartbeat.last_written = Some(now);
                heartbeat.trouble = None;
            }
            Err(kind) => {
                *heartbeat.failed.entry(kind).or_default() += 1;
                heartbeat.trouble = Some(kind);
            }
        }
    }

    /// Readiness is derived from the state after every event, not from transitions, so that it is always up to date.
    ///
    /// The published readiness does not include the condition that the heartbeat can be written.
    pub(super) fn announce(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.announced == Readiness::Stopped {
            return;
        }
        // Before the process runs there is nothing to look for, and waits can have many checks that fail.
        if self.snapshot.phase == Phase::Running {
            self.snapshot.checks.settle(now);
        }
        let readiness = if self.snapshot.is_ready_but_for_heartbeat(now) {
            Readiness::Ready
        } else if self.snapshot.started {
            Readiness::NotReady
        } else {
            Readiness::Unknown
        };
        self.ever_ready |= readiness == Readiness::Ready;
        if readiness != self.announced {
            self.announced = readiness;
            effects.push(Effect::Announce(readiness));
        }
    }
}
