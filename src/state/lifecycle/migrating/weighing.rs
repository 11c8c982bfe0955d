//! The condition of the migration, which is evaluated on another thread when it is due.

use super::{Effect, Lifecycle, Moment, StageState, StartStage, Task, Timer};
use crate::state::event::PreparedStep;

impl Lifecycle {
    /// Whether the condition of the migration holds.
    pub(in crate::state::lifecycle) fn migration_weighed(&mut self, now: Moment, news: &PreparedStep, effects: &mut Vec<Effect>) {
        let is_its_turn = self.start.stage() == Some(StartStage::Migration) && self.step_of("migrate") == Some(StageState::Unknown);
        if !is_its_turn || self.ending.is_some() || self.shutdown.is_some() {
            return;
        }
        if self.lost_meanwhile() {
            self.migration_over(now, StageState::Down, effects);
        } else if let PreparedStep::Failed(code, why) = news {
            self.decide(*code, format!("the condition of the migration {why}"));
            self.migration_over(now, StageState::Down, effects);
        } else if *news == PreparedStep::Skipped {
            if let Some(stage) = self.stage_mut("migrate") {
                stage.note = Some("skipped: its condition does not hold".to_owned());
            }
            self.nothing_to_do(now, false, effects);
        } else {
            self.migrate(now, effects);
        }
    }

    /// Begins with the check, or with the lock if there is no check command.
    pub(super) fn migrate(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(plan) = self.plan.migration.as_ref().filter(|plan| plan.waits) {
            effects.push(Effect::Arm(Timer::Schema, plan.lock_timeout));
        }
        if self.checks_by_command() {
            self.start_task(now, Task::Check, effects);
        } else {
            self.acquire_lock(now, effects);
        }
    }
}
