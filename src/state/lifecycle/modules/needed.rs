//! Modules that the start needs: those with `start = "first"`, and those in the `after` of the process.

use super::{Effect, Lifecycle, ModuleId, ModuleStart, Moment, ProcessId, Progress, RunState, StartStage};
use crate::exit::Exit;

impl Lifecycle {
    /// Requests the modules with `start = "first"`.
    pub(in crate::state::lifecycle) fn begin_first_modules(&mut self, now: Moment) -> Progress {
        let first: Vec<ModuleId> = self.plan.first().map(|module| module.id).collect();
        let progress = if first.is_empty() { Progress::Done } else { Progress::Pending };
        self.install(now, &first);
        progress
    }

    /// Continues the start once they are up. Derived from the state after each event, so that no change is missed.
    pub(in crate::state::lifecycle) fn first_modules_up(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.start.stage() == Some(StartStage::FirstModules) && !self.plan.first().any(|module| self.is_awaited(module.id)) {
            self.stage_is_over(now, StartStage::FirstModules, effects);
        }
    }

    /// Whether a module is starting, or stopping for a restart. A module that was stopped by a request is not waited for.
    pub(in crate::state::lifecycle) fn is_awaited(&self, id: ModuleId) -> bool {
        *self.at(id) != RunState::Idle && self.at(id).since().is_none()
    }

    /// Whether the start cannot continue without this module: it has `start = "first"`, or the process, which has not started yet, comes
    /// after it.
    fn is_needed(&self, id: ModuleId) -> bool {
        let comes_first = self.plan.module(id).is_some_and(|plan| plan.start == ModuleStart::First);
        let is_first = comes_first && self.start.stage() == Some(StartStage::FirstModules);
        let before_main = self.plan.after.contains(&id) && !self.snapshot.started && !self.state(ProcessId::Main).lives();
        self.shutdown.is_none() && (is_first || before_main)
    }

    /// Ends the start if it needs this module, which has finally ended with this code; returns whether it did.
    pub(super) fn fails_the_start(&mut self, now: Moment, id: ModuleId, code: u8, effects: &mut Vec<Effect>) -> bool {
        let needed = self.is_needed(id);
        if let Some(module) = self.module_mut(id).filter(|_| needed) {
            let sentence = format!("the start needs module {}: {}", module.name, module.trouble.as_deref().unwrap_or_default());
            let code = if code == 0 { Exit::Unavailable.code() } else { code };
            self.fail(now, code, sentence, effects);
        }
        needed
    }
}
