//! One immutable picture of a run: what every view, the heartbeat and the log are derived from.

#[cfg(test)]
pub(crate) mod arbitrary;
mod module;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::Check;
use super::check::history::History;
use super::instances::Instances;
pub use super::migration::{Migration, MigrationLock, MigrationStep};
pub use super::phase::{Phase, Status};
pub use super::shutdown::Shutdown;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::outcome::ErrorKind;
use crate::plan::Service;
pub use module::{Module, ModuleState};
pub use verdict::{Assessed, Assessment, Item, Level, Look};

/// The check of the main process itself.
pub const APP: &str = "app";

/// The check that the heartbeat is written; there is none unless readiness depends on it.
pub const HEARTBEAT: &str = "heartbeat";

/// Where one step of the start stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// Not through yet.
    Unknown,
    /// Done.
    Up,
    /// Failed.
    Down,
}

/// One part of the start: a wait, a step, the migration, the spawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `step:static files`, `wait:db`, `migrate`, `spawn:app`, `started:app`.
    pub name: String,
    /// Where it stands.
    pub step: StageState,
    /// Whether it counts for the status.
    pub counts: bool,
    /// When it began; none before.
    pub began: Option<Moment>,
    /// When it was decided; none before.
    pub ended: Option<Moment>,
    /// What is to be said of how it ended: that there was nothing to do, or why it failed although the start went on. A detail.
    pub note: Option<String>,
}

impl Stage {
    /// One of this name that has not begun.
    pub const fn new(name: String) -> Self {
        Self { name, step: StageState::Unknown, counts: true, began: None, ended: None, note: None }
    }
}

/// The step of the start that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentStep {
    /// Its stage, `step:NAME`.
    pub stage: String,
    /// What it is doing.
    pub doing: Doing,
    /// Since when.
    pub since: Moment,
    /// How far it is, in words, where it says so.
    pub progress: Option<String>,
}

/// What a step of the start is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It queues for the lock.
    Queueing,
    /// It is found out what there is to do, or done where that is no command.
    Preparing,
    /// Its check says whether there is anything to do.
    Checking,
    /// A command runs: which one, and of how many.
    Running(usize, usize),
    /// A command failed, so often, and is run again after a pause.
    Pausing(u32),
}

/// The main process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Child {
    /// Its pid while it runs.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How often of these because a check of it went down.
    pub restarts_by_check: u32,
    /// The check that asks for its restart, or that its last restart came from; none where that came from its end, or there was none.
    pub healing: Option<Healing>,
    /// How it last ended.
    pub last_exit: Option<Ended>,
    /// Its ends in the last half hour: as it was meant to is a pass, anything else a failure, and what took time is how long it ran.
    pub ends: History,
    /// What it last said it is doing (`STATUS=` of `sd_notify(3)`): a detail.
    pub status: Option<String>,
}

/// A restart that a check asks for by `on_down = "restart"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healing {
    /// The name of the check that went down.
    pub check: String,
    /// How far the restart is.
    pub stage: HealingStage,
}

/// How far a restart is that a check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealingStage {
    /// Another replica of the service may restart now: this one waits for the lease.
    Waiting,
    /// The process is stopped and started anew.
    Restarting,
    /// It is ready again.
    Done,
    /// `restart_limit` is spent: the process stays down.
    Spent,
}

impl HealingStage {
    /// The word for machines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Restarting => "restarting",
            Self::Done => "done",
            Self::Spent => "limit",
        }
    }
}

/// The readiness heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether there is one.
    pub configured: bool,
    /// Beats that Redis took.
    pub written: u64,
    /// Beats that failed, by why.
    pub failed: BTreeMap<ErrorKind, u64>,
    /// Why the last beat failed; none when it did not.
    pub trouble: Option<ErrorKind>,
    /// When Redis last took one.
    pub last_written: Option<Moment>,
}

/// One picture of a run.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every change.
    pub sequence: u64,
    /// When portcullis began.
    pub started_at: Moment,
    /// Who this is.
    pub service: Service,
    /// Where the run stands.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Moment,
    /// Where the shutdown stands; none while nothing is being stopped.
    pub shutdown: Option<Shutdown>,
    /// Whether the start was ever through; never taken back.
    pub started: bool,
    /// When everything that counts for the start had ended for the first time; none before.
    pub start_over: Option<Moment>,
    /// The steps of the start in order.
    pub stages: Vec<Stage>,
    /// The step that is under way; none between steps.
    pub step: Option<CurrentStep>,
    /// The checks in the order of the configuration, the process itself last.
    pub checks: Vec<Check>,
    /// The main process.
    pub child: Child,
    /// The heartbeat.
    pub heartbeat: Heartbeat,
    /// The migration.
    pub migration: Migration,
    /// Its lock.
    pub migration_lock: MigrationLock,
    /// The modules in the order of the configuration.
    pub modules: Vec<Module>,
    /// How often the configuration was taken over anew.
    pub reloads: u64,
    /// How often it could not be, because no process ran or everything was on its way out.
    pub reloads_refused: u64,
    /// The instances of the service, as the registry told them with a beat; none before, or without a registry.
    pub instances: Option<Arc<Instances>>,
}

impl Snapshot {
    /// A run that has not begun, with nothing to start and nothing to check.
    pub fn new(service: Service, now: Moment) -> Self {
        Self {
            sequence: 0,
            started_at: now,
            service,
            phase: Phase::Init,
            phase_since: now,
            shutdown: None,
            started: false,
            start_over: None,
            stages: Vec::new(),
            step: None,
            checks: Vec::new(),
            child: Child::default(),
            heartbeat: Heartbeat::default(),
            migration: Migration::Idle,
            migration_lock: MigrationLock::default(),
            modules: Vec::new(),
            reloads: 0,
            reloads_refused: 0,
            instances: None,
        }
    }
}
