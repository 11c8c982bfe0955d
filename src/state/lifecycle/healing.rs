//! Restart on ill health: a process whose check went down after having been up is stopped by its own rules and started anew, where there
//! is a heartbeat by one replica of the service at a time.

use super::{CheckId, Duration, Effect, Lifecycle, Moment, Phase, ProcessId, ProcessTimer, RunState, Then, Timer};
use crate::plan::OnDown;
use crate::state::process::is_spent;

/// What a restart may take beyond the stop and the start of its process.
const SPARE: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Whose check this is.
    fn owner_of(&self, check: CheckId) -> ProcessId {
        let module = self.plan.modules.iter().find(|module| module.checks.contains(&check));
        module.map_or(ProcessId::Main, |module| ProcessId::Module(module.id))
    }

    /// A check went down that was up. While everything is being stopped, nothing is restarted.
    pub(super) fn fell_ill(&mut self, now: Moment, check: CheckId, effects: &mut Vec<Effect>) {
        let id = self.owner_of(check);
        let wanted = self.plan.checks.get(check).is_some_and(|plan| plan.on_down == OnDown::Restart);
        let RunState::Up(since) = *self.state(id) else { return };
        let Some(plan) = self.process_plan(id).filter(|_| wanted && self.shutdown.is_none()) else { return };
        let within = plan.started.as_ref().map_or(Duration::ZERO, |started| started.within);
        let (length, restart) = (plan.stop_timeout.saturating_add(within).saturating_add(SPARE), plan.restart.clone());
        if is_spent(&restart, self.process(id).in_a_row, Some(now.since(since))) {
            return;
        }
        self.transition(id, RunState::Unhealthy(since, check));
        if self.plan.heartbeat.is_some() {
            effects.push(Effect::RestartLease(Some(length)));
        } else {
            self.restart_granted(now, effects);
        }
    }

    /// A check that was down is up again: what it was to be restarted for is over.
    pub(super) fn recovered(&mut self, check: CheckId, effects: &mut Vec<Effect>) {
        let id = self.owner_of(check);
        if let RunState::Unhealthy(since, why) = *self.state(id)
            && why == check
        {
            self.transition(id, RunState::Up(since));
            self.give_lease_back(effects);
        }
    }

    /// The permission goes back once nobody here needs it any more.
    pub(super) fn give_lease_back(&self, effects: &mut Vec<Effect>) {
        if !self.plan.checks.iter().any(|check| check.on_down == OnDown::Restart) {
            return;
        }
        let heals = |state: &RunState| matches!(state, RunState::Unhealthy(..) | RunState::Stopping(Then::Restart(_)));
        if self.plan.heartbeat.is_some() && !self.processes.values().any(|process| heals(&process.state)) {
            effects.push(Effect::RestartLease(None));
        }
    }

    pub(super) fn restart_granted(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.shutdown.is_some() {
            return;
        }
        let ill = |(id, state): (ProcessId, &RunState)| {
            if let RunState::Unhealthy(since, check) = state { Some((id, *since, *check)) } else { None }
        };
        let ill: Vec<_> = self.processes.iter().filter_map(|(id, process)| ill((*id, &process.state))).collect();
        if ill.is_empty() {
            self.give_lease_back(effects);
        }
        for (id, since, check) in ill {
            let then = Then::Restart(now.since(since));
            match id {
                ProcessId::Module(module) => {
                    self.stop_module(now, module, then, effects);
                    let name = self.plan.checks.get(check).map_or("", |plan| plan.name.as_str());
                    let why = format!("its check {name} went down, so it is started anew");
                    self.module_failed(now, module, why);
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
                ProcessId::Migration => {}
            }
        }
    }
}
