//! The shutdown of a run as one state machine: each state holds what it waits for. The drawing in `docs/architecture.md` has every
//! transition.

use std::time::Duration;

use super::event::ProcessId;
use crate::clock::Moment;

/// A stop request by the same signal within this time counts as the same request: `timeout` signals its child and then the whole group.
const ECHO: Duration = Duration::from_millis(50);

/// The state of the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The heartbeat is being withdrawn; then this signal is sent.
    Withdrawing(i32),
    /// The drain delay; then this signal is sent.
    Draining(i32),
    /// Modules that started after the main process are stopped first; then it gets this signal.
    Preceding(i32),
    /// This process has got its stop signal.
    Stopping(ProcessId),
    /// It was sent KILL; only the time for reaping is left.
    Killing(ProcessId),
    /// All processes have ended; their leftovers are being ended.
    Reaping {
        /// The state of the leftovers.
        survivors: Survivors,
        /// Whether the heartbeat is withdrawn.
        heartbeat: Withdrawal,
    },
    /// The start has failed, and is held for inspection until a stop request.
    Held,
    /// The exit effect was returned; nothing follows.
    Exited,
}

/// The state of leftover processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// They were sent TERM.
    Stopping,
    /// They were sent KILL.
    Killed,
    /// None is left.
    Gone,
}

/// The state of the heartbeat's withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Redis has not answered yet.
    Pending,
    /// It is withdrawn, or there is nothing to withdraw.
    Done,
}

impl Shutdown {
    /// The name in the log and the drawing.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Withdrawing(_) => "withdrawing",
            Self::Draining(_) => "draining",
            Self::Preceding(_) => "preceding",
            Self::Stopping(_) => "stopping",
            Self::Killing(_) => "killing",
            Self::Reaping { .. } => "reaping",
            Self::Held => "held",
            Self::Exited => "exited",
        }
    }

    /// Whether processes have got their stop signal, or have ended.
    pub const fn has_begun_stopping(self) -> bool {
        !matches!(self, Self::Withdrawing(_) | Self::Draining(_))
    }

    /// Whether KILL was sent: only the time for reaping is left.
    pub const fn kills(self) -> bool {
        matches!(self, Self::Killing(_) | Self::Reaping { survivors: Survivors::Killed, .. })
    }

    /// Whether the deadline of the main process' stop runs, which also applies to its leftovers.
    pub const fn has_deadline(self) -> bool {
        matches!(self, Self::Preceding(_) | Self::Stopping(ProcessId::Main) | Self::Killing(ProcessId::Main))
    }
}

/// The received stop requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct StopRequests {
    /// How many.
    pub count: u32,
    /// When the first was received.
    pub since: Option<Moment>,
    /// The signal of the last one, and when it was received.
    last: Option<(i32, Moment)>,
}

impl StopRequests {
    /// Records one; false if it repeats the last one.
    pub fn take(&mut self, now: Moment, number: i32) -> bool {
        if self.last.is_some_and(|(last, at)| last == number && now.since(at) < ECHO) {
            return false;
        }
        self.last = Some((number, now));
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
        true
    }

    /// This process did not run for `lost`: that time does not count.
    pub fn forgive(&mut self, now: Moment, lost: Duration) {
        self.since = self.since.map(|since| if now.since(since) > lost { since.after(lost) } else { now });
    }
}
