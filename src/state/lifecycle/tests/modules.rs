//! Modules in the reducer: Koupleless' scenarios as a table, and each rule of starting, ending, restarting and stopping.

use super::*;
use crate::exit::Exit;
use crate::plan::module::{ModuleStart, OnExit, Predecessor};
use crate::plan::process::RestartPolicy;
use crate::plan::{ModuleId, ModulePlan};
use crate::state::event::Order;
use crate::state::snapshot::{Level, Look, Module, ModuleState, Status};

pub(super) const ONE: ModuleId = ModuleId(0);
pub(super) const TWO: ModuleId = ModuleId(1);

pub(super) fn module(number: u32) -> ModulePlan {
    ModulePlan::new(ModuleId(number), &format!("m{number}"), process())
}

/// With a startup check that probes a target.
pub(super) fn checked(plan: ModulePlan) -> ModulePlan {
    let sign = StartSign::Answers { target: Box::new(target()), timeout: Duration::from_secs(2) };
    let started = Some(StartedPlan { sign, within: Duration::from_secs(30) });
    ModulePlan { process: ProcessPlan { started, ..plan.process }, ..plan }
}

pub(super) fn restarting(plan: ModulePlan, policy: RestartPolicy, limit: u32) -> ModulePlan {
    let restart = RestartPlan { policy, limit, ..RestartPlan::default() };
    ModulePlan { process: ProcessPlan { restart, ..plan.process }, ..plan }
}

fn with(modules: Vec<ModulePlan>) -> Run {
    Run::of(Plan { modules, ..bare() })
}

/// A run whose process is up, and whose modules were requested.
pub(super) fn running(modules: Vec<ModulePlan>) -> Run {
    let mut run = with(modules);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    assert_eq!(run.phase(), Phase::Running);
    run
}

pub(super) fn spawned(id: ModuleId) -> Event {
    Event::Spawned(ProcessId::Module(id), PID + 1 + id.0 as i32)
}

pub(super) fn ended(id: ModuleId, code: u8) -> Event {
    Event::Exited(ProcessId::Module(id), Ended::Code(code))
}

pub(super) fn gone(id: ModuleId) -> Event {
    Event::GroupGone(ProcessId::Module(id))
}

impl Run {
    pub(super) fn status(&self) -> Status {
        self.lifecycle.snapshot().overall(Look::fresh(self.now))
    }

    pub(super) fn ready(&self) -> bool {
        self.lifecycle.snapshot().verdict(Level::Ready, Look::fresh(self.now))
    }

    pub(super) fn module(&self, id: ModuleId) -> &Module {
        self.lifecycle.snapshot().modules.iter().find(|module| module.id == id).unwrap()
    }

    pub(super) fn state(&self, id: ModuleId) -> ModuleState {
        self.module(id).state
    }
}

fn sends_stop_signal(effects: &[Effect], id: ProcessId) -> bool {
    effects.contains(&Effect::Signal(id, libc::SIGTERM))
}

/// Koupleless' table (its manual, "Health Check"): the overall status by the states of the base and the module, with and without counting
/// the module's start, and the reinstallation that Koupleless itself does not have.
#[test]
fn the_scenarios_of_koupleless() {
    use Status::{Down, Unknown, Up};
    let passes = |id| Event::StartupProbed(ProcessId::Module(id), passed());
    // Scenario 1: only the base.
    let mut run = with(Vec::new());
    run.apply(Event::Begin);
    assert_eq!(run.status(), Unknown, "the base starts");
    run.apply(Event::Spawned(ProcessId::Main, PID));
    assert_eq!(run.status(), Up, "the base is up");
    for counts in [true, false] {
        let plan = |start| checked(ModulePlan { start, counts, ..module(0) });
        let by_counting = |counted, not| if counts { counted } else { not };

        // Scenario 2: modules that start with the base.
        let with_main = || {
            let mut run = with(vec![plan(ModuleStart::WithMain)]);
            run.apply(Event::Begin);
            assert_eq!(run.status(), Unknown, "both start");
            run.all([spawned(ONE), Event::Spawned(ProcessId::Main, PID)]);
            assert_eq!(run.status(), by_counting(Unknown, Up), "the module starts, counted: {counts}");
            run
        };
        let mut run = with_main();
        run.apply(passes(ONE));
        assert_eq!((run.status(), run.state(ONE)), (Up, ModuleState::Activated));
        let mut run = with_main();
        run.all([ended(ONE, 1), gone(ONE)]);
        assert_eq!((run.status(), run.state(ONE)), (by_counting(Down, Up), ModuleState::Broken), "its start failed, counted: {counts}");

        // Scenario 3: a module that is started while the base runs.
        let hot = || {
            let mut run = running(vec![plan(ModuleStart::OnDemand)]);
            assert_eq!((run.status(), run.state(ONE)), (Up, ModuleState::Resolved), "its start was not requested");
            run.all([Event::Ordered(Order::Start(ONE)), spawned(ONE)]);
            assert_eq!(run.status(), by_counting(Unknown, Up), "it starts, counted: {counts}");
            assert!(run.ready(), "a requested start does not take the base out of service");
            run
        };
        let mut run = hot();
        run.all([ended(ONE, 1), gone(ONE)]);
        assert_eq!((run.status(), run.state(ONE)), (by_counting(Down, Up), ModuleState::Broken), "its start failed, counted: {counts}");
        assert!(run.ready());
        let mut run = hot();
        run.apply(passes(ONE));
        assert_eq!((run.status(), run.state(ONE)), (Up, ModuleState::Activated));

        // Scenario 4: both run. Whether or not its start counted, its running does.
        let mut broken = run.clone();
        broken.all([ended(ONE, 1), gone(ONE)]);
        assert_eq!((broken.status(), broken.state(ONE)), (Down, ModuleState::Broken), "a module that ran has ended");
        let mut stopped = run.clone();
        stopped.apply(Event::Ordered(Order::Stop(ONE)));
        assert_eq!((stopped.status(), stopped.state(ONE)), (Up, ModuleState::Stopping));
        stopped.all([ended(ONE, 143), gone(ONE)]);
        assert_eq!(
            (stopped.status(), stopped.state(ONE)),
            (Up, ModuleState::Deactivated),
            "what was stopped on purpose counts for nothing"
        );

        // Scenario 5: it is reinstalled.
        run.apply(Event::Ordered(Order::Restart(ONE)));
        assert_eq!(run.status(), by_counting(Unknown, Up), "it is stopped and will start, counted: {counts}");
        run.all([ended(ONE, 143), gone(ONE)]);
        assert_eq!((run.status(), run.state(ONE)), (by_counting(Unknown, Up), ModuleState::Starting));
        run.apply(spawned(ONE));
        let mut failed = run.clone();
        failed.all([ended(ONE, 1), gone(ONE)]);
        assert_eq!((failed.status(), failed.state(ONE)), (by_counting(Down, Up), ModuleState::Broken));
        run.apply(passes(ONE));
        assert_eq!((run.status(), run.state(ONE)), (Up, ModuleState::Activated));
        assert_eq!(run.phase(), Phase::Running);
    }
}

#[test]
fn a_module_starts_once_those_it_comes_after_are_up_and_not_merely_started() {
    let first = checked(ModulePlan { after: vec![Predecessor::Main], ..module(0) });
    let second = ModulePlan { after: vec![Predecessor::Module(ONE)], ..module(1) };
    let mut run = with(vec![second, first]);
    assert_eq!(run.apply(Event::Begin).iter().filter(|effect| matches!(effect, Effect::Spawn(_))).count(), 1);
    let effects = run.apply(Event::Spawned(ProcessId::Main, PID));
    assert!(effects.contains(&Effect::Spawn(ProcessId::Module(ONE))) && !effects.contains(&Effect::Spawn(ProcessId::Module(TWO))));
    let effects = run.apply(spawned(ONE));
    assert!(
        effects.contains(&Effect::Watch(ProcessId::Module(ONE), Watch::Start)) && !effects.contains(&Effect::Spawn(ProcessId::Module(TWO)))
    );
    assert!(run.apply(Event::StartupProbed(ProcessId::Module(ONE), passed())).contains(&Effect::Spawn(ProcessId::Module(TWO))));
}

#[test]
fn an_order_is_counted_and_one_that_changes_nothing_does_nothing() {
    let mut run = running(vec![ModulePlan { start: ModuleStart::OnDemand, ..module(0) }]);
    run.all([Event::Ordered(Order::Start(ONE)), spawned(ONE)]);
    assert_eq!(run.apply(Event::Ordered(Order::Start(ONE))), []);
    assert_eq!(run.apply(Event::Ordered(Order::Start(TWO))), [], "there is no such module");
    assert_eq!(run.module(ONE).orders, 2);
    run.all([Event::Ordered(Order::Stop(ONE)), ended(ONE, 0), gone(ONE)]);
    assert_eq!(run.apply(Event::Ordered(Order::Stop(ONE))), []);
    assert_eq!(run.module(ONE).orders, 4);
}

#[test]
fn an_order_before_the_process_starts_waits_for_it() {
    let mut run = Run::of(Plan { modules: vec![ModulePlan { start: ModuleStart::OnDemand, ..module(0) }], ..full() });
    run.apply(Event::Begin);
    assert!(!run.apply(Event::Ordered(Order::Start(ONE))).contains(&Effect::Spawn(ProcessId::Module(ONE))));
    let mut effects = Vec::new();
    for event in &way_to(Phase::Starting)[1..7] {
        effects.extend(run.apply(event.clone()));
    }
    assert!(effects.contains(&Effect::Spawn(ProcessId::Module(ONE))), "{effects:?}");
}

#[test]
fn a_stop_that_came_during_the_stop_of_a_restart_wins() {
    let mut run = running(vec![module(0)]);
    run.all([spawned(ONE), Event::Ordered(Order::Restart(ONE)), Event::Ordered(Order::Stop(ONE))]);
    let effects = run.all([ended(ONE, 0), gone(ONE)]);
    assert!(!effects.contains(&Effect::Spawn(ProcessId::Module(ONE))));
    assert_eq!((run.state(ONE), run.status()), (ModuleState::Deactivated, Status::Up));
}

#[test]
fn leftovers_in_a_modules_group_end_before_its_restart() {
    let mut run = running(vec![module(0)]);
    run.all([spawned(ONE), Event::Ordered(Order::Restart(ONE))]);
    let effects = run.apply(ended(ONE, 0));
    assert!(effects.contains(&Effect::AwaitGroup(ProcessId::Module(ONE))) && !effects.contains(&Effect::Spawn(ProcessId::Module(ONE))));
    let killed = run.apply(Event::Elapsed(Timer::Process(ProcessId::Module(ONE), ProcessTimer::Grace)));
    assert!(killed.contains(&Effect::SignalGroup(ProcessId::Module(ONE), libc::SIGKILL)), "{killed:?}");
    assert!(run.apply(gone(ONE)).contains(&Effect::Spawn(ProcessId::Module(ONE))));
}

#[test]
fn a_start_that_takes_too_long_has_failed_and_its_process_is_stopped() {
    let mut run = running(vec![checked(module(0))]);
    run.all([spawned(ONE), Event::StartupProbed(ProcessId::Module(ONE), refused())]);
    let effects = run.apply(Event::Elapsed(Timer::Process(ProcessId::Module(ONE), ProcessTimer::Limit)));
    assert!(sends_stop_signal(&effects, ProcessId::Module(ONE)));
    assert_eq!((run.state(ONE), run.status()), (ModuleState::Broken, Status::Down));
    let trouble = run.module(ONE).trouble.clone().unwrap();
    assert!(trouble.contains("within 30s") && trouble.contains(ErrorKind::Refused.public()), "{trouble}");
    run.all([ended(ONE, 0), gone(ONE)]);
    assert_eq!(run.state(ONE), ModuleState::Broken, "whatever its exit status after a stop request");
}

#[test]
fn a_start_that_was_never_reported_complete_names_the_missing_sign() {
    for (sign, words) in [(StartSign::Notifies, "no READY=1 was received"), (StartSign::Writes(4), "no line was written to descriptor 4")] {
        let started = Some(StartedPlan { sign, within: Duration::from_millis(100) });
        let process = ProcessPlan { started, ..process() };
        let mut run = running(vec![ModulePlan { process: process.clone(), ..module(0) }]);
        run.all([spawned(ONE), Event::Elapsed(Timer::Process(ProcessId::Module(ONE), ProcessTimer::Limit))]);
        let trouble = run.module(ONE).trouble.clone().unwrap();
        assert!(trouble.contains(words) && trouble.contains("within 100ms"), "{trouble}");
        let mut run = Run::of(Plan { main: Some(process), ..bare() });
        run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID), Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Limit))]);
        assert!(run.ending().1.contains(words), "{}", run.ending().1);
    }
}

#[test]
fn the_deadlines_of_one_process_do_not_outlive_it() {
    let mut run = running(vec![restarting(checked(module(0)), RestartPolicy::OnFailure, 0)]);
    let late = [ProcessTimer::Limit, ProcessTimer::Grace].map(|timer| Event::Elapsed(Timer::Process(ProcessId::Module(ONE), timer)));
    run.apply(spawned(ONE));
    run.all(late);
    let effects = run.apply(Event::Exited(ProcessId::Module(ONE), Ended::Signal(9)));
    for timer in [ProcessTimer::Grace, ProcessTimer::Reap] {
        assert!(effects.contains(&Effect::Disarm(Timer::Process(ProcessId::Module(ONE), timer))), "{timer:?}: {effects:?}");
    }
}

#[test]
fn a_module_is_restarted_by_its_policy() {
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, code, again) in
        [(Never, 1, false), (OnFailure, 0, false), (OnFailure, 1, true), (OnFailure, 125, false), (Always, 0, true), (Always, 125, false)]
    {
        let mut run = running(vec![restarting(module(0), policy, 0)]);
        run.apply(spawned(ONE));
        let pause = Timer::Process(ProcessId::Module(ONE), ProcessTimer::Restart);
        let effects = run.apply(ended(ONE, code));
        assert_eq!(effects.contains(&Effect::Arm(pause, Duration::from_secs(1))), again, "{policy:?} {code}");
        assert_eq!((run.status(), run.state(ONE)), (Status::Down, ModuleState::Broken), "{policy:?} {code}");
        assert_eq!(run.phase(), Phase::Running);
        if again {
            assert!(run.apply(Event::Elapsed(pause)).contains(&Effect::Spawn(ProcessId::Module(ONE))));
            assert_eq!(run.status(), Status::Down, "a start that succeeded once stays so: it is down, not unknown");
            run.apply(spawned(ONE));
            assert_eq!((run.status(), run.module(ONE).child.restarts), (Status::Up, 1));
        }
    }
}

#[test]
fn the_pauses_grow_until_it_has_run_well_and_the_limit_ends_them() {
    let mut run = running(vec![restarting(module(0), RestartPolicy::Always, 3)]);
    let pause = Timer::Process(ProcessId::Module(ONE), ProcessTimer::Restart);
    for seconds in [1, 2, 4] {
        run.apply(spawned(ONE));
        assert!(run.apply(ended(ONE, 1)).contains(&Effect::Arm(pause, Duration::from_secs(seconds))));
        run.apply(Event::Elapsed(pause));
    }
    run.apply(spawned(ONE));
    let effects = run.apply(ended(ONE, 1));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Arm(timer, _) if *timer == pause)), "{effects:?}");
    run.all([gone(ONE), Event::Ordered(Order::Start(ONE)), spawned(ONE)]);
    run.now = run.now.after(Duration::from_secs(100));
    assert!(run.apply(ended(ONE, 1)).contains(&Effect::Arm(pause, Duration::from_secs(1))), "an order begins anew");
}

#[test]
fn the_end_for_good_means_what_on_exit_says() {
    for (on_exit, status, code) in
        [(OnExit::Ignore, Status::Up, None), (OnExit::Degrade, Status::Down, None), (OnExit::StopAll, Status::Down, Some(7))]
    {
        let mut run = running(vec![ModulePlan { on_exit, ..module(0) }]);
        run.apply(spawned(ONE));
        let effects = run.apply(ended(ONE, 7));
        assert_eq!(sends_stop_signal(&effects, ProcessId::Main), code.is_some(), "{on_exit:?}");
        match code {
            None => assert_eq!((run.status(), run.phase()), (status, Phase::Running), "{on_exit:?}"),
            Some(code) => {
                assert_eq!(run.phase(), Phase::Draining);
                let effects = run.all([Event::Exited(ProcessId::Main, Ended::Code(0)), Event::NoneLeft]);
                assert_eq!(exit_of(&effects), Some(code), "the module decides the exit code");
                assert!(run.ending().1.contains("m0"), "{}", run.ending().1);
            }
        }
    }
}

#[test]
fn without_stop_all_the_process_decides_the_exit_code() {
    let mut run = running(vec![module(0)]);
    run.all([spawned(ONE), ended(ONE, 7), gone(ONE)]);
    let effects = run.all([Event::Exited(ProcessId::Main, Ended::Code(3)), Event::NoneLeft]);
    assert_eq!(exit_of(&effects), Some(3));
}

#[test]
fn a_module_that_cannot_be_spawned_is_broken_with_its_reason() {
    let failed = |code: Exit| Event::SpawnFailed(ProcessId::Module(ONE), code.code(), "cannot start it".to_owned());
    let mut run = running(vec![restarting(module(0), RestartPolicy::OnFailure, 0)]);
    let effects = run.apply(failed(Exit::NotFound));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Arm(..))), "a missing program will not appear: {effects:?}");
    assert_eq!((run.state(ONE), run.status()), (ModuleState::Broken, Status::Down));
    assert_eq!(run.module(ONE).trouble.as_deref(), Some("cannot start it"));
    let mut run = running(vec![restarting(module(0), RestartPolicy::OnFailure, 0)]);
    let effects = run.apply(failed(Exit::Internal));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Arm(..))), "a full process table may have room in a while");
}

#[test]
fn its_own_checks_are_there_while_it_runs() {
    let own = CheckPlan { name: "m0.ping".to_owned(), wait: Duration::ZERO, failure_threshold: 1, ..check("", 0, Affects::Health) };
    let mut run = Run::of(Plan { checks: vec![own], modules: vec![ModulePlan { checks: vec![0], ..module(0) }], ..bare() });
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    assert!(run.lifecycle.snapshot().check("m0.ping").is_none());
    assert!(run.apply(spawned(ONE)).contains(&Effect::Watch(ProcessId::Module(ONE), Watch::Checks)));
    run.apply(Event::Probed(0, passed()));
    assert_eq!(run.status(), Status::Up);
    run.apply(Event::Probed(0, refused()));
    assert_eq!(run.status(), Status::Down);
    assert!(run.apply(Event::Ordered(Order::Stop(ONE))).contains(&Effect::Watch(ProcessId::Module(ONE), Watch::Nothing)));
    run.apply(Event::Probed(0, refused()));
    assert_eq!(run.status(), Status::Up, "late news of a module that is stopped count for nothing");
}

#[test]
fn a_module_that_affects_readiness_takes_the_service_out() {
    let mut run = running(vec![ModulePlan { affects: Affects::Readiness, ..module(0) }]);
    assert!(!run.ready());
    run.apply(spawned(ONE));
    assert!(run.ready());
    run.apply(ended(ONE, 1));
    assert!(!run.ready());
}

/// What starts after the process is stopped first, then the process, then what does not depend on it; each after the end of the one before.
#[test]
fn a_stop_goes_in_the_reverse_of_the_order_of_the_start() {
    let (behind, last) =
        (ModulePlan { after: vec![Predecessor::Main], ..module(0) }, ModulePlan { after: vec![Predecessor::Module(ONE)], ..module(1) });
    let beside = module(2);
    let three = ModuleId(2);
    let mut run = with(vec![behind, last, beside]);
    run.all([Event::Begin, spawned(three), Event::Spawned(ProcessId::Main, PID), spawned(ONE), spawned(TWO)]);
    let all = [ProcessId::Main, ProcessId::Module(ONE), ProcessId::Module(TWO), ProcessId::Module(three)];
    let stopped = |effects: &[Effect]| all.into_iter().filter(|id| sends_stop_signal(effects, *id)).collect::<Vec<_>>();
    assert_eq!(stopped(&run.apply(signal(libc::SIGTERM))), [ProcessId::Module(TWO)]);
    assert_eq!(stopped(&run.apply(ended(TWO, 0))), [ProcessId::Module(ONE)]);
    assert_eq!(stopped(&run.apply(ended(ONE, 0))), [ProcessId::Main]);
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(5)));
    assert_eq!(stopped(&effects), [ProcessId::Module(three)]);
    assert!(run.apply(ended(three, 0)).contains(&Effect::SignalLatecomers(libc::SIGTERM)));
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(5));
}

#[test]
fn a_module_that_hangs_holds_the_process_up_for_half_of_the_time_at_most() {
    let mut run = running(vec![ModulePlan { after: vec![Predecessor::Main], ..module(0) }]);
    run.apply(spawned(ONE));
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(!sends_stop_signal(&effects, ProcessId::Main));
    assert!(effects.contains(&Effect::Arm(Timer::Precedence, Duration::from_secs(4))));
    assert!(effects.contains(&Effect::Arm(Timer::Grace, Duration::from_secs(8))));
    assert!(sends_stop_signal(&run.apply(Event::Elapsed(Timer::Precedence)), ProcessId::Main));
    let effects = run.apply(Event::Elapsed(Timer::Grace));
    assert!(effects.contains(&Effect::SignalSurvivors(libc::SIGKILL)), "{effects:?}");
}

#[test]
fn the_second_stop_no_longer_waits_for_modules_and_the_third_kills() {
    let mut run = running(vec![ModulePlan { after: vec![Predecessor::Main], ..module(0) }]);
    run.all([spawned(ONE), signal(libc::SIGTERM)]);
    assert!(sends_stop_signal(&run.apply(signal(libc::SIGTERM)), ProcessId::Main));
    assert!(run.apply(signal(libc::SIGTERM)).contains(&Effect::SignalSurvivors(libc::SIGKILL)));
}

#[test]
fn a_process_that_ends_ends_its_modules() {
    let mut run = running(vec![module(0), restarting(module(1), RestartPolicy::Always, 0)]);
    run.all([spawned(ONE), spawned(TWO), ended(TWO, 1)]);
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)));
    assert!(sends_stop_signal(&effects, ProcessId::Module(ONE)));
    assert!(
        effects.contains(&Effect::Disarm(Timer::Process(ProcessId::Module(TWO), ProcessTimer::Restart))),
        "nothing is restarted: {effects:?}"
    );
    assert!(!run.apply(Event::Ordered(Order::Start(TWO))).contains(&Effect::Spawn(ProcessId::Module(TWO))));
    run.apply(ended(ONE, 0));
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(0));
}

#[test]
fn modules_continue_while_the_process_is_restarted() {
    let restart = RestartPlan { policy: RestartPolicy::Always, ..RestartPlan::default() };
    let mut run = Run::of(Plan { main: Some(ProcessPlan { restart, ..process() }), modules: vec![module(0)], ..bare() });
    run.all([Event::Begin, spawned(ONE), Event::Spawned(ProcessId::Main, PID)]);
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(1)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Signal(ProcessId::Module(_), _))), "{effects:?}");
    let effects = run.apply(Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Restart)));
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Spawn(_))).count(), 1, "{effects:?}");
    run.apply(Event::Spawned(ProcessId::Main, PID));
    assert_eq!((run.status(), run.state(ONE)), (Status::Up, ModuleState::Activated));
}

#[test]
fn a_process_that_cannot_be_spawned_ends_the_modules_that_just_started() {
    let mut run = with(vec![module(0)]);
    run.apply(Event::Begin);
    let effects = run.apply(Event::SpawnFailed(ProcessId::Main, 127, "not found".to_owned()));
    assert_eq!(exit_of(&effects), None, "a module is on its way");
    assert!(sends_stop_signal(&run.apply(spawned(ONE)), ProcessId::Module(ONE)));
    run.apply(ended(ONE, 0));
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(127));
}
