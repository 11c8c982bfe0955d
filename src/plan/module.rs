//! A module: a further process beside the main one, when it starts, and what becomes of the whole when it does not run.

use super::process::ProcessPlan;
use super::{Affects, CheckId, Plan};
pub use crate::config::module::{ModuleStart, OnExit};

/// The number of a module within a run. It is given once: a module that is taken away leaves its number unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub u32);

/// A module's orders.
#[derive(Clone, Debug, PartialEq)]
pub struct ModulePlan {
    /// Its number.
    pub id: ModuleId,
    /// Its name, `executor-0` where the configuration asks for several instances of `executor`.
    pub name: String,
    /// The name that the configuration gives it and all its instances.
    pub table: String,
    /// Its version, for people; empty when nobody says one.
    pub version: String,
    /// Where its pages are, for people; empty without.
    pub web_path: String,
    /// Its command; its startup check and whether it is started again are part of it.
    pub process: ProcessPlan,
    /// When it is started.
    pub start: ModuleStart,
    /// Who has to be up before it is started.
    pub after: Vec<Predecessor>,
    /// Whether its start counts for the status.
    pub counts: bool,
    /// What its running counts for, and so its end.
    pub affects: Affects,
    /// Its own checks while it runs, besides the process itself: their places in [`Plan::checks`](super::Plan::checks).
    pub checks: Vec<CheckId>,
    /// What its end for good means for the whole.
    pub on_exit: OnExit,
}

impl ModulePlan {
    /// A module of this name and command under the defaults of one that starts with the process.
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

/// Who has to be up before a module is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The main process, its startup check passed.
    Main,
    /// Another module, its startup check passed.
    Module(ModuleId),
}

impl Plan {
    /// The module of this number.
    pub fn module(&self, id: ModuleId) -> Option<&ModulePlan> {
        self.modules.iter().find(|module| module.id == id)
    }

    /// The modules that come before the waits.
    pub fn first(&self) -> impl Iterator<Item = &ModulePlan> {
        self.modules.iter().filter(|module| module.start == ModuleStart::First)
    }
}
