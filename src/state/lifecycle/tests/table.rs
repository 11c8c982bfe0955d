//! Every event in every phase, and an exit from every phase with its code.

use super::*;
use crate::exit::Exit;
use crate::state::event::Preparation;

/// Every kind of event, expected or not.
pub(super) fn every_event() -> Vec<Event> {
    let mut events = vec![
        Event::Begin,
        Event::Probed(0, passed()),
        Event::Probed(0, refused()),
        Event::Probed(0, Outcome::failed(ErrorKind::Auth, "", Duration::ZERO)),
        Event::Probed(1, passed()),
        Event::Probed(9, passed()),
        Event::StartupProbed(ProcessId::Main, passed()),
        Event::StartupProbed(ProcessId::Main, refused()),
        Event::Lock(LockNews::Queued("two".into())),
        Event::Lock(LockNews::Held),
        Event::Lock(LockNews::Lost("the connection broke".to_owned())),
        Event::Lock(LockNews::Unavailable(Exit::LockTimeout, "two holds it".to_owned())),
        Event::Lock(LockNews::Released),
        Event::Lock(LockNews::HandedOn),
        Event::Lock(LockNews::Confirmed),
        Event::Away(Duration::from_secs(3)),
        Event::Away(Duration::ZERO),
        Event::Lock(LockNews::Current { ahead: false }),
        Event::Lock(LockNews::Checked(Duration::from_secs(1))),
        Event::Lock(LockNews::Preparing(Preparation::Settling)),
        Event::Lock(LockNews::Verified(Ok(()))),
        Event::GroupGone(ProcessId::Migration),
        Event::NoneLeft,
        Event::Beaten(Ok(())),
        Event::Beaten(Err(ErrorKind::Refused)),
        Event::Withdrawn,
    ];
    for id in [ProcessId::Main, ProcessId::Migration] {
        events.push(Event::Spawned(id, PID));
        events.push(Event::SpawnFailed(id, 127, "not found".to_owned()));
        events.push(Event::Exited(id, Ended::Code(0)));
        events.push(Event::Exited(id, Ended::Signal(9)));
    }
    events.extend([libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGWINCH].map(signal));
    let timers = [
        Timer::Wait(0),
        Timer::Confirm,
        Timer::Overlap,
        Timer::Schema,
        Timer::Process(ProcessId::Main, ProcessTimer::Limit),
        Timer::Process(ProcessId::Migration, ProcessTimer::Limit),
        Timer::Release,
        Timer::Withdraw,
        Timer::Drain,
        Timer::Grace,
        Timer::Reap,
        Timer::Process(ProcessId::Migration, ProcessTimer::Restart),
    ];
    events.extend(timers.map(Event::Elapsed));
    events
}

/// Whether a run may go from one phase to the other within one event.
pub(super) fn may_follow(from: Phase, to: Phase) -> bool {
    match to {
        _ if from == to => true,
        Phase::Init => false,
        Phase::Failed => matches!(from, Phase::Init | Phase::Waiting | Phase::Migrating | Phase::Starting),
        Phase::Draining => matches!(from, Phase::Starting | Phase::Running),
        _ => from != Phase::Failed && (from as u8) < (to as u8),
    }
}

#[test]
fn no_event_leads_back() {
    for phase in Phase::ALL {
        for first in every_event() {
            let mut run = run_in(phase);
            let left = exit_of(&run.apply(first.clone())).is_some();
            assert!(may_follow(phase, run.phase()), "{first:?} led from {phase:?} to {:?}", run.phase());
            for second in every_event() {
                let mut run = run.clone();
                let before = run.phase();
                let effects = run.apply(second.clone());
                assert!(may_follow(before, run.phase()), "{first:?}, {second:?} led from {before:?} to {:?}", run.phase());
                assert!(!left || effects.is_empty(), "{second:?} after the exit");
                if let Some(index) = effects.iter().position(|effect| matches!(effect, Effect::Exit(_))) {
                    assert_eq!(index + 1, effects.len(), "something follows the exit: {effects:?}");
                }
            }
        }
    }
}

#[test]
fn unexpected_news_start_nothing() {
    let spawns = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Spawn(_)));
    for phase in Phase::ALL {
        for event in every_event() {
            let expected = matches!((phase, &event), (Phase::Migrating, Event::Lock(LockNews::Held)),);
            assert_eq!(spawns(&run_in(phase).apply(event.clone())), expected, "{event:?} in {phase:?}");
        }
    }
}

#[test]
fn the_migration_runs_once_and_its_lock_is_kept_meanwhile() {
    let mut run = run_in(Phase::Migrating);
    run.all([Event::Lock(LockNews::Held), Event::Spawned(ProcessId::Migration, PID)]);
    assert_eq!(run.apply(Event::Lock(LockNews::Held)), []);
    run.apply(Event::Exited(ProcessId::Migration, Ended::Code(0)));
    assert_eq!(run.apply(Event::Lock(LockNews::Held)), []);
    run.apply(Event::GroupGone(ProcessId::Migration));
    assert_eq!(run.apply(Event::Lock(LockNews::Held)), []);
    assert_eq!(run.apply(Event::Lock(LockNews::Unavailable(Exit::LockTimeout, String::new()))), []);
    assert_eq!(run.apply(Event::Lock(LockNews::Queued("two".into()))), []);
    assert_eq!(run.apply(Event::Lock(LockNews::Released)).last(), Some(&Effect::Spawn(ProcessId::Main)));
    assert_eq!(run.apply(Event::Lock(LockNews::Held)), [Effect::ReleaseLock]);
}

fn migrating() -> Vec<Event> {
    let mut events = way_to(Phase::Migrating);
    events.extend([Event::Lock(LockNews::Held), Event::Spawned(ProcessId::Migration, PID)]);
    events
}

#[test]
fn every_phase_has_an_exit() {
    let term = || signal(libc::SIGTERM);
    let released = || Event::Lock(LockNews::Released);
    let gone = || Event::GroupGone(ProcessId::Migration);
    let migrated = |ended| [Event::Exited(ProcessId::Migration, ended), gone(), released(), Event::NoneLeft];
    let died = |ended| [Event::Exited(ProcessId::Main, ended), Event::Withdrawn, Event::NoneLeft];
    let spawn_failed = |id, code| Event::SpawnFailed(id, code, "spawning serve failed".to_owned());
    let held_but_not_spawned = |code| vec![Event::Lock(LockNews::Held), spawn_failed(ProcessId::Migration, code), released()];
    let mut unspawned = way_to(Phase::Starting);
    unspawned.pop();
    let then = |mut events: Vec<Event>, more: &[Event]| {
        events.extend(more.iter().cloned());
        events
    };
    let rows = [
        ("TERM in init", vec![term()], 143, "ended by SIGTERM while init"),
        ("TERM while waiting", then(way_to(Phase::Waiting), &[term()]), 143, "ended by SIGTERM while waiting, with no process running"),
        ("INT while waiting", then(way_to(Phase::Waiting), &[signal(libc::SIGINT)]), 130, "ended by SIGINT while waiting"),
        ("HUP while waiting", then(way_to(Phase::Waiting), &[signal(libc::SIGHUP)]), 129, "ended by SIGHUP while waiting"),
        (
            "the wait's limit",
            then(way_to(Phase::Waiting), &[Event::Probed(0, refused()), Event::Elapsed(Timer::Wait(0))]),
            69,
            "db (tcp://db:5432) was not ready within 1m: connection refused; check the port",
        ),
        (
            "the wait's limit during the first attempt",
            then(way_to(Phase::Waiting), &[Event::Elapsed(Timer::Wait(0))]),
            69,
            "db (tcp://db:5432) was not ready within 1m: the first attempt had not ended; check that the server answers",
        ),
        ("TERM while queueing", then(way_to(Phase::Migrating), &[term()]), 143, "ended by SIGTERM while migrating"),
        (
            "no lock in time",
            then(way_to(Phase::Migrating), &[Event::Lock(LockNews::Unavailable(Exit::LockTimeout, "two holds the lock".to_owned()))]),
            75,
            "two holds the lock",
        ),
        ("no migration command", then(way_to(Phase::Migrating), &held_but_not_spawned(127)), 127, "spawning serve failed"),
        ("no right to it", then(way_to(Phase::Migrating), &held_but_not_spawned(126)), 126, "spawning serve failed"),
        ("a failed migration", then(migrating(), &migrated(Ended::Code(3))), 3, "the migration ended with status 3"),
        ("a killed migration", then(migrating(), &migrated(Ended::Signal(9))), 137, "the migration ended with SIGKILL"),
        (
            "TERM while it migrates",
            then(then(migrating(), &[term()]), &migrated(Ended::Code(0))),
            143,
            "ended by SIGTERM while the migration ran",
        ),
        (
            "a lost lock",
            then(then(migrating(), &[Event::Lock(LockNews::Lost("eof".to_owned()))]), &migrated(Ended::Signal(15))),
            76,
            "the migration lock was lost while the migration ran: eof",
        ),
        (
            "a migration too long",
            then(
                then(migrating(), &[Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Limit))]),
                &migrated(Ended::Signal(15)),
            ),
            124,
            "the migration ran longer than 10m",
        ),
        (
            "a release that hangs",
            then(
                migrating(),
                &[Event::Exited(ProcessId::Migration, Ended::Code(1)), gone(), Event::Elapsed(Timer::Release), Event::NoneLeft],
            ),
            1,
            "the migration ended with status 1",
        ),
        ("no command", then(unspawned.clone(), &[spawn_failed(ProcessId::Main, 127), Event::NoneLeft]), 127, "spawning serve failed"),
        ("no right to it", then(unspawned, &[spawn_failed(ProcessId::Main, 126), Event::NoneLeft]), 126, "spawning serve failed"),
        ("death while starting", then(way_to(Phase::Starting), &died(Ended::Code(2))), 2, "the process ended with status 2"),
        (
            "the startup check's limit",
            then(way_to(Phase::Failed), &died(Ended::Signal(15))),
            69,
            "the startup check did not pass within 2m: the first attempt had not ended; check that the server answers",
        ),
        ("death while running", then(way_to(Phase::Running), &died(Ended::Signal(11))), 139, "the process ended with SIGSEGV"),
        ("the end while running", then(way_to(Phase::Running), &died(Ended::Code(0))), 0, "the process ended with status 0"),
        (
            "TERM while running",
            then(way_to(Phase::Draining), &died(Ended::Code(7))),
            7,
            "the process ended with status 7 after a stop was requested",
        ),
        ("what is left behind", then(way_to(Phase::Stopped), &[Event::Withdrawn, Event::NoneLeft]), 0, "the process ended with status 0"),
    ];
    for (name, events, code, sentence) in rows {
        let mut run = Run::of(full());
        assert_eq!(exit_of(&run.all(events)), Some(code), "{name}");
        let ending = run.ending();
        assert_eq!(ending.0, code, "{name}");
        assert!(ending.1.starts_with(sentence), "{name}: {}", ending.1);
    }
}

#[test]
fn a_wait_with_too_few_successes_reports_that() {
    let mut plan = full();
    plan.checks[0].success_threshold = 3;
    let mut run = Run::of(plan);
    assert_eq!(exit_of(&run.all([Event::Begin, Event::Probed(0, passed()), Event::Elapsed(Timer::Wait(0))])), Some(69));
    let expected = "db (tcp://db:5432) was not ready within 1m: it passed, but not 3 times in a row; give it a longer `wait` or a lower";
    assert!(run.ending().1.starts_with(expected), "{}", run.ending().1);
}

#[test]
fn a_wrong_password_ends_the_wait_only_if_requested() {
    let refused = || Event::Probed(0, Outcome::failed(ErrorKind::Auth, "", Duration::ZERO));
    let mut patient = run_in(Phase::Waiting);
    assert_eq!(patient.apply(refused()), []);
    let mut plan = full();
    plan.checks[0].fail_fast = true;
    let mut hasty = Run::of(plan);
    assert_eq!(exit_of(&hasty.all([Event::Begin, refused()])), Some(69));
    assert!(hasty.ending().1.contains("authentication failed; check user, password and database"));
}
