//! A command: what it finds around it, how it is asked to stop, and whether it is started again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::argv::{Argv, Word};
use super::target::Target;
pub use crate::config::process::RestartPolicy;
use crate::config::process::{ProcessKeys, STOP_TIMEOUT};
use crate::sys::start::Credentials;

/// A command, and how it is started and stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessPlan {
    /// The command line, never empty.
    pub argv: Argv,
    /// Variables set for it on top of portcullis' own environment.
    pub env: Vec<(String, Word)>,
    /// Variables of portcullis' own environment that it does not get.
    pub env_remove: Vec<String>,
    /// What else it finds around it.
    pub attributes: ProcessAttributes,
    /// The name before each line of its output; none: it writes to our own streams itself, or as if it did.
    pub label: Option<String>,
    /// The startup check: it is starting until this passes.
    pub started: Option<StartedPlan>,
    /// Which signals it gets, and who else does.
    pub signals: SignalPlan,
    /// The signal that asks it to stop, in place of the one that asked portcullis; its number, 1 to 64.
    pub stop_signal: Option<i32>,
    /// From that signal to KILL, for it and everything it leaves behind.
    pub stop_timeout: Duration,
    /// How long it is not ready before that signal is sent.
    pub drain_delay: Duration,
    /// Exit codes that become 0 after a stop that was asked for.
    pub success_codes: BTreeSet<u8>,
    /// Whether it is started again.
    pub restart: RestartPlan,
    /// How often it has to send `WATCHDOG=1`; none: it has not.
    pub watchdog: Option<Duration>,
}

impl ProcessPlan {
    /// From the stop signal to KILL where nothing else is said.
    pub const STOP_TIMEOUT: Duration = Duration::from_millis(STOP_TIMEOUT);

    /// The same command beside the process: with nothing to read, never in the terminal's foreground, and gone when we are.
    #[must_use]
    pub const fn aside(mut self) -> Self {
        self.attributes.aside = true;
        self.attributes.parent_death_signal = libc::SIGKILL;
        self
    }

    /// The same command as a module: with nothing to read, never in the terminal's foreground, and by default gone when we are.
    #[must_use]
    pub const fn beside(mut self) -> Self {
        self.attributes.aside = true;
        if self.attributes.parent_death_signal == 0 {
            self.attributes.parent_death_signal = libc::SIGKILL;
        }
        self
    }

    /// The text in the process' own output by which it is up; none where something else says so.
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

    /// A command under the defaults.
    pub fn new(argv: Argv) -> Self {
        Self {
            argv,
            env: Vec::new(),
            env_remove: Vec::new(),
            attributes: ProcessAttributes::default(),
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
    /// How the start is known to be through.
    pub sign: StartSign,
    /// How long the start may take before it has failed (exit 69).
    pub within: Duration,
}

/// How the start is known to be through.
#[derive(Clone, Debug, PartialEq)]
pub enum StartSign {
    /// This target answers.
    Answers {
        /// What is asked.
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

/// What a process finds around it, besides its environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessAttributes {
    /// Who it is; portcullis' own user when none.
    pub user: Option<Credentials>,
    /// Where it starts; portcullis' own working directory when none.
    pub directory: Option<PathBuf>,
    /// Its file mode creation mask.
    pub umask: Option<u32>,
    /// Its resource limits: `RLIMIT_…` of the kernel, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether set-user-ID programs give it nothing.
    pub no_new_privileges: bool,
    /// The signal it gets should portcullis die; 0: none.
    pub parent_death_signal: i32,
    /// What it reads on its standard input, where it runs beside the process.
    pub input: Option<Word>,
    /// Whether it runs beside the process: with an empty standard input, and never in the terminal's foreground.
    pub aside: bool,
}

/// Which signals a process gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalPlan {
    /// Whether its whole group gets them, as dumb-init does it.
    pub group: bool,
    /// Signals that are sent as another one.
    pub rewrite: BTreeMap<i32, i32>,
    /// Signals that nobody gets.
    pub ignore: BTreeSet<i32>,
    /// Signals that start the stop, besides TERM and INT.
    pub stop_on: BTreeSet<i32>,
    /// Whether the third request to stop is forwarded like the second; else it kills.
    pub never_kills: bool,
}

/// Whether and when a process that ended is started again.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPlan {
    /// After which ends.
    pub policy: RestartPolicy,
    /// Pause before the first time, before jitter; doubled each time.
    pub delay: Duration,
    /// The longest pause.
    pub longest_delay: Duration,
    /// After running this long the pause is the first one again.
    pub healthy_after: Duration,
    /// How often at most; 0: without limit.
    pub limit: u32,
}

impl RestartPlan {
    /// What the keys of a process say.
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
