//! Logs the migration: who holds the lock, how long this replica waits for it, and how the migration ended.

use std::time::Duration;

use tracing::{info, warn};

use super::seconds;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::state::event::{ANOTHER_MODE, LockHolder, Preparation};
use crate::state::snapshot::{Migration, MigrationLock, MigrationStep, Snapshot, StageState};

/// When a waiting replica logs that it waits, after the first line; from then on every [`MENTIONED_EVERY`].
const MENTIONED: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// How often a long wait for the lock is logged.
const MENTIONED_EVERY: Duration = Duration::from_secs(30);

/// When a replica that has been waiting since `since` logs that next, if it last logged something at `last`.
pub(super) fn next_mention(since: Moment, last: Moment) -> Moment {
    let last = last.since(since);
    let first = MENTIONED.into_iter().find(|after| last < *after);
    since.after(first.unwrap_or_else(|| {
        let [.., latest] = MENTIONED;
        let rounds = last.saturating_sub(latest).as_secs() / MENTIONED_EVERY.as_secs() + 1;
        latest + MENTIONED_EVERY.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }))
}

/// The current activity of the migration; none if it is over.
pub(super) fn line(snapshot: &Snapshot, now: Moment) -> Option<String> {
    let whole = |since: Moment| format!("{}s", now.since(since).as_secs());
    let lock = &snapshot.migration_lock;
    let step = lock.step.map(|(step, since)| (step, whole(since)));
    match (&snapshot.migration, lock.preparing, step) {
        (Migration::Done, ..) => None,
        // A check runs in parallel with the wait for the lock, and is the shorter of the two.
        (Migration::Idle | Migration::Holder { .. }, _, Some((step, time))) => Some(match step {
            MigrationStep::Asking => format!("still requesting the migration lock, {time}"),
            MigrationStep::Checking => format!("still checking whether there is anything to migrate, {time}"),
            MigrationStep::Running => format!("the migration has run for {time}"),
            MigrationStep::Verifying => format!("still verifying the migration, {time}"),
        }),
        (Migration::Idle, _, None) => Some(format!("the migration is next, {}", whole(snapshot.phase_since))),
        (Migration::Holder { since }, _, None) => {
            Some(format!("the migration continues shortly; its lock has been held for {}", whole(*since)))
        }
        (Migration::Queued { .. }, Some(Preparation::Settling), _) => Some("still waiting for the last holder to stop".to_owned()),
        (Migration::Queued { .. }, Some(Preparation::Fencing(count)), _) => {
            Some(format!("still waiting for the sessions of an earlier migration to end, {count} of them"))
        }
        (Migration::Queued { since, .. }, None, _) => {
            lock.holder.as_ref().map(|(holder, seen_at)| format!("{} for {}", queues(holder, *seen_at, now), whole(*since)))
        }
    }
}

/// Who holds the lock, since when, and what this replica does.
fn queues(holder: &LockHolder, seen_at: Moment, now: Moment) -> String {
    let LockHolder { words, instance, address, held, gone } = holder;
    if words == ANOTHER_MODE {
        return format!("{words}, has not migrated yet; waiting");
    }
    let who = match (instance, address) {
        (Some(instance), Some(address)) => format!("{instance} at {address}"),
        (Some(instance), None) => instance.clone(),
        (None, _) => words.clone(),
    };
    let holds = if *gone { "held" } else { "holds" };
    // The age of its connection, which includes its own wait for the lock.
    let since = held.map(|held| format!(", connected for {}s", (held + now.since(seen_at)).as_secs())).unwrap_or_default();
    format!("{who} {holds} the migration lock{since}; waiting")
}

/// Logs what is different in `after`.
pub(super) fn record(before: &Snapshot, after: &Snapshot, now: Moment) {
    let lock = &after.migration_lock;
    if let Some(line) = begun(&before.migration_lock, lock) {
        info!("{line}");
    }
    match news(before, after, now) {
        Some((true, line)) => warn!("{line}"),
        Some((false, line)) => info!("{line}"),
        None => {}
    }
    match lock.attempts {
        attempts if attempts == before.migration_lock.attempts => {}
        1 if lock.kind.is_none() => info!("running the migration, without a lock"),
        1 => info!("running the migration"),
        attempts => warn!("{}; running it again, attempt {attempts}", ended(lock.last_exit)),
    }
}

/// The line about what has begun, if that changed. A check while waiting for the lock resets the begin of the wait, which is not logged.
fn begun(before: &MigrationLock, lock: &MigrationLock) -> Option<String> {
    let step = |lock: &MigrationLock| lock.step.map(|(step, _)| step);
    let begun = step(lock).filter(|_| step(before) != step(lock))?;
    match begun {
        MigrationStep::Asking => lock.kind.is_some().then(|| "requesting the migration lock".to_owned()),
        MigrationStep::Checking => Some("checking whether there is anything to migrate".to_owned()),
        MigrationStep::Verifying => Some(format!("the migration succeeded after {}; verifying it", ran(lock))),
        MigrationStep::Running => None,
    }
}

/// One line on the result of the migration, and whether it is a warning.
fn news(before: &Snapshot, after: &Snapshot, now: Moment) -> Option<(bool, String)> {
    if before.migration == after.migration {
        return None;
    }
    let lock = &after.migration_lock;
    let through = after.stage("migrate").is_some_and(|stage| stage.step == StageState::Up);
    let line = match (&before.migration, &after.migration) {
        (Migration::Queued { holder: old, .. }, Migration::Queued { holder, .. }) if old == holder => return None,
        (_, Migration::Queued { .. }) => {
            let (holder, seen_at) = lock.holder.as_ref().filter(|_| lock.preparing.is_none())?;
            let session = holder.instance.as_ref().map(|_| format!(" behind {}", holder.words)).unwrap_or_default();
            format!("{}{session}", queues(holder, *seen_at, now))
        }
        (_, Migration::Holder { .. }) if lock.kind.is_some() => match before.migration_lock.step {
            Some((MigrationStep::Asking, since)) => format!("got the migration lock after {}", seconds(now.since(since))),
            _ => "got the migration lock".to_owned(),
        },
        (_, Migration::Done) if through && lock.ahead => {
            let line = "the schema is ahead of this replica, so the migration is skipped; check that the versions match";
            return Some((true, line.to_owned()));
        }
        (_, Migration::Done) if through && lock.attempts == 0 => "the schema is up to date, so the migration is skipped".to_owned(),
        (Migration::Holder { .. }, Migration::Done) if through => format!("the migration is done after {}", ran(lock)),
        (Migration::Holder { .. }, Migration::Done) if lock.attempts > 0 => {
            return Some((true, format!("{} after {}", ended(lock.last_exit), ran(lock))));
        }
        _ => return None,
    };
    Some((false, line))
}

/// How long the command ran; the lock, the check before it and the verification have their own times.
fn ran(lock: &MigrationLock) -> String {
    seconds(lock.ran.unwrap_or_default())
}

/// How an unsuccessful migration ended.
fn ended(last: Option<Ended>) -> String {
    match last {
        Some(Ended::Code(0)) => "the migration ended with status 0, but is not confirmed,".to_owned(),
        Some(Ended::Code(code)) => format!("the migration failed with status {code}"),
        Some(signal @ Ended::Signal(_)) => format!("the migration was ended by {signal}"),
        None => "the migration was not started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event_log::EventLog;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::{LockPlan, MigrationPlan, Plan, ProcessPlan, Service};
    use crate::state::event::{Event, LockNews, ProcessId};
    use crate::state::lifecycle::Lifecycle;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    fn migrating() -> Lifecycle {
        let process = || ProcessPlan::new(Argv::new(vec![Word::plain("app")]).unwrap());
        let service =
            Service { name: "api".to_owned(), mode: None, instance: "api-2".to_owned(), host: String::new(), version: None, build: "0" };
        let plan = Plan {
            migration: Some(MigrationPlan::new(process(), LockPlan::File("/lock".into()))),
            main: Some(process()),
            ..Plan::of(service)
        };
        let mut run = Lifecycle::new(Arc::new(plan), at(0));
        run.apply(at(0), Event::Begin);
        run
    }

    fn holder() -> LockHolder {
        LockHolder {
            words: "portcullis-lock:45c95949:api-1:0badcafe (pid 41, at 10.0.0.7)".to_owned(),
            instance: Some("api-1".to_owned()),
            address: Some("10.0.0.7".to_owned()),
            held: Some(Duration::from_secs(40)),
            gone: false,
        }
    }

    /// The log line of one event.
    fn logged(run: &mut Lifecycle, now: Moment, event: Event) -> Option<(bool, String)> {
        let before = run.snapshot().clone();
        run.apply(now, event);
        news(&before, run.snapshot(), now)
    }

    #[test]
    fn the_holder_of_the_lock_is_reported_first_with_its_time() {
        let mut run = migrating();
        let (loud, line) = logged(&mut run, at(5), Event::Lock(LockNews::Queued(holder()))).unwrap();
        assert_eq!(
            line,
            "api-1 at 10.0.0.7 holds the migration lock, connected for 40s; waiting behind portcullis-lock:45c95949:api-1:0badcafe (pid 41, at 10.0.0.7)"
        );
        assert!(!loud);
        assert_eq!(
            logged(&mut run, at(7), Event::Lock(LockNews::Queued(LockHolder { held: Some(Duration::from_secs(42)), ..holder() }))),
            None
        );
        let now = line_of(&run, at(15));
        assert_eq!(now, "api-1 at 10.0.0.7 holds the migration lock, connected for 50s; waiting for 10s");
        for (holder, expected) in [
            ("connection 12 of app".into(), "connection 12 of app holds the migration lock; waiting for 11s"),
            (LockHolder::gone("a session that has just ended"), "a session that has just ended held the migration lock; waiting for 11s"),
            (ANOTHER_MODE.into(), "another replica, whose mode migrates, has not migrated yet; waiting for 11s"),
        ] {
            run.apply(at(16), Event::Lock(LockNews::Queued(holder)));
            assert_eq!(line_of(&run, at(16)), expected);
        }
    }

    fn line_of(run: &Lifecycle, now: Moment) -> String {
        line(run.snapshot(), now).unwrap()
    }

    #[test]
    fn a_queue_is_mentioned_after_2_s_10_s_and_then_every_30_s() {
        for (late, expected) in [(Duration::ZERO, [2, 10, 40, 70, 100, 130]), (Duration::from_millis(900), [2, 10, 40, 70, 100, 130])] {
            let mut run = migrating();
            let mut event_log = EventLog { terminal: false, ..EventLog::new(run.plan(), at(0)) };
            let began = at(3);
            run.apply(began, Event::Lock(LockNews::Queued(holder())));
            let (mut now, mut mentioned) = (began, Vec::new());
            while mentioned.len() < expected.len() {
                now = now.after(event_log.next(run.snapshot(), now).unwrap().max(Duration::from_millis(1)) + late);
                // News of the holder come every other second, and do not change this.
                run.apply(now, Event::Lock(LockNews::Queued(holder())));
                if event_log.due(run.snapshot(), now).is_some() {
                    mentioned.push(now.since(began).as_secs());
                }
            }
            assert_eq!(mentioned, expected, "woken {late:?} late");
        }
    }

    #[test]
    fn a_check_result_while_waiting_for_the_lock_is_not_logged() {
        let mut run = migrating();
        let mut line = |now, event| {
            let before = run.snapshot().migration_lock.clone();
            run.apply(now, Event::Lock(event));
            begun(&before, &run.snapshot().migration_lock)
        };
        let took = Duration::from_millis(5);
        assert_eq!(line(at(1), LockNews::Queued(holder())), None);
        for tries in 2..5 {
            assert_eq!(line(at(tries), LockNews::Checked(took)), None, "it still waits");
        }
    }

    #[test]
    fn a_migration_that_failed_is_not_called_over() {
        for (ended, expected) in [
            (Ended::Code(0), (false, "the migration is done after 3.000s")),
            (Ended::Code(3), (true, "the migration failed with status 3 after 3.000s")),
            (Ended::Signal(9), (true, "the migration was ended by SIGKILL after 3.000s")),
        ] {
            let mut run = migrating();
            assert_eq!(logged(&mut run, at(1), Event::Lock(LockNews::Held)).unwrap().1, "got the migration lock after 1.000s");
            for event in [
                Event::Spawned(ProcessId::Migration, 7),
                Event::Exited(ProcessId::Migration, ended),
                Event::GroupGone(ProcessId::Migration),
            ] {
                assert_eq!(logged(&mut run, at(4), event), None);
                assert!(line(run.snapshot(), at(4)).is_none_or(|line| !line.ends_with("4s")), "its own time alone");
            }
            let logged = logged(&mut run, at(9), Event::Lock(LockNews::Released)).unwrap();
            assert_eq!((logged.0, logged.1.as_str()), expected);
        }
    }
}
