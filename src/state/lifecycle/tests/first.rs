//! Modules that the start needs: those that start before the waits, and those that the process starts after.

use super::modules::{ONE, TWO, checked, ended, gone, module, restarting, spawned};
use super::*;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::process::RestartPolicy;
use crate::plan::{ModuleId, ModulePlan};
use crate::state::event::Order;
use crate::state::snapshot::StageState;

const PROXY: ProcessId = ProcessId::Module(ONE);

fn first(plan: ModulePlan) -> ModulePlan {
    ModulePlan { start: ModuleStart::First, ..plan }
}

/// A process that waits for a database behind a checked module, and has a module beside it.
fn proxied() -> Plan {
    let check = CheckPlan { wait: Duration::from_secs(60), ..check("db", 60, Affects::Readiness) };
    Plan { checks: vec![check], modules: vec![first(checked(module(0))), module(1)], ..bare() }
}

fn starts(effects: &[Effect]) -> Vec<ProcessId> {
    effects.iter().filter_map(|effect| if let Effect::Spawn(id) = effect { Some(*id) } else { None }).collect()
}

fn stopped(effects: &[Effect]) -> Vec<ProcessId> {
    let stopped = |effect: &Effect| if let Effect::Signal(id, libc::SIGTERM) = effect { Some(*id) } else { None };
    effects.iter().filter_map(stopped).collect()
}

fn passes(id: ModuleId) -> Event {
    Event::StartupProbed(ProcessId::Module(id), passed())
}

fn exit(run: &Run) -> (u8, String) {
    let ending = run.lifecycle.ending().unwrap();
    (ending.code, ending.sentence.clone())
}

#[test]
fn it_is_up_before_anything_is_waited_for_and_gone_after_everything_else() {
    let mut run = Run::of(proxied());
    assert_eq!(starts(&run.apply(Event::Begin)), [PROXY]);
    let names: Vec<_> = run.lifecycle.snapshot().stages.iter().map(|stage| stage.name.clone()).collect();
    assert_eq!(names, ["module:m0", "wait:db", "spawn:app", "module:m1"]);
    assert_eq!(run.apply(spawned(ONE)).iter().filter(|effect| matches!(effect, Effect::Arm(Timer::Wait(_), _))).count(), 0);
    let effects = run.apply(passes(ONE));
    assert!(effects.contains(&Effect::ProbeNow) && effects.contains(&Effect::Arm(Timer::Wait(0), Duration::from_secs(60))), "{effects:?}");
    assert_eq!(starts(&run.apply(Event::Probed(0, passed()))), [ProcessId::Module(TWO), ProcessId::Main]);
    run.all([spawned(TWO), Event::Spawned(ProcessId::Main, PID)]);
    assert_eq!(run.phase(), Phase::Running);

    assert_eq!(stopped(&run.apply(signal(libc::SIGTERM))), [ProcessId::Main]);
    assert_eq!(stopped(&run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)))), [ProcessId::Module(TWO)]);
    assert_eq!(stopped(&run.apply(ended(TWO, 0))), [PROXY], "no other process is left");
    assert_eq!(run.apply(ended(ONE, 0)).last(), Some(&Effect::SignalLatecomers(libc::SIGTERM)));
    assert_eq!(run.apply(Event::NoneLeft), [Effect::Exit(0)]);
}

#[test]
fn a_start_that_needs_a_module_ends_with_what_keeps_that_from_starting() {
    let after = |plan: ModulePlan| Plan { modules: vec![plan], after: vec![ONE], ..bare() };
    let before = |plan: ModulePlan| Plan { modules: vec![first(plan)], ..bare() };
    for plan in [before, after] {
        let begun = |module: ModulePlan| {
            let mut run = Run::of(plan(module));
            assert_eq!(starts(&run.apply(Event::Begin)), [PROXY]);
            run
        };
        let mut run = begun(module(0));
        run.apply(Event::SpawnFailed(PROXY, 127, "cannot start proxy: it was not found".to_owned()));
        assert_eq!(exit(&run), (127, "the start needs module m0: cannot start proxy: it was not found".to_owned()));
        for (code, exits) in [(3, 3), (0, 69)] {
            let mut run = begun(checked(module(0)));
            run.all([spawned(ONE), ended(ONE, code)]);
            assert_eq!(exit(&run).0, exits);
            assert_eq!(run.phase(), Phase::Failed);
        }
        let mut run = begun(checked(module(0)));
        run.all([spawned(ONE), Event::Elapsed(Timer::Process(PROXY, ProcessTimer::Limit))]);
        run.apply(Event::Exited(PROXY, Ended::Signal(15)));
        let (code, sentence) = exit(&run);
        assert!(code == 69 && sentence.starts_with("the start needs module m0: its startup check did not pass within 30s"), "{sentence}");
        // It is restarted up to its limit.
        let mut run = begun(restarting(checked(module(0)), RestartPolicy::OnFailure, 1));
        run.all([spawned(ONE), ended(ONE, 3)]);
        assert_eq!(run.lifecycle.ending(), None);
        assert_eq!(starts(&run.apply(Event::Elapsed(Timer::Process(PROXY, ProcessTimer::Restart)))), [PROXY]);
        run.all([spawned(ONE), ended(ONE, 3)]);
        assert_eq!(exit(&run).0, 3);
    }
}

#[test]
fn its_later_end_does_not_fail_a_start() {
    let mut run = Run::of(Plan { modules: vec![first(module(0))], ..bare() });
    run.all([Event::Begin, spawned(ONE)]);
    run.all([ended(ONE, 3), gone(ONE), Event::Spawned(ProcessId::Main, PID)]);
    assert_eq!((run.phase(), run.lifecycle.ending()), (Phase::Running, None));
}

#[test]
fn an_order_to_stop_it_lets_the_start_go_on() {
    let mut run = Run::of(proxied());
    run.all([Event::Begin, spawned(ONE), Event::Ordered(Order::Stop(ONE)), ended(ONE, 0)]);
    assert_eq!(run.phase(), Phase::Init);
    run.apply(gone(ONE));
    assert_eq!(run.phase(), Phase::Waiting);
}

#[test]
fn term_while_it_starts_stops_it() {
    let mut run = Run::of(proxied());
    run.all([Event::Begin, spawned(ONE)]);
    assert_eq!(stopped(&run.apply(signal(libc::SIGTERM))), [PROXY]);
    run.all([ended(ONE, 0)]);
    assert_eq!(run.apply(Event::NoneLeft), [Effect::Exit(143)]);
    assert_eq!(exit(&run).1, "ended by SIGTERM while modules were started first, with no process running");
}

#[test]
fn one_that_comes_first_after_another_goes_before_it() {
    let second = ModulePlan { after: vec![Predecessor::Module(ONE)], ..first(module(1)) };
    let mut run = Run::of(Plan { modules: vec![first(module(0)), second], ..bare() });
    assert_eq!(starts(&run.apply(Event::Begin)), [PROXY]);
    assert_eq!(starts(&run.apply(spawned(ONE))), [ProcessId::Module(TWO)]);
    assert_eq!(starts(&run.apply(spawned(TWO))), [ProcessId::Main]);
    run.apply(Event::Spawned(ProcessId::Main, PID));
    assert_eq!(stopped(&run.apply(signal(libc::SIGTERM))), [ProcessId::Main]);
    assert_eq!(stopped(&run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)))), [ProcessId::Module(TWO)]);
    assert_eq!(stopped(&run.apply(ended(TWO, 0))), [PROXY]);
}

#[test]
fn a_migration_without_a_process_has_it_too() {
    let full = full();
    let mut run = Run::of(Plan { checks: Vec::new(), heartbeat: None, main: None, modules: vec![first(module(0))], ..full });
    assert_eq!(starts(&run.apply(Event::Begin)), [PROXY]);
    assert!(run.apply(spawned(ONE)).contains(&Effect::AcquireLock));
    run.all([Event::Lock(LockNews::Held), Event::Spawned(ProcessId::Migration, PID)]);
    let effects = run.apply(signal(libc::SIGTERM));
    assert_eq!(stopped(&effects), [ProcessId::Migration], "{effects:?}");
    assert_eq!(run.lifecycle.snapshot().stage("module:m0").map(|stage| stage.step), Some(StageState::Up));
    run.all([Event::Exited(ProcessId::Migration, Ended::Signal(15)), Event::GroupGone(ProcessId::Migration)]);
    assert_eq!(stopped(&run.apply(Event::Lock(LockNews::Released))), [PROXY]);
}

#[test]
fn the_process_waits_for_its_predecessors_whenever_it_starts() {
    let main = bare().main.map(|main| {
        let restart = RestartPlan { policy: RestartPolicy::OnFailure, ..RestartPlan::default() };
        ProcessPlan { restart, ..main }
    });
    let proxy = restarting(checked(module(0)), RestartPolicy::Always, 0);
    let mut run = Run::of(Plan { main, modules: vec![proxy], after: vec![ONE], ..bare() });
    assert_eq!(starts(&run.apply(Event::Begin)), [PROXY]);
    assert_eq!(starts(&run.apply(spawned(ONE))), []);
    assert_eq!(starts(&run.apply(passes(ONE))), [ProcessId::Main]);
    run.apply(Event::Spawned(ProcessId::Main, PID));
    run.all([ended(ONE, 1), Event::Exited(ProcessId::Main, Ended::Code(1))]);
    assert_eq!(starts(&run.apply(Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart)))), []);
    assert_eq!(starts(&run.apply(Event::Elapsed(Timer::Process(PROXY, ProcessTimer::Restart)))), [PROXY]);
    run.apply(spawned(ONE));
    assert_eq!(starts(&run.apply(passes(ONE))), [ProcessId::Main]);
}

#[test]
fn one_that_is_starting_again_in_the_shutdown_keeps_its_turn_however_long_that_takes() {
    let plan = proxied();
    let proxy = first(restarting(checked(module(0)), RestartPolicy::Always, 0));
    let mut run = Run::of(Plan { modules: vec![proxy, module(1)], ..plan });
    run.all([Event::Begin, spawned(ONE), passes(ONE), Event::Probed(0, passed()), spawned(TWO), Event::Spawned(ProcessId::Main, PID)]);
    run.all([ended(ONE, 1), gone(ONE), Event::Elapsed(Timer::Process(PROXY, ProcessTimer::Restart)), spawned(ONE)]);
    assert_eq!(stopped(&run.apply(signal(libc::SIGTERM))), [ProcessId::Main]);
    assert_eq!(stopped(&run.apply(Event::Elapsed(Timer::Process(PROXY, ProcessTimer::Limit)))), [], "the process may still need it");
    assert_eq!(stopped(&run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)))), [ProcessId::Module(TWO)]);
    assert_eq!(stopped(&run.apply(ended(TWO, 0))), [PROXY]);
}
