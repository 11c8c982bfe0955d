//! Steps: their order, their failures and retries, the effect of a stop on them, and the lock that they share with the migration.

use super::*;
use crate::plan::step::ItemPlan;
use crate::plan::{ConditionPlan, HoldPlan, OnFailure, Orphans, StepAction, StepAt, StepPlan};
use crate::state::event::{Inquiry, PreparedStep};
use crate::state::snapshot::StageState;

fn step(name: &str, at: StepAt) -> StepPlan {
    StepPlan::new(name, at, StepAction::Commands(vec![process().into()]))
}

fn plan(steps: Vec<StepPlan>) -> Plan {
    Plan { steps, ..bare() }
}

fn locked(step: StepPlan) -> StepPlan {
    StepPlan { locked: true, ..step }
}

const fn own(id: usize) -> ProcessId {
    ProcessId::Step(id)
}

/// A command of a step from its start to its end, without leftovers.
fn runs(id: usize, code: u8) -> [Event; 4] {
    [Event::Forked(own(id)), Event::Spawned(own(id), PID), Event::Exited(own(id), Ended::Code(code)), Event::GroupGone(own(id))]
}

fn spawns(effects: &[Effect]) -> Vec<ProcessId> {
    effects.iter().filter_map(|effect| if let Effect::Spawn(id) = effect { Some(*id) } else { None }).collect()
}

fn stage(run: &Run, name: &str) -> (StageState, Option<String>) {
    let stage = run.lifecycle.snapshot().stage(name).unwrap();
    (stage.step, stage.note.clone())
}

#[test]
fn steps_are_done_in_their_order_around_waits_migration_and_process() {
    let times = [StepAt::First, StepAt::Ready, StepAt::Migrated, StepAt::Up];
    let steps = times.map(|at| step(&format!("{at:?}"), at)).to_vec();
    let mut run = Run::of(Plan { steps, main: Some(process()), heartbeat: None, ..full() });
    assert_eq!(spawns(&run.apply(Event::Begin)), [own(0)]);
    let effects = run.all(runs(0, 0));
    assert!(spawns(&effects).is_empty() && effects.contains(&Effect::ProbeNow), "{effects:?}");
    assert_eq!(run.phase(), Phase::Waiting);
    assert_eq!(spawns(&run.apply(Event::Probed(0, passed()))), [own(1)]);
    assert!(run.all(runs(1, 0)).contains(&Effect::AcquireLock));
    run.all([Event::Lock(LockNews::Held), Event::Spawned(ProcessId::Migration, PID)]);
    run.all([Event::Exited(ProcessId::Migration, Ended::Code(0)), Event::GroupGone(ProcessId::Migration)]);
    assert_eq!(spawns(&run.apply(Event::Lock(LockNews::Released))), [own(2)]);
    assert_eq!(spawns(&run.all(runs(2, 0))), [ProcessId::Main]);
    assert_eq!(spawns(&run.apply(Event::Spawned(ProcessId::Main, PID))), [own(3)]);
    run.all(runs(3, 0));
    assert!(run.lifecycle.snapshot().stages.iter().all(|stage| stage.step == StageState::Up));
    assert_eq!(run.lifecycle.snapshot().step, None);
}

#[test]
fn a_step_that_fails_ends_the_start_with_its_code_unless_it_may() {
    let mut run = Run::of(plan(vec![step("seed", StepAt::Migrated)]));
    run.apply(Event::Begin);
    assert_eq!(exit_of(&run.all(runs(0, 3).into_iter().chain([Event::NoneLeft]))), Some(3));
    assert_eq!(run.ending().1, "the step `seed` failed, so the process was not started: it ended with status 3");

    let mut run = Run::of(plan(vec![StepPlan { on_failure: OnFailure::Continue, ..step("seed", StepAt::Migrated) }]));
    run.apply(Event::Begin);
    assert_eq!(spawns(&run.all(runs(0, 3))), [ProcessId::Main]);
    assert_eq!(stage(&run, "step:seed"), (StageState::Down, Some("ended with status 3".to_owned())));
    run.apply(Event::Spawned(ProcessId::Main, PID));
    assert!(run.lifecycle.snapshot().started);

    let mut run = Run::of(plan(vec![StepPlan { success_codes: BTreeSet::from([3]), ..step("seed", StepAt::Migrated) }]));
    run.apply(Event::Begin);
    assert_eq!(spawns(&run.all(runs(0, 3))), [ProcessId::Main]);
}

#[test]
fn a_step_is_retried_after_its_pause_up_to_its_limit() {
    let retries = StepPlan { retries: 1, retry_delay: Duration::from_secs(7), ..step("seed", StepAt::First) };
    let mut run = Run::of(plan(vec![retries]));
    run.apply(Event::Begin);
    let again = Timer::Process(own(0), ProcessTimer::Restart);
    assert!(run.all(runs(0, 1)).contains(&Effect::Arm(again, Duration::from_secs(7))));
    assert_eq!(spawns(&run.apply(Event::Elapsed(again))), [own(0)]);
    assert_eq!(exit_of(&run.all(runs(0, 1).into_iter().chain([Event::NoneLeft]))), Some(1));
}

#[test]
fn a_step_that_takes_too_long_gets_a_stop_signal_then_kill_and_has_failed_with_124() {
    let mut run = Run::of(plan(vec![StepPlan { timeout: Duration::from_secs(5), ..step("seed", StepAt::First) }]));
    run.apply(Event::Begin);
    let [limit, grace] = [ProcessTimer::Limit, ProcessTimer::Grace].map(|timer| Timer::Process(own(0), timer));
    assert!(run.apply(Event::Forked(own(0))).contains(&Effect::Arm(limit, Duration::from_secs(5))));
    run.apply(Event::Spawned(own(0), PID));
    let effects = run.apply(Event::Elapsed(limit));
    assert!(effects.contains(&Effect::Signal(own(0), libc::SIGTERM)), "{effects:?}");
    assert!(run.apply(Event::Elapsed(grace)).contains(&Effect::SignalGroup(own(0), libc::SIGKILL)));
    let last = [Event::Exited(own(0), Ended::Signal(9)), Event::GroupGone(own(0)), Event::NoneLeft];
    assert_eq!(exit_of(&run.all(last)), Some(124));
    assert_eq!(run.ending().1, "the step `seed` failed, so the process was not started: it ran longer than 5s");
}

#[test]
fn a_check_that_ends_with_0_means_no_pending_work() {
    for (code, expected) in [(0, ProcessId::Main), (1, own(0))] {
        let mut run = Run::of(plan(vec![StepPlan { check: Some(Box::new(process())), ..step("seed", StepAt::Migrated) }]));
        run.apply(Event::Begin);
        assert_eq!(spawns(&run.all(runs(0, code))), [expected]);
    }
}

#[test]
fn the_result_from_another_thread_decides() {
    let conditional = || StepPlan { condition: ConditionPlan::Any(Vec::new()), ..step("seed", StepAt::Migrated) };
    let begin = || {
        let mut run = Run::of(plan(vec![conditional()]));
        assert_eq!(run.apply(Event::Begin), [Effect::Prepare(Inquiry::Step(0))]);
        run
    };
    assert_eq!(spawns(&begin().apply(Event::Prepared(Inquiry::Step(0), PreparedStep::Skipped))), [ProcessId::Main]);
    let mut run = begin();
    assert_eq!(
        spawns(&run.apply(Event::Prepared(Inquiry::Step(0), PreparedStep::Commands(vec![process().into(), process().into()])))),
        [own(0)]
    );
    assert_eq!(spawns(&run.all(runs(0, 0))), [own(0)], "the second one");
    assert_eq!(spawns(&run.all(runs(0, 0))), [ProcessId::Main]);
    let mut run = begin();
    assert_eq!(exit_of(&run.apply(Event::Prepared(Inquiry::Step(0), PreparedStep::Failed(78, "cannot be".to_owned())))), Some(78));
    let mut run = begin();
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(effects.contains(&Effect::CancelPreparation), "{effects:?}");
    assert_eq!(exit_of(&effects), Some(143), "a hanging file system is not waited for");
    assert_eq!(run.apply(Event::Prepared(Inquiry::Step(0), PreparedStep::Skipped)), []);
}

#[test]
fn a_stop_is_forwarded_to_the_step_and_waits_for_its_group() {
    let mut run = Run::of(plan(vec![step("seed", StepAt::Migrated)]));
    run.all([Event::Begin, Event::Forked(own(0)), Event::Spawned(own(0), PID)]);
    assert!(run.apply(signal(libc::SIGTERM)).contains(&Effect::Signal(own(0), libc::SIGTERM)));
    assert!(run.apply(Event::Elapsed(Timer::Grace)).contains(&Effect::SignalGroup(own(0), libc::SIGKILL)));
    assert!(run.apply(Event::Exited(own(0), Ended::Signal(9))).contains(&Effect::AwaitGroup(own(0))));
    assert_eq!(exit_of(&run.all([Event::GroupGone(own(0)), Event::NoneLeft])), Some(143));
    assert_eq!(run.ending().1, "ended by SIGTERM while the step `seed` ran");
}

#[test]
fn a_step_beside_the_process_is_stopped_with_it_and_runs_once() {
    let mut run = Run::of(plan(vec![step("warm", StepAt::Up)]));
    run.all([
        Event::Begin,
        Event::Forked(ProcessId::Main),
        Event::Spawned(ProcessId::Main, PID),
        Event::Forked(own(0)),
        Event::Spawned(own(0), PID),
    ]);
    let effects = run.apply(signal(libc::SIGTERM));
    for id in [ProcessId::Main, own(0)] {
        assert!(effects.contains(&Effect::Signal(id, libc::SIGTERM)), "{id:?}: {effects:?}");
    }
    run.apply(Event::Exited(own(0), Ended::Signal(15)));
    run.all([Event::Exited(ProcessId::Main, Ended::Code(0)), Event::GroupGone(own(0))]);
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(0));
}

#[test]
fn the_lock_is_held_from_the_first_that_needs_it_to_the_last() {
    let steps = vec![locked(step("before", StepAt::Ready)), step("between", StepAt::Migrated), locked(step("after", StepAt::Migrated))];
    let full = full();
    let mut run = Run::of(Plan { steps, heartbeat: None, ..full });
    run.apply(Event::Begin);
    let effects = run.apply(Event::Probed(0, passed()));
    assert!(effects.contains(&Effect::TakeLock), "{effects:?}");
    assert_eq!(spawns(&run.apply(Event::Lock(LockNews::Held))), [own(0)]);
    assert_eq!(spawns(&run.all(runs(0, 0))), [ProcessId::Migration], "under the same hold");
    run.all([Event::Forked(ProcessId::Migration), Event::Spawned(ProcessId::Migration, PID)]);
    run.apply(Event::Exited(ProcessId::Migration, Ended::Code(0)));
    assert_eq!(spawns(&run.apply(Event::GroupGone(ProcessId::Migration))), [own(1)]);
    assert_eq!(spawns(&run.all(runs(1, 0))), [own(2)]);
    let effects = run.all(runs(2, 0));
    assert!(effects.contains(&Effect::ReleaseLock) && spawns(&effects).is_empty(), "{effects:?}");
    assert_eq!(spawns(&run.apply(Event::Lock(LockNews::Released))), [ProcessId::Main]);
}

#[test]
fn steps_take_a_lock_without_a_migration_and_lose_it_like_one() {
    let hold = HoldPlan {
        lock: LockPlan::File("/lock".into()),
        second: None,
        lock_timeout: Duration::from_secs(60),
        unlocked: false,
        orphans: Orphans::default(),
    };
    let of = || Plan { step_lock: Some(hold.clone()), ..plan(vec![locked(step("seed", StepAt::Migrated))]) };
    let mut run = Run::of(of());
    assert_eq!(run.apply(Event::Begin), [Effect::TakeLock]);
    run.all([Event::Lock(LockNews::Held), Event::Forked(own(0)), Event::Spawned(own(0), PID)]);
    let effects = run.apply(Event::Lock(LockNews::Lost("eof".to_owned())));
    assert!(effects.contains(&Effect::Signal(own(0), libc::SIGTERM)), "{effects:?}");
    let last = [Event::Exited(own(0), Ended::Signal(15)), Event::GroupGone(own(0)), Event::Lock(LockNews::Released), Event::NoneLeft];
    assert_eq!(exit_of(&run.all(last)), Some(76));
    assert_eq!(run.ending().1, "the migration lock was lost while the step `seed` ran: eof");

    let mut run = Run::of(of());
    run.apply(Event::Begin);
    let unavailable = Event::Lock(LockNews::Unavailable(crate::exit::Exit::LockTimeout, "was not available".to_owned()));
    assert_eq!(exit_of(&run.apply(unavailable)), Some(75));
    let mut run = Run::of(of());
    run.apply(Event::Begin);
    assert_eq!(exit_of(&run.apply(signal(libc::SIGTERM))), Some(143));
}

fn items(number: usize, change: impl Fn(ItemPlan) -> ItemPlan) -> StepPlan {
    let items = (0..number).map(|_| change(process().into())).collect();
    StepPlan::new("seed", StepAt::Migrated, StepAction::Commands(items))
}

#[test]
fn of_a_step_that_may_fail_every_item_is_run() {
    let mut run = Run::of(plan(vec![StepPlan { on_failure: OnFailure::Continue, ..items(3, |item| item) }]));
    run.apply(Event::Begin);
    assert_eq!(spawns(&run.all(runs(0, 3))), [own(0)], "the second one");
    let failed = Event::SpawnFailed(own(0), 127, "cannot start it".to_owned());
    assert_eq!(spawns(&run.apply(failed)), [own(0)], "the third one");
    let (step, note) = stage(&run, "step:seed");
    assert!(step == StageState::Unknown && note.as_ref().unwrap().starts_with("cannot start it in command 2 of 3, `"), "{note:?}");
    assert_eq!(spawns(&run.all(runs(0, 0))), [ProcessId::Main]);
    let (step, note) = stage(&run, "step:seed");
    assert!(step == StageState::Down && note.as_ref().unwrap().starts_with("failed 2 times; the last time it cannot start"), "{note:?}");

    let mut run = Run::of(plan(vec![items(2, |item| item)]));
    run.apply(Event::Begin);
    assert_eq!(exit_of(&run.all(runs(0, 3).into_iter().chain([Event::NoneLeft]))), Some(3));
    assert!(
        run.ending().1.starts_with("the step `seed` failed, so the process was not started: it ended with status 3 in command 1 of 2, `"),
        "{}",
        run.ending().1
    );
}

#[test]
fn each_item_is_checked_and_weighed_in_its_turn() {
    let mut run = Run::of(plan(vec![items(2, |item| ItemPlan { check: Some(Box::new(process())), ..item })]));
    assert_eq!(spawns(&run.apply(Event::Begin)), [own(0)], "the check of the first");
    assert_eq!(spawns(&run.all(runs(0, 0))), [own(0)], "it has nothing to do: the check of the second");
    assert_eq!(spawns(&run.all(runs(0, 1))), [own(0)], "the second");
    assert_eq!(spawns(&run.all(runs(0, 0))), [ProcessId::Main]);
    assert_eq!(stage(&run, "step:seed"), (StageState::Up, None));

    let conditional = |item| ItemPlan { condition: ConditionPlan::Any(Vec::new()), ..item };
    let mut run = Run::of(plan(vec![items(2, conditional)]));
    let [first, second] = [0, 1].map(|number| Inquiry::Item(0, number));
    assert_eq!(run.apply(Event::Begin), [Effect::Prepare(first)]);
    assert_eq!(spawns(&run.apply(Event::Prepared(first, PreparedStep::Done(String::new())))), [own(0)]);
    assert!(run.all(runs(0, 0)).contains(&Effect::Prepare(second)), "only now");
    assert_eq!(run.apply(Event::Prepared(first, PreparedStep::Skipped)), [], "news of an earlier one");
    assert_eq!(spawns(&run.apply(Event::Prepared(second, PreparedStep::Skipped))), [ProcessId::Main]);

    let mut run = Run::of(plan(vec![items(1, conditional)]));
    run.apply(Event::Begin);
    assert_eq!(exit_of(&run.apply(signal(libc::SIGTERM))), Some(143));
}

#[test]
fn the_condition_of_the_migration_is_found_out_in_its_turn() {
    let conditional = || {
        let full = full();
        let migration = full.migration.clone().map(|plan| MigrationPlan { condition: ConditionPlan::Any(Vec::new()), ..plan });
        let mut run = Run::of(Plan { migration, heartbeat: None, ..full });
        run.apply(Event::Begin);
        let effects = run.apply(Event::Probed(0, passed()));
        assert!(effects.contains(&Effect::Prepare(Inquiry::Migration)) && !effects.contains(&Effect::AcquireLock), "{effects:?}");
        run
    };
    let mut run = conditional();
    assert!(run.apply(Event::Prepared(Inquiry::Migration, PreparedStep::Done(String::new()))).contains(&Effect::AcquireLock));
    let mut run = conditional();
    assert_eq!(spawns(&run.apply(Event::Prepared(Inquiry::Migration, PreparedStep::Skipped))), [ProcessId::Main]);
    assert_eq!(stage(&run, "migrate"), (StageState::Up, Some("skipped: its condition does not hold".to_owned())));
    let mut run = conditional();
    assert_eq!(exit_of(&run.apply(signal(libc::SIGTERM))), Some(143));
    assert_eq!(run.apply(Event::Prepared(Inquiry::Migration, PreparedStep::Done(String::new()))), [], "nothing begins then");
}
