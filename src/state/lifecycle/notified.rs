//! What the process says of itself: that it is ready, how it is, that it lives, that it needs longer.

use super::leaving::Leaving;
use super::{Effect, Lifecycle, Moment, Notice, Phase, StartSign, Timer};

impl Lifecycle {
    /// What the process says of itself; the startup check may be just that.
    pub(super) fn notified(&mut self, now: Moment, notice: Notice, effects: &mut Vec<Effect>) {
        if self.snapshot.child.pid.is_none() {
            return;
        }
        match notice {
            Notice::Ready => {
                let awaited = self.main().and_then(|main| main.started.as_ref());
                let counts = awaited.is_some_and(|started| !matches!(started.sign, StartSign::Answers { .. }));
                if counts && self.snapshot.phase == Phase::Starting {
                    self.started(now, effects);
                }
            }
            Notice::Status(text) => self.snapshot.child.status = Some(text),
            Notice::Watchdog => self.expect_watchdog(effects),
            Notice::ExtendTimeout(by) if self.snapshot.phase == Phase::Starting => effects.push(Effect::Arm(Timer::Startup, by)),
            Notice::ExtendTimeout(by) if self.leaving == Some(Leaving::Stopping) => effects.push(Effect::Arm(Timer::Grace, by)),
            Notice::ExtendTimeout(_) => {}
        }
    }

    pub(super) fn expect_watchdog(&self, effects: &mut Vec<Effect>) {
        if let Some(limit) = self.main().and_then(|main| main.watchdog)
            && self.snapshot.phase == Phase::Running
        {
            effects.push(Effect::Arm(Timer::Watchdog, limit));
        }
    }
}
