//! The migration's commands, one after another: asking whether there is anything to do, running it once, verifying it, each with all
//! that it started seen off before the next step.

mod confirming;
mod locking;

use super::{Duration, Effect, Ended, Event, Exit, Lifecycle, LockNews, Migration, MigrationStep, Moment, Phase, ProcessId, Step, Timer};
use crate::exit::{signal_code, signal_name};
use crate::plan::Question;
use crate::state::event::{ANOTHER_MODE, Asked, LockHolder};

/// How long what a command left in its group may take to end before it is killed.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// How long a question about the schema may take; one that hangs must not hang the fleet.
const QUESTION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The pause between two questions of a replica that only waits, and the first one before another try of the command.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest pause before another try of the command.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a command of the migration is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Task {
    #[default]
    Check,
    Run,
    Verify,
}

/// Where the migration stands, beside what the snapshot tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Migrating {
    /// The command that runs or ran last.
    task: Task,
    /// Whether its spawn is awaited.
    starting: bool,
    /// How it ended, while what it left behind is seen off, and what is to be said of it.
    ended: Option<Ended>,
    for_memory: &'static str,
    /// Whether the lock was asked for.
    asked: bool,
    /// Whether it is ours.
    held: bool,
    /// Whether the check under way began before its answer counted.
    outdated: bool,
    /// Whether the database is asked for its verification.
    verifying: bool,
    /// Whether the pause before the next command runs.
    pausing: bool,
    /// Tries of the command that failed.
    failures: u32,
    /// Why the lock was lost, while no command ran.
    lost: Option<String>,
    /// Whether a replica that only waits has waited for as long as it may.
    overdue: bool,
    /// What waits until the lock is confirmed after a time in which nobody looked; none where nothing is to be confirmed.
    unconfirmed: Option<Vec<Event>>,
}

impl Lifecycle {
    pub(super) fn migrate(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.enter(now, Phase::Migrating);
        self.stage_began(now, "migrate");
        if let Some(plan) = self.plan.migration.as_ref().filter(|plan| plan.waits) {
            effects.push(Effect::Arm(Timer::Schema, plan.lock_timeout));
        }
        if self.asks_by_command() {
            self.start_task(now, Task::Check, effects);
        } else {
            self.ask_lock(now, effects);
        }
    }

    /// Whether the news of a migration command's spawn are expected.
    pub(super) fn task_starts(&self) -> bool {
        self.migrating.starting
    }

    pub(super) fn task_started(&mut self, effects: &mut Vec<Effect>) {
        self.migrating.starting = false;
        if !self.migration_runs {
            self.task_forked(effects);
        }
    }

    /// From here on it counts as running: what hangs before it executes its program may execute it at any moment.
    pub(super) fn task_forked(&mut self, effects: &mut Vec<Effect>) {
        self.migration_runs = true;
        let limit = match self.migrating.task {
            Task::Run => self.plan.migration.as_ref().map_or(Duration::ZERO, |plan| plan.timeout),
            Task::Check | Task::Verify => QUESTION_LIMIT,
        };
        if !limit.is_zero() {
            effects.push(Effect::Arm(Timer::Migration, limit));
        }
    }

    pub(super) fn task_failed_to_start(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.migrating.starting = false;
        if std::mem::take(&mut self.migration_runs) {
            effects.extend([Timer::Migration, Timer::Grace, Timer::Reap].map(Effect::Disarm));
        }
        self.migration_over(now, Step::Down, effects);
    }

    fn asks_by_command(&self) -> bool {
        self.plan.migration.as_ref().is_some_and(|plan| matches!(plan.check, Some(Question::Command(_))))
    }

    fn start_task(&mut self, now: Moment, task: Task, effects: &mut Vec<Effect>) {
        let step = match task {
            Task::Check => MigrationStep::Checking,
            Task::Run => MigrationStep::Running,
            Task::Verify => MigrationStep::Verifying,
        };
        self.snapshot.migration_lock.step = Some((step, now));
        self.migrating.task = task;
        self.migrating.starting = true;
        effects.push(match task {
            Task::Run => Effect::Spawn(ProcessId::Migration),
            Task::Check => Effect::Ask(Asked::Check),
            Task::Verify => Effect::Ask(Asked::Verify),
        });
    }

    fn run_migration(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.snapshot.migration_lock.attempts += 1;
        self.start_task(now, Task::Run, effects);
    }

    /// Starts the check, or has the one that runs repeated, because what it has seen may have changed since.
    fn check_again(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.migration_runs || self.migrating.starting || self.migrating.ended.is_some() {
            self.migrating.outdated = true;
        } else {
            self.start_task(now, Task::Check, effects);
        }
    }

    pub(super) fn migration_ended(&mut self, _now: Moment, ended: Ended, effects: &mut Vec<Effect>) {
        if !self.migration_runs {
            return;
        }
        (self.migration_runs, self.migrating.starting) = (false, false);
        self.migrating.ended = Some(ended);
        self.migrating.for_memory = self.of_memory(ProcessId::Migration);
        if self.migrating.task == Task::Run {
            self.snapshot.migration_lock.last_exit = Some(ended);
        }
        effects.push(Effect::Disarm(Timer::Migration));
        if self.ending.is_none() {
            effects.push(Effect::Arm(Timer::Grace, LEFTOVER_GRACE));
        }
        // Once KILL was sent nobody of the group gets another grace.
        let number = if self.killed { libc::SIGKILL } else { libc::SIGTERM };
        effects.push(Effect::SignalGroup(ProcessId::Migration, number));
        effects.push(Effect::AwaitGroup(ProcessId::Migration));
    }

    /// Whether a command has ended and its group has not.
    pub(super) fn leaves_behind(&self) -> bool {
        self.migrating.ended.is_some()
    }

    /// The command and all of its group are gone: only now may anything else touch the database.
    pub(super) fn task_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(ended) = self.migrating.ended.take() else { return };
        if let Some((MigrationStep::Running, since)) = self.snapshot.migration_lock.step.take() {
            self.snapshot.migration_lock.ran = Some(now.since(since));
        }
        for timer in [Timer::Grace, Timer::Overlap, Timer::Reap] {
            effects.push(Effect::Disarm(timer));
        }
        let (task, for_memory) = (self.migrating.task, self.migrating.for_memory);
        if task == Task::Run && ended != Ended::Code(0) && self.ending.is_none() && self.retries_left() {
            self.pause_before_retry(effects);
            return;
        }
        if task == Task::Run && (ended != Ended::Code(0) || self.ending.is_some()) {
            self.decide(ended.exit_code(), format!("the migration ended with {ended}{for_memory}, so the process was not started"));
        }
        if task == Task::Verify && ended != Ended::Code(0) {
            let why = format!("the migration ended well, but its verification with {ended}, so the process was not started");
            self.decide(ended.exit_code(), why);
        }
        if self.ending.is_some() || self.lost_meanwhile() {
            self.migration_over(now, Step::Down, effects);
            return;
        }
        match task {
            Task::Check => self.checked(now, ended, effects),
            Task::Run => self.verify(now, effects),
            Task::Verify => self.migration_over(now, Step::Up, effects),
        }
    }

    fn checked(&mut self, now: Moment, ended: Ended, effects: &mut Vec<Effect>) {
        let outdated = std::mem::take(&mut self.migrating.outdated);
        let Some(plan) = self.plan.migration.clone() else { return };
        match ended {
            Ended::Code(0) => self.nothing_to_do(now, false, effects),
            Ended::Code(2) => self.nothing_to_do(now, true, effects),
            _ if plan.waits => self.wait_on(now, plan.lock_timeout, effects),
            _ if outdated => self.start_task(now, Task::Check, effects),
            _ if self.migrating.held => self.run_migration(now, effects),
            _ if !self.migrating.asked => self.ask_lock(now, effects),
            _ => {}
        }
    }

    /// A replica of a mode that does not migrate asks on until another one has.
    fn wait_on(&mut self, now: Moment, limit: Duration, effects: &mut Vec<Effect>) {
        if self.migrating.overdue {
            let shown = humantime::format_duration(limit);
            let why = format!("the schema was not migrated by another replica within {shown}; check the one whose mode migrates");
            self.stage_ended(now, "migrate", Step::Down);
            self.fail(now, Exit::LockTimeout.code(), why, effects);
            return;
        }
        self.queued(now, ANOTHER_MODE.into());
        self.pause(PAUSE, effects);
    }

    fn nothing_to_do(&mut self, now: Moment, ahead: bool, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disarm(Timer::Schema));
        self.snapshot.migration_lock.ahead = ahead;
        self.stage_ended(now, "migrate", Step::Up);
        if self.migrating.asked {
            self.release_lock(effects);
        } else {
            self.snapshot.migration = Migration::Done;
            self.start(now, effects);
        }
    }

    fn retries_left(&self) -> bool {
        self.plan.migration.as_ref().is_some_and(|plan| self.migrating.failures < plan.retries)
    }

    fn pause_before_retry(&mut self, effects: &mut Vec<Effect>) {
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.migrating.failures)).min(LONGEST_PAUSE);
        self.migrating.failures += 1;
        self.pause(pause, effects);
    }

    fn pause(&mut self, length: Duration, effects: &mut Vec<Effect>) {
        self.migrating.pausing = true;
        effects.push(Effect::Arm(Timer::Retry, length));
    }

    pub(super) fn retry_migration(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.migrating.pausing) || self.ending.is_some() {
            return;
        }
        if self.lost_meanwhile() {
            self.migration_over(now, Step::Down, effects);
        } else if self.migrating.task == Task::Check {
            self.start_task(now, Task::Check, effects);
        } else {
            self.run_migration(now, effects);
        }
    }

    fn verify(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.plan.migration.as_ref().and_then(|plan| plan.verify.as_ref()) {
            Some(Question::Command(_)) => self.start_task(now, Task::Verify, effects),
            Some(Question::Sql(_)) => {
                self.migrating.verifying = true;
                self.snapshot.migration_lock.step = Some((MigrationStep::Verifying, now));
                effects.push(Effect::AskDatabase);
                effects.push(Effect::Arm(Timer::Migration, QUESTION_LIMIT));
            }
            None => self.migration_over(now, Step::Up, effects),
        }
    }

    pub(super) fn verified(&mut self, now: Moment, answer: Result<(), String>, effects: &mut Vec<Effect>) {
        self.migrating.verifying = false;
        effects.push(Effect::Disarm(Timer::Migration));
        if let Err(why) = answer {
            self.decide(1, format!("the migration ended well, but its verification did not: {why}"));
        }
        self.lost_meanwhile();
        let step = if self.ending.is_none() { Step::Up } else { Step::Down };
        self.migration_over(now, step, effects);
    }

    /// Whether the lock is ours, or was asked about, and no command runs.
    pub(super) fn between_tasks(&self) -> bool {
        self.leaves_behind() || (self.migrating.held && !self.releasing)
    }

    pub(super) fn stop_between_tasks(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        self.decide(signal_code(number as u8), format!("ended by {} between two steps of the migration", signal_name(number)));
        if !self.leaves_behind() {
            self.migrating.verifying = false;
            self.migration_over(now, Step::Down, effects);
        } else if self.stop_requests >= 3 {
            self.kill_migration(effects);
        }
    }

    /// The limit of whatever runs.
    pub(super) fn migration_limit(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.migrating.verifying {
            self.verified(now, Err("the database did not answer; check that it is not blocked".to_owned()), effects);
        } else if self.migration_runs && self.ending.is_none() {
            if self.migrating.task == Task::Run {
                let limit = self.plan.migration.as_ref().map_or(Duration::ZERO, |plan| plan.timeout);
                self.decide(Exit::MigrationTimeout.code(), format!("the migration ran longer than {}", humantime::format_duration(limit)));
                stop_migration(libc::SIGTERM, Timer::Grace, self.stop_timeout(), effects);
            } else {
                effects.push(Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL));
            }
        }
    }

    fn migration_over(&mut self, now: Moment, step: Step, effects: &mut Vec<Effect>) {
        self.stage_ended(now, "migrate", step);
        self.snapshot.migration_lock.step = None;
        if self.migrating.asked {
            self.release_lock(effects);
        } else {
            // A check that failed to start, or TERM during it: nothing is held yet.
            self.releasing = true;
            self.lock_released(now, effects);
        }
    }
}

/// Asks the migration to stop, and wakes it should it be stopped; once `timer` has run out it is killed.
pub(super) fn stop_migration(number: i32, timer: Timer, grace: Duration, effects: &mut Vec<Effect>) {
    effects.push(Effect::Signal(ProcessId::Migration, number));
    effects.push(Effect::Signal(ProcessId::Migration, libc::SIGCONT));
    effects.push(Effect::Arm(timer, grace));
}
