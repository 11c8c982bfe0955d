//! Programs on a file system that does not respond: the process exists, and it is unknown whether it executes its program.

use super::*;
use crate::exit::Exit;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_hanging_program_does_not_count_as_running_and_fails_when_its_time_is_over() {
    for (plan, within) in [(bare(), 60), (Plan { main: full().main, ..bare() }, 120)] {
        let mut run = Run::of(plan);
        run.apply(Event::Begin);
        let armed = run.apply(Event::Forked(ProcessId::Main));
        assert!(
            matches!(armed[..], [Effect::Arm(Timer::Process(ProcessId::Main, ProcessTimer::Limit), after), ..] if after == seconds(within)),
            "{armed:?}"
        );
        let snapshot = run.lifecycle.snapshot();
        assert_eq!((run.phase(), snapshot.child.pid), (Phase::Starting, None));
        let effects = run.apply(Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Limit)));
        assert!(effects.contains(&Effect::Signal(ProcessId::Main, libc::SIGTERM)), "{effects:?}");
        let ending = run.lifecycle.ending().unwrap();
        assert_eq!(ending.code, Exit::Unavailable.code());
        assert!(ending.sentence.contains("program was not executed within"), "{}", ending.sentence);
        run.all([Event::Spawned(ProcessId::Main, PID), Event::Exited(ProcessId::Main, Ended::Signal(15)), Event::NoneLeft]);
        assert_eq!(run.phase(), Phase::Failed);
    }
}

#[test]
fn a_stop_reaches_a_process_whose_program_hangs() {
    for late in [
        Event::Spawned(ProcessId::Main, PID),
        Event::SpawnFailed(ProcessId::Main, 127, "cannot start serve".to_owned()),
        Event::Exited(ProcessId::Main, Ended::Signal(15)),
    ] {
        let mut run = Run::of(bare());
        run.all([Event::Begin, Event::Forked(ProcessId::Main)]);
        let effects = run.apply(Event::Signalled(libc::SIGTERM));
        assert!(effects.contains(&Effect::Signal(ProcessId::Main, libc::SIGTERM)), "{effects:?}");
        assert!(effects.contains(&Effect::Arm(Timer::Grace, ProcessPlan::STOP_TIMEOUT)), "{effects:?}");
        let executes = matches!(late, Event::Spawned(..));
        let effects = run.apply(late);
        assert!(!run.lifecycle.snapshot().started, "{effects:?}");
        if executes {
            run.apply(Event::Exited(ProcessId::Main, Ended::Signal(15)));
        }
        assert!(run.apply(Event::NoneLeft).iter().any(|effect| matches!(effect, Effect::Exit(_))));
    }
}

#[test]
fn a_program_that_executes_disarms_what_its_fork_armed() {
    let mut run = Run::of(bare());
    run.all([Event::Begin, Event::Forked(ProcessId::Main)]);
    let effects = run.apply(Event::Spawned(ProcessId::Main, PID));
    assert_eq!(effects.first(), Some(&Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit))));
    assert_eq!(run.phase(), Phase::Running);
}

#[test]
fn the_lock_is_kept_while_a_migration_may_yet_be_executed() {
    let mut run = Run::of(full());
    run.all([Event::Begin, Event::Probed(0, passed()), Event::Lock(LockNews::Held)]);
    run.apply(Event::Forked(ProcessId::Migration));
    let effects = run.apply(Event::Signalled(libc::SIGTERM));
    assert!(effects.contains(&Effect::Signal(ProcessId::Migration, libc::SIGTERM)), "{effects:?}");
    assert!(!effects.contains(&Effect::ReleaseLock), "{effects:?}");
    run.apply(Event::Spawned(ProcessId::Migration, PID));
    run.apply(Event::Exited(ProcessId::Migration, Ended::Signal(15)));
    let effects = run.apply(Event::GroupGone(ProcessId::Migration));
    assert!(effects.contains(&Effect::ReleaseLock), "{effects:?}");
}

#[test]
fn a_migration_that_cannot_be_executed_gives_the_lock_back() {
    let mut run = Run::of(full());
    run.all([Event::Begin, Event::Probed(0, passed()), Event::Lock(LockNews::Held)]);
    run.apply(Event::Forked(ProcessId::Migration));
    let effects = run.apply(Event::SpawnFailed(ProcessId::Migration, 127, "cannot start migrate".to_owned()));
    assert!(
        effects.contains(&Effect::ReleaseLock)
            && effects.contains(&Effect::Disarm(Timer::Process(ProcessId::Migration, ProcessTimer::Limit))),
        "{effects:?}"
    );
    assert_eq!(run.lifecycle.ending().unwrap().code, 127);
}
