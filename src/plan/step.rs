//! A step of the start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::argv::Argv;
use super::file::FilePlan;
use super::{ConditionPlan, ProcessPlan};
pub use crate::config::step::{HookOrder, OnFailure, StepAt};

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
    /// Asks by its exit status whether any of its commands has anything to do: 0 says that none has.
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

    /// Whether commands are asked whether it, or one of its commands, is to be done.
    pub fn asks_commands(&self) -> bool {
        let items: &[ItemPlan] = if let StepAction::Commands(items) = &self.action { items } else { &[] };
        std::iter::once(&self.condition).chain(items.iter().map(|item| &item.condition)).any(|condition| !condition.commands().is_empty())
    }

    /// Whether there is work besides running commands.
    pub const fn is_prepared(&self) -> bool {
        !(matches!(self.action, StepAction::Commands(_)) && matches!(self.condition, ConditionPlan::Always))
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepAction {
    /// Runs these commands, one after another.
    Commands(Vec<ItemPlan>),
    /// Runs the programs of a directory, one after another.
    Hooks(Box<HooksPlan>),
    /// Applies a file.
    File(Box<FilePlan>),
}

/// One command of a step: that of an item of its `each`, of a program of its directory, or its only one.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemPlan {
    /// The command.
    pub process: ProcessPlan,
    /// Whether it is run, as it turns out when its turn has come.
    pub condition: ConditionPlan,
    /// Asks by its exit status whether it has anything to do: 0 says that it has not.
    pub check: Option<Box<ProcessPlan>>,
}

impl From<ProcessPlan> for ItemPlan {
    fn from(process: ProcessPlan) -> Self {
        Self { process, condition: ConditionPlan::Always, check: None }
    }
}

/// A directory of programs.
#[derive(Clone, Debug, PartialEq)]
pub struct HooksPlan {
    /// The directory; nothing is done if it does not exist.
    pub directory: PathBuf,
    /// The pattern of the file names; none: all names.
    pub pattern: Option<String>,
    /// In which order they are run.
    pub order: HookOrder,
    /// The commands for files that are not executable, by the end of their names.
    pub interpreters: BTreeMap<String, Argv>,
    /// Whether subdirectories are included.
    pub descend: bool,
    /// The process for each program; the file replaces its command.
    pub process: ProcessPlan,
}
