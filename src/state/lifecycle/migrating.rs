//! The migration's commands in order: check, migration, verification. Everything that one of them started has ended before the next one
//! begins.

mod confirming;
mod locking;
mod verifying;
mod weighing;

use super::{
    Duration, Effect, Ended, Event, Exit, Lifecycle, LockNews, Migration, MigrationStep, Moment, Phase, ProcessId, StageState, Timer,
};
use super::{ProcessTimer, Progress, RunState, Shutdown, StartStage, Then};
use crate::plan::SchemaCheck;
use crate::state::event::{ANOTHER_MODE, Inquiry, LockHolder, SchemaQuestion};

/// How long the leftovers in a command's group may take to end before they are killed.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// How long a schema check may take; a hanging one must not block all replicas.
const QUESTION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The pause between two checks of a replica that only waits, and the first pause before a retry of the command.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest pause before a retry of the command.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limit of the current command.
const LIMIT: Timer = Timer::Process(ProcessId::Migration, ProcessTimer::Limit);

/// The pause before its next command.
const RETRY: Timer = Timer::Process(ProcessId::Migration, ProcessTimer::Restart);

/// The current or last command of the migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// The check command.
    #[default]
    Check,
    /// The same, but it began before its result counted.
    OutdatedCheck,
    /// The migration itself.
    Run,
    /// The verification command.
    Verify,
    /// The verification in the lock's database.
    QueryDatabase,
}

/// The state of the migration lock in this replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lock {
    /// Not requested, or released.
    #[default]
    Idle,
    /// Requested.
    Requested,
    /// Held.
    Held,
    /// Held, and its database is queried whether there is anything to migrate.
    Checking,
    /// Lost while no command ran, with the reason: the next one is not started.
    Lost(String),
    /// Lost, and the running command is being stopped, or may continue without it.
    Forfeited,
    /// Being released.
    Releasing,
}

impl Lock {
    /// Whether it is held.
    const fn is_ours(&self) -> bool {
        matches!(self, Self::Held | Self::Checking)
    }
}

/// The state of the migration that is neither in the snapshot nor in its process.
#[derive(Clone, Debug, Default)]
pub(super) struct Migrating {
    task: Task,
    lock: Lock,
    /// Failed attempts of the command.
    failures: u32,
    /// Whether a replica that only waits has reached its limit: its next check is the last one.
    pub(super) overdue: bool,
    /// The event that waits until the lock is confirmed after a pause; none if nothing has to be confirmed.
    unconfirmed: Option<Vec<Event>>,
}

impl Lifecycle {
    pub(super) fn begin_migration(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Progress {
        let Some(plan) = &self.plan.migration else { return Progress::Done };
        let is_decided = plan.condition.is_constant();
        self.enter(now, Phase::Migrating);
        self.stage_began(now, "migrate");
        if self.lost_meanwhile() {
            self.migration_over(now, StageState::Down, effects);
        } else if is_decided {
            self.migrate(now, effects);
        } else {
            effects.push(Effect::Prepare(Inquiry::Migration));
        }
        Progress::Pending
    }

    /// How long the command may run; zero: no limit.
    pub(super) fn task_limit(&self) -> Duration {
        match self.migrating.task {
            Task::Run => self.plan.migration.as_ref().map_or(Duration::ZERO, |plan| plan.timeout),
            _ => QUESTION_LIMIT,
        }
    }

    pub(super) fn checks_by_command(&self) -> bool {
        self.plan.migration.as_ref().is_some_and(|plan| matches!(plan.check, Some(SchemaCheck::Command(_))))
    }

    fn start_task(&mut self, now: Moment, task: Task, effects: &mut Vec<Effect>) {
        let (step, spawn) = match task {
            Task::Check | Task::OutdatedCheck => (MigrationStep::Checking, Effect::QuerySchema(SchemaQuestion::Check)),
            Task::Run => (MigrationStep::Running, Effect::Spawn(ProcessId::Migration)),
            Task::Verify | Task::QueryDatabase => (MigrationStep::Verifying, Effect::QuerySchema(SchemaQuestion::Verify)),
        };
        self.snapshot.migration_lock.step = Some((step, now));
        self.migrating.task = task;
        self.spawn(ProcessId::Migration, spawn, effects);
    }

    fn run_migration(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !matches!(self.snapshot.migration, Migration::Holder { .. }) {
            self.snapshot.migration = Migration::Holder { since: now };
        }
        self.snapshot.migration_lock.attempts += 1;
        self.start_task(now, Task::Run, effects);
    }

    /// Starts the check, or repeats the running one, because its result may be outdated.
    fn check_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if matches!(self.state(ProcessId::Migration), RunState::Idle | RunState::Backoff) {
            self.start_task(now, Task::Check, effects);
        } else {
            self.migrating.task = Task::OutdatedCheck;
        }
    }

    /// Sends the stop signal to the command, and CONT in case it is suspended; after `timer` it is killed.
    pub(super) fn stop_task(&mut self, id: ProcessId, number: i32, timer: Timer, grace: Duration, effects: &mut Vec<Effect>) {
        if !self.shutdown.is_some_and(Shutdown::kills) {
            self.shut(Shutdown::Stopping(id));
        }
        if self.state(id).runs() {
            self.transition(id, RunState::Stopping(Then::Rest));
            effects.extend([number, libc::SIGCONT].map(|number| Effect::Signal(id, number)));
        }
        effects.push(Effect::Arm(timer, grace));
    }

    /// A command of the migration or of a step has ended; the leftovers in its group are ended before anything else begins.
    pub(super) fn task_ended(&mut self, id: ProcessId, ended: Ended, for_memory: &'static str, effects: &mut Vec<Effect>) {
        if id == ProcessId::Migration && self.migrating.task == Task::Run {
            self.snapshot.migration_lock.last_exit = Some(ended);
        }
        effects.push(Effect::Disarm(Timer::Process(id, ProcessTimer::Limit)));
        // After KILL the group gets no further grace period, and the deadline of a stop applies to all of it.
        let number = if self.shutdown.is_some_and(Shutdown::kills) { libc::SIGKILL } else { libc::SIGTERM };
        let grace = self.shutdown.is_none().then_some(LEFTOVER_GRACE);
        self.clear(id, Then::Next(ended, for_memory), number, grace, effects);
    }

    /// The command and its whole group have ended: only now may anything else access the database.
    pub(super) fn task_over(&mut self, now: Moment, ended: Ended, for_memory: &str, effects: &mut Vec<Effect>) {
        if let Some((MigrationStep::Running, since)) = self.snapshot.migration_lock.step.take() {
            self.snapshot.migration_lock.ran = Some(now.since(since));
        }
        effects.extend([Timer::Grace, Timer::Overlap, Timer::Reap].map(Effect::Disarm));
        let (task, failed, ends) = (self.migrating.task, ended != Ended::Code(0), self.ending.is_some());
        match task {
            Task::Run if failed && !ends && self.retries_left() => {
                let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.migrating.failures)).min(LONGEST_PAUSE);
                self.migrating.failures += 1;
                return self.pause(pause, effects);
            }
            Task::Run if failed || ends => {
                self.decide(ended.exit_code(), format!("the migration ended with {ended}{for_memory}, so the process was not started"));
            }
            Task::Verify if failed => {
                let why = format!("the migration succeeded, but its verification ended with {ended}, so the process was not started");
                self.decide(ended.exit_code(), why);
            }
            _ => {}
        }
        if self.ending.is_some() || self.lost_meanwhile() {
            self.migration_over(now, StageState::Down, effects);
            return;
        }
        match task {
            Task::Check | Task::OutdatedCheck => self.checked(now, ended, effects),
            Task::Run => self.verify(now, effects),
            Task::Verify | Task::QueryDatabase => self.migration_over(now, StageState::Up, effects),
        }
    }

    fn checked(&mut self, now: Moment, ended: Ended, effects: &mut Vec<Effect>) {
        let Some((waits, limit)) = self.plan.migration.as_ref().map(|plan| (plan.waits, plan.lock_timeout)) else { return };
        match (ended, &self.migrating.lock) {
            (Ended::Code(0), _) => self.nothing_to_do(now, false, effects),
            (Ended::Code(2), _) => self.nothing_to_do(now, true, effects),
            _ if waits => self.wait_on(now, limit, effects),
            _ if self.migrating.task == Task::OutdatedCheck => self.start_task(now, Task::Check, effects),
            (_, Lock::Held | Lock::Forfeited) => self.run_migration(now, effects),
            (_, Lock::Idle) => self.acquire_lock(now, effects),
            _ => {}
        }
    }

    /// A replica of a mode that does not migrate repeats the check until another one has migrated.
    fn wait_on(&mut self, now: Moment, limit: Duration, effects: &mut Vec<Effect>) {
        if self.migrating.overdue {
            let shown = humantime::format_duration(limit);
            let why = format!("the schema was not migrated by another replica within {shown}; check the replica whose mode migrates");
            self.stage_ended(now, "migrate", StageState::Down);
            self.fail(now, Exit::LockTimeout.code(), why, effects);
            return;
        }
        self.queued(now, ANOTHER_MODE.into());
        self.pause(PAUSE, effects);
    }

    fn nothing_to_do(&mut self, now: Moment, ahead: bool, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disarm(Timer::Schema));
        self.snapshot.migration_lock.ahead = ahead;
        self.stage_ended(now, "migrate", StageState::Up);
        self.part_over(now, effects);
    }

    fn retries_left(&self) -> bool {
        self.plan.migration.as_ref().is_some_and(|plan| self.migrating.failures < plan.retries)
    }

    fn pause(&mut self, length: Duration, effects: &mut Vec<Effect>) {
        self.transition(ProcessId::Migration, RunState::Backoff);
        effects.push(Effect::Arm(RETRY, length));
    }

    pub(super) fn retry_task(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if *self.state(ProcessId::Migration) != RunState::Backoff || self.ending.is_some() {
            return;
        }
        self.transition(ProcessId::Migration, RunState::Idle);
        if self.lost_meanwhile() {
            self.migration_over(now, StageState::Down, effects);
        } else if self.migrating.task == Task::Run {
            self.run_migration(now, effects);
        } else {
            self.start_task(now, Task::Check, effects);
        }
    }

    /// Whether the lock is held, or being confirmed, and no command runs.
    pub(super) fn between_tasks(&self) -> bool {
        let migrates = self.start.stage() == Some(StartStage::Migration);
        migrates && (matches!(self.state(ProcessId::Migration), RunState::Clearing(_)) || self.migrating.lock.is_ours())
    }

    pub(super) fn stop_between_tasks(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !matches!(self.state(ProcessId::Migration), RunState::Clearing(_)) {
            self.migration_over(now, StageState::Down, effects);
        } else if self.requests.count >= 3 {
            self.kill(ProcessId::Migration, effects);
        }
    }

    /// The limit of the running command has passed.
    pub(super) fn task_took_too_long(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.verifies_by_sql() {
            self.verified(now, Err("the database did not answer; check that it is not blocked".to_owned()), effects);
        } else if matches!(self.state(ProcessId::Migration), RunState::Forked | RunState::Up(_)) && self.ending.is_none() {
            if self.migrating.task == Task::Run {
                let limit = humantime::format_duration(self.task_limit());
                self.decide(Exit::MigrationTimeout.code(), format!("the migration ran longer than {limit}"));
                self.stop_task(ProcessId::Migration, libc::SIGTERM, Timer::Grace, self.stop_timeout(), effects);
            } else {
                effects.push(Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL));
            }
        }
    }

    pub(super) fn migration_over(&mut self, now: Moment, step: StageState, effects: &mut Vec<Effect>) {
        self.stage_ended(now, "migrate", step);
        self.snapshot.migration_lock.step = None;
        self.part_over(now, effects);
    }
}
