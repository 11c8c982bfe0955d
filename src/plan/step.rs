//! A step of the start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::argv::Argv;
use super::file::FilePlan;
use super::{ConditionPlan, ProcessPlan};
pub use crate::config::step::{OnFailure, StepAt};

/// Index of a step in [`Plan::steps`](super::Plan::steps).
pub type StepId = usize;

/// A command or file that is applied once in a start of the container, and not when the process is restarted.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    /// Its unique name in the log, in health responses and in metrics.
    pub name: String,
    /// When it runs.
    pub at: StepAt,
    /// What it does.
    pub action: StepAction,
    /// Its condition, evaluated right before it runs.
    pub condition: ConditionPlan,
    /// The check command; exit status 0 means that there is nothing to do.
    pub check: Option<Box<ProcessPlan>>,
    /// Whether it runs under the lock of the start: one replica at a time.
    pub locked: bool,
    /// How long one command may run (exit 124 afterwards); zero: no limit.
    pub timeout: Duration,
    /// How often a failed command is run again.
    pub retries: u32,
    /// The pause before each retry.
    pub retry_delay: Duration,
    /// Exit codes that count as success, besides 0.
    pub success_codes: BTreeSet<u8>,
    /// What a failure means for the start.
    pub on_failure: OnFailure,
}

impl StepPlan {
    /// A step of this name at this point, with the default settings.
    pub fn new(name: &str, at: StepAt, action: StepAction) -> Self {
        Self {
            name: name.to_owned(),
            at,
            action,
            condition: ConditionPlan::Always,
            check: None,
            locked: false,
            timeout: Duration::ZERO,
            retries: 0,
            retry_delay: Duration::from_secs(2),
            success_codes: BTreeSet::new(),
            on_failure: OnFailure::default_at(at),
        }
    }
}

impl StepPlan {
    /// The time limit for a command of its condition.
    pub const CONDITION_LIMIT: Duration = Duration::from_secs(10);

    /// Whether there is work besides running commands.
    pub const fn is_prepared(&self) -> bool {
        !(matches!(self.action, StepAction::Commands(_)) && matches!(self.condition, ConditionPlan::Always))
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepAction {
    /// Runs these commands, one after another.
    Commands(Vec<ProcessPlan>),
    /// Runs the programs of a directory, one after another.
    Hooks(Box<HooksPlan>),
    /// Applies a file.
    File(Box<FilePlan>),
}

/// A directory of programs.
#[derive(Clone, Debug, PartialEq)]
pub struct HooksPlan {
    /// The directory; nothing is done if it does not exist.
    pub directory: PathBuf,
    /// The pattern of the file names; none: all names.
    pub pattern: Option<String>,
    /// The commands for files that are not executable, by the end of their names.
    pub interpreters: BTreeMap<String, Argv>,
    /// Whether subdirectories are included.
    pub descend: bool,
    /// The process for each program; the file replaces its command.
    pub process: ProcessPlan,
}
