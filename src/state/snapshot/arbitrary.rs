//! Random snapshots, possible and impossible ones, for laws that hold for all of them.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Child, HEARTBEAT, Heartbeat, Look, Migration, MigrationLock, Module, ModuleState, Phase, Snapshot, Stage, StageState, Status};
use crate::clock::Moment;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::{Affects, Service};
use crate::state::check::Check;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::event::Readiness;
use crate::state::instances::{Instance, Instances};

/// The private text of every failure: no response to an unauthorized reader may contain it.
pub(crate) const PRIVATE: &str = "words of a driver";

fn moment(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(seconds))
}

prop_compose! {
    fn outcome()(kind in prop::sample::select(ErrorKind::ALL.to_vec()), passes in any::<bool>(), elapsed in 0..4000u64) -> Outcome {
        let elapsed = Duration::from_millis(elapsed);
        if passes || kind == ErrorKind::Ok { Outcome::passed(elapsed) } else { Outcome::failed(kind, PRIVATE, elapsed) }
    }
}

prop_compose! {
    fn check(index: usize)(
        affects in prop::sample::select(vec![Affects::None, Affects::Health, Affects::Readiness, Affects::Liveness]),
        thresholds in (1..4u32, 1..3u32),
        stale_after in prop::option::of(20..40u64),
        begin in prop::sample::select(vec![0u64, 90]),
        outcomes in vec(outcome(), 0..8),
        dependency in any::<bool>(),
    ) -> Check {
        let mut check = Check {
            id: dependency.then_some(index),
            failure_threshold: thresholds.0,
            success_threshold: thresholds.1,
            stale_after: stale_after.map(Duration::from_secs),
            target: PRIVATE.to_owned(),
            ..Check::event(&format!("c{index}"), ["redis", "postgres"][index % 2], affects)
        };
        for (second, outcome) in outcomes.into_iter().enumerate() {
            check.feed(moment(begin + second as u64), outcome);
        }
        check
    }
}

prop_compose! {
    fn stage(index: usize)(step in prop::sample::select(vec![StageState::Unknown, StageState::Up, StageState::Up, StageState::Up, StageState::Down]), counts in any::<bool>()) -> Stage {
        Stage { name: format!("{}:c{index}", ["wait", "module"][index % 2]), step, counts, began: None, ended: None, note: None }
    }
}

prop_compose! {
    fn module(index: usize)(
        state in prop::sample::select(vec![ModuleState::Resolved, ModuleState::Activated, ModuleState::Deactivated, ModuleState::Broken]),
        counts in any::<bool>(),
    ) -> Module {
        Module { name: format!("c{index}"), web_path: format!("/c{index}"), state, counts, ..Module::default() }
    }
}

prop_compose! {
    fn instance()(
        readiness in prop::sample::select(vec![Readiness::Unknown, Readiness::Ready, Readiness::NotReady, Readiness::Stopped]),
        status in prop::option::of(prop::sample::select(vec![Status::Up, Status::Down, Status::Unknown])),
        (own, late) in any::<(bool, bool)>(),
        since in prop::option::of(0..200u64),
    ) -> Instance {
        Instance {
            name: PRIVATE.to_owned(), own, readiness, status, phase: None, since: since.map(Duration::from_secs),
            address: Some(PRIVATE.to_owned()), silent: Duration::from_secs(30), late,
        }
    }
}

/// The migration of a random snapshot.
fn migration() -> impl Strategy<Value = Migration> {
    let (queued, holder) = (Migration::Queued { since: moment(40), holder: PRIVATE.to_owned() }, Migration::Holder { since: moment(60) });
    prop::sample::select(vec![Migration::Idle, queued, holder, Migration::Done])
}

prop_compose! {
    /// A snapshot and its assessment 100 seconds after its start.
    pub(crate) fn snapshot()(
        phase in prop::sample::select([Phase::ALL.to_vec(), vec![Phase::Running; 6]].concat()),
        started in prop::bool::weighted(0.8),
        stages in (0..4usize).prop_flat_map(|count| (0..count).map(stage).collect::<Vec<_>>()),
        checks in (0..6usize).prop_flat_map(|count| (0..count).map(check).collect::<Vec<_>>()),
        (beat, given_up) in prop::sample::select(vec![(100u64, false), (100, false), (99, false), (40, false), (40, true)]),
        counters in (0..9u64, 0..9u64, 0..9u32),
        modules in (0..3usize).prop_flat_map(|count| (0..count).map(module).collect::<Vec<_>>()),
        migration in migration(),
        instances in prop::option::of(vec(instance(), 0..4)),
        required in prop::option::of(vec(outcome(), 0..3)),
    ) -> (Snapshot, Look) {
        let heartbeat = required.map(|beats| {
            let mut check = Check { target: PRIVATE.to_owned(), ..Check::event(HEARTBEAT, "heartbeat", Affects::Readiness) };
            for beat in beats {
                check.feed(moment(95), beat);
            }
            check
        });
        let checks = checks.into_iter().chain(heartbeat).map(CopyOnWrite::from).collect::<Vec<_>>().into();
        let snapshot = Snapshot {
            sequence: 1,
            started_at: moment(0),
            service: Service { name: "api".to_owned(), mode: None, instance: PRIVATE.to_owned(), host: PRIVATE.to_owned(), version: None, build: "0.1.0" }.into(),
            phase,
            phase_since: moment(50),
            shutdown: None,
            started,
            start_over: started.then(|| moment(50)),
            stages: stages.into_iter().map(CopyOnWrite::from).collect::<Vec<_>>().into(),
            checks,
            child: Child { restarts: counters.2, status: Some(PRIVATE.to_owned()), ..Child::default() }.into(),
            heartbeat: Heartbeat { configured: true, written: counters.0, failed: [(ErrorKind::Timeout, counters.1)].into(), ..Heartbeat::default() },
            migration,
            migration_lock: MigrationLock { holder: Some((PRIVATE.into(), moment(40))), ..MigrationLock::default() },
            modules: modules.into_iter().collect(),
            reloads: 0,
            reloads_refused: 0,
        step: None,
            instances: instances.map(|listed| Arc::new(Instances::new(moment(90), 1 + listed.len() as u64, 1, listed))),
        };
        (snapshot, Look { now: moment(100), beat: moment(beat).mono, given_up, stuck: false })
    }
}
