//! Signals on their way to the child, stopped children, and starts that are held.

use super::*;
use crate::state::event::Suspend;

fn running(signals: SignalPlan) -> Run {
    let mut run = Run::of(Plan { main: Some(ProcessPlan { signals, ..process() }), ..bare() });
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    run
}

fn as_dumb_init() -> Run {
    running(SignalPlan { group: true, ..SignalPlan::default() })
}

#[test]
fn ctrl_z_suspends_both_and_cont_resumes_both() {
    let mut run = running(SignalPlan::default());
    let put_aside = vec![Effect::Suspend(ProcessId::Main, Suspend::AsJobOrNotAtAll)];
    for _ in 0..2 {
        assert_eq!(run.apply(Event::Stopped(ProcessId::Main, libc::SIGTSTP)), put_aside);
        assert_eq!(run.apply(signal(libc::SIGCONT)), [Effect::Resume(ProcessId::Main)]);
    }
    // For one that was only continued, the group is not examined.
    assert_eq!(run.apply(signal(libc::SIGCONT)), [Effect::Signal(ProcessId::Main, libc::SIGCONT)]);
    // A background job that reads is stopped; continuing it at once would stop it again.
    assert_eq!(run.apply(Event::Stopped(ProcessId::Main, libc::SIGTTIN)), [Effect::Suspend(ProcessId::Main, Suspend::AsJob)]);
}

#[test]
fn a_stopped_child_stays_stopped() {
    let mut run = running(SignalPlan::default());
    let expected = vec![Effect::Signal(ProcessId::Main, libc::SIGTSTP), Effect::Suspend(ProcessId::Main, Suspend::AsJob)];
    assert_eq!(run.apply(signal(libc::SIGTSTP)), expected);
    assert_eq!(run.apply(Event::Stopped(ProcessId::Main, libc::SIGTSTP)), []);
    let mut other = running(SignalPlan::default());
    assert_eq!(other.apply(Event::Stopped(ProcessId::Main, libc::SIGSTOP)), []);
}

#[test]
fn dumb_inits_way_is_stop_for_the_group_and_for_us() {
    let mut run = as_dumb_init();
    for number in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let both = vec![Effect::SignalGroup(ProcessId::Main, libc::SIGSTOP), Effect::Suspend(ProcessId::Main, Suspend::Always)];
        assert_eq!(run.apply(signal(number)), both);
        assert_eq!(run.apply(Event::Stopped(ProcessId::Main, libc::SIGSTOP)), []);
        assert_eq!(run.apply(signal(libc::SIGCONT)), [Effect::Resume(ProcessId::Main)]);
    }
    let rewrite = [(libc::SIGTSTP, libc::SIGHUP)].into();
    let mut run = running(SignalPlan { group: true, rewrite, ..SignalPlan::default() });
    let first = run.apply(signal(libc::SIGTSTP)).first().copied();
    assert_eq!(first, Some(Effect::SignalGroup(ProcessId::Main, libc::SIGHUP)));
}

#[test]
fn in_group_scope_only_a_stopped_child_is_woken_for_its_end() {
    let cont = Effect::SignalGroup(ProcessId::Main, libc::SIGCONT);
    assert!(!as_dumb_init().apply(signal(libc::SIGTERM)).contains(&cont));
    let mut run = as_dumb_init();
    run.apply(Event::Stopped(ProcessId::Main, libc::SIGSTOP));
    assert!(run.apply(signal(libc::SIGTERM)).contains(&cont));
}

#[test]
fn a_stop_signal_that_was_named_is_not_rewritten_and_the_one_that_came_is() {
    let rewrite = SignalPlan { rewrite: [(libc::SIGTERM, libc::SIGQUIT), (libc::SIGINT, libc::SIGHUP)].into(), ..SignalPlan::default() };
    assert!(running(rewrite.clone()).apply(signal(libc::SIGTERM)).contains(&Effect::Signal(ProcessId::Main, libc::SIGQUIT)));
    let main = ProcessPlan { signals: rewrite, stop_signal: Some(libc::SIGINT), ..process() };
    let mut run = Run::of(Plan { main: Some(main), ..bare() });
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    assert!(run.apply(signal(libc::SIGTERM)).contains(&Effect::Signal(ProcessId::Main, libc::SIGINT)));
}

#[test]
fn a_start_that_failed_is_held_until_a_stop_is_requested() {
    for stop in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        let mut run = Run::of(Plan { hold: true, ..bare() });
        let missing = || Event::SpawnFailed(ProcessId::Main, 127, "not found".to_owned());
        let effects = run.all([Event::Begin, missing()]);
        assert_eq!((effects.last(), exit_of(&effects)), (Some(&Effect::Hold), None));
        assert_eq!(run.apply(Event::NoneLeft), [], "reported once");
        assert_eq!(run.phase(), Phase::Failed);
        assert_eq!(exit_of(&run.apply(signal(stop))), Some(127), "{stop}");
    }
    // The end of a process that ran is not a failed start.
    let mut run = Run::of(Plan { hold: true, ..bare() });
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID), Event::Exited(ProcessId::Main, Ended::Code(1))]);
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(1));
}
