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
use std::sync::Arc;

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
        let is_untouched = |id| self.snapshot.module(id).is_some_and(|module| module.state == ModuleState::Resolved);
        let with_main = self.plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain && self.plan.main.is_some());
        let ids: Vec<ModuleId> = with_main.map(|module| module.id).filter(|id| is_untouched(*id)).collect();
        self.install(now, &ids);
        Progress::Done
    }

    /// Spawns the modules whose turn it is, and notes what the others wait for.
    pub(super) fn spawn_modules(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let waiting = self.known_modules(|state| matches!(state, RunState::Waiting(_)));
        if waiting.is_empty() {
            return;
        }
        let plan = Arc::clone(&self.plan);
        let all = self.start.has_reached(StartStage::Modules);
        for module in waiting.iter().filter_map(|id| plan.module(*id)).filter(|module| all || module.start == ModuleStart::First) {
            if module.after.iter().all(|predecessor| self.is_up(*predecessor)) {
                let stage = self.place_of(module);
                if stage.and_then(|place| self.snapshot.stages.get(place)).is_some_and(|stage| stage.began.is_none()) {
                    self.began_at(now, stage);
                }
                let id = ProcessId::Module(module.id);
                self.spawn(id, Effect::Spawn(id), effects);
            }
        }
        let mut free = BTreeSet::new();
        for id in waiting {
            let other = self.held_up_by(id, &mut free).and_then(|id| plan.module(id)).map(|other| &other.name);
            if self.snapshot.module(id).is_some_and(|module| module.held_up_by.as_ref() != other)
                && let Some(module) = self.module_mut(id)
            {
                module.held_up_by = other.cloned();
            }
        }
    }

    /// The modules whose process is in such a state.
    fn known_modules(&self, is_meant: fn(&RunState) -> bool) -> Vec<ModuleId> {
        let meant = self.processes.iter().filter(|(_, process)| is_meant(&process.state));
        meant.filter_map(|(id, _)| if let ProcessId::Module(id) = id { Some(*id) } else { None }).collect()
    }

    /// The stopped module that this one waits for, directly or through others. The `free` ones are known to wait for none.
    pub(super) fn held_up_by(&self, id: ModuleId, free: &mut BTreeSet<ModuleId>) -> Option<ModuleId> {
        let plan = self.plan.module(id).filter(|_| self.awaits(id) && !free.contains(&id))?;
        let other = plan.after.iter().find_map(|predecessor| match predecessor {
            Predecessor::Module(other) if *self.at(*other) == RunState::Idle => Some(*other),
            Predecessor::Module(other) => self.held_up_by(*other, free),
            Predecessor::Main => None,
        });
        if other.is_none() {
            free.insert(id);
        }
        other
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

    /// Begins the start of these modules as for the first time.
    fn install(&mut self, now: Moment, ids: &[ModuleId]) {
        self.lay_out(now, ids);
        for id in ids {
            self.process(ProcessId::Module(*id)).in_a_row = 0;
            self.transition(ProcessId::Module(*id), RunState::Waiting(BTreeSet::new()));
            self.module_enters(now, *id, ModuleState::Starting);
            if let Some(module) = self.module_mut(*id) {
                module.trouble = None;
            }
        }
    }

    /// Adds the stages and the checks of modules that have not started yet, all at once: each time the lists are rebuilt.
    fn lay_out(&mut self, now: Moment, ids: &[ModuleId]) {
        let plan = Arc::clone(&self.plan);
        let plans: Vec<&ModulePlan> = ids.iter().filter_map(|id| plan.module(*id)).collect();
        let mut last = Vec::new();
        for module in &plans {
            // Modules that start first stay first.
            let place = self.place_of(module).filter(|_| module.start == ModuleStart::First);
            match place.and_then(|place| self.snapshot.stages.get_mut(place)) {
                Some(stage) => *stage = Self::module_stage(module),
                None => last.push(*module),
            }
        }
        self.drop_stages(&last);
        self.snapshot.stages.rebuild(|stages| stages.extend(last.into_iter().map(|plan| Self::module_stage(plan).into())));
        let counted = plans.into_iter().filter(|plan| plan.counts).map(|plan| Self::own_check(now, plan).into());
        self.snapshot.checks.rebuild(|checks| {
            checks.retain(|check| check.module.is_none_or(|id| !ids.contains(&id)));
            checks.extend(counted);
        });
    }

    /// Removes the stage and the checks of a module.
    fn uninstall(&mut self, id: ModuleId) {
        self.snapshot.checks.remove(&|check| check.module == Some(id));
        let plan = Arc::clone(&self.plan);
        self.drop_stages(plan.module(id).as_slice());
    }

    fn drop_stages(&mut self, plans: &[&ModulePlan]) {
        let mut places = BTreeSet::new();
        places.extend(plans.iter().filter_map(|plan| self.place_of(plan)));
        let mut place = 0..;
        self.snapshot.stages.rebuild(|stages| stages.retain(|_| place.next().is_none_or(|place| !places.contains(&place))));
    }

    /// The check of the process itself, under the module's name.
    fn own_check(now: Moment, plan: &ModulePlan) -> Check {
        Check { module: Some(plan.id), since: now, ..Check::event(&plan.name, "process", plan.affects) }
    }

    pub(super) fn module_up(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        if let Some(module) = self.module_mut(id) {
            module.trouble = None;
        }
        self.module_enters(now, id, ModuleState::Activated);
        if let Some(place) = self.place_of(&plan) {
            self.ended_at(now, place, StageState::Up);
        }
        if !self.snapshot.checks.iter().any(|check| check.module == Some(id) && check.id.is_none()) {
            self.snapshot.checks.rebuild(|checks| checks.push(Self::own_check(now, &plan).into()));
        }
        self.feed(now, ProcessId::Module(id), Outcome::passed(Duration::ZERO));
        let own = plan.checks.iter().filter_map(|check| self.plan.checks.get(*check).map(|found| (*check, found)));
        let own: Vec<CopyOnWrite<Check>> =
            own.map(|(number, found)| Check { module: Some(id), id: Some(number), ..Check::new(found) }.into()).collect();
        if !own.is_empty() {
            self.snapshot.checks.rebuild(|checks| checks.extend(own));
        }
        if plan.process.started.is_some() || !plan.checks.is_empty() {
            effects.push(Effect::Watch(ProcessId::Module(id), if plan.checks.is_empty() { Watch::Nothing } else { Watch::Checks }));
        }
    }

    /// The index of the stage of a module, which is searched near the number of the module: most stages are those of modules.
    fn place_of(&self, plan: &ModulePlan) -> Option<usize> {
        let before = self.snapshot.stages.len().saturating_sub(self.snapshot.modules.len());
        self.stage_near(before.saturating_add(plan.id.0 as usize), &stage_name(&plan.name))
    }

    fn at(&self, id: ModuleId) -> &RunState {
        self.state(ProcessId::Module(id))
    }

    pub(super) fn module_mut(&mut self, id: ModuleId) -> Option<&mut Module> {
        self.snapshot.module_place(id).and_then(|place| self.snapshot.modules.get_mut(place))
    }

    fn module_enters(&mut self, now: Moment, id: ModuleId, state: ModuleState) {
        if self.snapshot.module(id).is_some_and(|module| module.state != state)
            && let Some(module) = self.module_mut(id)
        {
            (module.state, module.since, module.held_up_by) = (state, now, None);
        }
    }
}

fn stage_name(module: &str) -> String {
    format!("module:{module}")
}
