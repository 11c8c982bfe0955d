//! The start of modules: requested, waiting for their predecessors, spawned, up.

mod ending;
mod needed;
mod orders;
mod reloading;
mod stopping;

use super::{Duration, Effect, ErrorKind, Lifecycle, Moment, Outcome, Phase, ProcessId, ProcessTimer, StageState, Timer, Watch};
use super::{Progress, RunState, StartStage, Then};
use crate::exit::Ended;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::{ModuleId, ModulePlan};
use crate::state::check::Check;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::snapshot::{Module, ModuleState, Stage};
use std::collections::BTreeSet;

impl Lifecycle {
    /// A module of the plan that was not requested yet.
    pub(super) fn module_at_rest(plan: &ModulePlan, now: Moment) -> Module {
        let (name, table) = (plan.name.clone(), plan.table.clone());
        let (version, web_path) = (plan.version.clone(), plan.web_path.clone());
        Module { id: plan.id, name, table, version, web_path, counts: plan.counts, since: now, ..Module::default() }
    }

    /// The name of a module's stage in the start.
    pub(super) fn module_stage(plan: &ModulePlan) -> Stage {
        Stage { counts: plan.counts, ..Stage::new(stage_name(&plan.name)) }
    }

    /// Requests the modules that start with the process, except those with an earlier control request. They keep running when it is
    /// restarted.
    pub(super) fn begin_modules(&mut self, now: Moment) -> Progress {
        let is_untouched = |id| self.snapshot.modules.iter().any(|module| module.id == id && module.state == ModuleState::Resolved);
        let with_main = self.plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain && self.plan.main.is_some());
        for id in with_main.map(|module| module.id).filter(|id| is_untouched(*id)).collect::<Vec<_>>() {
            self.install(now, id);
        }
        Progress::Done
    }

    pub(super) fn spawn_modules(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let plan = std::sync::Arc::clone(&self.plan);
        let all = self.start.has_reached(StartStage::Modules);
        for module in plan.modules.iter().filter(|module| all || module.start == ModuleStart::First) {
            if self.awaits(module.id) && module.after.iter().all(|predecessor| self.is_up(*predecessor)) {
                let name = stage_name(&module.name);
                if self.snapshot.stage(&name).is_some_and(|stage| stage.began.is_none()) {
                    self.stage_began(now, &name);
                }
                let id = ProcessId::Module(module.id);
                self.spawn(id, Effect::Spawn(id), effects);
            }
        }
        for module in &plan.modules {
            let other = self.held_up_by(module.id).and_then(|id| plan.module(id)).map(|other| other.name.clone());
            if let Some(module) = self.module_mut(module.id) {
                module.held_up_by = other;
            }
        }
    }

    /// The stopped module that this one waits for, directly or through others.
    fn held_up_by(&self, id: ModuleId) -> Option<ModuleId> {
        let plan = self.plan.module(id).filter(|_| self.awaits(id))?;
        plan.after.iter().find_map(|predecessor| match predecessor {
            Predecessor::Module(other) if *self.at(*other) == RunState::Idle => Some(*other),
            Predecessor::Module(other) => self.held_up_by(*other),
            Predecessor::Main => None,
        })
    }

    fn awaits(&self, id: ModuleId) -> bool {
        matches!(self.at(id), RunState::Waiting(_))
    }

    fn is_up(&self, predecessor: Predecessor) -> bool {
        match predecessor {
            Predecessor::Main => self.snapshot.phase == Phase::Running,
            Predecessor::Module(id) => self.at(id).since().is_some(),
        }
    }

    /// Begins a start as for the first time.
    fn install(&mut self, now: Moment, id: ModuleId) {
        self.process(ProcessId::Module(id)).in_a_row = 0;
        self.transition(ProcessId::Module(id), RunState::Waiting(BTreeSet::new()));
        self.lay_out(now, id);
        self.module_enters(now, id, ModuleState::Starting);
        if let Some(module) = self.module_mut(id) {
            module.trouble = None;
        }
    }

    /// Adds the stage and the check of a module that has not started yet.
    fn lay_out(&mut self, now: Moment, id: ModuleId) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        let stage = Self::module_stage(&plan);
        // Modules that start first stay first.
        let place = self.snapshot.stages.iter().position(|known| known.name == stage.name && plan.start == ModuleStart::First);
        self.uninstall(id);
        self.snapshot.stages.rebuild(|stages| stages.insert(place.unwrap_or(stages.len()), stage.into()));
        if plan.counts {
            self.show_check(now, &plan);
        }
    }

    /// Removes the stage and the checks of a module.
    fn uninstall(&mut self, id: ModuleId) {
        self.snapshot.checks.rebuild(|checks| checks.retain(|check| check.module != Some(id)));
        if let Some(plan) = self.plan.module(id) {
            let name = stage_name(&plan.name);
            self.snapshot.stages.rebuild(|stages| stages.retain(|stage| stage.name != name));
        }
    }

    /// The check of the process itself, under the module's name.
    fn show_check(&mut self, now: Moment, plan: &ModulePlan) {
        if !self.snapshot.checks.iter().any(|check| check.module == Some(plan.id) && check.id.is_none()) {
            let check = Check { module: Some(plan.id), since: now, ..Check::event(&plan.name, "process", plan.affects) };
            self.snapshot.checks.rebuild(|checks| checks.push(check.into()));
        }
    }

    pub(super) fn module_up(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        if let Some(module) = self.module_mut(id) {
            module.trouble = None;
        }
        self.module_enters(now, id, ModuleState::Activated);
        self.stage_ended(now, &stage_name(&plan.name), StageState::Up);
        self.show_check(now, &plan);
        self.feed(now, ProcessId::Module(id), Outcome::passed(Duration::ZERO));
        let own = plan.checks.iter().filter_map(|check| self.plan.checks.get(*check).map(|found| (*check, found)));
        let own: Vec<CopyOnWrite<Check>> =
            own.map(|(number, found)| Check { module: Some(id), id: Some(number), ..Check::new(found) }.into()).collect();
        self.snapshot.checks.rebuild(|checks| checks.extend(own));
        if plan.process.started.is_some() || !plan.checks.is_empty() {
            effects.push(Effect::Watch(ProcessId::Module(id), if plan.checks.is_empty() { Watch::Nothing } else { Watch::Checks }));
        }
    }

    fn at(&self, id: ModuleId) -> &RunState {
        self.state(ProcessId::Module(id))
    }

    pub(super) fn module_mut(&mut self, id: ModuleId) -> Option<&mut Module> {
        self.snapshot.modules.iter_mut().find(|module| module.id == id)
    }

    fn module_enters(&mut self, now: Moment, id: ModuleId, state: ModuleState) {
        if let Some(module) = self.module_mut(id).filter(|module| module.state != state) {
            (module.state, module.since) = (state, now);
        }
    }
}

fn stage_name(module: &str) -> String {
    format!("module:{module}")
}
