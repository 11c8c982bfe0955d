//! Control requests for modules in the reducer, at every moment: before the process starts, during a pause, and across a reload.

use super::modules::{ONE, ended, gone, module, restarting, running, spawned};
use super::*;
use crate::plan::module::Predecessor;
use crate::plan::process::RestartPolicy;
use crate::plan::reload::Reload;
use crate::plan::{ModuleId, ModulePlan};
use crate::state::event::Order;
use crate::state::snapshot::{ModuleState, Status};

const PROCESS: ProcessId = ProcessId::Module(ONE);
const PAUSE: Timer = Timer::Process(ProcessId::Module(ONE), ProcessTimer::Restart);
const GRACE: Timer = Timer::Process(ProcessId::Module(ONE), ProcessTimer::Grace);

fn spawns(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Spawn(PROCESS))
}

#[test]
fn the_last_order_before_the_process_starts_holds() {
    for (orders, starts) in [
        (vec![Order::Stop(ONE)], false),
        (vec![Order::Start(ONE), Order::Stop(ONE)], false),
        (vec![Order::Stop(ONE), Order::Start(ONE)], true),
        (vec![Order::Restart(ONE)], true),
        (Vec::new(), true),
    ] {
        let mut run = Run::of(Plan { modules: vec![module(0)], ..full() });
        run.apply(Event::Begin);
        run.all(orders.iter().map(|order| Event::Ordered(*order)));
        let effects: Vec<Effect> = way_to(Phase::Running)[1..].iter().flat_map(|event| run.apply(event.clone())).collect();
        assert_eq!(run.phase(), Phase::Running);
        assert_eq!(spawns(&effects), starts, "{orders:?}");
        assert_eq!(run.state(ONE), if starts { ModuleState::Starting } else { ModuleState::Deactivated }, "{orders:?}");
        assert!(starts || run.lifecycle.snapshot().stage("module:m0").is_none(), "{orders:?}: what was stopped counts for nothing");
    }
}

/// A run whose module has ended and is restarted after a pause.
fn pausing() -> Run {
    let mut run = running(vec![restarting(module(0), RestartPolicy::Always, 0)]);
    let effects = run.all([spawned(ONE), ended(ONE, 3)]);
    assert!(effects.contains(&Effect::Arm(PAUSE, Duration::from_secs(1))), "{effects:?}");
    run
}

#[test]
fn an_order_during_the_pause_sees_off_what_the_process_left_first() {
    for (order, state) in [
        (Order::Start(ONE), ModuleState::Starting),
        (Order::Restart(ONE), ModuleState::Starting),
        (Order::Stop(ONE), ModuleState::Deactivated),
    ] {
        let mut run = pausing();
        let effects = run.apply(Event::Ordered(order));
        for effect in [Effect::Disarm(PAUSE), Effect::Arm(GRACE, Duration::from_secs(8)), Effect::AwaitGroup(PROCESS)] {
            assert!(effects.contains(&effect), "{order:?}: {effects:?}");
        }
        assert!(!spawns(&effects), "{order:?}");
        assert_eq!(run.state(ONE), ModuleState::Stopping, "{order:?}: it is not over yet");
        let effects = run.apply(Event::Elapsed(GRACE));
        assert!(effects.contains(&Effect::SignalGroup(PROCESS, libc::SIGKILL)), "{order:?}: {effects:?}");
        assert_eq!(spawns(&run.apply(gone(ONE))), state == ModuleState::Starting, "{order:?}");
        assert_eq!(run.state(ONE), state, "{order:?}");
    }
}

#[test]
fn a_request_while_leftovers_of_a_failed_module_end_does_not_get_the_failure_as_its_result() {
    for (order, state) in [(Order::Start(ONE), ModuleState::Starting), (Order::Stop(ONE), ModuleState::Deactivated)] {
        let mut run = running(vec![module(0)]);
        run.all([spawned(ONE), ended(ONE, 3)]);
        assert_eq!((run.state(ONE), run.status()), (ModuleState::Broken, Status::Down));
        run.apply(Event::Ordered(order));
        assert_eq!(run.state(ONE), ModuleState::Stopping, "{order:?}");
        run.apply(gone(ONE));
        assert_eq!(run.state(ONE), state, "{order:?}");
    }
}

#[test]
fn a_reload_stops_the_old_process_by_the_rules_it_was_started_with() {
    let rules = |signal, seconds, group| {
        let process = ProcessPlan {
            stop_signal: Some(signal),
            stop_timeout: Duration::from_secs(seconds),
            signals: SignalPlan { group, ..SignalPlan::default() },
            ..process()
        };
        Plan { modules: vec![ModulePlan { process, ..module(0) }], ..bare() }
    };
    let (old, new) = (rules(libc::SIGQUIT, 3, true), rules(libc::SIGUSR1, 20, false));
    let mut run = running(old.modules.clone());
    run.apply(spawned(ONE));
    let effects = run.apply(Event::Reloaded(Arc::new(Reload::new(&old, new).unwrap().plan)));
    assert!(effects.contains(&Effect::SignalGroup(PROCESS, libc::SIGQUIT)), "{effects:?}");
    assert!(effects.contains(&Effect::Arm(GRACE, Duration::from_secs(3))), "{effects:?}");
    assert!(spawns(&run.all([ended(ONE, 0), gone(ONE)])));
    run.apply(spawned(ONE));
    let effects = run.apply(Event::Ordered(Order::Stop(ONE)));
    assert!(effects.contains(&Effect::Signal(PROCESS, libc::SIGUSR1)), "{effects:?}");
    assert!(effects.contains(&Effect::Arm(GRACE, Duration::from_secs(20))), "{effects:?}");
}

#[test]
fn what_waits_for_a_stopped_module_is_reported_until_that_one_starts() {
    let after = |number: u32| ModulePlan { after: vec![Predecessor::Module(ModuleId(number - 1))], ..module(number) };
    let mut run = running(vec![module(0), after(1), after(2)]);
    let [first, second, third] = [ModuleId(0), ModuleId(1), ModuleId(2)];
    let held = |run: &Run| run.lifecycle.snapshot().modules.iter().map(|module| module.held_up_by.clone()).collect::<Vec<_>>();
    assert_eq!(held(&run), [None, None, None], "the first one is on its way");
    run.apply(spawned(first));
    run.apply(spawned(second));
    run.apply(spawned(third));
    run.all([Event::Ordered(Order::Stop(first)), ended(first, 0), gone(first)]);
    assert_eq!(held(&run), [None, None, None], "running modules no longer wait for others");
    run.all([Event::Ordered(Order::Restart(second)), Event::Ordered(Order::Restart(third))]);
    run.all([ended(second, 0), gone(second), ended(third, 0), gone(third)]);
    assert_eq!(held(&run), [None, Some("m0".to_owned()), Some("m0".to_owned())], "the third one through the second");
    run.apply(Event::Ordered(Order::Start(first)));
    assert_eq!(held(&run), [None, None, None]);
}
