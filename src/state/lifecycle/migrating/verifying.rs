//! The verification after the migration, by a command or in the lock's database.

use super::{Effect, LIMIT, Lifecycle, Lock, MigrationStep, Moment, QUESTION_LIMIT, SchemaCheck, StageState, Task};

impl Lifecycle {
    pub(super) fn verify(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.plan.migration.as_ref().and_then(|plan| plan.verify.as_ref()) {
            Some(SchemaCheck::Command(_)) => self.start_task(now, Task::Verify, effects),
            Some(SchemaCheck::Sql(_)) => {
                self.migrating.task = Task::QueryDatabase;
                self.snapshot.migration_lock.step = Some((MigrationStep::Verifying, now));
                effects.push(Effect::QueryDatabase);
                effects.push(Effect::Arm(LIMIT, QUESTION_LIMIT));
            }
            None => self.migration_over(now, StageState::Up, effects),
        }
    }

    /// Whether the verification is a statement in the database.
    pub(super) fn verifies_by_sql(&self) -> bool {
        let under_way = !matches!(self.migrating.lock, Lock::Idle | Lock::Releasing);
        self.migrating.task == Task::QueryDatabase && under_way
    }

    pub(super) fn verified(&mut self, now: Moment, answer: Result<(), String>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disarm(LIMIT));
        if let Err(why) = answer {
            self.decide(1, format!("the migration succeeded, but its verification failed: {why}"));
        }
        self.lost_meanwhile();
        let step = if self.ending.is_none() { StageState::Up } else { StageState::Down };
        self.migration_over(now, step, effects);
    }
}
