//! Restart on failure (`on_down = "restart"`): a process whose check went down after having been up is stopped and started again; with a
//! heartbeat, by one replica of the service at a time.

use super::{Check, CheckId, Duration, Effect, Lifecycle, Moment, Phase, Process, ProcessId, ProcessTimer, Readiness, RunState};
use super::{Then, Timer, Verdict};
use crate::plan::OnDown;
use crate::state::process::{is_spent, next_pause};
use crate::state::snapshot::{Healing, HealingStage};

/// The extra time of a restart beyond its stop, its pause and its start.
const SPARE: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// The process of this check.
    fn owner_of(&self, check: CheckId) -> ProcessId {
        let module = self.plan.modules.iter().find(|module| module.checks.contains(&check));
        module.map_or(ProcessId::Main, |module| ProcessId::Module(module.id))
    }

    /// A check that was up went down. During the shutdown nothing is restarted.
    pub(super) fn fell_ill(&mut self, now: Moment, check: CheckId, effects: &mut Vec<Effect>) {
        let id = self.owner_of(check);
        let RunState::Up(since) = *self.state(id) else { return };
        let name = self.plan.checks.get(check).filter(|plan| plan.on_down == OnDown::Restart).map(|plan| plan.name.clone());
        let restart = self.process_plan(id).filter(|_| self.shutdown.is_none()).map(|plan| plan.restart.clone());
        let Some((check_name, restart)) = name.zip(restart) else { return };
        let spent = is_spent(&restart, self.process(id).in_a_row, Some(now.since(since)));
        let stage = if spent { HealingStage::Spent } else { HealingStage::Waiting };
        self.heals(id, Some(Healing { check: check_name, stage }));
        if spent {
            return;
        }
        self.transition(id, RunState::Unhealthy(since, check));
        if self.plan.heartbeat.is_some() {
            self.leased = Some(self.lease_length(now));
            effects.push(Effect::RestartLease(self.leased));
        } else {
            self.restart_granted(now, effects);
        }
    }

    /// A check is up again: its restart is no longer needed, unless another check went down.
    pub(super) fn recovered(&mut self, now: Moment, check: CheckId, effects: &mut Vec<Effect>) {
        let id = self.owner_of(check);
        let Some(since) = self.state(id).since() else { return };
        match *self.state(id) {
            RunState::Unhealthy(_, why) if why != check => return,
            RunState::Unhealthy(..) => self.transition(id, RunState::Up(since)),
            _ => {}
        }
        if self.healing(id).is_some_and(|healing| healing.stage == HealingStage::Spent) {
            self.heals(id, None);
        }
        let down = |known: &&Check| known.verdict == Verdict::Down && known.last_passed.is_some_and(|at| at.mono >= since.mono);
        let down = self.snapshot.checks.iter().filter(down).filter_map(|known| known.id);
        for other in down.filter(|other| self.owner_of(*other) == id).collect::<Vec<_>>() {
            self.fell_ill(now, other, effects);
        }
    }

    /// The longest time of the requested restarts: stop, pause, waits and start.
    fn lease_length(&self, now: Moment) -> Duration {
        let length = |(id, process): (&ProcessId, &Process)| {
            let plan = self.process_plan(*id).filter(|_| self.is_under_way(*id))?;
            let pause = next_pause(&plan.restart, process.state.ran(now), &mut process.in_a_row.clone());
            let waits = self.plan.awaited().filter(|_| *id == ProcessId::Main).map(|(_, check)| check.wait).max().unwrap_or_default();
            let within = plan.started.as_ref().map_or(Duration::ZERO, |started| started.within);
            Some([pause, waits, within, SPARE].iter().fold(plan.stop_timeout, |sum, part| sum.saturating_add(*part)))
        };
        self.processes.iter().filter_map(length).max().unwrap_or_default()
    }

    fn healing(&self, id: ProcessId) -> Option<&Healing> {
        match id {
            ProcessId::Main => self.snapshot.child.healing.as_ref(),
            ProcessId::Migration | ProcessId::Step(_) => None,
            ProcessId::Module(id) => self.snapshot.module(id)?.child.healing.as_ref(),
        }
    }

    fn heals(&mut self, id: ProcessId, healing: Option<Healing>) {
        if let Some(child) = self.child(id) {
            child.healing = healing;
        }
    }

    /// Whether a restart for a check is requested and not finished.
    fn is_under_way(&self, id: ProcessId) -> bool {
        self.healing(id).is_some_and(|healing| matches!(healing.stage, HealingStage::Waiting | HealingStage::Restarting))
    }

    /// Updates the shown state of restarts, and the lease. Derived from the state after each event, so that no lease is forgotten; a
    /// replica that shuts down releases it at once.
    pub(super) fn settle_healing(&mut self, effects: &mut Vec<Effect>) {
        let modules = self.snapshot.modules.iter().filter(|module| module.child.healing.is_some());
        let healing = std::iter::once(ProcessId::Main).chain(modules.map(|module| ProcessId::Module(module.id)));
        for id in healing.collect::<Vec<_>>() {
            let Some(healing) = self.healing(id) else { continue };
            let is_ready = id != ProcessId::Main || self.announced == Readiness::Ready;
            let next = match (healing.stage, self.state(id)) {
                (HealingStage::Waiting, RunState::Unhealthy(..)) => continue,
                // It has ended by itself, or a stop was requested.
                (HealingStage::Waiting, _)
                | (HealingStage::Restarting, RunState::Idle)
                | (HealingStage::Done | HealingStage::Spent, RunState::Backoff) => None,
                (HealingStage::Restarting, RunState::Up(_)) if is_ready => Some(HealingStage::Done),
                _ => continue,
            };
            let healing = healing.clone();
            self.heals(id, next.map(|stage| Healing { stage, ..healing }));
        }
        if self.leased.is_some() && (self.shutdown.is_some() || !self.processes.keys().any(|id| self.is_under_way(*id))) {
            self.leased = None;
            effects.push(Effect::RestartLease(None));
        }
    }

    /// Stops all unhealthy processes, to restart them.
    pub(super) fn restart_granted(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.shutdown.is_some() {
            return;
        }
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            let RunState::Unhealthy(since, _) = *self.state(id) else { continue };
            let Some(healing) = self.healing(id).cloned() else { continue };
            let then = Then::Restart(now.since(since));
            match id {
                ProcessId::Module(module) => {
                    self.stop_module(now, module, then, effects);
                    self.module_failed(now, module, format!("its check {} went down, so it is restarted", healing.check));
                }
                ProcessId::Main => {
                    self.enter(now, Phase::Starting);
                    Self::stop_watching(id, effects);
                    self.transition(id, RunState::Stopping(then));
                    let signal = self.main().and_then(|main| main.stop_signal).unwrap_or(libc::SIGTERM);
                    effects.push(self.send(id, signal));
                    self.wake(effects);
                    effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::Grace), self.stop_timeout()));
                }
                ProcessId::Migration | ProcessId::Step(_) => {}
            }
            self.heals(id, Some(Healing { stage: HealingStage::Restarting, ..healing }));
        }
    }
}
