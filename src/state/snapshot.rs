//! One immutable picture of a run, and every verdict that is derived from it.

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Check, State};
use super::event::{LockHolder, Preparation};
use super::instances::Instances;
use crate::clock::{Moment, Pulse};
use crate::exit::Ended;
use crate::outcome::Class;
use crate::plan::Service;

/// The check of the main process itself.
pub const APP: &str = "app";

/// Where a run stands; it only moves forward, except from running back to starting for a restart in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has begun.
    Init,
    /// Dependencies are waited for.
    Waiting,
    /// The migration runs, or its lock is queued for.
    Migrating,
    /// The process is being started, or its startup check has not passed yet.
    Starting,
    /// The process runs.
    Running,
    /// It is being stopped: not ready, and on its way out.
    Draining,
    /// It has ended as it was meant to.
    Stopped,
    /// The start failed.
    Failed,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 8] =
        [Self::Init, Self::Waiting, Self::Migrating, Self::Starting, Self::Running, Self::Draining, Self::Stopped, Self::Failed];

    /// The word for logs, metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Waiting => "waiting",
            Self::Migrating => "migrating",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// The status that people ask for: UNKNOWN until the start is through, then UP or DOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The start is not through.
    Unknown,
    /// Everything that counts is up.
    Up,
    /// Something that counts is not.
    Down,
    /// It is being stopped.
    OutOfService,
}

impl Status {
    /// The word that Spring has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
        }
    }
}

/// Where one step of the start stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not through yet.
    Unknown,
    /// Done.
    Up,
    /// Failed.
    Down,
}

/// One step of the start: a wait, the migration, the spawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `wait:db`, `migrate`, `spawn:app`, `started:app`.
    pub name: String,
    /// Where it stands.
    pub step: Step,
    /// Whether it counts for the status.
    pub counts: bool,
    /// When it began; none before.
    pub began: Option<Moment>,
    /// When it was decided; none before.
    pub ended: Option<Moment>,
}

/// The main process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Child {
    /// Its pid while it runs.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<Ended>,
    /// What it last said it is doing (`STATUS=` of `sd_notify(3)`): a detail.
    pub status: Option<String>,
}

/// The readiness heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether there is one.
    pub configured: bool,
    /// Beats that Redis took.
    pub written: u64,
    /// Beats that failed, by why.
    pub failed: BTreeMap<Class, u64>,
    /// Why the last beat failed; none when it did not.
    pub trouble: Option<Class>,
    /// When Redis last took one.
    pub last_written: Option<Moment>,
}

/// The part of this replica in the migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Migration {
    /// None yet, or none at all.
    #[default]
    Idle,
    /// Another replica holds the lock.
    Queued {
        /// Since when this replica queues.
        since: Moment,
        /// Who holds it, as far as the database tells.
        holder: String,
    },
    /// This replica holds the lock and runs the command.
    Holder {
        /// Since when.
        since: Moment,
    },
    /// It is over.
    Done,
}

/// What is remembered of the migration's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationLock {
    /// When this replica got it; none before.
    pub held_at: Option<Moment>,
    /// How often it was lost while the migration ran.
    pub lost: u64,
    /// What holds it: `postgres`, `file`, `redis`; none without a lock.
    pub kind: Option<&'static str>,
    /// What this replica does under it before the migration runs.
    pub preparing: Option<Preparation>,
    /// Who else held it, and when that was heard.
    pub holder: Option<(LockHolder, Moment)>,
    /// How often the command was started.
    pub attempts: u32,
    /// Whether the schema was found to be newer than this replica's.
    pub ahead: bool,
}

/// Where a module stands, in the words of Koupleless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleState {
    /// Known, and not started or still starting.
    Resolved,
    /// It runs, and its startup check has passed.
    Activated,
    /// It was stopped or is being stopped.
    Deactivated,
    /// Its start failed, or it ended by itself.
    Broken,
}

impl ModuleState {
    /// Koupleless' `bizState`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resolved => "RESOLVED",
            Self::Activated => "ACTIVATED",
            Self::Deactivated => "DEACTIVATED",
            Self::Broken => "BROKEN",
        }
    }

    /// What it means for the start.
    pub const fn step(self) -> Step {
        match self {
            Self::Resolved => Step::Unknown,
            Self::Activated => Step::Up,
            Self::Deactivated | Self::Broken => Step::Down,
        }
    }
}

/// A further process beside the main one. Its start is the stage `module:NAME`, its runtime check has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its version; empty when nobody says one.
    pub version: String,
    /// Where it stands.
    pub state: ModuleState,
    /// Whether its start counts for the status.
    pub counts: bool,
    /// Where its pages are, for `/actuator/info`; empty without.
    pub web_path: String,
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
    /// Whether the start was ever through; never taken back.
    pub started: bool,
    /// The steps of the start in order.
    pub stages: Vec<Stage>,
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
    /// The instances of the service, as the registry told them with a beat; none before, or without a registry.
    pub instances: Option<Arc<Instances>>,
}

/// When a snapshot is looked at, and when the thread that feeds it last turned.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The time of the look.
    pub now: Moment,
    /// The last turn of the checks' thread ([`Pulse::last`]).
    pub beat: Duration,
}

impl Look {
    /// Looks at `now` with the checks' thread known to be turning.
    pub const fn fresh(now: Moment) -> Self {
        Self { now, beat: now.mono }
    }

    /// Whether the checks' thread turned lately: five ticks and five seconds are its limit.
    pub fn scheduler_turns(&self) -> bool {
        self.now.mono.saturating_sub(self.beat) <= Pulse::TICK * 5 + Duration::from_secs(5)
    }
}

/// How deep a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Does portcullis itself turn? (`/livez`)
    Live,
    /// Is the start through? (`/startupz`)
    Started,
    /// May traffic come? (`/readyz`, the heartbeat)
    Ready,
    /// Is everything that counts up? (`/healthz`)
    Deep,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What is judged.
    pub name: &'a str,
    /// Whether it passes.
    pub passes: bool,
    /// Why not.
    pub class: Class,
}

impl Snapshot {
    /// Every line that a question of this level asks for.
    ///
    /// Ready contains live, and deep contains ready, so that neither can hold without the other.
    pub fn items(&self, level: Level, look: Look) -> Vec<Item<'_>> {
        let mut items = vec![Item { name: "ping", passes: true, class: Class::Ok }];
        if level == Level::Started {
            let counted = self.stages.iter().filter(|stage| stage.counts);
            items.extend(counted.map(|stage| Item {
                name: &stage.name,
                passes: stage.step == Step::Up || self.started,
                class: Class::NotReady,
            }));
            return items;
        }
        items.push(Item { name: "scheduler", passes: look.scheduler_turns(), class: Class::Stale });
        items.push(Item { name: "supervisor", passes: self.phase != Phase::Failed, class: Class::Exited });
        for check in self.checks.iter().filter(|check| check.affects.liveness()) {
            let (state, class) = check.effective(look.now);
            // Unknown does not kill.
            items.push(Item { name: &check.name, passes: state != State::Down, class });
        }
        if level == Level::Live {
            return items;
        }
        let through = self.started && matches!(self.phase, Phase::Running | Phase::Draining | Phase::Stopped | Phase::Failed);
        items.push(Item { name: "startup", passes: through, class: Class::NotReady });
        let leaving = matches!(self.phase, Phase::Draining | Phase::Stopped | Phase::Failed);
        items.push(Item { name: "shutdown", passes: !leaving, class: Class::NotReady });
        let judged = |check: &Check| check.effective(look.now);
        for check in self.checks.iter().filter(|check| check.affects.readiness()) {
            let (state, class) = judged(check);
            // Unknown is not ready.
            items.push(Item { name: &check.name, passes: state.passes(), class });
        }
        if level == Level::Ready {
            return items;
        }
        if self.started {
            let counted = self.stages.iter().filter(|stage| stage.counts && stage.step != Step::Up);
            items.extend(counted.map(|stage| Item { name: &stage.name, passes: false, class: Class::NotReady }));
        }
        for check in self.checks.iter().filter(|check| check.affects.health() && !check.affects.readiness()) {
            let (state, class) = judged(check);
            match items.iter_mut().find(|item| item.name == check.name) {
                Some(item) => *item = Item { name: &check.name, passes: state.passes(), class },
                None => items.push(Item { name: &check.name, passes: state.passes(), class }),
            }
        }
        items
    }

    /// Whether every line of this level passes.
    pub fn verdict(&self, level: Level, look: Look) -> bool {
        self.items(level, look).iter().all(|item| item.passes)
    }

    /// The status as a whole: the phase decides until the process runs, then what counts does.
    pub fn overall(&self, look: Look) -> Status {
        match self.phase {
            Phase::Failed | Phase::Stopped => Status::Down,
            Phase::Draining => Status::OutOfService,
            _ if !self.started => Status::Unknown,
            Phase::Running if self.stages.iter().any(|stage| stage.counts && stage.step == Step::Unknown) => Status::Unknown,
            _ if self.verdict(Level::Deep, look) => Status::Up,
            _ => Status::Down,
        }
    }

    /// The part of this replica in the migration: `waiter`, `settling`, `fencing`, `holder`, `done`; none before it has one.
    pub fn migration_role(&self) -> Option<&'static str> {
        match (&self.migration, self.migration_lock.preparing) {
            (Migration::Idle, _) => None,
            (Migration::Done, _) => Some("done"),
            (_, Some(Preparation::Settling)) => Some("settling"),
            (_, Some(Preparation::Fencing(_))) => Some("fencing"),
            (Migration::Queued { .. }, None) => Some("waiter"),
            (Migration::Holder { .. }, None) => Some("holder"),
        }
    }

    /// The start as a whole over the steps that count, as Koupleless sums it up: any unknown before any down.
    pub fn startup(&self) -> Step {
        let counted = || self.stages.iter().filter(|stage| stage.counts).map(|stage| stage.step);
        match () {
            () if counted().all(|step| step == Step::Up) => Step::Up,
            () if counted().any(|step| step == Step::Unknown) => Step::Unknown,
            () => Step::Down,
        }
    }

    /// The step of the start of this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}
