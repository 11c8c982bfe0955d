//! Applies a new plan while everything runs: removed modules are stopped, changed ones are restarted, new ones are started.

use std::sync::Arc;

use super::{Effect, Lifecycle, ModuleId, ModuleState, Moment, Phase, ProcessId, RunState};
use crate::plan::module::ModuleStart;
use crate::plan::{ModulePlan, Plan};
use crate::state::check::Check;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::event::Order;
use crate::state::snapshot::{Module, Stage};

impl Lifecycle {
    /// Applies the plan as a whole; it differs from the old one only in checks and modules. Before the process runs, and in the shutdown,
    /// nothing is applied.
    pub(in crate::state::lifecycle) fn reloaded(&mut self, now: Moment, plan: &Arc<Plan>, effects: &mut Vec<Effect>) {
        if self.snapshot.phase != Phase::Running || self.shutdown.is_some() {
            self.snapshot.reloads_refused += 1;
            return;
        }
        let old = std::mem::replace(&mut self.plan, Arc::clone(plan));
        self.snapshot.reloads += 1;
        effects.push(Effect::Reload);
        self.replace_checks(now);
        for module in &plan.modules {
            let before = old.module(module.id).filter(|_| !old.retired.modules.contains(&module.id));
            match before {
                _ if plan.retired.modules.contains(&module.id) => {
                    if !old.retired.modules.contains(&module.id) {
                        self.take_order(now, Order::Stop(module.id), effects);
                    }
                }
                None => self.add_module(now, module),
                Some(before) if before != module => self.change_module(now, before, module, effects),
                Some(_) => {}
            }
        }
        self.snapshot.modules.rebuild(|modules| {
            let old = std::mem::take(modules);
            modules.extend(plan.modules.iter().filter_map(|plan| old.iter().find(|module| module.id == plan.id).cloned()));
        });
        self.forget_retired();
    }

    /// The checks of the service: the existing ones with their history, then the new ones.
    fn replace_checks(&mut self, now: Moment) {
        let plan = Arc::clone(&self.plan);
        let own = plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id) && !plan.retired.checks.contains(id));
        self.snapshot.checks.rebuild(|checks| {
            let mut old = std::mem::take(checks);
            checks.extend(own.map(|(id, check)| match old.iter().position(|known| known.id == Some(id)) {
                Some(place) => old.remove(place),
                None => Check { id: Some(id), since: now, ..Check::new(check) }.into(),
            }));
            checks.extend(old.into_iter().filter(|check| check.module.is_some() || check.id.is_none()));
        });
        let name = |stage: &str| stage.strip_prefix("wait:").map(str::to_owned);
        let stays = |stage: &CopyOnWrite<Stage>| {
            name(&stage.name).is_none_or(|name| {
                plan.checks.iter().enumerate().any(|(id, check)| check.name == name && !plan.retired.checks.contains(&id))
            })
        };
        self.snapshot.stages.rebuild(|stages| stages.retain(stays));
    }

    fn add_module(&mut self, now: Moment, plan: &ModulePlan) {
        self.snapshot.modules.rebuild(|modules| modules.push(Self::module_at_rest(plan, now).into()));
        if plan.start != ModuleStart::OnDemand {
            self.install(now, &[plan.id]);
        }
    }

    /// A running module is restarted with the new plan; a module that was stopped by a request stays stopped.
    fn change_module(&mut self, now: Moment, before: &ModulePlan, plan: &ModulePlan, effects: &mut Vec<Effect>) {
        let Some(module) = self.module_mut(plan.id) else { return };
        (module.counts, module.table) = (plan.counts, plan.table.clone());
        (module.version, module.web_path) = (plan.version.clone(), plan.web_path.clone());
        let state = module.state;
        let begins = before.start != plan.start && plan.start != ModuleStart::OnDemand && state == ModuleState::Resolved;
        if begins || self.awaits(plan.id) {
            self.install(now, &[plan.id]);
        } else if matches!(state, ModuleState::Starting | ModuleState::Activated | ModuleState::Broken) {
            self.take_order(now, Order::Restart(plan.id), effects);
        }
    }

    /// Drops removed modules once they have stopped.
    pub(in crate::state::lifecycle) fn forget_retired(&mut self) {
        if self.plan.retired.modules.is_empty() {
            return;
        }
        let is_gone = |module: &Module| self.plan.retired.modules.contains(&module.id) && *self.at(module.id) == RunState::Idle;
        let gone: Vec<ModuleId> = self.snapshot.modules.iter().filter(|module| is_gone(module)).map(|module| module.id).collect();
        for id in gone {
            self.uninstall(id);
            self.processes.remove(&ProcessId::Module(id));
            self.snapshot.modules.rebuild(|modules| modules.retain(|module| module.id != id));
        }
    }
}
