//! Restart because of a failed check in the reducer: what is restarted for which check, within which limits, and when nothing is.

use super::modules::{ONE, module};
use super::*;
use crate::plan::process::RestartPolicy;
use crate::plan::{ModulePlan, OnDown};
use crate::state::snapshot::{HealingStage, ModuleState};

const MODULE: ProcessId = ProcessId::Module(ONE);

/// A check that is probed while the process runs and makes it restart.
fn ill(name: &str) -> CheckPlan {
    CheckPlan { on_down: OnDown::Restart, failure_threshold: 2, ..check(name, 0, Affects::Health) }
}

fn running(plan: Plan) -> Run {
    let mut run = Run::of(plan);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    run
}

fn probe(run: &mut Run, results: &str) -> Vec<Effect> {
    run.all(results.chars().map(|result| Event::Probed(0, if result == 'o' { passed() } else { refused() })))
}

fn is_stopped(effects: &[Effect], id: ProcessId) -> bool {
    effects.contains(&Effect::Signal(id, libc::SIGTERM))
}

#[test]
fn the_process_is_restarted_once_its_check_that_was_up_is_down_by_its_threshold() {
    for (results, restarts) in [("ee", false), ("eeeeee", false), ("oe", false), ("oeoe", false), ("oee", true), ("eeoee", true)] {
        let mut run = running(Plan { checks: vec![ill("web")], ..bare() });
        let effects = probe(&mut run, results);
        assert_eq!(is_stopped(&effects, ProcessId::Main), restarts, "{results}: {effects:?}");
        assert_eq!(run.phase(), if restarts { Phase::Starting } else { Phase::Running }, "{results}");
    }
    let mut run = running(Plan { checks: vec![CheckPlan { on_down: OnDown::Report, ..ill("web") }], ..bare() });
    assert_eq!(probe(&mut run, "oee"), []);
}

#[test]
fn it_gets_its_stop_timeout_then_kill_and_comes_back_after_the_pause() {
    let mut run = running(Plan { checks: vec![ill("web")], ..bare() });
    let own = |timer| Timer::Process(ProcessId::Main, timer);
    assert!(probe(&mut run, "oee").contains(&Effect::Arm(own(ProcessTimer::Grace), Duration::from_secs(8))));
    let effects = run.apply(Event::Elapsed(own(ProcessTimer::Grace)));
    assert!(effects.contains(&Effect::SignalGroup(ProcessId::Main, libc::SIGKILL)), "{effects:?}");
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Signal(9)));
    assert!(effects.contains(&Effect::Arm(own(ProcessTimer::Restart), Duration::from_secs(1))), "whatever its policy: {effects:?}");
    assert!(run.apply(Event::Elapsed(own(ProcessTimer::Restart))).contains(&Effect::Spawn(ProcessId::Main)));
    run.apply(Event::Spawned(ProcessId::Main, PID));
    assert_eq!((run.phase(), run.lifecycle.snapshot().child.restarts), (Phase::Running, 1));
    assert_eq!(probe(&mut run, "eeee"), [], "it was not up since");
}

#[test]
fn the_limit_of_restarts_holds() {
    let restart = RestartPlan { policy: RestartPolicy::Never, limit: 1, ..RestartPlan::default() };
    let mut run = running(Plan { checks: vec![ill("web")], main: Some(ProcessPlan { restart, ..process() }), ..bare() });
    probe(&mut run, "oee");
    let again = Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart));
    run.all([Event::Exited(ProcessId::Main, Ended::Signal(15)), again, Event::Spawned(ProcessId::Main, PID)]);
    assert!(!is_stopped(&probe(&mut run, "oee"), ProcessId::Main));
    assert_eq!(run.phase(), Phase::Running);
}

#[test]
fn a_module_is_restarted_for_its_own_check_and_no_other_is() {
    let mut run = running(Plan { checks: vec![ill("m0.web")], modules: vec![ModulePlan { checks: vec![0], ..module(0) }], ..bare() });
    run.apply(Event::Spawned(MODULE, PID + 1));
    let effects = probe(&mut run, "oee");
    assert!(is_stopped(&effects, MODULE) && !is_stopped(&effects, ProcessId::Main), "{effects:?}");
    assert_eq!((run.state(ONE), run.phase()), (ModuleState::Broken, Phase::Running));
    assert!(run.module(ONE).trouble.as_deref().is_some_and(|why| why.contains("m0.web")));
    run.apply(Event::Exited(MODULE, Ended::Signal(15)));
    let effects = run.apply(Event::Elapsed(Timer::Process(MODULE, ProcessTimer::Restart)));
    assert!(effects.contains(&Effect::Spawn(MODULE)), "{effects:?}");
}

#[test]
fn with_a_heartbeat_it_waits_for_its_turn_and_gives_it_back_when_ready_again() {
    let plan = || Plan { checks: vec![ill("web")], heartbeat: full().heartbeat, ..bare() };
    // Its stop, its pause, its start, and ten seconds.
    let length = Some(Duration::from_secs(8 + 1 + 10));
    let mut run = running(plan());
    let effects = probe(&mut run, "oee");
    assert!(effects.contains(&Effect::RestartLease(length)) && !is_stopped(&effects, ProcessId::Main), "{effects:?}");
    let mut recovered = run.clone();
    assert!(probe(&mut recovered, "o").contains(&Effect::RestartLease(None)));
    assert!(!is_stopped(&recovered.apply(Event::RestartGranted), ProcessId::Main), "it came too late");
    let mut leaving = run.clone();
    leaving.apply(signal(libc::SIGTERM));
    assert_eq!(leaving.apply(Event::RestartGranted), [], "nothing is restarted in the shutdown");
    assert!(is_stopped(&run.apply(Event::RestartGranted), ProcessId::Main));
    let again = Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart));
    run.all([Event::Exited(ProcessId::Main, Ended::Signal(15)), again]);
    assert!(run.apply(Event::Spawned(ProcessId::Main, PID)).contains(&Effect::RestartLease(None)));
}

#[test]
fn a_stop_that_comes_during_the_restart_ends_the_run_within_its_own_deadline() {
    let mut run = running(Plan { checks: vec![ill("web")], ..bare() });
    probe(&mut run, "oee");
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(effects.contains(&Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Grace))), "{effects:?}");
    assert!(effects.contains(&Effect::Arm(Timer::Grace, Duration::from_secs(8))), "{effects:?}");
    run.apply(Event::Exited(ProcessId::Main, Ended::Signal(15)));
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(143));
}

fn stage(run: &Run) -> Option<HealingStage> {
    run.lifecycle.snapshot().child.healing.as_ref().map(|healing| healing.stage)
}

#[test]
fn the_lease_covers_the_pause_and_what_the_start_waits_for() {
    let restart = RestartPlan { delay: Duration::from_secs(300), longest_delay: Duration::from_secs(300), ..RestartPlan::default() };
    let main = Some(ProcessPlan { restart, ..process() });
    let checks = vec![ill("web"), check("db", 90, Affects::Health)];
    let mut run = Run::of(Plan { main, checks, heartbeat: full().heartbeat, ..bare() });
    run.all([Event::Begin, Event::Probed(1, passed()), Event::Spawned(ProcessId::Main, PID)]);
    assert!(probe(&mut run, "oee").contains(&Effect::RestartLease(Some(Duration::from_secs(8 + 300 + 90 + 10)))));
}

#[test]
fn the_lease_stays_during_any_restart_here() {
    let module = ModulePlan { checks: vec![1], ..module(0) };
    let checks = vec![ill("web"), ill("m0.web")];
    let mut run = running(Plan { checks, modules: vec![module], heartbeat: full().heartbeat, ..bare() });
    run.apply(Event::Spawned(MODULE, PID + 1));
    let of_module = |results: &str| {
        results.chars().map(|result| Event::Probed(1, if result == 'o' { passed() } else { refused() })).collect::<Vec<_>>()
    };
    run.all(of_module("oee"));
    run.all([Event::RestartGranted, Event::Exited(MODULE, Ended::Signal(15))]);
    let effects = probe(&mut run, "oee");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::RestartLease(Some(_)))), "each asks for itself: {effects:?}");
    let effects = probe(&mut run, "oo");
    assert!(!effects.contains(&Effect::RestartLease(None)), "the module is in its pause: {effects:?}");
    let again = Event::Elapsed(Timer::Process(MODULE, ProcessTimer::Restart));
    assert!(run.all([again, Event::Spawned(MODULE, PID + 2)]).contains(&Effect::RestartLease(None)));
}

#[test]
fn a_process_that_ends_while_it_waits_or_is_stopped_keeps_no_lease() {
    let plan = || Plan { checks: vec![ill("web")], heartbeat: full().heartbeat, ..bare() };
    let restart = RestartPlan { policy: RestartPolicy::Always, ..RestartPlan::default() };
    let mut run = running(Plan { main: Some(ProcessPlan { restart, ..process() }), ..plan() });
    probe(&mut run, "oee");
    assert_eq!(stage(&run), Some(HealingStage::Waiting));
    assert!(run.apply(Event::Exited(ProcessId::Main, Ended::Code(3))).contains(&Effect::RestartLease(None)));
    assert_eq!((stage(&run), run.lifecycle.snapshot().child.restarts_by_check), (None, 0), "its end is why it is restarted");
    assert_eq!(run.apply(Event::RestartGranted), []);
    let mut run = running(plan());
    probe(&mut run, "oee");
    run.apply(Event::RestartGranted);
    assert_eq!(stage(&run), Some(HealingStage::Restarting));
    assert!(run.apply(signal(libc::SIGTERM)).contains(&Effect::RestartLease(None)), "nothing is restarted in the shutdown");
}

#[test]
fn a_second_check_that_is_down_restarts_the_process_when_the_first_is_up_again() {
    let mut run = running(Plan { checks: vec![ill("web"), ill("queue")], heartbeat: full().heartbeat, ..bare() });
    run.all([Event::Probed(1, passed()), Event::Probed(0, passed())]);
    run.all([Event::Probed(0, refused()), Event::Probed(0, refused()), Event::Probed(1, refused()), Event::Probed(1, refused())]);
    probe(&mut run, "o");
    let healing = run.lifecycle.snapshot().child.healing.clone();
    assert_eq!(healing.map(|healing| healing.check).as_deref(), Some("queue"));
}

#[test]
fn the_reason_of_a_restart_and_an_exhausted_limit_are_reported() {
    let restart = RestartPlan { policy: RestartPolicy::Always, limit: 1, ..RestartPlan::default() };
    let mut run = running(Plan { checks: vec![ill("web")], main: Some(ProcessPlan { restart, ..process() }), ..bare() });
    probe(&mut run, "oee");
    let again = Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart));
    run.all([Event::Exited(ProcessId::Main, Ended::Signal(15)), again, Event::Spawned(ProcessId::Main, PID)]);
    assert_eq!((stage(&run), run.lifecycle.snapshot().child.restarts_by_check), (Some(HealingStage::Done), 1));
    probe(&mut run, "oee");
    assert_eq!(stage(&run), Some(HealingStage::Spent));
    probe(&mut run, "o");
    assert_eq!(stage(&run), None, "it is well again");
}
