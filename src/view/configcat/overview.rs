//! The data of `/status?verbose` besides the checks: as much as the page shows.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Moment;
use crate::outcome::ErrorKind;
use crate::state::event::Readiness;
use crate::state::instances::{Instance, Instances};
use crate::state::snapshot::{Assessment, Child, Healing, Level, Look, Module, Phase, Stage, StageState, Status};
use crate::view::time;

/// The run as a whole.
#[derive(Serialize, JsonSchema)]
pub(super) struct Overview<'a> {
    overall: &'static str,
    live: bool,
    started: bool,
    ready: bool,
    timeline: Vec<StageLine<'a>>,
    restarts: u32,
    last_restart: Option<RestartLine<'a>>,
    heartbeat: Option<HeartbeatLine>,
    modules: Vec<ModuleLine<'a>>,
    instances: Option<InstancesPart<'a>>,
    service: &'a str,
    /// The version of the application; none if not configured.
    version: Option<&'a str>,
    /// The version of portcullis.
    build: &'static str,
    #[serde(flatten)]
    private: Option<Own<'a>>,
}

/// The instance: for authorized readers.
#[derive(Serialize, JsonSchema)]
struct Own<'a> {
    instance: &'a str,
    pid: Option<i32>,
    says: Option<&'a str>,
}

/// One stage of the start; times in seconds since the run began.
#[derive(Serialize, JsonSchema)]
struct StageLine<'a> {
    name: &'a str,
    state: &'static str,
    counts: bool,
    began_s: Option<f64>,
    ended_s: Option<f64>,
    /// A note on how it ended, for authorized readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// The restart that a check requested, pending or last.
#[derive(Serialize, JsonSchema)]
struct RestartLine<'a> {
    check: &'a str,
    #[schemars(extend("enum" = ["waiting", "restarting", "done", "limit"]))]
    state: &'static str,
}

#[derive(Serialize, JsonSchema)]
struct HeartbeatLine {
    written: u64,
    failed: u64,
    trouble: Option<&'static str>,
    last_written: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ModuleLine<'a> {
    name: &'a str,
    state: &'static str,
    counts: bool,
    restarts: u32,
    last_restart: Option<RestartLine<'a>>,
    since_s: u64,
    #[serde(flatten)]
    private: Option<ModuleDetails<'a>>,
}

/// A module's process and its failure: for authorized readers.
#[derive(Serialize, JsonSchema)]
struct ModuleDetails<'a> {
    pid: Option<i32>,
    says: Option<&'a str>,
    trouble: Option<&'a str>,
}

/// The number of instances for all readers, their names for authorized readers.
#[derive(Serialize, JsonSchema)]
struct InstancesPart<'a> {
    ready: u64,
    all: u64,
    read_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<InstanceLine<'a>>>,
}

#[derive(Serialize, JsonSchema)]
struct InstanceLine<'a> {
    name: &'a str,
    own: bool,
    readiness: &'static str,
    overall: Option<&'static str>,
    phase: Option<&'static str>,
    since: Option<String>,
    address: Option<&'a str>,
    silent_s: u64,
    late: bool,
}

impl<'a> Overview<'a> {
    pub(super) fn new(assessment: &Assessment<'a>, authorized: bool) -> Self {
        let Assessment { snapshot, look, .. } = *assessment;
        let seconds = |at: Option<Moment>| at.map(|at| at.since(snapshot.started_at).as_secs_f64());
        let stage = |Stage { name, step, counts, began, ended, note }: &'a Stage| StageLine {
            name,
            state: match step {
                StageState::Up => "up",
                StageState::Down => "down",
                StageState::Unknown => "unknown",
            },
            counts: *counts,
            began_s: seconds(*began),
            ended_s: seconds(*ended),
            note: note.as_deref().filter(|note| authorized && !note.is_empty()),
        };
        let heartbeat = &snapshot.heartbeat;
        let service = &snapshot.service;
        let Child { pid, restarts, status, healing, .. } = &*snapshot.child;
        Self {
            overall: assessment.status().word(),
            live: assessment.passes(Level::Live),
            started: assessment.passes(Level::Started),
            ready: assessment.passes(Level::Ready),
            timeline: snapshot.stages.iter().map(stage).collect(),
            restarts: *restarts,
            last_restart: healing.as_ref().map(RestartLine::new),
            heartbeat: heartbeat.configured.then(|| HeartbeatLine {
                written: heartbeat.written,
                failed: heartbeat.failed.values().sum(),
                trouble: heartbeat.trouble.map(ErrorKind::word),
                last_written: heartbeat.last_written.map(time::iso),
            }),
            modules: snapshot.modules.iter().map(|module| ModuleLine::new(module, look, authorized)).collect(),
            instances: snapshot.instances.as_ref().map(|instances| InstancesPart::new(instances, look, authorized)),
            service: &service.name,
            version: service.version.as_deref(),
            build: service.build,
            private: authorized.then_some(Own { instance: &service.instance, pid: *pid, says: status.as_deref() }),
        }
    }
}

impl<'a> RestartLine<'a> {
    fn new(Healing { check, stage }: &'a Healing) -> Self {
        Self { check, state: stage.word() }
    }
}

impl<'a> ModuleLine<'a> {
    fn new(module: &'a Module, look: Look, authorized: bool) -> Self {
        let Child { pid, restarts, status, healing, .. } = &*module.child;
        Self {
            name: &module.name,
            state: module.state.word(),
            counts: module.counts,
            restarts: *restarts,
            last_restart: healing.as_ref().map(RestartLine::new),
            since_s: look.now.since(module.since).as_secs(),
            private: authorized.then_some(ModuleDetails { pid: *pid, says: status.as_deref(), trouble: module.trouble.as_deref() }),
        }
    }
}

impl<'a> InstancesPart<'a> {
    fn new(Instances { read, all, ready, listed }: &'a Instances, look: Look, authorized: bool) -> Self {
        let listed = authorized.then(|| listed.iter().map(InstanceLine::new).collect());
        Self { ready: *ready, all: *all, read_s: look.now.since(*read).as_secs(), listed }
    }
}

impl<'a> InstanceLine<'a> {
    fn new(instance: &'a Instance) -> Self {
        Self {
            name: &instance.name,
            own: instance.own,
            readiness: match instance.readiness {
                Readiness::Ready => "ready",
                Readiness::NotReady => "not_ready",
                Readiness::Unknown => "unknown",
                Readiness::Stopped => "stopped",
            },
            overall: instance.status.map(Status::word),
            phase: instance.phase.map(Phase::word),
            since: instance.since.map(|wall| time::iso(Moment { wall, ..Moment::default() })),
            address: instance.address.as_deref(),
            silent_s: instance.silent.as_secs(),
            late: instance.late,
        }
    }
}
