//! The migration: queueing for its lock, running it once, giving the lock back before anything else happens.

use super::{Duration, Effect, Ended, Exit, Lifecycle, LockNews, Migration, Moment, Phase, ProcessId, Step, Timer};

/// How long giving the lock back may take; the database frees it with the connection anyway.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How long a migration that lost its lock may take to stop, so that a successor never overlaps with it (E5).
const LOST_LOCK_GRACE: Duration = Duration::from_secs(5);

impl Lifecycle {
    pub(super) fn lock(&mut self, now: Moment, news: LockNews, effects: &mut Vec<Effect>) {
        let queues =
            self.snapshot.phase == Phase::Migrating && matches!(self.snapshot.migration, Migration::Idle | Migration::Queued { .. });
        match news {
            LockNews::Queued(holder) if queues => {
                let since = match &self.snapshot.migration {
                    Migration::Queued { since, .. } => *since,
                    _ => now,
                };
                self.snapshot.migration = Migration::Queued { since, holder };
            }
            LockNews::Held if queues && self.ending.is_none() => {
                self.snapshot.migration = Migration::Holder { since: now };
                self.snapshot.migration_lock.held_at = Some(now);
                effects.push(Effect::Spawn(ProcessId::Migration));
            }
            LockNews::Held if !matches!(self.snapshot.migration, Migration::Holder { .. }) => effects.push(Effect::ReleaseLock),
            LockNews::Lost(why) if self.migration_runs => {
                self.snapshot.migration_lock.lost += 1;
                self.decide(Exit::LockLost.code(), format!("the migration lock was lost while the migration ran: {why}"));
                stop_migration(libc::SIGTERM, LOST_LOCK_GRACE, effects);
            }
            LockNews::Unavailable(exit, why) if queues => {
                self.stage_ended(now, "migrate", Step::Down);
                self.fail(now, exit.code(), why, effects);
            }
            LockNews::Released if self.releasing => self.lock_released(now, effects),
            LockNews::Queued(_) | LockNews::Held | LockNews::Lost(_) | LockNews::Unavailable(..) | LockNews::Released => {}
        }
    }

    pub(super) fn migration_ended(&mut self, now: Moment, ended: Ended, effects: &mut Vec<Effect>) {
        if !self.migration_runs {
            return;
        }
        self.migration_runs = false;
        for timer in [Timer::Migration, Timer::Grace, Timer::Reap] {
            effects.push(Effect::Disarm(timer));
        }
        let step = if ended == Ended::Code(0) && self.ending.is_none() { Step::Up } else { Step::Down };
        if step == Step::Down {
            self.decide(ended.exit_code(), format!("the migration ended with {ended}, so the process was not started"));
        }
        self.stage_ended(now, "migrate", step);
        self.release_lock(effects);
    }

    pub(super) fn release_lock(&mut self, effects: &mut Vec<Effect>) {
        self.releasing = true;
        effects.push(Effect::ReleaseLock);
        effects.push(Effect::Arm(Timer::Release, RELEASE_LIMIT));
    }

    pub(super) fn lock_released(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.releasing = false;
        self.snapshot.migration = Migration::Done;
        effects.push(Effect::Disarm(Timer::Release));
        if self.ending.is_some() {
            self.enter(now, Phase::Failed);
            self.close(now, effects);
        } else {
            self.start(now, effects);
        }
    }
}

/// Asks the migration to stop, and wakes it should it be stopped.
pub(super) fn stop_migration(number: i32, grace: Duration, effects: &mut Vec<Effect>) {
    effects.push(Effect::Signal(ProcessId::Migration, number));
    effects.push(Effect::Signal(ProcessId::Migration, libc::SIGCONT));
    effects.push(Effect::Arm(Timer::Grace, grace));
}
