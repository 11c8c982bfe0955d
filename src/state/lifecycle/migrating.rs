//! The migration's commands, one after another: asking whether there is anything to do, running it once, verifying it, each with all
//! that it started seen off before the next step.

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

/// How long what a command left in its group may take to end before it is killed.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// How long a question about the schema may take; one that hangs must not hang the fleet.
const QUESTION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The pause between two questions of a replica that only waits, and the first one before another try of the command.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest pause before another try of the command.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limit of what the migration does now.
const LIMIT: Timer = Timer::Process(ProcessId::Migration, ProcessTimer::Limit);

/// The pause before its next command.
const RETRY: Timer = Timer::Process(ProcessId::Migration, ProcessTimer::Restart);

/// What the migration does now, or did last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// A command says whether there is anything to do.
    #[default]
    Check,
    /// The same, but it began before its answer counted.
    OutdatedCheck,
    /// The migration itself.
    Run,
    /// A command says whether it has done what it should.
    Verify,
    /// The lock's database says so.
    QueryDatabase,
}

/// Where this replica stands with the migration's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lock {
    /// It was not asked for, or is given back.
    #[default]
    Idle,
    /// It was asked for.
    Requested,
    /// It is ours.
    Held,
    /// It is ours, and its database is asked whether there is anything to migrate.
    Checking,
    /// It went, and why, while no command ran: the next one is not begun.
    Lost(String),
    /// It went, and what runs is being stopped, or may go on without it.
    Forfeited,
    /// It is being given back.
    Releasing,
}

impl Lock {
    /// Whether it is ours.
    const fn is_ours(&self) -> bool {
        matches!(self, Self::Held | Self::Checking)
    }
}

/// Where the migration stands, beside what the snapshot tells and the state of its process.
#[derive(Clone, Debug, Default)]
pub(super) struct Migrating {
    task: Task,
    lock: Lock,
    /// Tries of the command that failed.
    failures: u32,
    /// Whether a replica that only waits has waited for as long as it may: its next look is its last.
    pub(super) overdue: bool,
    /// What waits until the lock is confirmed after a time in which nobody looked; none where nothing is to be confirmed.
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

    /// How long the command may run; zero: without limit.
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

    /// Starts the check, or has the one that runs repeated, because what it has seen may have changed since.
    fn check_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if matches!(self.state(ProcessId::Migration), RunState::Idle | RunState::Backoff) {
            self.start_task(now, Task::Check, effects);
        } else {
            self.migrating.task = Task::OutdatedCheck;
        }
    }

    /// Asks the command to stop, and wakes it should it be stopped; once `timer` has run out it is killed.
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

    /// A command of the migration or of a step has ended; what it left in its group is seen off before anything else begins.
    pub(super) fn task_ended(&mut self, id: ProcessId, ended: Ended, for_memory: &'static str, effects: &mut Vec<Effect>) {
        if id == ProcessId::Migration && self.migrating.task == Task::Run {
            self.snapshot.migration_lock.last_exit = Some(ended);
        }
        effects.push(Effect::Disarm(Timer::Process(id, ProcessTimer::Limit)));
        // Once KILL was sent nobody of the group gets another grace, and the deadline of a stop holds for all of it.
        let number = if self.shutdown.is_some_and(Shutdown::kills) { libc::SIGKILL } else { libc::SIGTERM };
        let grace = self.shutdown.is_none().then_some(LEFTOVER_GRACE);
        self.clear(id, Then::Next(ended, for_memory), number, grace, effects);
    }

    /// The command and all of its group are gone: only now may anything else touch the database.
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
                let why = format!("the migration ended well, but its verification with {ended}, so the process was not started");
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

    /// A replica of a mode that does not migrate asks on until another one has.
    fn wait_on(&mut self, now: Moment, limit: Duration, effects: &mut Vec<Effect>) {
        if self.migrating.overdue {
            let shown = humantime::format_duration(limit);
            let why = format!("the schema was not migrated by another replica within {shown}; check the one whose mode migrates");
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

    /// Whether the lock is ours, or was asked about, and no command runs.
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

    /// The limit of whatever runs.
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
