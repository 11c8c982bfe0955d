//! What the process says of itself: that it is ready, how it is, that it lives, that it needs longer.

use super::leaving::Leaving;
use super::starting::EXEC_LIMIT;
use super::{Effect, Lifecycle, Moment, Notice, Phase, StartSign, Timer};
use crate::outcome::Why;
use crate::plan::StartedPlan;

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
            Notice::ExtendTimeout(by) if self.snapshot.phase == Phase::Starting => effects.push(Effect::Extend(Timer::Startup, by)),
            Notice::ExtendTimeout(by) if self.leaving == Some(Leaving::Stopping) => effects.push(Effect::Extend(Timer::Grace, by)),
            Notice::ExtendTimeout(_) => {}
        }
    }

    pub(super) fn expect_watchdog(&self, effects: &mut Vec<Effect>) {
        // Armed before, it runs on until the process is asked to stop.
        let drains = self.snapshot.started && matches!(self.leaving, Some(Leaving::Withdrawing(_) | Leaving::Draining(_)));
        if let Some(limit) = self.main().and_then(|main| main.watchdog)
            && (self.snapshot.phase == Phase::Running || drains)
        {
            effects.push(Effect::Arm(Timer::Watchdog, limit));
        }
    }
}

/// What a start lacks whose program was not even executed in time.
pub(super) fn not_executed(started: Option<&StartedPlan>) -> String {
    let within = humantime::format_duration(started.map_or(EXEC_LIMIT, |started| started.within));
    format!("program was not executed within {within}: its file does not answer; check the file system that it is on")
}

/// What a start that took too long lacks, and what to check; `last` is what its target answered last.
pub(super) fn not_through(started: &StartedPlan, last: Why) -> String {
    let why = match started.sign {
        StartSign::Answers { .. } => format!("{}; {}", last.words(), last.advice()),
        StartSign::Notifies => "no READY=1 came; check that the process sends it to NOTIFY_SOCKET".to_owned(),
        StartSign::Writes(fd) => format!("no line came on descriptor {fd}; check that the process writes one to it"),
    };
    format!("startup check did not pass within {}: {why}", humantime::format_duration(started.within))
}
