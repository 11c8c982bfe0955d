//! A reload in the reducer: what is unchanged keeps its state, what is removed ends, what has changed begins anew.

use super::modules::{checked, module};
use super::*;
use crate::plan::module::ModuleStart;
use crate::plan::reload::Reload;
use crate::plan::{ModuleId, ModulePlan};
use crate::state::check::State;
use crate::state::event::Order;
use crate::state::snapshot::{Module, ModuleState, Snapshot};

fn plan(checks: &[&str], modules: Vec<ModulePlan>) -> Plan {
    Plan { checks: checks.iter().map(|name| check(name, 0, Affects::Health)).collect(), modules, ..bare() }
}

/// A run whose process and modules are up.
fn running(plan: Plan) -> Run {
    let modules: Vec<ModuleId> =
        plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain).map(|module| module.id).collect();
    let mut run = Run::of(plan);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    run.all(modules.into_iter().map(spawned));
    run
}

fn spawned(id: ModuleId) -> Event {
    Event::Spawned(ProcessId::Module(id), PID + 10 + id.0 as i32)
}

/// The effects of a reload from one plan to the other.
fn reloaded(from: &Plan, to: Plan) -> Event {
    Event::Reloaded(Arc::new(Reload::new(from, to).unwrap().plan))
}

fn snapshot(run: &Run) -> &Snapshot {
    run.lifecycle.snapshot()
}

fn found<'a>(run: &'a Run, name: &str) -> Option<&'a Module> {
    snapshot(run).modules.iter().find(|module| module.name == name)
}

fn check_names(run: &Run) -> Vec<&str> {
    snapshot(run).checks.iter().map(|check| check.name.as_str()).collect()
}

#[test]
fn unchanged_parts_keep_their_state() {
    let old = plan(&["db", "cache"], vec![module(0)]);
    let mut run = running(old.clone());
    run.all([Event::Probed(0, passed()), Event::Probed(1, passed())]);
    let mut new = plan(&["es", "db"], vec![module(0)]);
    new.modules.push(ModulePlan { id: ModuleId(7), ..module(1) });
    let effects = run.apply(reloaded(&old, new));
    assert_eq!(effects.first(), Some(&Effect::Reload), "before anything that needs the new orders");
    assert_eq!(snapshot(&run).reloads, 1);
    let records = |name| snapshot(&run).check(name).map(|check| check.records.len());
    assert_eq!((records("db"), records("es"), records("cache")), (Some(1), Some(0), None));
    assert_eq!(check_names(&run)[..3], ["db", "es", "app"]);
    assert_eq!(found(&run, "m0").and_then(|module| module.child.pid), Some(PID + 10));
    assert!(effects.contains(&Effect::Spawn(ProcessId::Module(ModuleId(1)))), "{effects:?}");
    // A late result of a removed check is dropped.
    run.apply(Event::Probed(1, refused()));
    assert!(snapshot(&run).check("cache").is_none());
}

#[test]
fn a_changed_rate_limited_check_keeps_its_last_result() {
    let dify = || {
        let mut plan = plan(&["dify"], vec![]);
        plan.checks[0].interval = Duration::from_secs(60);
        plan
    };
    let old = dify();
    let mut run = running(old.clone());
    let at = run.now;
    run.apply(Event::Probed(0, passed()));
    run.now = at.after(Duration::from_secs(20));
    let mut new = dify();
    new.checks[0].failure_threshold = 9;
    run.apply(reloaded(&old, new));
    let state = |run: &Run| snapshot(run).check("dify").map(|check| check.effective(run.now).0);
    assert_eq!(state(&run), Some(State::Unknown));
    run.apply(Event::Recalled(1, at, passed()));
    assert_eq!(state(&run), Some(State::Up));
    assert_eq!(snapshot(&run).check("dify").and_then(|check| check.last()).map(|record| record.at), Some(at));
}

#[test]
fn a_restarted_module_is_not_judged_by_its_predecessors_results() {
    let own = |id: usize| {
        let mut plan = plan(&["m0.web"], vec![ModulePlan { checks: vec![id], ..module(0) }]);
        plan.checks[id].interval = Duration::from_secs(60);
        plan
    };
    let mut run = running(own(0));
    run.apply(spawned(ModuleId(0)));
    let state = |run: &Run| snapshot(run).check("m0.web").map(|check| check.effective(run.now).0);
    let recorded_at = run.now.after(Duration::from_secs(1));
    run.now = recorded_at;
    run.apply(Event::Probed(0, passed()));
    assert_eq!(state(&run), Some(State::Up));
    run.now = recorded_at.after(Duration::from_secs(1));
    run.all([Event::Ordered(Order::Restart(ModuleId(0)))]);
    run.all([Event::Exited(ProcessId::Module(ModuleId(0)), Ended::Code(0)), Event::GroupGone(ProcessId::Module(ModuleId(0)))]);
    run.now = recorded_at.after(Duration::from_secs(2));
    run.apply(spawned(ModuleId(0)));
    run.apply(Event::Recalled(0, recorded_at, passed()));
    assert_eq!(state(&run), Some(State::Unknown), "that was about the process before");
    let since = run.now.after(Duration::from_secs(1));
    run.now = since.after(Duration::from_secs(1));
    run.apply(Event::Recalled(0, since, passed()));
    assert_eq!(state(&run), Some(State::Up), "that was about this one");
}

#[test]
fn changed_modules_are_stopped_and_started_by_the_new_plan() {
    let old = plan(&[], vec![module(0), ModulePlan { start: ModuleStart::OnDemand, counts: false, ..module(1) }]);
    let mut run = running(old.clone());
    let new = plan(
        &[],
        vec![checked(module(0)), ModulePlan { version: "2".to_owned(), start: ModuleStart::OnDemand, counts: false, ..module(1) }],
    );
    let effects = run.apply(reloaded(&old, new));
    let (one, process) = (ModuleId(0), ProcessId::Module(ModuleId(0)));
    assert!(effects.contains(&Effect::Signal(process, libc::SIGTERM)), "{effects:?}");
    assert_eq!(found(&run, "m0").map(|module| module.state), Some(ModuleState::Stopping));
    let effects = run.all([Event::Exited(process, Ended::Signal(15)), Event::GroupGone(process)]);
    assert!(effects.contains(&Effect::Spawn(process)), "{effects:?}");
    run.apply(spawned(one));
    assert_eq!(found(&run, "m0").map(|module| module.state), Some(ModuleState::Starting), "it has a startup check now");
    run.apply(Event::StartupProbed(ProcessId::Module(one), passed()));
    assert_eq!(found(&run, "m0").map(|module| module.state), Some(ModuleState::Activated));
    // One that was not requested is as in the new plan, and not started.
    assert_eq!(found(&run, "m1").map(|module| (module.state, module.version.as_str())), Some((ModuleState::Resolved, "2")));
}

#[test]
fn removed_modules_are_stopped_and_then_forgotten_with_their_checks() {
    let old = plan(&[], vec![module(0), module(1)]);
    let mut run = running(old.clone());
    let new = plan(&[], vec![module(1)]);
    let reload = Reload::new(&old, Plan { modules: vec![ModulePlan { id: ModuleId(0), ..module(1) }], ..new }).unwrap().plan;
    run.apply(Event::Reloaded(Arc::new(reload)));
    let process = ProcessId::Module(ModuleId(0));
    assert_eq!(found(&run, "m0").map(|module| module.state), Some(ModuleState::Stopping));
    run.all([Event::Exited(process, Ended::Code(0)), Event::GroupGone(process)]);
    assert!(found(&run, "m0").is_none() && snapshot(&run).check("m0").is_none() && snapshot(&run).stage("module:m0").is_none());
    assert_eq!(found(&run, "m1").map(|module| (module.id, module.state)), Some((ModuleId(1), ModuleState::Activated)));
    run.apply(Event::Ordered(Order::Start(ModuleId(0))));
    assert!(found(&run, "m0").is_none());
}

#[test]
fn no_reload_is_applied_before_the_process_runs_or_during_the_stop() {
    for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Running) {
        let mut run = run_in(phase);
        let plan = Arc::clone(run.lifecycle.plan());
        let effects = run.apply(Event::Reloaded(plan));
        assert!(!effects.contains(&Effect::Reload) && snapshot(&run).reloads == 0, "{phase:?}");
        assert_eq!(snapshot(&run).reloads_refused, 1, "{phase:?}");
    }
}
