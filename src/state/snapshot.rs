//! One immutable snapshot of a run, the source of all views, the heartbeat and the log.

#[cfg(test)]
pub(crate) mod arbitrary;
mod module;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use super::check::HEARTBEAT;
use super::check::history::History;
use super::checks::Checks;
use super::copy_on_write::{CopyOnWrite, List};
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

/// The state of one stage of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// Not through yet.
    Unknown,
    /// Done.
    Up,
    /// Failed.
    Down,
}

/// One stage of the start: a wait, a step, the migration, the spawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `step:static files`, `wait:db`, `migrate`, `spawn:app`, `started:app`.
    pub name: String,
    /// Its state.
    pub step: StageState,
    /// Whether it counts for the status.
    pub counts: bool,
    /// When it began; none before.
    pub began: Option<Moment>,
    /// When it ended; none before that.
    pub ended: Option<Moment>,
    /// A note on how it ended: that there was nothing to do, or why it failed although the start continued. A detail.
    pub note: Option<String>,
}

impl Stage {
    /// A stage of this name that has not begun.
    pub const fn new(name: String) -> Self {
        Self { name, step: StageState::Unknown, counts: true, began: None, ended: None, note: None }
    }
}

/// The current step of the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentStep {
    /// Its stage, `step:NAME`.
    pub stage: String,
    /// What it is doing.
    pub doing: Doing,
    /// Since when.
    pub since: Moment,
    /// Its progress in words, if known.
    pub progress: Option<String>,
}

/// The activity of a step of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It waits for the lock.
    Queueing,
    /// It is being prepared, or done if it has no command.
    Preparing,
    /// Its check command runs.
    Checking,
    /// A command runs, with its number and their count.
    Running(usize, usize),
    /// A command failed this often, and is retried after a pause.
    Pausing(u32),
}

/// The main process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Child {
    /// Its pid while it runs.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How many of these because a check of it went down.
    pub restarts_by_check: u32,
    /// The check that requested its pending or last restart; none if it restarted after its end, or never.
    pub healing: Option<Healing>,
    /// How it last ended.
    pub last_exit: Option<Ended>,
    /// Its ends in the last half hour: an intended end is a success, anything else a failure; the duration is how long it ran.
    pub ends: History,
    /// Its last status text (`STATUS=` of `sd_notify(3)`): a detail.
    pub status: Option<String>,
}

/// A restart that a check requested by `on_down = "restart"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healing {
    /// The name of the check that went down.
    pub check: String,
    /// The state of the restart.
    pub stage: HealingStage,
}

/// The state of a restart that a check requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealingStage {
    /// Another replica of the service has the lease: this one waits for it.
    Waiting,
    /// The process is being restarted.
    Restarting,
    /// It is ready again.
    Done,
    /// `restart_limit` is used up: the process stays down.
    Spent,
}

impl HealingStage {
    /// The name in JSON.
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
    /// Heartbeats that were written.
    pub written: u64,
    /// Heartbeats that failed, by class.
    pub failed: BTreeMap<ErrorKind, u64>,
    /// Why the last heartbeat failed; none if it did not.
    pub trouble: Option<ErrorKind>,
    /// When one was last written.
    pub last_written: Option<Moment>,
}

/// One picture of a run.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every change.
    pub sequence: u64,
    /// When portcullis started.
    pub started_at: Moment,
    /// Who this is.
    pub service: CopyOnWrite<Service>,
    /// Where the run stands.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Moment,
    /// The state of the shutdown; none before it.
    pub shutdown: Option<Shutdown>,
    /// Whether the start was ever complete; it is never reset.
    pub started: bool,
    /// When everything that counts for the start was first done; none before that.
    pub start_over: Option<Moment>,
    /// The stages of the start in order.
    pub stages: CopyOnWrite<List<Stage>>,
    /// The current step; none between steps.
    pub step: Option<CurrentStep>,
    /// The checks in the order of the configuration, the process itself last.
    pub checks: Checks,
    /// The main process.
    pub child: CopyOnWrite<Child>,
    /// The heartbeat.
    pub heartbeat: Heartbeat,
    /// The migration.
    pub migration: Migration,
    /// Its lock.
    pub migration_lock: MigrationLock,
    /// The modules in the order of the configuration.
    pub modules: CopyOnWrite<List<Module>>,
    /// How many reloads were applied.
    pub reloads: u64,
    /// How many reloads could not be applied, because no process ran or the shutdown had begun.
    pub reloads_refused: u64,
    /// The instances of the service, read together with a heartbeat; none before that, or without a registry.
    pub instances: Option<Arc<Instances>>,
}

impl Snapshot {
    /// A run that has not begun, without anything to start or check.
    pub fn new(service: Service, now: Moment) -> Self {
        Self {
            sequence: 0,
            started_at: now,
            service: service.into(),
            phase: Phase::Init,
            phase_since: now,
            shutdown: None,
            started: false,
            start_over: None,
            stages: CopyOnWrite::default(),
            step: None,
            checks: Checks::default(),
            child: CopyOnWrite::default(),
            heartbeat: Heartbeat::default(),
            migration: Migration::Idle,
            migration_lock: MigrationLock::default(),
            modules: CopyOnWrite::default(),
            reloads: 0,
            reloads_refused: 0,
            instances: None,
        }
    }
}
