//! Eleven situations of one service, each a snapshot to be looked at 101 seconds after its start.

use std::time::Duration;

use crate::clock::Moment;
use crate::outcome::{Class, Outcome};
use crate::plan::{Affects, Service};
use crate::state::check::Check;
use crate::state::snapshot::{Child, Heartbeat, Look, Migration, MigrationLock, Phase, Snapshot, Stage, Step};

/// The driver's words that nobody without authority may see.
pub(super) const WORDS: &str = "WRONGPASS for the user default on redis:6379/1";

/// `seconds` after the start.
pub(super) fn at(seconds: u64) -> Moment {
    Moment { mono: Duration::from_secs(1000 + seconds), wall: Duration::from_secs(1_760_000_000 + seconds) }
}

/// The look at every situation.
pub(super) fn look() -> Look {
    Look { now: at(101), beat: at(100).mono }
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

fn fails(snapshot: &mut Snapshot, index: usize, seconds: &[u64], class: Class, words: &str, microseconds: u64) {
    for second in seconds {
        snapshot.checks[index].feed(at(*second), Outcome::failed(class, words, Duration::from_micros(microseconds)));
    }
}

fn step(snapshot: &mut Snapshot, name: &str, step: Step) {
    snapshot.stages.iter_mut().find(|stage| stage.name == name).unwrap().step = step;
}

fn base() -> Snapshot {
    let stage = |name: &str| Stage { name: name.to_owned(), step: Step::Up, counts: name != "module:reports", began: None, ended: None };
    Snapshot {
        sequence: 1,
        started_at: at(0),
        service: Service { name: "dify-api".to_owned(), mode: None, instance: "api-7d9f".to_owned(), version: "0.3.1" },
        phase: Phase::Running,
        phase_since: at(20),
        started: true,
        stages: ["wait:db", "wait:redis", "migrate", "spawn:app", "module:reports"].map(stage).to_vec(),
        checks: vec![
            passing(check("db", "postgres", Affects::Health), 3100),
            passing(check("redis", "redis", Affects::Health), 800),
            passing(check("app", "process", Affects::Readiness), 0),
            passing(check("reports", "http", Affects::None), 21_000),
        ],
        child: Child::default(),
        heartbeat: Heartbeat { configured: true, written: 3, ..Heartbeat::default() },
        migration: Migration::Idle,
        migration_lock: MigrationLock::default(),
    }
}

fn waiting() -> Snapshot {
    let mut snapshot = Snapshot { phase: Phase::Waiting, started: false, ..base() };
    for check in &mut snapshot.checks {
        *check = Check { stale_after: check.stale_after, failure_threshold: 3, ..Check::event(&check.name, check.kind, check.affects) };
    }
    snapshot.checks[0].feed(at(95), Outcome::passed(Duration::from_millis(4)));
    fails(&mut snapshot, 1, &[95, 96], Class::Dns, "lookup redis-7.prod.internal: no such host", 20_000);
    for stage in snapshot.stages.iter_mut().skip(1) {
        stage.step = Step::Unknown;
    }
    snapshot
}

fn redis_down() -> Snapshot {
    let mut snapshot = base();
    fails(&mut snapshot, 1, &[91, 94, 97], Class::Auth, WORDS, 5200);
    snapshot
}

fn redis_degraded() -> Snapshot {
    let mut snapshot = base();
    fails(&mut snapshot, 1, &[94, 97], Class::Timeout, "deadline", 3_000_000);
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
    step(&mut snapshot, "migrate", Step::Down);
    step(&mut snapshot, "spawn:app", Step::Unknown);
    snapshot.checks[2] = check("app", "process", Affects::Readiness);
    snapshot
}

fn module_failed() -> Snapshot {
    let mut snapshot = base();
    step(&mut snapshot, "module:reports", Step::Down);
    fails(&mut snapshot, 3, &[91, 94, 97], Class::Refused, "", 1000);
    snapshot
}

/// Every situation by name.
pub(super) fn all() -> Vec<(&'static str, Snapshot, Look)> {
    let mut readiness = redis_down();
    readiness.checks[1].affects = Affects::Readiness;
    let wedged = Look { beat: at(0).mono, ..look() };
    vec![
        ("no checks", Snapshot { checks: Vec::new(), stages: Vec::new(), ..base() }, look()),
        ("waiting", waiting(), look()),
        ("all up", base(), look()),
        ("redis degraded", redis_degraded(), look()),
        ("redis down", redis_down(), look()),
        ("redis down for readiness", readiness, look()),
        ("stale", stale(), look()),
        ("wedged", base(), wedged),
        ("draining", Snapshot { phase: Phase::Draining, ..base() }, look()),
        ("failed", failed(), look()),
        ("module failed", module_failed(), look()),
    ]
}

/// One situation.
pub(super) fn named(name: &str) -> (Snapshot, Look) {
    let (_, snapshot, look) = all().into_iter().find(|(other, ..)| *other == name).unwrap();
    (snapshot, look)
}
