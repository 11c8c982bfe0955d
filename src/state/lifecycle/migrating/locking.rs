//! The migration's lock: when it is asked for, what its keeper says of it, and when it is given back.

use super::{Duration, Effect, Exit, Lifecycle, Lock, LockHolder, LockNews, Migration, MigrationStep, Moment, Phase, ProcessId};
use super::{Question, RETRY, RunState, StartStage, Step, Timer};

/// How long giving the lock back may take; the database frees it with the connection anyway.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How long a migration that lost its lock may take to stop, so that a successor never overlaps with it
/// (`docs/decisions.md`, 1).
const LOST_LOCK_GRACE: Duration = Duration::from_secs(5);

impl Lifecycle {
    pub(super) fn ask_lock(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let checks = self.plan.migration.as_ref().is_some_and(|plan| matches!(plan.check, Some(Question::Sql(_))));
        let step = if checks { MigrationStep::Checking } else { MigrationStep::Asking };
        self.snapshot.migration_lock.step = Some((step, now));
        self.migrating.lock = Lock::Asked;
        effects.push(Effect::AcquireLock);
    }

    pub(in crate::state::lifecycle) fn lock(&mut self, now: Moment, news: LockNews, effects: &mut Vec<Effect>) {
        let queues =
            self.snapshot.phase == Phase::Migrating && matches!(self.snapshot.migration, Migration::Idle | Migration::Queued { .. });
        let queues = queues && self.migrating.lock != Lock::Releasing;
        match news {
            LockNews::Queued(holder) if queues => self.queued(now, holder),
            LockNews::HandedOn if queues && self.asks_by_command() && self.ending.is_none() => self.check_again(now, effects),
            LockNews::Current { ahead } if queues && self.ending.is_none() => self.nothing_to_do(now, ahead, effects),
            LockNews::Checked(took) if queues => self.check_answered(now, took),
            LockNews::Preparing(preparation) if queues => {
                self.snapshot.migration_lock.preparing = Some(preparation);
                if self.snapshot.migration == Migration::Idle {
                    self.snapshot.migration = Migration::Queued { since: now, holder: String::new() };
                }
            }
            LockNews::Held if queues && self.ending.is_none() => {
                self.snapshot.migration = Migration::Holder { since: now };
                self.snapshot.migration_lock.held_at = Some(now);
                self.snapshot.migration_lock.preparing = None;
                if !matches!(self.migrating.lock, Lock::Lost(_)) {
                    self.migrating.lock = Lock::Held;
                }
                if self.lost_meanwhile() {
                    self.migration_over(now, Step::Down, effects);
                } else if self.asks_by_command() {
                    self.check_again(now, effects);
                } else {
                    self.run_migration(now, effects);
                }
            }
            LockNews::Held if !matches!(self.migrating.lock, Lock::Held | Lock::Releasing) => effects.push(Effect::ReleaseLock),
            LockNews::Confirmed => self.lock_confirmed(now, effects),
            LockNews::Lost(why) if self.migrating.unconfirmed.is_some() => self.lock_gone(now, why, effects),
            LockNews::Lost(why) if self.migrating.lock == Lock::Held => self.lock_lost(why, effects),
            LockNews::Verified(answer) if self.verifies_by_sql() => self.verified(now, answer, effects),
            LockNews::Unavailable(exit, why) if queues => {
                self.stage_ended(now, "migrate", Step::Down);
                self.migrating.lock = Lock::Idle;
                if matches!(self.state(ProcessId::Migration), RunState::Idle | RunState::Backoff) {
                    self.fail(now, exit.code(), why, effects);
                } else {
                    // The check that runs beside the queue ends first.
                    self.decide(exit.code(), why);
                    self.stop_task(libc::SIGTERM, Timer::Grace, self.stop_timeout(), effects);
                }
            }
            LockNews::Released => self.lock_released(now, effects),
            _ => {}
        }
    }

    /// The keeper checks before it asks for the lock, and again under it: that time is none of the lock's.
    fn check_answered(&mut self, now: Moment, took: Duration) {
        self.snapshot.migration_lock.step = match self.snapshot.migration_lock.step {
            Some((MigrationStep::Asking, since)) => Some((MigrationStep::Asking, since.after(took.min(now.since(since))))),
            Some((MigrationStep::Checking, _)) => Some((MigrationStep::Asking, now)),
            step => step,
        };
    }

    pub(super) fn queued(&mut self, now: Moment, holder: LockHolder) {
        let since = match &self.snapshot.migration {
            Migration::Queued { since, .. } => *since,
            _ => now,
        };
        self.snapshot.migration = Migration::Queued { since, holder: holder.words.clone() };
        self.snapshot.migration_lock.preparing = None;
        self.snapshot.migration_lock.holder = Some((holder, now));
    }

    /// One that runs on without its lock may overlap with another's; while no command runs the next one is not begun.
    pub(super) fn lock_lost(&mut self, why: String, effects: &mut Vec<Effect>) {
        self.snapshot.migration_lock.lost += 1;
        self.migrating.lock = Lock::Forfeited;
        if self.plan.migration.as_ref().is_some_and(|plan| plan.unlocked) {
            return;
        }
        if self.state(ProcessId::Migration).runs() {
            self.decide(Exit::LockLost.code(), format!("the migration lock was lost while the migration ran: {why}"));
            self.stop_task(libc::SIGTERM, Timer::Overlap, LOST_LOCK_GRACE, effects);
        } else {
            self.migrating.lock = Lock::Lost(why);
        }
    }

    /// Whether the lock went while no command ran; then the run ends.
    pub(super) fn lost_meanwhile(&mut self) -> bool {
        let Lock::Lost(why) = &self.migrating.lock else { return false };
        let why = why.clone();
        self.migrating.lock = Lock::Forfeited;
        self.decide(Exit::LockLost.code(), format!("the migration lock was lost before the migration was over: {why}"));
        true
    }

    pub(in crate::state::lifecycle) fn release_lock(&mut self, effects: &mut Vec<Effect>) {
        self.migrating.lock = Lock::Releasing;
        if *self.state(ProcessId::Migration) == RunState::Backoff {
            self.transition(ProcessId::Migration, RunState::Idle);
            effects.push(Effect::Disarm(RETRY));
        }
        effects.push(Effect::ReleaseLock);
        effects.push(Effect::Arm(Timer::Release, RELEASE_LIMIT));
    }

    pub(in crate::state::lifecycle) fn lock_released(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.migrating.lock != Lock::Releasing {
            return;
        }
        self.migrating.lock = Lock::Idle;
        self.snapshot.migration = Migration::Done;
        self.snapshot.migration_lock.preparing = None;
        effects.push(Effect::Disarm(Timer::Release));
        if self.ending.is_some() {
            self.enter(now, Phase::Failed);
            self.close(effects);
        } else {
            self.stage_is_over(now, StartStage::Migration, effects);
        }
    }
}
