//! One whole run in order, effect by effect.

use super::*;
use crate::state::event::Readiness;
use crate::state::snapshot::{Level, Look, Migration, StageState, Status};

fn status(run: &Run) -> Status {
    run.lifecycle.snapshot().overall(Look::fresh(run.now))
}

/// An event, its effects, and the phase and the status after it.
type Row = (Event, Vec<Effect>, Phase, Status);

/// The wait and the migration, up to the start of the process.
fn migrates() -> Vec<Row> {
    let seconds = Duration::from_secs;
    vec![
        (Event::Begin, vec![Effect::Arm(Timer::Wait(0), seconds(60))], Phase::Waiting, Status::Unknown),
        (Event::Probed(0, refused()), vec![], Phase::Waiting, Status::Unknown),
        (Event::Probed(0, passed()), vec![Effect::Disarm(Timer::Wait(0)), Effect::AcquireLock], Phase::Migrating, Status::Unknown),
        (Event::Lock(LockNews::Queued("two".into())), vec![], Phase::Migrating, Status::Unknown),
        (Event::Lock(LockNews::Held), vec![Effect::Spawn(ProcessId::Migration)], Phase::Migrating, Status::Unknown),
        (
            Event::Spawned(ProcessId::Migration, PID),
            vec![Effect::Arm(Timer::Process(ProcessId::Migration, ProcessTimer::Limit), seconds(600))],
            Phase::Migrating,
            Status::Unknown,
        ),
        (
            Event::Exited(ProcessId::Migration, Ended::Code(0)),
            vec![
                Effect::Disarm(Timer::Process(ProcessId::Migration, ProcessTimer::Limit)),
                Effect::Arm(Timer::Process(ProcessId::Migration, ProcessTimer::Grace), seconds(5)),
                Effect::SignalGroup(ProcessId::Migration, libc::SIGTERM),
                Effect::AwaitGroup(ProcessId::Migration),
            ],
            Phase::Migrating,
            Status::Unknown,
        ),
        (
            Event::GroupGone(ProcessId::Migration),
            vec![
                Effect::Disarm(Timer::Process(ProcessId::Migration, ProcessTimer::Grace)),
                Effect::Disarm(Timer::Process(ProcessId::Migration, ProcessTimer::Reap)),
                Effect::Disarm(Timer::Grace),
                Effect::Disarm(Timer::Overlap),
                Effect::Disarm(Timer::Reap),
                Effect::ReleaseLock,
                Effect::Arm(Timer::Release, seconds(5)),
            ],
            Phase::Migrating,
            Status::Unknown,
        ),
        (
            Event::Lock(LockNews::Released),
            vec![Effect::Disarm(Timer::Release), Effect::Spawn(ProcessId::Main)],
            Phase::Starting,
            Status::Unknown,
        ),
    ]
}

/// The startup check, then changes of readiness while it runs.
fn runs() -> Vec<Row> {
    let seconds = Duration::from_secs;
    vec![
        (
            Event::Spawned(ProcessId::Main, PID),
            vec![
                Effect::Arm(Timer::Process(ProcessId::Main, ProcessTimer::Limit), seconds(120)),
                Effect::Watch(ProcessId::Main, Watch::Start),
            ],
            Phase::Starting,
            Status::Unknown,
        ),
        (Event::StartupProbed(ProcessId::Main, refused()), vec![], Phase::Starting, Status::Unknown),
        (
            Event::StartupProbed(ProcessId::Main, passed()),
            vec![
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)),
                Effect::Watch(ProcessId::Main, Watch::Nothing),
                Effect::ProbeAll,
                Effect::Announce(Readiness::NotReady),
            ],
            Phase::Running,
            Status::Down,
        ),
        (Event::Probed(1, passed()), vec![Effect::Announce(Readiness::Ready)], Phase::Running, Status::Up),
        (Event::Beaten(Ok(())), vec![], Phase::Running, Status::Up),
        (Event::Probed(0, refused()), vec![], Phase::Running, Status::Up),
        (Event::Probed(0, refused()), vec![], Phase::Running, Status::Down),
        (Event::Probed(0, passed()), vec![], Phase::Running, Status::Up),
        (Event::Probed(1, refused()), vec![], Phase::Running, Status::Up),
        (Event::Probed(1, refused()), vec![Effect::Announce(Readiness::NotReady)], Phase::Running, Status::Down),
        (Event::Probed(1, passed()), vec![Effect::Announce(Readiness::Ready)], Phase::Running, Status::Up),
        (signal(libc::SIGHUP), vec![Effect::Signal(ProcessId::Main, libc::SIGHUP)], Phase::Running, Status::Up),
    ]
}

/// A stop request, up to the exit.
fn stops() -> Vec<Row> {
    let seconds = Duration::from_secs;
    vec![
        (
            signal(libc::SIGTERM),
            vec![
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)),
                Effect::Watch(ProcessId::Main, Watch::Nothing),
                Effect::Announce(Readiness::Stopped),
                Effect::Arm(Timer::Withdraw, seconds(1)),
            ],
            Phase::Draining,
            Status::OutOfService,
        ),
        (
            Event::Withdrawn,
            vec![Effect::Disarm(Timer::Withdraw), Effect::Arm(Timer::Drain, seconds(5))],
            Phase::Draining,
            Status::OutOfService,
        ),
        (
            Event::Elapsed(Timer::Drain),
            vec![
                Effect::Watch(ProcessId::Main, Watch::Nothing),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Watchdog)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::WatchdogKill)),
                Effect::Signal(ProcessId::Main, libc::SIGTERM),
                Effect::Signal(ProcessId::Main, libc::SIGCONT),
                Effect::Arm(Timer::Grace, seconds(8)),
            ],
            Phase::Draining,
            Status::OutOfService,
        ),
        (
            Event::Exited(ProcessId::Main, Ended::Signal(15)),
            vec![
                Effect::Watch(ProcessId::Main, Watch::Nothing),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Watchdog)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::WatchdogKill)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)),
                Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Restart)),
                Effect::Disarm(Timer::Drain),
                Effect::Disarm(Timer::Precedence),
                Effect::SignalSurvivors(libc::SIGTERM),
            ],
            Phase::Stopped,
            Status::Down,
        ),
        (Event::NoneLeft, vec![Effect::Exit(143)], Phase::Stopped, Status::Down),
        (signal(libc::SIGTERM), vec![], Phase::Stopped, Status::Down),
    ]
}

#[test]
fn a_run_from_init_to_stopped() {
    let mut run = Run::of(full());
    for (event, effects, phase, up) in [migrates(), runs(), stops()].concat() {
        let shown = format!("{event:?}");
        assert_eq!(run.apply(event), effects, "{shown}");
        assert_eq!(run.phase(), phase, "{shown}");
        assert_eq!(status(&run), up, "{shown}");
    }
    let snapshot = run.lifecycle.snapshot();
    assert!(
        snapshot.stages.iter().all(|stage| stage.step == StageState::Up && stage.began.unwrap().mono < stage.ended.unwrap().mono),
        "{:?}",
        snapshot.stages
    );
    assert_eq!(snapshot.migration, Migration::Done);
    assert_eq!(snapshot.heartbeat.written, 1);
    assert_eq!(run.ending(), (143, "the process ended with SIGTERM after a stop was requested"));
}

#[test]
fn with_nothing_to_wait_for_the_process_starts_at_once() {
    let mut run = Run::of(bare());
    assert_eq!(run.apply(Event::Begin), [Effect::Spawn(ProcessId::Main)]);
    assert_eq!(run.apply(Event::Spawned(ProcessId::Main, PID)), [Effect::ProbeAll, Effect::Announce(Readiness::Ready)]);
    assert_eq!((run.phase(), status(&run)), (Phase::Running, Status::Up));
}

#[test]
fn while_queueing_it_lives_and_is_not_ready() {
    let mut run = run_in(Phase::Migrating);
    run.apply(Event::Lock(LockNews::Queued("two".into())));
    let since = run.now;
    run.apply(Event::Lock(LockNews::Queued("three".into())));
    let snapshot = run.lifecycle.snapshot();
    assert_eq!(snapshot.migration, Migration::Queued { since, holder: "three".to_owned() });
    let look = Look::fresh(run.now);
    assert_eq!([Level::Live, Level::Started, Level::Ready].map(|level| snapshot.verdict(level, look)), [true, false, false]);
}

#[test]
fn a_mode_without_a_process_ends_with_0_after_the_migration() {
    let mut run = Run::of(Plan { main: None, ..full() });
    let mut events = way_to(Phase::Starting);
    events.pop();
    events.push(Event::NoneLeft);
    assert_eq!(exit_of(&run.all(events)), Some(0));
    assert_eq!(run.ending(), (0, "the migration is done and this mode starts no process"));
    assert_eq!(run.phase(), Phase::Stopped);
}

#[test]
fn a_mode_that_refuses_a_process_ends_with_its_code_after_the_migration() {
    let refusal = Some(crate::plan::StartRefusal { code: 3, message: "name a command".to_owned() });
    let mut run = Run::of(Plan { main: None, refusal, ..full() });
    let mut events = way_to(Phase::Starting);
    events.pop();
    let effects = run.all(events);
    assert!(!effects.contains(&Effect::Spawn(ProcessId::Main)), "{effects:?}");
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(3));
    assert_eq!(run.ending(), (3, "name a command"));
    assert_eq!(run.phase(), Phase::Failed);
}
