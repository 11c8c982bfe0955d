//! The common life of every supervised process: forked, executing, up, watchdog expired, stopping, ended. The policy for the run is
//! elsewhere.

use super::{APP, Check, Child, CopyOnWrite, Phase, RunState, StartSign, StopRules, Then, Timer, Watch};
use super::{Duration, Effect, Ended, ErrorKind, Exit, Lifecycle, Moment, Notice, Outcome, ProcessId, ProcessPlan, ProcessTimer};
use crate::state::process::{next_pause, refusal};
use crate::state::snapshot::HealingStage;

impl Lifecycle {
    pub(super) fn process_plan(&self, id: ProcessId) -> Option<&ProcessPlan> {
        match id {
            ProcessId::Main => self.plan.main.as_ref(),
            ProcessId::Migration => self.plan.migration.as_ref().map(|plan| &plan.process),
            ProcessId::Module(id) => self.plan.module(id).map(|plan| &plan.process),
            ProcessId::Step(_) => self.step_command(),
        }
    }

    /// The process in the snapshot; none for a command of the migration or of a step.
    pub(super) fn child(&mut self, id: ProcessId) -> Option<&mut CopyOnWrite<Child>> {
        match id {
            ProcessId::Main => Some(&mut self.snapshot.child),
            ProcessId::Migration | ProcessId::Step(_) => None,
            ProcessId::Module(id) => self.module_mut(id).map(|module| &mut module.child),
        }
    }

    /// The check of the process itself, if it has one.
    pub(super) fn feed(&mut self, now: Moment, id: ProcessId, outcome: Outcome) {
        let own = |check: &Check| match id {
            ProcessId::Main => check.name == APP,
            ProcessId::Migration | ProcessId::Step(_) => false,
            ProcessId::Module(id) => check.module == Some(id) && check.id.is_none(),
        };
        if let Some(index) = self.snapshot.checks.search(0, own) {
            self.snapshot.checks.change(index, |check| check.feed(now, outcome));
        }
    }

    /// In the shutdown the main process is not started any more; a module may still come up until its turn to stop.
    pub(super) fn goes_on(&self, id: ProcessId) -> bool {
        id != ProcessId::Main || self.shutdown.is_none()
    }

    pub(super) fn spawn(&mut self, id: ProcessId, spawn: Effect, effects: &mut Vec<Effect>) {
        if let Some(rules) = self.process_plan(id).map(StopRules::of) {
            self.process(id).rules = rules;
        }
        self.transition(id, RunState::Spawning);
        effects.push(spawn);
    }

    /// From here on the process can be stopped, and its start deadline runs.
    pub(super) fn forked(&mut self, id: ProcessId, effects: &mut Vec<Effect>) {
        self.ever_spawned = true;
        if *self.state(id) == RunState::Spawning {
            self.transition(id, RunState::Forked);
            self.arm_limit(id, effects);
        }
    }

    pub(super) fn spawned(&mut self, now: Moment, id: ProcessId, pid: i32, effects: &mut Vec<Effect>) {
        (self.ever_spawned, self.job) = (true, super::Job::default());
        let was_forked = *self.state(id) == RunState::Forked;
        if !(was_forked || *self.state(id) == RunState::Spawning) || !self.goes_on(id) {
            return;
        }
        if let Some(child) = self.child(id) {
            child.pid = Some(pid);
        }
        if id == ProcessId::Main {
            self.main_executes(now);
        }
        let started = self.process_plan(id).and_then(|plan| plan.started.as_ref()).filter(|_| !id.is_one_off());
        let asks = started.is_some_and(|started| matches!(started.sign, StartSign::Answers { .. }));
        if started.is_some() {
            self.transition(id, RunState::Starting(ErrorKind::Never.into()));
            self.arm_limit(id, effects);
            if asks {
                effects.push(Effect::Watch(id, Watch::Start));
            }
        } else if id.is_one_off() {
            self.transition(id, RunState::Up(now));
            if !was_forked {
                self.arm_limit(id, effects);
            }
        } else {
            if was_forked {
                effects.push(Effect::Disarm(Timer::Process(id, ProcessTimer::Limit)));
            }
            self.up(now, id, effects);
        }
    }

    fn up(&mut self, now: Moment, id: ProcessId, effects: &mut Vec<Effect>) {
        self.transition(id, RunState::Up(now));
        let is_checked = self.process_plan(id).is_some_and(|plan| plan.started.is_some());
        if is_checked {
            effects.push(Effect::Disarm(Timer::Process(id, ProcessTimer::Limit)));
        }
        match id {
            ProcessId::Main => self.main_up(now, is_checked, effects),
            ProcessId::Migration | ProcessId::Step(_) => {}
            ProcessId::Module(module) => self.module_up(now, module, effects),
        }
        self.expect_watchdog(id, effects);
    }

    pub(super) fn startup_probed(&mut self, now: Moment, id: ProcessId, outcome: &Outcome, effects: &mut Vec<Effect>) {
        if matches!(self.state(id), RunState::Starting(_)) && self.goes_on(id) {
            self.transition(id, RunState::Starting(outcome.reason()));
            if outcome.result.is_ok() {
                self.up(now, id, effects);
            }
        }
    }

    /// A notification of a process, which may be its startup check.
    pub(super) fn notified(&mut self, now: Moment, id: ProcessId, notice: Notice, effects: &mut Vec<Effect>) {
        let started = self.process_plan(id).and_then(|plan| plan.started.as_ref());
        let awaited = started.is_some_and(|started| !matches!(started.sign, StartSign::Answers { .. }));
        match (notice, self.state(id)) {
            (Notice::Ready, RunState::Starting(_)) if awaited && self.goes_on(id) => self.up(now, id, effects),
            (Notice::Status(text), state) if state.runs() => {
                if let Some(child) = self.child(id) {
                    child.status = Some(text);
                }
            }
            (Notice::Watchdog, _) => self.expect_watchdog(id, effects),
            (Notice::ExtendTimeout(by), RunState::Starting(_)) => {
                effects.push(Effect::Extend(Timer::Process(id, ProcessTimer::Limit), by));
            }
            (Notice::ExtendTimeout(by), RunState::Stopping(_)) => {
                let of_run = id == ProcessId::Main && self.shutdown.is_some();
                effects.push(Effect::Extend(if of_run { Timer::Grace } else { Timer::Process(id, ProcessTimer::Grace) }, by));
            }
            (Notice::Ready | Notice::Status(_) | Notice::ExtendTimeout(_), _) => {}
        }
    }

    pub(super) fn spawn_failed(&mut self, now: Moment, id: ProcessId, code: u8, why: String, effects: &mut Vec<Effect>) {
        let shuts = self.shutdown.is_some();
        match self.state(id) {
            RunState::Forked if self.goes_on(id) => {
                effects.push(Effect::Disarm(Timer::Process(id, ProcessTimer::Limit)));
            }
            // Its stop was requested before it executed its program.
            RunState::Forked | RunState::Stopping(_) if !id.is_one_off() => {
                return self.ended(now, id, Ended::Code(code), effects);
            }
            RunState::Spawning | RunState::Stopping(_) => {}
            _ => return,
        }
        if let Some(child) = self.child(id) {
            child.ends.feed(now, false, Duration::ZERO);
        }
        // A full process table is temporary; a missing program is not.
        let in_a_row = self.process(id).in_a_row;
        let again = |plan: &ProcessPlan| refusal(&plan.restart, in_a_row, None, Ended::Code(code)).is_none();
        let is_passing = code == Exit::Internal.code() && !id.is_one_off() && !shuts;
        if let ProcessId::Module(module) = id {
            self.module_failed(now, module, why.clone());
        }
        if is_passing && self.process_plan(id).is_some_and(again) {
            self.back_off(now, id, None, effects);
            return;
        }
        self.transition(id, RunState::Idle);
        match id {
            ProcessId::Main => self.main_spawn_failed(now, code, why, effects),
            ProcessId::Migration => {
                self.decide(code, why);
                self.migration_over(now, super::StageState::Down, effects);
            }
            ProcessId::Step(_) => self.step_spawn_failed(now, code, &why, effects),
            ProcessId::Module(module) if shuts => self.module_left(now, module, effects),
            ProcessId::Module(module) => self.module_over(now, module, code, effects),
        }
    }

    pub(super) fn ended(&mut self, now: Moment, id: ProcessId, ended: Ended, effects: &mut Vec<Effect>) {
        if !self.state(id).runs() {
            return;
        }
        let ran = self.state(id).ran(now);
        let for_memory = self.of_memory(id);
        let as_meant = match self.state(id) {
            RunState::Stopping(then) => !matches!(then, Then::Failed(_) | Then::Restart(_)),
            _ => ended == Ended::Code(0),
        };
        if let Some(child) = self.child(id) {
            (child.pid, child.last_exit) = (None, Some(ended));
            child.ends.feed(now, as_meant, ran.unwrap_or_default());
        }
        match id {
            ProcessId::Main => self.main_ended(now, ended, ran, for_memory, effects),
            ProcessId::Migration | ProcessId::Step(_) => self.task_ended(id, ended, for_memory, effects),
            ProcessId::Module(module) => self.module_ended(now, module, ended, ran, for_memory, effects),
        }
    }

    /// Pauses before a restart; `ran` is how long it was up. Leftovers in the group must not keep the port of the new process.
    pub(super) fn back_off(&mut self, now: Moment, id: ProcessId, ran: Option<Duration>, effects: &mut Vec<Effect>) {
        let Some(plan) = self.process_plan(id).map(|plan| plan.restart.clone()) else { return };
        let pause = next_pause(&plan, ran, &mut self.process(id).in_a_row);
        if let Some(child) = self.child(id) {
            child.restarts += 1;
            let heals = child.healing.as_ref().is_some_and(|healing| healing.stage == HealingStage::Restarting);
            child.restarts_by_check += u32::from(heals);
        }
        if id == ProcessId::Main {
            self.enter(now, Phase::Starting);
        }
        Self::end_deadlines(id, effects);
        self.transition(id, RunState::Backoff);
        effects.push(Effect::SignalGroup(id, libc::SIGTERM));
        effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::Restart), pause));
    }

    /// Ends the leftovers in the process' group, within `grace` if no deadline runs yet.
    pub(super) fn clear(&mut self, id: ProcessId, then: Then, number: i32, grace: Option<Duration>, effects: &mut Vec<Effect>) {
        self.transition(id, RunState::Clearing(then));
        effects.extend(grace.map(|grace| Effect::Arm(Timer::Process(id, ProcessTimer::Grace), grace)));
        effects.push(Effect::SignalGroup(id, number));
        effects.push(Effect::AwaitGroup(id));
    }

    pub(super) fn group_gone(&mut self, now: Moment, id: ProcessId, effects: &mut Vec<Effect>) {
        let RunState::Clearing(then) = *self.state(id) else { return };
        Self::end_deadlines(id, effects);
        self.transition(id, RunState::Idle);
        match (id, then) {
            (ProcessId::Module(module), _) => self.module_cleared(now, module, then),
            (ProcessId::Migration, Then::Next(ended, for_memory)) => self.task_over(now, ended, for_memory, effects),
            (ProcessId::Step(step), Then::Next(ended, for_memory)) => self.step_task_over(now, step, ended, for_memory, effects),
            _ => {}
        }
    }
}
