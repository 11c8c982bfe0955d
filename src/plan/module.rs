//! A module: a further process beside the main one, when it starts, and what its end means for the container.

use super::process::ProcessPlan;
use super::{Affects, CheckId, Plan};
pub use crate::config::module::{ModuleStart, OnExit};

/// The number of a module within a run. It is used once: the number of a removed module stays unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub u32);

/// The plan of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct ModulePlan {
    /// Its number.
    pub id: ModuleId,
    /// Its name, for example `executor-0` if the configuration sets several instances of `executor`.
    pub name: String,
    /// The name in the configuration, shared by all its instances.
    pub table: String,
    /// Its version, for display; empty if unknown.
    pub version: String,
    /// The path of its web pages, for display; empty if it has none.
    pub web_path: String,
    /// Its command, including its startup check and its restart settings.
    pub process: ProcessPlan,
    /// When it is started.
    pub start: ModuleStart,
    /// The processes that have to be up before it is started.
    pub after: Vec<Predecessor>,
    /// Whether its start counts for the status.
    pub counts: bool,
    /// What its running state, and so its end, counts for.
    pub affects: Affects,
    /// Its own checks while it runs, besides the process itself: their indices in [`Plan::checks`](super::Plan::checks).
    pub checks: Vec<CheckId>,
    /// What its final end means for the container.
    pub on_exit: OnExit,
}

impl ModulePlan {
    /// A module of this name and command with the default settings of one that starts with the process.
    pub fn new(id: ModuleId, name: &str, process: ProcessPlan) -> Self {
        Self {
            id,
            name: name.to_owned(),
            table: name.to_owned(),
            version: String::new(),
            web_path: String::new(),
            process,
            start: ModuleStart::WithMain,
            after: Vec::new(),
            counts: true,
            affects: Affects::Health,
            checks: Vec::new(),
            on_exit: OnExit::Degrade,
        }
    }
}

/// A process that has to be up before a module is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The main process, its startup check passed.
    Main,
    /// Another module, its startup check passed.
    Module(ModuleId),
}

impl Plan {
    /// The module of this number; it is nearly always at the index of its number.
    pub fn module(&self, id: ModuleId) -> Option<&ModulePlan> {
        let is_it = |module: &&ModulePlan| module.id == id;
        self.modules.get(id.0 as usize).filter(is_it).or_else(|| self.modules.iter().find(is_it))
    }

    /// The modules that come before the waits.
    pub fn first(&self) -> impl Iterator<Item = &ModulePlan> {
        self.modules.iter().filter(|module| module.start == ModuleStart::First)
    }
}
