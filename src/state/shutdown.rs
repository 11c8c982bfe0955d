//! The shutdown of a run as one state: each step carries what it waits for. The drawing in `docs/architecture.md` has every transition.

use std::time::Duration;

use super::event::ProcessId;
use crate::clock::Moment;

/// A request to stop that comes so soon after one by the same signal is the same one: `timeout` signals its child and then the whole group.
const ECHO: Duration = Duration::from_millis(50);

/// Where the shutdown stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The heartbeat is being withdrawn; then this signal is due.
    Withdrawing(i32),
    /// Traffic is given time to go elsewhere; then this signal is due.
    Draining(i32),
    /// Modules that started after the main process are stopped first; then it gets this signal.
    Preceding(i32),
    /// This process was asked to end.
    Stopping(ProcessId),
    /// It was sent KILL, and is awaited no longer than reaping takes.
    Killing(ProcessId),
    /// No process is left to ask: what they left behind is seen off.
    Reaping {
        /// What is left of them.
        survivors: Survivors,
        /// Whether the heartbeat is withdrawn.
        heartbeat: Withdrawal,
    },
    /// The start has failed, and is held for inspection until somebody asks for the end.
    Held,
    /// The exit code was given; nothing follows.
    Exited,
}

/// Where those stand that processes left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// They were asked to end.
    Stopping,
    /// They were sent KILL.
    Killed,
    /// Nobody is left.
    Gone,
}

/// Where the withdrawal of the heartbeat stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Redis has not answered yet.
    Pending,
    /// It is withdrawn, or there is nothing to withdraw.
    Done,
}

impl Shutdown {
    /// The word for the log and the drawing.
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

    /// Whether processes are being asked to end, or are gone.
    pub const fn has_begun_stopping(self) -> bool {
        !matches!(self, Self::Withdrawing(_) | Self::Draining(_))
    }

    /// Whether KILL was sent: nobody gets more time than reaping takes.
    pub const fn kills(self) -> bool {
        matches!(self, Self::Killing(_) | Self::Reaping { survivors: Survivors::Killed, .. })
    }

    /// Whether the deadline of the main process' stop runs, which holds for what it leaves behind, too.
    pub const fn has_deadline(self) -> bool {
        matches!(self, Self::Preceding(_) | Self::Stopping(ProcessId::Main) | Self::Killing(ProcessId::Main))
    }
}

/// The requests to stop that came.
#[derive(Clone, Copy, Debug, Default)]
pub struct StopRequests {
    /// How many.
    pub count: u32,
    /// When the first came.
    pub since: Option<Moment>,
    /// The signal of the last one, and when it came.
    last: Option<(i32, Moment)>,
}

impl StopRequests {
    /// Takes one down; false where it is an echo of the last.
    pub fn take(&mut self, now: Moment, number: i32) -> bool {
        if self.last.is_some_and(|(last, at)| last == number && now.since(at) < ECHO) {
            return false;
        }
        self.last = Some((number, now));
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
        true
    }

    /// Nobody here ran for `lost`: that time is none of the stop's.
    pub fn forgive(&mut self, now: Moment, lost: Duration) {
        self.since = self.since.map(|since| if now.since(since) > lost { since.after(lost) } else { now });
    }
}
