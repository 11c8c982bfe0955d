//! The migration lock: when it is requested, the news from its keeper, and when it is released.

use super::{Duration, Effect, Exit, Lifecycle, Lock, LockHolder, LockNews, Migration, MigrationStep, Moment, Phase, ProcessId};
use super::{ProcessTimer, Progress, RETRY, RunState, SchemaCheck, StageState, StartStage, Timer};
use crate::plan::StepAt;

/// How long releasing the lock may take; the database frees it with the connection anyway.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How long a migration that lost its lock may take to stop, so that the next one never overlaps with it (`docs/decisions.md`, 1).
const LOST_LOCK_GRACE: Duration = Duration::from_secs(5);

impl Lifecycle {
    /// Requests the lock; if a step already holds it, only checks in its database whether there is anything to do.
    pub(super) fn acquire_lock(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let checks = self.plan.migration.as_ref().is_some_and(|plan| matches!(plan.check, Some(SchemaCheck::Sql(_))));
        let step = if checks { MigrationStep::Checking } else { MigrationStep::Asking };
        self.snapshot.migration_lock.step = Some((step, now));
        match self.migrating.lock {
            Lock::Held if checks => self.migrating.lock = Lock::Checking,
            Lock::Held | Lock::Forfeited => return self.run_migration(now, effects),
            _ => self.migrating.lock = Lock::Requested,
        }
        effects.push(Effect::AcquireLock);
    }

    /// Requests the lock for a step.
    pub(in crate::state::lifecycle) fn take_lock(&mut self, effects: &mut Vec<Effect>) {
        self.migrating.lock = Lock::Requested;
        effects.push(Effect::TakeLock);
    }

    /// Whether the lock is held, or was lost and is not required any more.
    pub(in crate::state::lifecycle) const fn has_lock(&self) -> bool {
        matches!(self.migrating.lock, Lock::Held | Lock::Forfeited)
    }

    /// Whether the lock was requested and is not being released.
    pub(in crate::state::lifecycle) const fn lock_is_out(&self) -> bool {
        !matches!(self.migrating.lock, Lock::Idle | Lock::Releasing)
    }

    /// Whether a later stage needs the lock under the same hold. While this replica waits for the migration of another one it holds
    /// nothing, and for steps beside the process it takes the lock again.
    fn lock_is_wanted(&self) -> bool {
        let waits = self.plan.migration.as_ref().is_some_and(|plan| plan.waits);
        let is_ahead = !self.start.has_reached(StartStage::Migration);
        match () {
            () if self.start.has_reached(StartStage::Process) => self.later_step_is_locked(|at| at == StepAt::Up),
            () if waits && is_ahead => self.later_step_is_locked(|at| at < StepAt::Migrated),
            () => (is_ahead && self.plan.migration.is_some()) || self.later_step_is_locked(|at| at < StepAt::Up),
        }
    }

    /// A stage that may have needed the lock is over: the lock is released once nothing needs it any more, and the start continues.
    pub(in crate::state::lifecycle) fn part_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.migrating.lock {
            Lock::Idle => self.lock_is_back(now, effects),
            Lock::Releasing => {}
            Lock::Held | Lock::Forfeited | Lock::Lost(_) if self.ending.is_none() && self.lock_is_wanted() => self.go_on(now, effects),
            _ => self.release_lock(effects),
        }
    }

    fn go_on(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.plan.migration.is_some() && self.start.has_reached(StartStage::Migration) {
            self.snapshot.migration = Migration::Done;
        }
        let Some(stage) = self.start.stage() else { return };
        let at = StepAt::ALL.into_iter().find(|at| StartStage::of(*at) == stage);
        if at.is_none_or(|at| self.begin_steps(now, at, effects) == Progress::Done) {
            self.stage_is_over(now, stage, effects);
        }
    }

    pub(in crate::state::lifecycle) fn lock(&mut self, now: Moment, news: LockNews, effects: &mut Vec<Effect>) {
        let queues = matches!(self.migrating.lock, Lock::Requested | Lock::Lost(_)) && !self.snapshot.phase.is_leaving();
        let checks = self.migrating.lock == Lock::Checking;
        match news {
            LockNews::Queued(holder) if queues => self.queued(now, holder),
            LockNews::Held if checks => {
                self.migrating.lock = Lock::Held;
                self.run_migration(now, effects);
            }
            LockNews::Current { ahead } if checks => {
                self.migrating.lock = Lock::Held;
                self.nothing_to_do(now, ahead, effects);
            }
            LockNews::HandedOn if queues && self.checks_by_command() && self.ending.is_none() => self.check_again(now, effects),
            LockNews::Current { ahead } if queues && self.ending.is_none() => self.nothing_to_do(now, ahead, effects),
            LockNews::Checked(took) if queues => self.check_answered(now, took),
            LockNews::Preparing(preparation) if queues => {
                self.snapshot.migration_lock.preparing = Some(preparation);
                if self.snapshot.migration == Migration::Idle && !self.step_queues() {
                    self.snapshot.migration = Migration::Queued { since: now, holder: String::new() };
                }
            }
            LockNews::Held if queues && self.ending.is_none() => {
                self.snapshot.migration_lock.held_at = Some(now);
                self.snapshot.migration_lock.preparing = None;
                if !matches!(self.migrating.lock, Lock::Lost(_)) {
                    self.migrating.lock = Lock::Held;
                }
                if self.step_queues() {
                    return self.step_has_lock(now, effects);
                }
                self.snapshot.migration = Migration::Holder { since: now };
                if self.lost_meanwhile() {
                    self.migration_over(now, StageState::Down, effects);
                } else if self.checks_by_command() {
                    self.check_again(now, effects);
                } else {
                    self.run_migration(now, effects);
                }
            }
            LockNews::Held if !matches!(self.migrating.lock, Lock::Held | Lock::Releasing) => effects.push(Effect::ReleaseLock),
            LockNews::Confirmed => self.lock_confirmed(now, effects),
            LockNews::Lost(why) if self.migrating.unconfirmed.is_some() => self.lock_gone(now, why, effects),
            LockNews::Lost(why) if self.migrating.lock.is_ours() => self.lock_lost(now, why, effects),
            LockNews::Verified(answer) if self.verifies_by_sql() => self.verified(now, answer, effects),
            LockNews::Unavailable(exit, why) if queues => {
                self.migrating.lock = Lock::Idle;
                if self.step_queues() {
                    return self.step_failed(now, exit.code(), why, effects);
                }
                self.stage_ended(now, "migrate", StageState::Down);
                if matches!(self.state(ProcessId::Migration), RunState::Idle | RunState::Backoff) {
                    self.fail(now, exit.code(), why, effects);
                } else {
                    // The check that runs in parallel ends first.
                    self.decide(exit.code(), why);
                    self.stop_task(ProcessId::Migration, libc::SIGTERM, Timer::Grace, self.stop_timeout(), effects);
                }
            }
            LockNews::Released => self.lock_released(now, effects),
            _ => {}
        }
    }

    /// The keeper checks before it requests the lock, and again under it: that time does not count as wait for the lock.
    fn check_answered(&mut self, now: Moment, took: Duration) {
        self.snapshot.migration_lock.step = match self.snapshot.migration_lock.step {
            Some((MigrationStep::Asking, since)) => Some((MigrationStep::Asking, since.after(took.min(now.since(since))))),
            Some((MigrationStep::Checking, _)) => Some((MigrationStep::Asking, now)),
            step => step,
        };
    }

    pub(super) fn queued(&mut self, now: Moment, holder: LockHolder) {
        self.snapshot.migration_lock.preparing = None;
        if self.step_queues() {
            self.snapshot.migration_lock.holder = Some((holder, now));
            return;
        }
        let since = match &self.snapshot.migration {
            Migration::Queued { since, .. } => *since,
            _ => now,
        };
        self.snapshot.migration = Migration::Queued { since, holder: holder.words.clone() };
        self.snapshot.migration_lock.holder = Some((holder, now));
    }

    /// A command without its lock may overlap with that of another replica; if no command runs, the next one is not started.
    pub(super) fn lock_lost(&mut self, now: Moment, why: String, effects: &mut Vec<Effect>) {
        self.snapshot.migration_lock.lost += 1;
        let checks = std::mem::replace(&mut self.migrating.lock, Lock::Forfeited) == Lock::Checking;
        if self.plan.goes_on_unlocked() {
            if checks {
                self.run_migration(now, effects);
            }
            return;
        }
        let step = self.step_under_way().filter(|id| self.step_is_locked() && self.state(*id).runs());
        match step {
            _ if self.state(ProcessId::Migration).runs() => {
                self.decide(Exit::LockLost.code(), format!("the migration lock was lost while the migration ran: {why}"));
                self.stop_task(ProcessId::Migration, libc::SIGTERM, Timer::Overlap, LOST_LOCK_GRACE, effects);
            }
            Some(id) => {
                let name = self.current_step().map(|step| step.name.clone()).unwrap_or_default();
                self.decide(Exit::LockLost.code(), format!("the migration lock was lost while the step `{name}` ran: {why}"));
                if self.start.has_reached(StartStage::Process) {
                    effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::Grace), LOST_LOCK_GRACE));
                    self.leave(now, libc::SIGTERM, effects);
                } else {
                    self.stop_task(id, libc::SIGTERM, Timer::Overlap, LOST_LOCK_GRACE, effects);
                }
            }
            None => {
                self.migrating.lock = Lock::Lost(why);
                if checks && self.lost_meanwhile() {
                    self.migration_over(now, StageState::Down, effects);
                }
            }
        }
    }

    /// Whether the lock was lost while no command ran; then the run ends.
    pub(in crate::state::lifecycle) fn lost_meanwhile(&mut self) -> bool {
        let Lock::Lost(why) = &self.migrating.lock else { return false };
        let why = why.clone();
        self.migrating.lock = Lock::Forfeited;
        let what = if self.step_is_locked() { "the step that needs it" } else { "the migration" };
        self.decide(Exit::LockLost.code(), format!("the migration lock was lost before {what} was over: {why}"));
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
        effects.push(Effect::Disarm(Timer::Release));
        self.lock_is_back(now, effects);
    }

    /// The lock is not held and no command needs it: the start continues, or the run ends.
    fn lock_is_back(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.migrating.lock = Lock::Idle;
        self.snapshot.migration_lock.preparing = None;
        match self.shutdown {
            None if self.ending.is_none() => return self.go_on(now, effects),
            None if self.main_lives() => self.leave(now, libc::SIGTERM, effects),
            Some(_) if !self.stops_one_off() => {}
            _ => {
                self.enter(now, if self.snapshot.started { Phase::Stopped } else { Phase::Failed });
                self.close(effects);
            }
        }
        if self.plan.migration.is_some() && self.start.has_reached(StartStage::Migration) {
            self.snapshot.migration = Migration::Done;
        }
    }
}
