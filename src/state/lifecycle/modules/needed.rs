//! Modules that the start needs: those that come before the waits, and those that the process comes after.

use super::{Effect, Lifecycle, ModuleId, ModuleStart, Moment, ProcessId, Progress, RunState, StartStage};
use crate::exit::Exit;

impl Lifecycle {
    /// Asks for the modules that come before the waits.
    pub(in crate::state::lifecycle) fn begin_first_modules(&mut self, now: Moment) -> Progress {
        let first: Vec<ModuleId> = self.plan.first().map(|module| module.id).collect();
        let progress = if first.is_empty() { Progress::Done } else { Progress::Pending };
        for id in first {
            self.install(now, id);
        }
        progress
    }

    /// Goes on with the start once they are up. Derived from the state after each event, so that no turn can be missed.
    pub(in crate::state::lifecycle) fn first_modules_up(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.start.stage() == Some(StartStage::FirstModules) && !self.plan.first().any(|module| self.is_awaited(module.id)) {
            self.stage_is_over(now, StartStage::FirstModules, effects);
        }
    }

    /// Whether a module is on its way up, or down to be started again. One that somebody has stopped holds nothing up.
    pub(in crate::state::lifecycle) fn is_awaited(&self, id: ModuleId) -> bool {
        *self.at(id) != RunState::Idle && self.at(id).since().is_none()
    }

    /// Whether the start cannot go on without this module: it comes first, or the process comes after it and has not been started yet.
    fn is_needed(&self, id: ModuleId) -> bool {
        let comes_first = self.plan.module(id).is_some_and(|plan| plan.start == ModuleStart::First);
        let is_first = comes_first && self.start.stage() == Some(StartStage::FirstModules);
        let before_main = self.plan.after.contains(&id) && !self.snapshot.started && !self.state(ProcessId::Main).lives();
        self.shutdown.is_none() && (is_first || before_main)
    }

    /// Ends a start that needs this module, which has ended for good with this code; whether it did.
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
