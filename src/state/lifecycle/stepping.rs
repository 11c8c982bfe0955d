//! Runs the steps of the start one after another: lock, preparation, check, commands, retries.

mod items;
mod stopping;

use super::stages::step_stage;
use super::{
    Duration, Effect, Ended, Exit, Lifecycle, Moment, ProcessId, ProcessPlan, ProcessTimer, Progress, RunState, StageState, Then, Timer,
};
use crate::plan::step::ItemPlan;
use crate::plan::{OnFailure, StepAction, StepAt, StepId, StepPlan};
use crate::state::event::{Inquiry, PreparedStep};
use crate::state::snapshot::{CurrentStep, Doing};

/// How long the check of a step may take.
const CHECK_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The current activity of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// It waits for the lock.
    Queue,
    /// It is being prepared, or done, outside of the loop.
    Prepare,
    /// Its check command runs.
    Check,
    /// The condition of its command of this number is evaluated on another thread.
    Weigh(usize),
    /// The check of that command runs.
    CheckItem(usize),
    /// That command runs, or is retried after a pause.
    Run(usize),
}

/// The state of the steps that is neither in the snapshot nor in their processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Stepping {
    /// The first step that has not begun.
    next: StepId,
    current: Option<(StepId, Task)>,
    /// The commands of the current step.
    commands: Vec<ItemPlan>,
    /// How many of its commands failed while it continues, and why the last one did.
    failed: Option<(usize, String)>,
    /// Whether one of them has run.
    ran: bool,
    /// Failed attempts of its command.
    failures: u32,
    /// Whether its command is being stopped because it took too long.
    overdue: bool,
}

/// The limit of the current activity.
const fn limit(id: StepId) -> Timer {
    Timer::Process(ProcessId::Step(id), ProcessTimer::Limit)
}

/// The pause before its command is run again.
const fn retry(id: StepId) -> Timer {
    Timer::Process(ProcessId::Step(id), ProcessTimer::Restart)
}

impl Lifecycle {
    /// The next command of the current step.
    pub fn step_command(&self) -> Option<&ProcessPlan> {
        match self.stepping.current? {
            (id, Task::Check) => self.plan.steps.get(id)?.check.as_deref(),
            (_, Task::CheckItem(number)) => self.stepping.commands.get(number)?.check.as_deref(),
            (_, Task::Run(number)) => self.stepping.commands.get(number).map(|item| &item.process),
            (_, Task::Queue | Task::Prepare | Task::Weigh(_)) => None,
        }
    }

    /// The command of this number of the current step.
    pub fn step_item(&self, number: usize) -> Option<&ItemPlan> {
        self.stepping.commands.get(number)
    }

    /// Whether the current step runs under the lock.
    pub fn step_is_locked(&self) -> bool {
        self.current_step().is_some_and(|step| step.locked)
    }

    pub(super) fn current_step(&self) -> Option<&StepPlan> {
        self.stepping.current.and_then(|(id, _)| self.plan.steps.get(id))
    }

    /// Whether the current step waits for the lock.
    pub(super) fn step_queues(&self) -> bool {
        matches!(self.stepping.current, Some((_, Task::Queue)))
    }

    /// Whether a later step before `until` needs the lock.
    pub(super) fn later_step_is_locked(&self, within: impl Fn(StepAt) -> bool) -> bool {
        self.plan.steps.iter().skip(self.stepping.next).any(|step| step.locked && within(step.at))
    }

    /// How long the command may run; zero: no limit.
    pub(super) fn step_limit(&self) -> Duration {
        match self.stepping.current {
            Some((_, Task::Check | Task::CheckItem(_))) => CHECK_LIMIT,
            _ => self.current_step().map_or(Duration::ZERO, |step| step.timeout),
        }
    }

    /// Begins the next step at this point, if there is one.
    pub(super) fn begin_steps(&mut self, now: Moment, at: StepAt, effects: &mut Vec<Effect>) -> Progress {
        let id = self.stepping.next;
        let Some((name, locked)) = self.plan.steps.get(id).filter(|step| step.at == at).map(|step| (step_stage(step), step.locked)) else {
            return Progress::Done;
        };
        self.stepping = Stepping { next: id + 1, current: Some((id, Task::Queue)), ..Stepping::default() };
        self.stage_began(now, &name);
        if !locked || self.has_lock() {
            self.prepare_step(now, effects);
        } else if self.lost_meanwhile() {
            self.step_over(now, StageState::Down, None, effects);
        } else {
            self.step_does(now, Doing::Queueing);
            self.take_lock(effects);
        }
        Progress::Pending
    }

    fn step_does(&mut self, now: Moment, doing: Doing) {
        let stage = self.current_step().map(step_stage).unwrap_or_default();
        self.snapshot.step = Some(CurrentStep { stage, doing, since: now, progress: None });
    }

    fn enter_task(&mut self, task: Task) {
        if let Some((_, current)) = &mut self.stepping.current {
            *current = task;
        }
    }

    /// The step has its lock, unless it was lost again meanwhile.
    pub(super) fn step_has_lock(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.lost_meanwhile() {
            self.step_over(now, StageState::Down, None, effects);
        } else {
            self.prepare_step(now, effects);
        }
    }

    fn prepare_step(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some((id, step)) = self.stepping.current.and_then(|(id, _)| Some((id, self.plan.steps.get(id)?))) else { return };
        let (is_prepared, timeout) = (step.is_prepared(), step.timeout);
        if let (false, StepAction::Commands(commands)) = (is_prepared, &step.action) {
            self.stepping.commands.clone_from(commands);
            return self.check_step(now, effects);
        }
        self.enter_task(Task::Prepare);
        self.step_does(now, Doing::Preparing);
        effects.push(Effect::Prepare(Inquiry::Step(id)));
        if !timeout.is_zero() {
            effects.push(Effect::Arm(limit(id), timeout));
        }
    }

    /// The result of work on another thread; results for a finished step are dropped.
    pub(super) fn prepared(&mut self, now: Moment, inquiry: Inquiry, news: PreparedStep, effects: &mut Vec<Effect>) {
        let current = match inquiry {
            Inquiry::Migration => return self.migration_weighed(now, &news, effects),
            Inquiry::Step(id) => (id, Task::Prepare),
            Inquiry::Item(id, number) => (id, Task::Weigh(number)),
        };
        if self.stepping.current != Some(current) || self.ending.is_some() {
            return;
        }
        if let PreparedStep::Progress(words) = news {
            if let Some(step) = &mut self.snapshot.step {
                step.progress = Some(words);
            }
            return;
        }
        effects.push(Effect::Disarm(limit(current.0)));
        if self.step_is_locked() && self.lost_meanwhile() {
            return self.step_over(now, StageState::Down, None, effects);
        }
        match (current.1, news) {
            (Task::Weigh(number), PreparedStep::Skipped) => self.begin_item(now, number + 1, effects),
            (Task::Weigh(number), _) => self.check_item(now, number, effects),
            (_, PreparedStep::Skipped) => {
                self.step_over(now, StageState::Up, Some("skipped: its condition does not hold".to_owned()), effects)
            }
            (_, PreparedStep::Done(words)) => self.step_over(now, StageState::Up, Some(words), effects),
            (_, PreparedStep::Failed(code, why)) => self.step_failed(now, code, why, effects),
            (_, PreparedStep::Commands(commands)) => {
                self.stepping.commands = commands;
                self.check_step(now, effects);
            }
            (_, PreparedStep::Progress(_)) => {}
        }
    }

    fn check_step(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.stepping.commands.is_empty() && self.current_step().is_some_and(|step| step.check.is_some()) {
            self.start_step_task(now, Task::Check, Doing::Checking, effects);
        } else {
            self.begin_item(now, 0, effects);
        }
    }

    fn start_step_task(&mut self, now: Moment, task: Task, doing: Doing, effects: &mut Vec<Effect>) {
        self.enter_task(task);
        self.step_does(now, doing);
        self.stepping.overdue = false;
        if let Some((id, _)) = self.stepping.current {
            self.spawn(ProcessId::Step(id), Effect::Spawn(ProcessId::Step(id)), effects);
        }
    }

    /// The command and its whole group have ended.
    pub(super) fn step_task_over(&mut self, now: Moment, id: StepId, ended: Ended, for_memory: &str, effects: &mut Vec<Effect>) {
        let Some((_, task)) = self.stepping.current.filter(|(current, _)| *current == id) else { return };
        if self.is_stopped_with(ProcessId::Step(id)) {
            effects.extend([Timer::Grace, Timer::Overlap, Timer::Reap].map(Effect::Disarm));
        } else if self.shutdown.is_some() {
            return self.step_abandoned(now, effects);
        }
        if self.ending.is_some() || (self.step_is_locked() && self.lost_meanwhile()) {
            return self.step_over(now, StageState::Down, None, effects);
        }
        match task {
            Task::Check if ended == Ended::Code(0) => self.step_over(now, StageState::Up, Some("nothing to do".to_owned()), effects),
            Task::Check => self.begin_item(now, 0, effects),
            Task::CheckItem(number) if ended == Ended::Code(0) => self.begin_item(now, number + 1, effects),
            Task::CheckItem(number) => self.run_item(now, number, effects),
            Task::Run(number) if self.is_success(ended) => self.begin_item(now, number + 1, effects),
            Task::Run(_) => self.try_again(now, id, ended, for_memory, effects),
            Task::Queue | Task::Prepare | Task::Weigh(_) => {}
        }
    }

    pub(super) fn retry_step(&mut self, now: Moment, id: StepId, effects: &mut Vec<Effect>) {
        let Some((_, Task::Run(number))) = self.stepping.current.filter(|(current, _)| *current == id) else { return };
        if *self.state(ProcessId::Step(id)) != RunState::Backoff || self.ending.is_some() {
            return;
        }
        self.transition(ProcessId::Step(id), RunState::Idle);
        if self.step_is_locked() && self.lost_meanwhile() {
            self.step_over(now, StageState::Down, None, effects);
        } else {
            self.run_item(now, number, effects);
        }
    }

    pub(super) fn step_spawn_failed(&mut self, now: Moment, code: u8, why: &str, effects: &mut Vec<Effect>) {
        if self.shutdown.is_some() && !self.stops_one_off() {
            self.step_abandoned(now, effects);
        } else {
            self.item_failed(now, code, why, effects);
        }
    }

    /// Ends the start with this code, unless it continues after a failure.
    pub(super) fn step_failed(&mut self, now: Moment, code: u8, why: String, effects: &mut Vec<Effect>) {
        if let Some(step) = self.current_step().filter(|step| step.on_failure == OnFailure::Stop) {
            let before = if step.at == StepAt::Up { "" } else { ", so the process was not started" };
            let sentence = format!("the step `{}` failed{before}: it {why}", step.name);
            self.decide(code, sentence);
        }
        self.step_over(now, StageState::Down, Some(why), effects);
    }

    fn step_over(&mut self, now: Moment, step: StageState, note: Option<String>, effects: &mut Vec<Effect>) {
        self.note_step(now, step, note);
        self.part_over(now, effects);
    }

    fn note_step(&mut self, now: Moment, step: StageState, note: Option<String>) {
        let Some(name) = self.current_step().map(step_stage) else { return };
        self.stage_ended(now, &name, step);
        if let Some(stage) = self.stage_mut(&name) {
            stage.note = note;
        }
        (self.snapshot.step, self.stepping.current) = (None, None);
    }
}
