//! Eleven situations of one service, each a snapshot 101 seconds after its start.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::exit::Ended;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::{Affects, Service};
use crate::state::check::Check;
use crate::state::check::history::History;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::event::{LockHolder, Readiness};
use crate::state::instances::{Instance, Instances};
use crate::state::snapshot::{
    Child, Healing, HealingStage, Heartbeat, Look, Migration, MigrationLock, Module, ModuleState, Phase, Snapshot, Stage, StageState,
    Status,
};

/// The driver's text, which no unauthorized reader may see.
pub(super) const WORDS: &str = "WRONGPASS for the user default on redis:6379/1";

/// `seconds` after the start.
pub(super) fn at(seconds: u64) -> Moment {
    Moment { mono: Duration::from_secs(1000 + seconds), wall: Duration::from_secs(1_760_000_000 + seconds) }
}

/// The look at every situation.
pub(super) fn look() -> Look {
    Look { now: at(101), beat: at(100).mono, given_up: false, stuck: false }
}

fn check(name: &str, kind: &'static str, affects: Affects) -> Check {
    Check { stale_after: Some(Duration::from_secs(28)), failure_threshold: 3, ..Check::event(name, kind, affects) }
}

fn passing(mut check: Check, microseconds: u64) -> Check {
    for second in [70, 80, 90] {
        check.feed(at(second), Outcome::passed(Duration::from_micros(microseconds)));
    }
    check
}

fn fails(snapshot: &mut Snapshot, index: usize, seconds: &[u64], kind: ErrorKind, words: &str, microseconds: u64) {
    for second in seconds {
        snapshot.checks[index].feed(at(*second), Outcome::failed(kind, words, Duration::from_micros(microseconds)));
    }
}

fn step(snapshot: &mut Snapshot, name: &str, step: StageState) {
    snapshot.stages.iter_mut().find(|stage| stage.name == name).unwrap().step = step;
}

fn base() -> Snapshot {
    let stage = |name: &str| Stage {
        name: name.to_owned(),
        step: StageState::Up,
        counts: name != "module:reports",
        began: None,
        ended: None,
        note: None,
    };
    let service = Service {
        name: "dify-api".to_owned(),
        mode: None,
        instance: "api-7d9f".to_owned(),
        host: "node-3".to_owned(),
        version: Some("1.4.1".to_owned()),
        build: "0.3.1",
    };
    Snapshot {
        sequence: 1,
        phase: Phase::Running,
        phase_since: at(20),
        started: true,
        stages: ["wait:db", "wait:redis", "migrate", "spawn:app", "module:reports"].map(stage).map(CopyOnWrite::from).to_vec().into(),
        checks: vec![
            passing(Check { id: Some(0), ..check("db", "postgres", Affects::Health) }, 3100).into(),
            passing(Check { id: Some(1), ..check("redis", "redis", Affects::Health) }, 800).into(),
            passing(check("app", "process", Affects::Readiness), 0).into(),
            passing(check("reports", "http", Affects::None), 21_000).into(),
        ]
        .into(),
        heartbeat: Heartbeat { configured: true, written: 3, ..Heartbeat::default() },
        ..Snapshot::new(service, at(0))
    }
}

fn waiting() -> Snapshot {
    let mut snapshot = Snapshot { phase: Phase::Waiting, started: false, ..base() };
    for check in snapshot.checks.iter_mut() {
        *check = Check {
            id: check.id,
            stale_after: check.stale_after,
            failure_threshold: 3,
            ..Check::event(&check.name, check.kind, check.affects)
        };
    }
    snapshot.checks[0].feed(at(95), Outcome::passed(Duration::from_millis(4)));
    fails(&mut snapshot, 1, &[95, 96], ErrorKind::Dns, "lookup redis-7.prod.internal: no such host", 20_000);
    for stage in snapshot.stages.iter_mut().skip(1) {
        stage.step = StageState::Unknown;
    }
    snapshot
}

fn redis_down() -> Snapshot {
    let mut snapshot = base();
    fails(&mut snapshot, 1, &[91, 94, 97], ErrorKind::Auth, WORDS, 5200);
    snapshot
}

fn redis_degraded() -> Snapshot {
    let mut snapshot = base();
    fails(&mut snapshot, 1, &[94, 97], ErrorKind::Timeout, "deadline", 3_000_000);
    snapshot
}

fn stale() -> Snapshot {
    let mut snapshot = base();
    snapshot.checks[0].records.clear();
    snapshot.checks[0].feed(at(10), Outcome::passed(Duration::from_millis(3)));
    snapshot
}

fn failed() -> Snapshot {
    let mut snapshot = Snapshot { phase: Phase::Failed, started: false, ..base() };
    step(&mut snapshot, "migrate", StageState::Down);
    step(&mut snapshot, "spawn:app", StageState::Unknown);
    snapshot.checks[2] = check("app", "process", Affects::Readiness);
    snapshot
}

fn module_failed() -> Snapshot {
    let mut snapshot = base();
    step(&mut snapshot, "module:reports", StageState::Down);
    fails(&mut snapshot, 3, &[91, 94, 97], ErrorKind::Refused, "", 1000);
    snapshot
}

/// Every situation by name.
pub(super) fn all() -> Vec<(&'static str, Snapshot, Look)> {
    let mut readiness = redis_down();
    readiness.checks[1].affects = Affects::Readiness;
    let overdue = Look { beat: at(0).mono, ..look() };
    let stalled = Look { given_up: true, ..overdue };
    vec![
        ("no checks", Snapshot { checks: Vec::new().into(), stages: Vec::new().into(), ..base() }, look()),
        ("waiting", waiting(), look()),
        ("all up", base(), look()),
        ("redis degraded", redis_degraded(), look()),
        ("redis down", redis_down(), look()),
        ("redis down for readiness", readiness, look()),
        ("stale", stale(), look()),
        ("overdue", base(), overdue),
        ("stalled", base(), stalled),
        ("draining", Snapshot { phase: Phase::Draining, ..base() }, look()),
        ("failed", failed(), look()),
        ("module failed", module_failed(), look()),
    ]
}

/// Situations in which a page shows more: another replica migrates; a module that does not count has failed.
pub(super) fn further() -> Vec<(&'static str, Snapshot, Look)> {
    let mut queued = waiting();
    queued.phase = Phase::Migrating;
    queued.checks[1].feed(at(97), Outcome::passed(Duration::from_millis(2)));
    queued.migration = Migration::Queued { since: at(99), holder: "portcullis-mig:api-1 at 10.0.0.7".to_owned() };
    let holder = LockHolder {
        words: "portcullis-mig:api-1 at 10.0.0.7".to_owned(),
        instance: Some("api-1".to_owned()),
        address: Some("10.0.0.7".to_owned()),
        held: Some(Duration::from_secs(41)),
        gone: false,
    };
    queued.migration_lock = MigrationLock { kind: Some("postgres"), holder: Some((holder, at(99))), ..MigrationLock::default() };
    for (name, began, ended) in [("wait:db", 0, Some(95)), ("wait:redis", 0, Some(97)), ("migrate", 97, None)] {
        let stage = queued.stages.iter_mut().find(|stage| stage.name == name).unwrap();
        (stage.began, stage.ended) = (Some(at(began)), ended.map(at));
        stage.step = if ended.is_some() { StageState::Up } else { StageState::Unknown };
    }
    let mut modules = module_failed();
    let module =
        |name: &str, state, counts| Module { name: name.to_owned(), version: "1.2.0".to_owned(), state, counts, ..Module::default() };
    modules.modules =
        vec![module("reports", ModuleState::Broken, false), module("beat", ModuleState::Activated, true)].into_iter().collect();
    *modules.child = Child {
        pid: Some(42),
        restarts: 2,
        restarts_by_check: 1,
        last_exit: Some(Ended::Signal(9)),
        ends: History::default(),
        status: Some("serving".to_owned()),
        healing: Some(Healing { check: "web".to_owned(), stage: HealingStage::Done }),
    };
    modules.heartbeat.last_written = Some(at(80));
    modules.heartbeat.failed = [(ErrorKind::Timeout, 1), (ErrorKind::Auth, 2)].into();
    modules.heartbeat.trouble = Some(ErrorKind::Auth);
    modules.migration = Migration::Done;
    modules.migration_lock = MigrationLock { held_at: Some(at(6)), ..MigrationLock::default() };
    for (name, began, ended) in
        [("wait:db", 0, 3), ("wait:redis", 0, 1), ("migrate", 3, 14), ("spawn:app", 14, 15), ("module:reports", 15, 20)]
    {
        let stage = modules.stages.iter_mut().find(|stage| stage.name == name).unwrap();
        (stage.began, stage.ended) = (Some(at(began)), Some(at(ended)));
    }
    let mut instances = base();
    instances.heartbeat.last_written = Some(at(95));
    instances.instances = Some(Arc::new(replicas()));
    vec![("another replica migrates", queued, look()), ("modules", modules, look()), ("instances", instances, look())]
}

/// Four replicas that fit into the list, and 96 that do not.
fn replicas() -> Instances {
    let instance = |name: &str, readiness, status, phase, since, silent, late| Instance {
        name: name.to_owned(),
        own: name == "api-7d9f",
        readiness,
        status: Some(status),
        phase: Some(phase),
        since: Some(at(since).wall),
        address: (name != "api-9a01").then(|| "10.0.0.7".to_owned()),
        silent: Duration::from_secs(silent),
        late,
    };
    let listed = vec![
        instance("api-7d9f", Readiness::Ready, Status::Up, Phase::Running, 20, 0, false),
        instance("api-5c22", Readiness::Ready, Status::Down, Phase::Running, 30, 48, true),
        instance("api-2b10", Readiness::NotReady, Status::Down, Phase::Draining, 90, 11, false),
        instance("api-9a01", Readiness::Unknown, Status::Unknown, Phase::Waiting, 60, 1, false),
    ];
    Instances::new(at(95), 100, 97, listed)
}

/// One situation.
pub(super) fn named(name: &str) -> (Snapshot, Look) {
    let (_, snapshot, look) = all().into_iter().find(|(other, ..)| *other == name).unwrap();
    (snapshot, look)
}
