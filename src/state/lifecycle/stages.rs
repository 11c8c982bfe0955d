//! The stages of the start: when each began, how and when it ended, and when all of them were over.

use super::{APP, Lifecycle, Moment, StageState};
use crate::plan::module::ModuleStart;
use crate::plan::{OnFailure, Plan, StepAt, StepPlan};
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::snapshot::Stage;

/// The name of a step among the stages.
pub(super) fn step_stage(step: &StepPlan) -> String {
    format!("step:{}", step.name)
}

impl Lifecycle {
    /// All stages of the start, in order. A stage that may fail without ending the start does not count.
    pub(super) fn stages(plan: &Plan) -> Vec<CopyOnWrite<Stage>> {
        let step = |step: &StepPlan| Stage { counts: step.on_failure == OnFailure::Stop, ..Stage::new(step_stage(step)) };
        let steps = |at: StepAt| plan.steps.iter().filter(move |step| step.at == at).map(step);
        let mut stages: Vec<Stage> = steps(StepAt::Files).chain(steps(StepAt::First)).collect();
        stages.extend(plan.first().map(Self::module_stage));
        stages.extend(plan.awaited().map(|(_, check)| Stage::new(format!("wait:{}", check.name))));
        stages.extend(steps(StepAt::Ready));
        stages.extend(plan.migration.iter().map(|_| Stage::new("migrate".to_owned())));
        stages.extend(steps(StepAt::Migrated));
        if let Some(main) = &plan.main {
            stages.push(Stage::new(format!("spawn:{APP}")));
            stages.extend(main.started.iter().map(|_| Stage::new(format!("started:{APP}"))));
            let with_main = plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain);
            stages.extend(with_main.map(Self::module_stage));
            stages.extend(steps(StepAt::Up));
        }
        stages.into_iter().map(CopyOnWrite::from).collect()
    }

    /// Records when the start is over; later starts of modules or restarts do not belong to it.
    pub(super) fn note_start_over(&mut self, now: Moment) {
        let snapshot = &mut self.snapshot;
        let is_over = || snapshot.stages.iter().all(|stage| !stage.counts || stage.step != StageState::Unknown);
        if snapshot.started && snapshot.start_over.is_none() && is_over() {
            snapshot.start_over = Some(now);
        }
    }

    /// The index of the stage of this name, which is searched from `near` on: one of a thousand is found at once near the number of its check.
    pub(super) fn stage_near(&self, near: usize, name: &str) -> Option<usize> {
        self.snapshot.stages.search(near, |stage| stage.name == name)
    }

    pub(super) fn step_at(&self, place: usize) -> Option<StageState> {
        self.snapshot.stages.get(place).map(|stage| stage.step)
    }

    pub(super) fn step_of(&self, name: &str) -> Option<StageState> {
        self.step_at(self.stage_near(0, name)?)
    }

    /// The stage of this name, to be changed.
    pub(super) fn stage_mut(&mut self, name: &str) -> Option<&mut Stage> {
        let place = self.stage_near(0, name)?;
        self.snapshot.stages.get_mut(place)
    }

    pub(super) fn stage_began(&mut self, now: Moment, name: &str) {
        self.began_at(now, self.stage_near(0, name));
    }

    /// The times of the start are not changed by later restarts.
    pub(super) fn began_at(&mut self, now: Moment, place: Option<usize>) {
        let is_over = self.snapshot.start_over.is_some();
        if let Some(stage) = place.and_then(|place| self.snapshot.stages.get_mut(place))
            && (!is_over || stage.began.is_none())
        {
            stage.began = Some(now);
        }
    }

    pub(super) fn stage_ended(&mut self, now: Moment, name: &str, step: StageState) {
        if let Some(place) = self.stage_near(0, name) {
            self.ended_at(now, place, step);
        }
    }

    pub(super) fn ended_at(&mut self, now: Moment, place: usize, step: StageState) {
        let is_over = self.snapshot.start_over.is_some();
        if let Some(stage) = self.snapshot.stages.get_mut(place) {
            stage.step = step;
            if !is_over || stage.ended.is_none() {
                stage.ended = Some(now);
            }
        }
    }

    /// The start has failed, and with it the stages that are not over: none of them goes on while the start is held for inspection.
    pub(super) fn open_stages_failed(&mut self, now: Moment) {
        let is_open = |stage: &Stage| stage.began.is_some() && stage.ended.is_none();
        let stages = &mut self.snapshot.stages;
        while let Some(stage) = stages.search(0, is_open).and_then(|place| stages.get_mut(place)) {
            (stage.step, stage.ended) = (StageState::Down, Some(now));
        }
    }
}
