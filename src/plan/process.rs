//! A supervised process: its command, when it counts as started, how it is stopped, and whether it is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::argv::{Argv, Word};
use super::command::CommandPlan;
use super::target::Target;
pub use crate::config::process::RestartPolicy;
use crate::config::process::{ProcessKeys, STOP_TIMEOUT};

/// A process, and how it is started and stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessPlan {
    /// Its command.
    pub command: CommandPlan,
    /// The name before each line of its output; none: its output is not changed.
    pub label: Option<String>,
    /// The startup check: the process is starting until this passes.
    pub started: Option<StartedPlan>,
    /// Which signals it gets, and whether its group gets them.
    pub signals: SignalPlan,
    /// The number of its stop signal, 1 to 64; none: the signal that portcullis received.
    pub stop_signal: Option<i32>,
    /// The time from that signal to KILL, for it and its leftovers.
    pub stop_timeout: Duration,
    /// How long it is not ready before its stop signal is sent.
    pub drain_delay: Duration,
    /// Exit codes that become 0 after a requested stop.
    pub success_codes: BTreeSet<u8>,
    /// Whether it is restarted.
    pub restart: RestartPlan,
    /// How often it has to send `WATCHDOG=1`; none: there is no watchdog.
    pub watchdog: Option<Duration>,
}

impl ProcessPlan {
    /// The default time from the stop signal to KILL.
    pub const STOP_TIMEOUT: Duration = Duration::from_millis(STOP_TIMEOUT);

    /// The same process beside the main one: see [`CommandPlan::aside`].
    #[must_use]
    pub fn aside(self) -> Self {
        Self { command: self.command.aside(), ..self }
    }

    /// The same process as a module: with empty standard input, never in the terminal's foreground, and by default killed if portcullis
    /// dies.
    #[must_use]
    pub const fn beside(mut self) -> Self {
        let attributes = &mut self.command.attributes;
        attributes.aside = true;
        if attributes.parent_death_signal == 0 {
            attributes.parent_death_signal = libc::SIGKILL;
        }
        self
    }

    /// The text in its output that shows that it is up; none if something else does.
    pub fn awaited_line(&self) -> Option<&Word> {
        match self.started.as_ref().map(|started| &started.sign) {
            Some(StartSign::Line(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether its output goes through portcullis.
    pub fn is_relayed(&self) -> bool {
        self.label.is_some() || self.awaited_line().is_some()
    }

    /// A process under the defaults.
    pub fn new(argv: Argv) -> Self {
        Self::of(CommandPlan::new(argv))
    }

    /// A process of this command under the defaults.
    pub fn of(command: CommandPlan) -> Self {
        Self {
            command,
            label: None,
            started: None,
            signals: SignalPlan::default(),
            stop_signal: None,
            stop_timeout: Self::STOP_TIMEOUT,
            drain_delay: Duration::ZERO,
            success_codes: BTreeSet::new(),
            restart: RestartPlan::default(),
            watchdog: None,
        }
    }
}

/// The startup check of a mode.
#[derive(Clone, Debug, PartialEq)]
pub struct StartedPlan {
    /// How the end of the start is detected.
    pub sign: StartSign,
    /// How long the start may take before it has failed (exit 69).
    pub within: Duration,
}

/// How the end of the start is detected.
#[derive(Clone, Debug, PartialEq)]
pub enum StartSign {
    /// This target is ready.
    Answers {
        /// The target.
        target: Box<Target>,
        /// How long one run may take.
        timeout: Duration,
    },
    /// The process sends `READY=1` (`sd_notify(3)`).
    Notifies,
    /// The process writes a line to this descriptor (s6's notification-fd).
    Writes(i32),
    /// Its standard output or standard error contains this, which is not empty and no longer than a line.
    Line(Word),
}

/// Which signals a process gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalPlan {
    /// Whether its whole process group gets them, as with dumb-init.
    pub group: bool,
    /// Signals that are sent as another signal.
    pub rewrite: BTreeMap<i32, i32>,
    /// Signals that are not forwarded.
    pub ignore: BTreeSet<i32>,
    /// Signals that start the stop, besides TERM and INT.
    pub stop_on: BTreeSet<i32>,
    /// Whether the third stop request is forwarded like the second; otherwise it kills.
    pub never_kills: bool,
}

/// Whether and when a process that ended is restarted.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPlan {
    /// After which kinds of end.
    pub policy: RestartPolicy,
    /// The first pause, before jitter; doubled each time.
    pub delay: Duration,
    /// The longest pause.
    pub longest_delay: Duration,
    /// After running this long the pause is the first one again.
    pub healthy_after: Duration,
    /// The maximum number of restarts in a row; 0: no limit.
    pub limit: u32,
}

impl RestartPlan {
    /// The values of the keys of a process.
    pub fn of(keys: &ProcessKeys) -> Self {
        Self {
            policy: keys.restart.unwrap_or_default(),
            delay: keys.restart_delay.0,
            longest_delay: keys.restart_max_delay.0,
            healthy_after: keys.restart_reset.0,
            limit: keys.restart_limit.to().unwrap_or_default(),
        }
    }
}

impl Default for RestartPlan {
    fn default() -> Self {
        Self::of(&ProcessKeys::default())
    }
}
