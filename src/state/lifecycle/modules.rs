//! Modules on their way up: asked for, waiting for whom they come after, spawned, up.

mod ending;
mod leaving;
mod orders;
mod reloading;

use std::time::Duration;

use super::starting::EXEC_LIMIT;
use super::{Class, Effect, Lifecycle, Moment, Notice, Outcome, Phase, ProcessId, Step, Timer};
use crate::exit::{Ended, Exit};
use crate::outcome::Why;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::process::StartSign;
use crate::plan::{ModuleId, ModulePlan, ProcessPlan};
use crate::state::check::Check;
use crate::state::event::{ModuleTimer, Watch};
use crate::state::snapshot::{Module, ModuleState, Stage};

/// Where the run stands with a module, beside what the snapshot tells of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    at: At,
    /// Whether there is a process of it that does not execute its program yet.
    forked: bool,
    /// Whether it is to be started when it has been stopped.
    again: bool,
    /// Whether it was up since it was last asked for.
    was_up: bool,
    /// When it was last up.
    up_since: Moment,
    /// Starts again since it last ran well or was asked for, for the length of the pause and the limit.
    in_a_row: u32,
    /// What its startup check last yielded.
    last_startup: Option<Why>,
    /// The code to end with when its start has failed while its process ran.
    failed: Option<u8>,
    /// How its process is asked to end: as it was started, whatever a reload has brought since.
    stopping: Stopping,
}

/// The rules by which one process is stopped.
#[derive(Clone, Copy, Debug, Default)]
struct Stopping {
    signal: i32,
    /// Whether its whole group gets that signal.
    group: bool,
    /// From that signal to KILL.
    timeout: Duration,
}

impl Stopping {
    fn of(plan: &ProcessPlan) -> Self {
        Self { signal: plan.stop_signal.unwrap_or(libc::SIGTERM), group: plan.signals.group, timeout: plan.stop_timeout }
    }
}

/// What a module is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Nothing, and it is not asked for more.
    #[default]
    Rest,
    /// Somebody it comes after is not up.
    Awaiting,
    /// The news of its spawn are awaited.
    Spawning,
    /// It runs, and its startup check has not passed.
    Starting,
    /// It runs.
    Up,
    /// It was asked to end.
    Stopping,
    /// It has ended, and what it left in its group is seen off.
    Clearing,
    /// It has ended and is started again after a pause.
    Pausing,
}

impl At {
    /// Whether there is a process, or may be one in a moment.
    const fn lives(self) -> bool {
        matches!(self, Self::Spawning | Self::Starting | Self::Up | Self::Stopping)
    }
}

impl Lifecycle {
    /// A module of the plan that nobody has asked for yet.
    pub(super) fn module_at_rest(plan: &ModulePlan, now: Moment) -> Module {
        let (name, table) = (plan.name.clone(), plan.table.clone());
        let (version, web_path) = (plan.version.clone(), plan.web_path.clone());
        Module { id: plan.id, name, table, version, web_path, counts: plan.counts, since: now, ..Module::default() }
    }

    /// What the start of a module of this name is called among the steps of the start.
    pub(super) fn module_stage(plan: &ModulePlan) -> Stage {
        Stage { name: stage_name(&plan.name), step: Step::Unknown, counts: plan.counts, began: None, ended: None }
    }

    /// Asks for those that start with the process, save those that somebody has ordered otherwise by then. Only the first start of the
    /// process does: they outlive its restarts.
    pub(super) fn begin_modules(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.modules_begun, true) {
            let is_untouched = |id| self.snapshot.modules.iter().any(|module| module.id == id && module.state == ModuleState::Resolved);
            let with_main = self.plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain);
            for id in with_main.map(|module| module.id).filter(|id| is_untouched(*id)).collect::<Vec<_>>() {
                self.install(now, id);
            }
            self.advance_modules(now, effects);
        }
    }

    /// Spawns every module whose turn it is. Derived from the state after each event, so that no turn can be missed.
    pub(super) fn advance_modules(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.leaving.is_some() || !matches!(self.snapshot.phase, Phase::Starting | Phase::Running) || !self.modules_begun {
            return;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        for module in &plan.modules {
            if self.at(module.id) == At::Awaiting && module.after.iter().all(|predecessor| self.is_up(*predecessor)) {
                self.spawn_module(now, module, effects);
            }
        }
        for module in &plan.modules {
            let other = self.held_up_by(module.id).and_then(|id| plan.module(id)).map(|other| other.name.clone());
            if let Some(module) = self.module_mut(module.id) {
                module.held_up_by = other;
            }
        }
    }

    /// The module at rest behind which this one waits, itself or with others.
    fn held_up_by(&self, id: ModuleId) -> Option<ModuleId> {
        let plan = self.plan.module(id).filter(|_| self.at(id) == At::Awaiting)?;
        plan.after.iter().find_map(|predecessor| match predecessor {
            Predecessor::Module(other) if self.at(*other) == At::Rest => Some(*other),
            Predecessor::Module(other) => self.held_up_by(*other),
            Predecessor::Main => None,
        })
    }

    fn is_up(&self, predecessor: Predecessor) -> bool {
        match predecessor {
            Predecessor::Main => self.snapshot.phase == Phase::Running,
            Predecessor::Module(id) => self.at(id) == At::Up,
        }
    }

    /// Begins a start as for the first time.
    fn install(&mut self, now: Moment, id: ModuleId) {
        self.courses.insert(id, Course { at: At::Awaiting, ..Course::default() });
        self.lay_out(now, id);
        self.module_enters(now, id, ModuleState::Starting);
        if let Some(module) = self.module_mut(id) {
            module.trouble = None;
        }
    }

    /// What a module counts by that has yet to start.
    fn lay_out(&mut self, now: Moment, id: ModuleId) {
        self.uninstall(id);
        let Some(plan) = self.plan.module(id).cloned() else { return };
        self.snapshot.stages.push(Self::module_stage(&plan));
        if plan.counts {
            self.show_check(now, &plan);
        }
    }

    /// Takes everything away that a module counts by.
    fn uninstall(&mut self, id: ModuleId) {
        self.snapshot.checks.retain(|check| check.module != Some(id));
        if let Some(plan) = self.plan.module(id) {
            let name = stage_name(&plan.name);
            self.snapshot.stages.retain(|stage| stage.name != name);
        }
    }

    /// The check of the process itself, under the module's name.
    fn show_check(&mut self, now: Moment, plan: &ModulePlan) {
        if !self.snapshot.checks.iter().any(|check| check.module == Some(plan.id) && check.id.is_none()) {
            let check = Check { module: Some(plan.id), since: now, ..Check::event(&plan.name, "process", plan.affects) };
            self.snapshot.checks.push(check);
        }
    }

    fn spawn_module(&mut self, now: Moment, plan: &ModulePlan, effects: &mut Vec<Effect>) {
        self.course(plan.id).at = At::Spawning;
        self.course(plan.id).failed = None;
        self.course(plan.id).stopping = Stopping::of(&plan.process);
        if self.snapshot.stage(&stage_name(&plan.name)).is_some_and(|stage| stage.began.is_none()) {
            self.stage_began(now, &stage_name(&plan.name));
        }
        effects.push(Effect::Spawn(ProcessId::Module(plan.id)));
    }

    /// Whether the run stands where the news of this module's spawn are expected.
    pub(super) fn spawns_module(&self, id: ModuleId) -> bool {
        self.at(id) == At::Spawning || (self.at(id) == At::Starting && self.module_is_forked(id))
    }

    /// Whether there is a process of this module that does not execute its program yet.
    pub(super) fn module_is_forked(&self, id: ModuleId) -> bool {
        self.courses.get(&id).is_some_and(|course| course.forked)
    }

    /// From here on it can be asked to stop, and the time for its start runs.
    pub(super) fn module_forked(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        let started = self.plan.module(id).and_then(|plan| plan.process.started.as_ref());
        let within = started.map_or(EXEC_LIMIT, |started| started.within);
        (self.course(id).at, self.course(id).forked) = (At::Starting, true);
        effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Startup), within));
    }

    pub(super) fn module_spawned(&mut self, now: Moment, id: ModuleId, pid: i32, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        if let Some(module) = self.module_mut(id) {
            module.child.pid = Some(pid);
        }
        self.course(id).at = At::Starting;
        self.course(id).last_startup = None;
        let was_forked = std::mem::take(&mut self.course(id).forked);
        let Some(started) = &plan.process.started else {
            if was_forked {
                effects.push(Effect::Disarm(Timer::Module(id, ModuleTimer::Startup)));
            }
            return self.module_up(now, id, effects);
        };
        effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Startup), started.within));
        if matches!(started.sign, StartSign::Answers { .. }) {
            effects.push(Effect::Watch(id, Watch::Start));
        }
    }

    fn module_up(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        let course = self.course(id);
        (course.at, course.was_up, course.up_since) = (At::Up, true, now);
        if let Some(module) = self.module_mut(id) {
            module.trouble = None;
        }
        self.module_enters(now, id, ModuleState::Activated);
        self.stage_ended(now, &stage_name(&plan.name), Step::Up);
        self.show_check(now, &plan);
        self.feed_module(now, id, Outcome::passed(Duration::ZERO));
        let own = plan.checks.iter().filter_map(|check| self.plan.checks.get(*check).map(|found| (*check, found)));
        let own: Vec<Check> = own.map(|(number, found)| Check { module: Some(id), id: Some(number), ..Check::new(found) }).collect();
        self.snapshot.checks.extend(own);
        if plan.process.started.is_some() {
            effects.push(Effect::Disarm(Timer::Module(id, ModuleTimer::Startup)));
        }
        if plan.process.started.is_some() || !plan.checks.is_empty() {
            effects.push(Effect::Watch(id, if plan.checks.is_empty() { Watch::Nothing } else { Watch::Checks }));
        }
        self.expect_module(id, effects);
    }

    pub(super) fn module_probed(&mut self, now: Moment, id: ModuleId, outcome: &Outcome, effects: &mut Vec<Effect>) {
        if self.at(id) == At::Starting {
            self.course(id).last_startup = Some(outcome.why());
            if outcome.result.is_ok() {
                self.module_up(now, id, effects);
            }
        }
    }

    /// What a module says of itself; its startup check may be just that.
    pub(super) fn module_notified(&mut self, now: Moment, id: ModuleId, notice: Notice, effects: &mut Vec<Effect>) {
        let at = self.at(id);
        if !at.lives() {
            return;
        }
        let started = self.plan.module(id).and_then(|plan| plan.process.started.as_ref());
        let awaited = started.is_some_and(|started| !matches!(started.sign, StartSign::Answers { .. }));
        match notice {
            Notice::Ready if awaited && at == At::Starting => self.module_up(now, id, effects),
            Notice::Status(text) => {
                if let Some(module) = self.module_mut(id) {
                    module.child.status = Some(text);
                }
            }
            Notice::Watchdog => self.expect_module(id, effects),
            Notice::ExtendTimeout(by) if at == At::Starting => effects.push(Effect::Extend(Timer::Module(id, ModuleTimer::Startup), by)),
            Notice::ExtendTimeout(by) if at == At::Stopping => effects.push(Effect::Extend(Timer::Module(id, ModuleTimer::Grace), by)),
            Notice::Ready | Notice::ExtendTimeout(_) => {}
        }
    }

    fn expect_module(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        if let Some(limit) = self.plan.module(id).and_then(|plan| plan.process.watchdog)
            && self.at(id) == At::Up
        {
            effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Watchdog), limit));
        }
    }

    fn at(&self, id: ModuleId) -> At {
        self.courses.get(&id).map_or(At::Rest, |course| course.at)
    }

    fn course(&mut self, id: ModuleId) -> &mut Course {
        self.courses.entry(id).or_default()
    }

    /// Whether this moment is before the module's process came up, and so about another one.
    pub(super) fn is_before(&mut self, at: Moment, id: ModuleId) -> bool {
        at.mono < self.course(id).up_since.mono
    }

    fn module_mut(&mut self, id: ModuleId) -> Option<&mut Module> {
        self.snapshot.modules.iter_mut().find(|module| module.id == id)
    }

    fn module_enters(&mut self, now: Moment, id: ModuleId, state: ModuleState) {
        if let Some(module) = self.module_mut(id).filter(|module| module.state != state) {
            (module.state, module.since) = (state, now);
        }
    }

    fn feed_module(&mut self, now: Moment, id: ModuleId, outcome: Outcome) {
        if let Some(check) = self.snapshot.checks.iter_mut().find(|check| check.module == Some(id) && check.id.is_none()) {
            check.feed(now, outcome);
        }
    }
}

fn stage_name(module: &str) -> String {
    format!("module:{module}")
}
