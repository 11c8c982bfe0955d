//! Pauses before a restart in the reducer, of the process and of modules.

use super::modules::{ONE, checked, ended, module, restarting, running, spawned};
use super::*;
use crate::plan::ModulePlan;
use crate::plan::process::RestartPolicy;

const PAUSE: Timer = Timer::Process(ProcessId::Module(ONE), ProcessTimer::Restart);

#[test]
fn a_module_that_ends_at_once_is_restarted_at_once_only_the_first_time() {
    let restart = RestartPlan { policy: RestartPolicy::Always, delay: Duration::ZERO, ..RestartPlan::default() };
    let plan = ModulePlan { process: ProcessPlan { restart: restart.clone(), ..process() }, ..module(0) };
    let mut run = running(vec![plan]);
    for pause in [0, 20, 40, 80] {
        run.apply(spawned(ONE));
        assert!(run.apply(ended(ONE, 0)).contains(&Effect::Arm(PAUSE, Duration::from_millis(pause))), "{pause}");
        run.apply(Event::Elapsed(PAUSE));
    }
    let mut run = Run::of(Plan { main: Some(ProcessPlan { restart, ..process() }), ..bare() });
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    let again = Timer::Process(ProcessId::Main, ProcessTimer::Restart);
    assert!(run.apply(Event::Exited(ProcessId::Main, Ended::Code(0))).contains(&Effect::Arm(again, Duration::ZERO)));
    assert!(run.apply(Event::Elapsed(again)).contains(&Effect::Spawn(ProcessId::Main)));
    run.apply(Event::Spawned(ProcessId::Main, PID));
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)));
    assert!(
        effects.contains(&Effect::Arm(Timer::Process(ProcessId::Main, ProcessTimer::Restart), Duration::from_millis(20))),
        "{effects:?}"
    );
}

#[test]
fn a_start_that_fails_does_not_count_as_having_run_well() {
    let mut run = running(vec![restarting(checked(module(0)), RestartPolicy::Always, 0)]);
    run.all([spawned(ONE), Event::StartupProbed(ProcessId::Module(ONE), passed())]);
    for seconds in [1, 2, 4] {
        assert!(run.apply(ended(ONE, 1)).contains(&Effect::Arm(PAUSE, Duration::from_secs(seconds))), "{seconds}");
        run.now = run.now.after(Duration::from_secs(100));
        run.all([Event::Elapsed(PAUSE), spawned(ONE)]);
    }
}

#[test]
fn a_rate_limited_dependency_keeps_its_last_result() {
    let restart = RestartPlan { policy: RestartPolicy::Always, delay: Duration::ZERO, ..RestartPlan::default() };
    let mut run =
        Run::of(Plan { main: Some(ProcessPlan { restart, ..process() }), checks: vec![check("dify", 60, Affects::Health)], ..bare() });
    run.all([Event::Begin, Event::Probed(0, passed()), Event::Spawned(ProcessId::Main, PID)]);
    let at = run.now;
    run.now = at.after(Duration::from_secs(20));
    let effects =
        run.all([Event::Exited(ProcessId::Main, Ended::Code(1)), Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart))]);
    assert!(effects.contains(&Effect::ProbeNow) && !effects.contains(&Effect::Spawn(ProcessId::Main)), "{effects:?}");
    assert!(!run.apply(Event::Recalled(0, at, refused())).contains(&Effect::Spawn(ProcessId::Main)));
    assert!(run.apply(Event::Recalled(0, at, passed())).contains(&Effect::Spawn(ProcessId::Main)));
    let known = run.lifecycle.snapshot().check("dify").map(|check| check.records.len());
    assert_eq!(known, Some(1), "no permission was requested");
}
