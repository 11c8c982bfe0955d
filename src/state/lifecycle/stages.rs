//! The steps of the start: when each began, how and when it ended, and when all of them were over.

use super::{Lifecycle, Moment, Step};

impl Lifecycle {
    /// Takes down when the start is over: what modules or another start in place do later is no part of it.
    pub(super) fn note_start_over(&mut self, now: Moment) {
        let snapshot = &mut self.snapshot;
        let is_over = || snapshot.stages.iter().all(|stage| !stage.counts || stage.step != Step::Unknown);
        if snapshot.started && snapshot.start_over.is_none() && is_over() {
            snapshot.start_over = Some(now);
        }
    }

    pub(super) fn step_of(&self, name: &str) -> Option<Step> {
        self.snapshot.stages.iter().find(|stage| stage.name == name).map(|stage| stage.step)
    }

    /// The times of the start stay, whatever is started again later.
    pub(super) fn stage_began(&mut self, now: Moment, name: &str) {
        let is_over = self.snapshot.start_over.is_some();
        if let Some(stage) = self.snapshot.stages.iter_mut().find(|stage| stage.name == name)
            && (!is_over || stage.began.is_none())
        {
            stage.began = Some(now);
        }
    }

    pub(super) fn stage_ended(&mut self, now: Moment, name: &str, step: Step) {
        let is_over = self.snapshot.start_over.is_some();
        if let Some(stage) = self.snapshot.stages.iter_mut().find(|stage| stage.name == name) {
            stage.step = step;
            if !is_over || stage.ended.is_none() {
                stage.ended = Some(now);
            }
        }
    }
}
