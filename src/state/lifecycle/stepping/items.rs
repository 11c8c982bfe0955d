//! The commands of a step, one after another: their conditions, checks, runs and retries, and the effect of a failure on the others.

use super::{Doing, Effect, Ended, Exit, Inquiry, Lifecycle, Moment, OnFailure, ProcessId, RunState, StageState, StepId, StepPlan, Task};
use super::{retry, step_stage};

impl Lifecycle {
    /// Begins with the command of this number, or ends the step after the last one.
    pub(super) fn begin_item(&mut self, now: Moment, number: usize, effects: &mut Vec<Effect>) {
        self.stepping.failures = 0;
        let Some((id, item)) = self.stepping.current.and_then(|(id, _)| Some((id, self.stepping.commands.get(number)?))) else {
            return self.items_over(now, effects);
        };
        if item.condition.is_constant() {
            return self.check_item(now, number, effects);
        }
        self.enter_task(Task::Weigh(number));
        self.step_does(now, Doing::Preparing);
        effects.push(Effect::Prepare(Inquiry::Item(id, number)));
    }

    pub(super) fn check_item(&mut self, now: Moment, number: usize, effects: &mut Vec<Effect>) {
        if self.stepping.commands.get(number).is_some_and(|item| item.check.is_some()) {
            self.start_step_task(now, Task::CheckItem(number), Doing::Checking, effects);
        } else {
            self.run_item(now, number, effects);
        }
    }

    pub(super) fn run_item(&mut self, now: Moment, number: usize, effects: &mut Vec<Effect>) {
        self.stepping.ran = true;
        let count = self.stepping.commands.len();
        self.start_step_task(now, Task::Run(number), Doing::Running(number + 1, count), effects);
    }

    fn items_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.stepping.failed.take() {
            Some((1, why)) => self.step_over(now, StageState::Down, Some(why), effects),
            Some((failed, why)) => {
                let why = format!("failed {failed} times; the last time it {why}");
                self.step_over(now, StageState::Down, Some(why), effects);
            }
            None => {
                let note = (!self.stepping.ran).then(|| "nothing to do".to_owned());
                self.step_over(now, StageState::Up, note, effects);
            }
        }
    }

    /// A command of the step has failed finally: that ends the step, unless the start continues and there are further ones.
    pub(super) fn item_failed(&mut self, now: Moment, code: u8, why: &str, effects: &mut Vec<Effect>) {
        let Some((_, Task::CheckItem(number) | Task::Run(number))) = self.stepping.current else {
            return self.step_failed(now, code, why.to_owned(), effects);
        };
        let (count, item) = (self.stepping.commands.len(), self.stepping.commands.get(number));
        let which =
            item.filter(|_| count > 1).map(|item| format!(" in command {} of {count}, `{}`", number + 1, item.process.command.argv));
        let why = format!("{why}{}", which.unwrap_or_default());
        if self.current_step().is_some_and(|step| step.on_failure == OnFailure::Stop) || count < 2 {
            return self.step_failed(now, code, why, effects);
        }
        let failed = self.stepping.failed.as_ref().map_or(0, |(failed, _)| *failed) + 1;
        self.stepping.failed = Some((failed, why.clone()));
        let name = self.current_step().map(step_stage);
        if let Some(stage) = name.and_then(|name| self.stage_mut(&name)) {
            stage.note = Some(why);
        }
        self.begin_item(now, number + 1, effects);
    }

    pub(super) fn is_success(&self, ended: Ended) -> bool {
        let listed = |step: &StepPlan| matches!(ended, Ended::Code(code) if step.success_codes.contains(&code));
        !self.stepping.overdue && (ended == Ended::Code(0) || self.current_step().is_some_and(listed))
    }

    pub(super) fn try_again(&mut self, now: Moment, id: StepId, ended: Ended, for_memory: &str, effects: &mut Vec<Effect>) {
        let Some((retries, pause)) = self.current_step().map(|step| (step.retries, step.retry_delay)) else { return };
        if self.stepping.failures < retries {
            self.stepping.failures += 1;
            self.step_does(now, Doing::Pausing(self.stepping.failures));
            self.transition(ProcessId::Step(id), RunState::Backoff);
            effects.push(Effect::Arm(retry(id), pause));
        } else if self.stepping.overdue {
            let took = humantime::format_duration(self.step_limit());
            self.item_failed(now, Exit::MigrationTimeout.code(), &format!("ran longer than {took}"), effects);
        } else {
            self.item_failed(now, ended.exit_code(), &format!("ended with {ended}{for_memory}"), effects);
        }
    }
}
