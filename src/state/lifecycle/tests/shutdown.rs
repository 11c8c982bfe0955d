//! How a run ends: every sequence of signals, every deadline.

use super::*;
use crate::plan::process::RestartPolicy;
use crate::state::event::{Notice, Readiness};

const SIGNALS: [i32; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1];

/// Every single signal, pair and triple.
fn sequences() -> Vec<Vec<i32>> {
    let mut all: Vec<Vec<i32>> = SIGNALS.iter().map(|number| vec![*number]).collect();
    for length in [1, 2] {
        let longest: Vec<Vec<i32>> = all.iter().filter(|sequence| sequence.len() == length).cloned().collect();
        all.extend(longest.iter().flat_map(|sequence| SIGNALS.iter().map(|number| [sequence.as_slice(), &[*number]].concat())));
    }
    all
}

fn stops(number: i32) -> bool {
    matches!(number, libc::SIGTERM | libc::SIGINT)
}

fn has(effects: &[Effect], effect: Effect) -> bool {
    effects.contains(&effect)
}

fn running_bare() -> Run {
    let mut run = Run::of(bare());
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    run
}

fn migrating() -> Run {
    let mut run = run_in(Phase::Migrating);
    run.all([Event::Lock(LockNews::Held), Event::Spawned(ProcessId::Migration, PID)]);
    run
}

#[test]
fn while_waiting_the_first_signal_that_ends_processes_ends_the_run() {
    for phase in [Phase::Init, Phase::Waiting, Phase::Migrating] {
        for sequence in sequences() {
            let mut run = run_in(phase);
            let exits: Vec<Option<u8>> = sequence.iter().map(|number| exit_of(&run.apply(signal(*number)))).collect();
            for (index, exit) in exits.into_iter().enumerate() {
                let expected = (index == 0).then(|| 128 + sequence[index] as u8);
                assert_eq!(exit, expected, "{sequence:?} in {phase:?}");
            }
        }
    }
}

#[test]
fn while_waiting_a_signal_that_ends_no_process_ends_nothing_but_winch_ends_pid_1() {
    for (number, ends, ends_pid_1) in
        [(10, true, true), (30, true, true), (37, true, true), (28, false, true), (18, false, false), (20, false, false)]
    {
        for (is_init, expected) in [(false, ends), (true, ends_pid_1)] {
            let mut run = Run::of(bare());
            run.lifecycle = run.lifecycle.as_init(is_init);
            let effects = run.apply(signal(number));
            assert_eq!(exit_of(&effects).is_some(), expected, "{number}, as PID 1: {is_init}");
        }
    }
}

#[test]
fn between_two_starts_only_a_stop_signal_ends_the_run() {
    let restart = RestartPlan { policy: RestartPolicy::Always, ..RestartPlan::default() };
    for (number, ends) in [(10, false), (28, false), (30, false), (1, true), (15, true)] {
        let mut run = Run::of(Plan { main: Some(ProcessPlan { restart: restart.clone(), ..process() }), ..bare() });
        run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID), Event::Exited(ProcessId::Main, Ended::Code(1)), Event::NoneLeft]);
        run.apply(signal(number));
        assert_eq!(run.lifecycle.ending().is_some(), ends, "{number}");
    }
}

#[test]
fn a_running_process_gets_the_signal_then_the_second_one_then_kill() {
    for sequence in sequences() {
        let mut run = running_bare();
        let mut requests = 0;
        for number in &sequence {
            let effects = run.apply(signal(*number));
            requests += u8::from(stops(*number));
            if !stops(*number) || requests == 2 {
                assert_eq!(effects, [Effect::Signal(ProcessId::Main, *number)], "{sequence:?}");
            } else if requests == 1 {
                assert!(has(&effects, Effect::Signal(ProcessId::Main, *number)), "{sequence:?}");
                assert!(has(&effects, Effect::Signal(ProcessId::Main, libc::SIGCONT)), "{sequence:?}");
                assert!(has(&effects, Effect::Arm(Timer::Grace, Duration::from_secs(8))), "{sequence:?}");
            } else {
                assert!(has(&effects, Effect::SignalGroup(ProcessId::Main, libc::SIGKILL)), "{sequence:?}");
                assert!(has(&effects, Effect::SignalSurvivors(libc::SIGKILL)), "{sequence:?}");
            }
        }
        run.apply(Event::Exited(ProcessId::Main, Ended::Code(5)));
        assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(5), "{sequence:?}");
    }
}

#[test]
fn leftovers_of_a_process_that_ended_by_itself_get_at_most_the_default_time() {
    for (timeout, grace) in [(900, 8), (8, 8), (3, 3)] {
        let mut plan = bare();
        plan.main.as_mut().unwrap().stop_timeout = Duration::from_secs(timeout);
        let mut run = Run::of(plan);
        run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
        let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(1)));
        assert!(has(&effects, Effect::Arm(Timer::Grace, Duration::from_secs(grace))), "{effects:?}");
        assert!(has(&effects, Effect::SignalSurvivors(libc::SIGTERM)), "{effects:?}");
    }
}

#[test]
fn a_process_that_shall_get_every_request_is_never_killed_by_one() {
    for sequence in sequences() {
        let mut plan = bare();
        plan.main.as_mut().unwrap().signals.never_kills = true;
        let mut run = Run::of(plan);
        run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
        for number in sequence.iter().chain(&sequence) {
            let effects = run.apply(signal(*number));
            assert!(has(&effects, Effect::Signal(ProcessId::Main, *number)), "{sequence:?}");
            assert!(!has(&effects, Effect::SignalGroup(ProcessId::Main, libc::SIGKILL)), "{sequence:?}");
        }
    }
}

#[test]
fn a_second_request_cuts_the_drain_short() {
    for sequence in sequences() {
        let mut run = run_in(Phase::Running);
        let mut requests = Vec::new();
        for number in &sequence {
            let effects = run.apply(signal(*number));
            if !stops(*number) {
                assert_eq!(effects, [Effect::Signal(ProcessId::Main, *number)], "{sequence:?}");
                continue;
            }
            requests.push(*number);
            let first_signal_sent = requests.first().map(|first| has(&effects, Effect::Signal(ProcessId::Main, *first)));
            assert_eq!(has(&effects, Effect::Announce(Readiness::Stopped)), requests.len() == 1, "{sequence:?}");
            assert_eq!(first_signal_sent, Some(requests.len() == 2), "{sequence:?}");
            assert_eq!(has(&effects, Effect::SignalGroup(ProcessId::Main, libc::SIGKILL)), requests.len() == 3, "{sequence:?}");
        }
    }
}

#[test]
fn a_migration_gets_the_signal_then_the_second_one_then_kill() {
    for sequence in sequences() {
        let mut run = migrating();
        let mut requests = Vec::new();
        for number in &sequence {
            let effects = run.apply(signal(*number));
            assert_eq!(exit_of(&effects), None, "the lock is given back first");
            if stops(*number) {
                requests.push(*number);
            }
            let killed = has(&effects, Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL));
            assert_eq!(killed, stops(*number) && requests.len() == 3, "{sequence:?}");
            assert_eq!(has(&effects, Effect::Signal(ProcessId::Migration, *number)), !killed, "{sequence:?}");
        }
        let effects = run.all([Event::Exited(ProcessId::Migration, Ended::Code(0)), Event::GroupGone(ProcessId::Migration)]);
        assert!(has(&effects, Effect::ReleaseLock));
        let code = requests.first().map(|first| 128 + *first as u8);
        assert_eq!(exit_of(&run.all([Event::Lock(LockNews::Released), Event::NoneLeft])), code, "{sequence:?}");
    }
}

#[test]
fn a_process_that_does_not_stop_in_time_is_killed_and_left_behind_if_even_that_does_not_help() {
    let mut run = running_bare();
    run.apply(signal(libc::SIGTERM));
    let killed = run.apply(Event::Elapsed(Timer::Grace));
    assert_eq!(
        killed,
        [
            Effect::SignalGroup(ProcessId::Main, libc::SIGKILL),
            Effect::SignalSurvivors(libc::SIGKILL),
            Effect::Arm(Timer::Reap, Duration::from_secs(1)),
        ]
    );
    let mut stuck = run.clone();
    run.apply(Event::Exited(ProcessId::Main, Ended::Signal(9)));
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(137));
    assert_eq!(exit_of(&stuck.apply(Event::Elapsed(Timer::Reap))), Some(137));
    assert_eq!(stuck.ending().1, "the process did not end after KILL");
}

#[test]
fn leftovers_of_a_killed_process_are_killed_without_another_grace() {
    let mut run = running_bare();
    run.all([signal(libc::SIGTERM), Event::Elapsed(Timer::Grace)]);
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Signal(9)));
    assert!(has(&effects, Effect::SignalSurvivors(libc::SIGKILL)), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Arm(..) | Effect::Disarm(Timer::Reap))), "{effects:?}");
    assert_eq!(exit_of(&run.apply(Event::Elapsed(Timer::Reap))), Some(137));
}

#[test]
fn a_migration_that_cannot_be_killed_does_not_keep_the_container() {
    let mut run = migrating();
    run.all([signal(libc::SIGTERM), Event::Elapsed(Timer::Grace)]);
    let effects = run.apply(Event::Elapsed(Timer::Reap));
    assert!(has(&effects, Effect::ReleaseLock), "{effects:?}");
    assert!(has(&run.apply(Event::Elapsed(Timer::Release)), Effect::SignalSurvivors(libc::SIGKILL)));
    assert_eq!(exit_of(&run.apply(Event::Elapsed(Timer::Reap))), Some(143));
}

#[test]
fn the_stop_has_one_deadline() {
    let mut run = running_bare();
    run.apply(signal(libc::SIGTERM));
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(0)));
    assert!(has(&effects, Effect::SignalSurvivors(libc::SIGTERM)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Arm(Timer::Grace, _))), "{effects:?}");
    let effects = run.apply(Event::Elapsed(Timer::Grace));
    assert_eq!(effects, [Effect::SignalSurvivors(libc::SIGKILL), Effect::Arm(Timer::Reap, Duration::from_secs(1))]);
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(0));
}

#[test]
fn leftovers_have_their_own_grace_if_no_stop_was_requested() {
    let mut run = running_bare();
    let effects = run.apply(Event::Exited(ProcessId::Main, Ended::Code(3)));
    assert!(has(&effects, Effect::Arm(Timer::Grace, Duration::from_secs(8))));
    run.apply(Event::Elapsed(Timer::Grace));
    assert_eq!(exit_of(&run.apply(Event::Elapsed(Timer::Reap))), Some(3));
}

#[test]
fn a_silent_redis_holds_up_the_stop_for_a_second() {
    let mut run = run_in(Phase::Running);
    assert!(has(&run.apply(signal(libc::SIGTERM)), Effect::Arm(Timer::Withdraw, Duration::from_secs(1))));
    assert!(has(&run.apply(Event::Elapsed(Timer::Withdraw)), Effect::Arm(Timer::Drain, Duration::from_secs(5))));
    let mut crashed = run_in(Phase::Running);
    crashed.all([Event::Exited(ProcessId::Main, Ended::Code(1)), Event::NoneLeft]);
    assert_eq!(exit_of(&crashed.apply(Event::Elapsed(Timer::Withdraw))), Some(1));
}

#[test]
fn an_instance_that_was_never_ready_does_not_wait_for_redis() {
    let mut run = run_in(Phase::Starting);
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Arm(Timer::Withdraw, _))), "{effects:?}");
    assert_eq!(run.phase(), Phase::Draining);
}

#[test]
fn a_failed_start_is_69_however_the_process_ends() {
    for ended in [Ended::Code(0), Ended::Code(1), Ended::Signal(15)] {
        let mut run = run_in(Phase::Starting);
        let effects = run.apply(Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Limit)));
        assert!(has(&effects, Effect::Signal(ProcessId::Main, libc::SIGTERM)));
        run.apply(Event::Exited(ProcessId::Main, ended));
        assert_eq!(run.phase(), Phase::Failed);
        assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(69));
    }
}

#[test]
fn a_lost_lock_gains_no_time_by_a_signal() {
    let mut run = migrating();
    let lost = run.apply(Event::Lock(LockNews::Lost("eof".to_owned())));
    assert!(has(&lost, Effect::Arm(Timer::Overlap, Duration::from_secs(5))));
    assert_eq!(run.apply(signal(libc::SIGTERM)), [Effect::Signal(ProcessId::Migration, libc::SIGTERM)]);
    assert_eq!(run.apply(Event::Elapsed(Timer::Process(ProcessId::Migration, ProcessTimer::Limit))), []);
    run.all([Event::Exited(ProcessId::Migration, Ended::Signal(15)), Event::GroupGone(ProcessId::Migration)]);
    let released = run.apply(Event::Lock(LockNews::Released));
    assert!(has(&released, Effect::SignalSurvivors(libc::SIGTERM)), "what the migration left behind: {released:?}");
    assert_eq!(exit_of(&run.apply(Event::NoneLeft)), Some(76));
}

#[test]
fn the_stop_signal_of_the_plan_is_sent_in_place_of_the_one_that_came() {
    let mut plan = bare();
    plan.main.as_mut().unwrap().stop_signal = Some(libc::SIGQUIT);
    let mut run = Run::of(plan);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(has(&effects, Effect::Signal(ProcessId::Main, libc::SIGQUIT)));
    assert!(!has(&effects, Effect::Signal(ProcessId::Main, libc::SIGTERM)));
}

#[test]
fn two_requests_within_50_ms_are_one() {
    let mut plan = bare();
    plan.main.as_mut().unwrap().drain_delay = Duration::from_secs(5);
    let mut run = Run::of(plan);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    let begin = run.now.after(Duration::from_secs(1));
    let mut at = |millis: u64, number| run.lifecycle.apply(begin.after(Duration::from_millis(millis)), signal(number));
    assert!(has(&at(0, libc::SIGTERM), Effect::Arm(Timer::Drain, Duration::from_secs(5))));
    assert_eq!(at(49, libc::SIGTERM), [], "`timeout` signals its child and then the group");
    assert!(has(&at(60, libc::SIGTERM), Effect::Disarm(Timer::Drain)), "the second one cuts the drain");
    assert_eq!(at(100, libc::SIGTERM), []);
    assert_eq!(
        at(120, libc::SIGTERM).iter().filter(|effect| matches!(effect, Effect::SignalGroup(_, libc::SIGKILL))).count(),
        1,
        "the third"
    );
    let mut run = run_in(Phase::Running);
    run.apply(signal(libc::SIGTERM));
    let now = run.now.after(Duration::from_millis(1));
    assert_ne!(run.lifecycle.apply(now, signal(libc::SIGINT)), [], "another signal is another request");
}

#[test]
fn only_the_death_because_memory_ran_out_is_reported_so() {
    for (evidence, expected) in [(Some(ProcessId::Main), true), (Some(ProcessId::Migration), false), (None, false)] {
        let mut run = run_in(Phase::Running);
        run.all(evidence.map(Event::OutOfMemory));
        run.apply(Event::Exited(ProcessId::Main, Ended::Signal(9)));
        assert_eq!(run.ending().1.contains("because memory ran out"), expected, "{evidence:?}: {}", run.ending().1);
    }
}

#[test]
fn a_process_that_pings_while_it_drains_is_not_aborted() {
    let mut plan = bare();
    let main = plan.main.as_mut().unwrap();
    (main.drain_delay, main.watchdog) = (Duration::from_secs(20), Some(Duration::from_secs(2)));
    let mut run = Run::of(plan);
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID)]);
    let ping = Effect::Arm(Timer::Process(ProcessId::Main, ProcessTimer::Watchdog), Duration::from_secs(2));
    assert!(has(&run.apply(signal(libc::SIGTERM)), Effect::Arm(Timer::Drain, Duration::from_secs(20))));
    assert!(has(&run.apply(Event::Notified(ProcessId::Main, Notice::Watchdog)), ping), "it is served on");
    run.apply(Event::Elapsed(Timer::Drain));
    assert!(
        !has(&run.apply(Event::Notified(ProcessId::Main, Notice::Watchdog)), ping),
        "after a stop request it has the whole stop timeout"
    );
}
