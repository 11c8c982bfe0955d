//! The migration's own rules: checks that skip it, leftovers, retries, its verification, a lost lock.

use super::*;
use crate::plan::SchemaCheck;
use crate::state::event::SchemaQuestion;
use crate::state::snapshot::{Migration, StageState};

const GRACE: Timer = Timer::Process(ProcessId::Migration, ProcessTimer::Grace);

const SPAWN: Effect = Effect::Spawn(ProcessId::Migration);

fn by_command() -> SchemaCheck {
    SchemaCheck::Command(Box::new(process()))
}

/// A run with this migration, before the migration.
fn run_with(change: impl Fn(&mut MigrationPlan)) -> (Run, Vec<Effect>) {
    let mut plan = full();
    change(plan.migration.as_mut().unwrap());
    let mut run = Run::of(plan);
    let effects = run.all(way_to(Phase::Migrating));
    assert_eq!(run.phase(), Phase::Migrating);
    (run, effects)
}

/// A command of the migration from its spawn until none of its processes is left; returns the effects.
fn task(run: &mut Run, code: u8) -> Vec<Effect> {
    let [spawned, ended] = [Event::Spawned(ProcessId::Migration, PID), Event::Exited(ProcessId::Migration, Ended::Code(code))];
    run.all([spawned, ended, Event::GroupGone(ProcessId::Migration)])
}

fn has(effects: &[Effect], wanted: Effect) -> bool {
    effects.contains(&wanted)
}

fn held() -> Event {
    Event::Lock(LockNews::Held)
}

#[test]
fn a_current_schema_is_not_migrated_and_its_lock_not_requested() {
    for code in [0, 2] {
        let (mut run, effects) = run_with(|plan| plan.check = Some(by_command()));
        assert_eq!(effects.last(), Some(&Effect::QuerySchema(SchemaQuestion::Check)));
        let effects = task(&mut run, code);
        assert!(has(&effects, Effect::Spawn(ProcessId::Main)), "{effects:?}");
        assert!(!has(&effects, Effect::ReleaseLock) && !has(&effects, Effect::AcquireLock), "{effects:?}");
        assert_eq!(run.lifecycle.snapshot().migration, Migration::Done);
        assert_eq!(run.lifecycle.snapshot().migration_lock.ahead, code == 2);
    }
}

#[test]
fn pending_work_is_checked_again_under_the_lock() {
    for (second, next) in [(1, SPAWN), (0, Effect::ReleaseLock)] {
        let (mut run, _) = run_with(|plan| plan.check = Some(by_command()));
        assert!(has(&task(&mut run, 1), Effect::AcquireLock));
        run.apply(Event::Lock(LockNews::Queued("two".into())));
        assert_eq!(run.apply(held()), [Effect::QuerySchema(SchemaQuestion::Check)]);
        assert!(has(&task(&mut run, second), next));
    }
}

#[test]
fn a_waiter_checks_when_the_holder_is_done_and_trusts_no_result_from_before_its_own_turn() {
    let (mut run, _) = run_with(|plan| plan.check = Some(by_command()));
    task(&mut run, 1);
    assert_eq!(run.apply(Event::Lock(LockNews::HandedOn)), [Effect::QuerySchema(SchemaQuestion::Check)]);
    run.apply(Event::Spawned(ProcessId::Migration, PID));
    assert_eq!(run.apply(held()), [], "the check that runs began too early");
    run.apply(Event::Exited(ProcessId::Migration, Ended::Code(1)));
    assert!(has(&run.apply(Event::GroupGone(ProcessId::Migration)), Effect::QuerySchema(SchemaQuestion::Check)));
    assert!(has(&task(&mut run, 1), SPAWN));
    let (mut run, _) = run_with(|plan| plan.check = Some(by_command()));
    task(&mut run, 1);
    run.apply(Event::Lock(LockNews::HandedOn));
    assert!(has(&task(&mut run, 0), Effect::ReleaseLock), "it leaves the queue");
    assert!(has(&run.apply(Event::Lock(LockNews::Released)), Effect::Spawn(ProcessId::Main)));
}

#[test]
fn the_database_may_say_that_there_is_nothing_to_do() {
    let (mut run, _) = run_with(|plan| plan.check = Some(SchemaCheck::Sql("SELECT 0".to_owned())));
    assert!(has(&run.apply(Event::Lock(LockNews::Current { ahead: true })), Effect::ReleaseLock));
    assert!(has(&run.apply(Event::Lock(LockNews::Released)), Effect::Spawn(ProcessId::Main)));
    assert!(run.lifecycle.snapshot().migration_lock.ahead);
}

#[test]
fn leftovers_in_the_migrations_group_end_before_the_lock_is_released() {
    let (mut run, _) = run_with(|_| {});
    run.all([held(), Event::Spawned(ProcessId::Migration, PID)]);
    let effects = run.apply(Event::Exited(ProcessId::Migration, Ended::Code(0)));
    let group = |number| Effect::SignalGroup(ProcessId::Migration, number);
    assert!(has(&effects, group(libc::SIGTERM)) && has(&effects, Effect::AwaitGroup(ProcessId::Migration)), "{effects:?}");
    assert!(!has(&effects, Effect::ReleaseLock));
    assert_eq!(run.apply(signal(libc::SIGUSR1)), []);
    let effects = run.apply(Event::Elapsed(GRACE));
    assert!(has(&effects, group(libc::SIGKILL)) && !has(&effects, Effect::ReleaseLock), "{effects:?}");
    assert!(has(&run.apply(Event::GroupGone(ProcessId::Migration)), Effect::ReleaseLock));
    assert_eq!(run.apply(Event::GroupGone(ProcessId::Migration)), []);
}

#[test]
fn leftovers_that_had_to_be_killed_take_nothing_from_the_stop_of_the_process() {
    let (mut run, _) = run_with(|_| {});
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Exited(ProcessId::Migration, Ended::Code(0))]);
    assert!(has(&run.apply(Event::Elapsed(GRACE)), Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL)));
    run.all([Event::GroupGone(ProcessId::Migration), Event::Lock(LockNews::Released), Event::Spawned(ProcessId::Main, PID)]);
    run.all([signal(libc::SIGTERM), Event::Elapsed(Timer::Drain)]);
    let mut ended = run.clone();
    let effects = ended.apply(Event::Exited(ProcessId::Main, Ended::Signal(15)));
    assert!(has(&effects, Effect::SignalSurvivors(libc::SIGTERM)), "its leftovers get the stop signal: {effects:?}");
    let effects = run.apply(Event::Elapsed(Timer::Grace));
    assert!(has(&effects, Effect::Arm(Timer::Reap, Duration::from_secs(1))), "KILL is not waited for without end: {effects:?}");
}

#[test]
fn a_lock_that_is_lost_during_its_check_does_not_delay_replicas_that_continue_without_it() {
    let (mut run, _) = run_with(|plan| (plan.check, plan.unlocked) = (Some(by_command()), true));
    task(&mut run, 1);
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Lock(LockNews::Lost("eof".to_owned()))]);
    let ended = Event::Exited(ProcessId::Migration, Ended::Code(1));
    assert!(has(&run.all([ended, Event::GroupGone(ProcessId::Migration)]), SPAWN));
}

#[test]
fn term_while_its_leftovers_end_waits_for_them() {
    let (mut run, _) = run_with(|_| {});
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Exited(ProcessId::Migration, Ended::Code(0))]);
    assert_eq!(run.apply(signal(libc::SIGTERM)), []);
    assert!(has(&run.apply(Event::GroupGone(ProcessId::Migration)), Effect::ReleaseLock));
    assert_eq!(exit_of(&run.all([Event::Lock(LockNews::Released), Event::NoneLeft])), Some(143));
}

#[test]
fn a_failed_command_is_retried_up_to_its_limit_under_the_same_lock() {
    let (mut run, _) = run_with(|plan| plan.retries = 2);
    run.apply(held());
    for pause in [2, 4] {
        let effects = task(&mut run, 9);
        assert!(
            has(&effects, Effect::Arm(Timer::Process(ProcessId::Migration, ProcessTimer::Restart), Duration::from_secs(pause))),
            "{effects:?}"
        );
        assert_eq!(run.apply(Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Restart))), [SPAWN]);
    }
    assert!(has(&task(&mut run, 9), Effect::ReleaseLock));
    assert_eq!(run.lifecycle.snapshot().migration_lock.attempts, 3);
    assert_eq!(run.ending().0, 9);
}

#[test]
fn term_in_the_pause_before_another_try_ends_it() {
    let (mut run, _) = run_with(|plan| plan.retries = 2);
    run.apply(held());
    task(&mut run, 9);
    assert!(has(&run.apply(signal(libc::SIGTERM)), Effect::ReleaseLock));
    assert_eq!(run.apply(Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Restart))), []);
    assert_eq!(exit_of(&run.all([Event::Lock(LockNews::Released), Event::NoneLeft])), Some(143));
}

#[test]
fn a_migration_that_does_not_verify_has_failed() {
    let (mut run, _) = run_with(|plan| plan.verify = Some(by_command()));
    run.apply(held());
    assert!(has(&task(&mut run, 0), Effect::QuerySchema(SchemaQuestion::Verify)));
    assert!(has(&task(&mut run, 4), Effect::ReleaseLock));
    assert_eq!(run.ending().0, 4);
    for (answer, step) in [(Ok(()), StageState::Up), (Err("no".to_owned()), StageState::Down)] {
        let (mut run, _) = run_with(|plan| plan.verify = Some(SchemaCheck::Sql("SELECT 1".to_owned())));
        run.apply(held());
        assert!(has(&task(&mut run, 0), Effect::QueryDatabase));
        assert!(has(&run.apply(Event::Lock(LockNews::Verified(answer))), Effect::ReleaseLock));
        assert_eq!(run.lifecycle.step_of("migrate"), Some(step));
    }
}

#[test]
fn a_lock_that_goes_between_two_commands_lets_no_further_one_begin() {
    let (mut run, _) = run_with(|plan| plan.verify = Some(by_command()));
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Exited(ProcessId::Migration, Ended::Code(0))]);
    run.apply(Event::Lock(LockNews::Lost("eof".to_owned())));
    let effects = run.apply(Event::GroupGone(ProcessId::Migration));
    assert!(!has(&effects, Effect::QuerySchema(SchemaQuestion::Verify)), "{effects:?}");
    assert_eq!(run.ending().0, 76);
}

#[test]
fn a_migration_that_may_run_on_without_its_lock_does() {
    let (mut run, _) = run_with(|plan| plan.unlocked = true);
    run.all([held(), Event::Spawned(ProcessId::Migration, PID)]);
    assert_eq!(run.apply(Event::Lock(LockNews::Lost("eof".to_owned()))), []);
    run.all([Event::Exited(ProcessId::Migration, Ended::Code(0)), Event::GroupGone(ProcessId::Migration)]);
    assert!(has(&run.apply(Event::Lock(LockNews::Released)), Effect::Spawn(ProcessId::Main)));
    assert_eq!(run.lifecycle.snapshot().migration_lock.lost, 1);
}

#[test]
fn a_mode_that_waits_checks_until_another_has_migrated_or_its_time_is_over() {
    let waiting = |plan: &mut MigrationPlan| {
        plan.waits = true;
        plan.check = Some(by_command());
        plan.lock_timeout = Duration::from_secs(20);
    };
    let (mut run, _) = run_with(waiting);
    assert!(has(&task(&mut run, 1), Effect::Arm(Timer::Process(ProcessId::Migration, ProcessTimer::Restart), Duration::from_secs(2))));
    assert_eq!(
        run.apply(Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Restart))),
        [Effect::QuerySchema(SchemaQuestion::Check)]
    );
    assert!(has(&task(&mut run, 0), Effect::Spawn(ProcessId::Main)));
    let (mut run, _) = run_with(waiting);
    for _ in 0..20 {
        task(&mut run, 1);
        run.apply(Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Restart)));
    }
    assert!(run.lifecycle.ending().is_none(), "only its timer says how long it has waited");
    run.apply(Event::Elapsed(Timer::Schema));
    task(&mut run, 1);
    assert_eq!(run.ending().0, 75);
}

/// A run whose migration succeeded while portcullis could not run; the lock has to be confirmed before the verification begins.
fn thawed() -> Run {
    let (mut run, _) = run_with(|plan| plan.verify = Some(by_command()));
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Exited(ProcessId::Migration, Ended::Code(0))]);
    assert!(has(&run.apply(Event::Away(Duration::from_secs(60))), Effect::ConfirmLock));
    assert_eq!(run.apply(Event::GroupGone(ProcessId::Migration)), [], "the lock is not confirmed");
    run
}

#[test]
fn after_a_gap_the_lock_is_confirmed_before_anything_continues() {
    let mut run = thawed();
    assert!(has(&run.apply(Event::Lock(LockNews::Confirmed)), Effect::QuerySchema(SchemaQuestion::Verify)));
    assert!(has(&task(&mut run, 0), Effect::ReleaseLock));
    let gone = [Event::Lock(LockNews::Lost("eof".to_owned())), Event::Elapsed(Timer::Confirm)];
    for event in gone {
        let mut run = thawed();
        let effects = run.apply(event);
        assert!(has(&effects, Effect::ReleaseLock) && !has(&effects, Effect::QuerySchema(SchemaQuestion::Verify)), "{effects:?}");
        assert_eq!(run.ending().0, 76);
    }
    // The event that the group is gone came before TERM, and does not come again.
    assert!(has(&thawed().apply(signal(libc::SIGTERM)), Effect::ReleaseLock));
}

#[test]
fn a_lock_that_was_got_and_lost_in_a_gap_begins_no_migration() {
    let lost = || Event::Lock(LockNews::Lost("eof".to_owned()));
    for (news, goes_on) in [(Event::Lock(LockNews::Confirmed), true), (lost(), false)] {
        let (mut run, _) = run_with(|_| {});
        run.apply(Event::Away(Duration::ZERO));
        assert_eq!(run.apply(held()), []);
        let effects = run.apply(news);
        assert_eq!((has(&effects, SPAWN), has(&effects, Effect::ReleaseLock)), (goes_on, !goes_on), "{effects:?}");
    }
}

#[test]
fn the_pause_between_two_migrations_is_not_extended_by_a_gap() {
    let (mut run, _) = run_with(|_| {});
    run.all([held(), Event::Spawned(ProcessId::Migration, PID), Event::Away(Duration::from_secs(60))]);
    let effects = run.apply(Event::Lock(LockNews::Lost("eof".to_owned())));
    assert!(has(&effects, Effect::Arm(Timer::Overlap, Duration::from_secs(5))), "{effects:?}");
    let effects = run.apply(Event::Elapsed(Timer::Overlap));
    assert!(has(&effects, Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL)), "{effects:?}");
}

#[test]
fn the_role_is_reported() {
    let (mut run, _) = run_with(|_| {});
    let role = |run: &Run| run.lifecycle.snapshot().migration_role();
    assert_eq!(role(&run), None);
    run.apply(Event::Lock(LockNews::Queued("two".into())));
    assert_eq!(role(&run), Some("waiter"));
    run.apply(Event::Lock(LockNews::Preparing(crate::state::event::Preparation::Settling)));
    assert_eq!(role(&run), Some("settling"));
    run.apply(Event::Lock(LockNews::Preparing(crate::state::event::Preparation::Fencing(2))));
    assert_eq!(role(&run), Some("fencing"));
    run.apply(held());
    assert_eq!(role(&run), Some("holder"));
    task(&mut run, 0);
    run.apply(Event::Lock(LockNews::Released));
    assert_eq!(role(&run), Some("done"));
}
