//! Modules in the shutdown: they and the process are stopped in the reverse order of their start.

use super::{Effect, Lifecycle, ModuleId, ModuleStart, ModuleState, Moment, Predecessor, ProcessId, ProcessTimer, RunState, Then, Timer};
use crate::state::shutdown::{Shutdown, Survivors, Withdrawal};

impl Lifecycle {
    /// Sends the stop signal to every module whose turn it is. Derived from the state after each event, so that no change is missed.
    pub(in crate::state::lifecycle) fn stop_in_turn(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(shutdown) = self.shutdown.filter(|shutdown| shutdown.has_begun_stopping()) else { return };
        for id in self.snapshot.modules.iter().map(|module| module.id).collect::<Vec<_>>() {
            match self.at(id) {
                RunState::Waiting(_) | RunState::Backoff | RunState::Clearing(_) => {
                    effects.push(Effect::Disarm(Timer::Process(ProcessId::Module(id), ProcessTimer::Restart)));
                    self.module_gone(now, id, effects);
                }
                state if state.may_be_stopped() && !shutdown.kills() && self.leaves_now(id) => {
                    self.stop_module(now, id, Then::Rest, effects);
                }
                _ => {}
            }
        }
        if !self.a_module_starts_before_main() {
            self.stop_held_main(effects);
        }
    }

    /// Whether all processes that started after this module have ended.
    fn leaves_now(&self, id: ModuleId) -> bool {
        if self.plan.module(id).is_some_and(|plan| plan.start == ModuleStart::First) && !self.is_last() {
            return false;
        }
        let main_goes_first = self.main_lives() && !self.is_behind_main(id);
        let needs = |other: &ModuleId| {
            let after = self.plan.module(*other).is_some_and(|plan| plan.after.contains(&Predecessor::Module(id)));
            after && self.at(*other).lives()
        };
        !main_goes_first && !self.known_modules().any(|other| needs(&other))
    }

    /// Whether only modules with `start = "first"` are left: no process, no migration with its lock, no other module, and no heartbeat that
    /// is still being withdrawn.
    fn is_last(&self) -> bool {
        let is_over = matches!(self.shutdown, Some(Shutdown::Reaping { heartbeat: Withdrawal::Done, .. }));
        let others = self.plan.modules.iter().filter(|module| module.start != ModuleStart::First);
        is_over && !others.into_iter().any(|module| self.at(module.id).lives())
    }

    fn known_modules(&self) -> impl Iterator<Item = ModuleId> {
        self.processes.keys().filter_map(|id| if let ProcessId::Module(id) = id { Some(*id) } else { None })
    }

    /// Whether the module starts after the process is up: by its own `after`, through another module, or on request.
    fn is_behind_main(&self, id: ModuleId) -> bool {
        self.plan.module(id).is_some_and(|plan| {
            plan.start == ModuleStart::OnDemand
                || plan.after.iter().any(|predecessor| match predecessor {
                    Predecessor::Main => true,
                    Predecessor::Module(other) => *other != id && self.is_behind_main(*other),
                })
        })
    }

    /// Whether a module is alive that has to end before the process gets its stop signal.
    pub(in crate::state::lifecycle) fn a_module_starts_before_main(&self) -> bool {
        self.known_modules().any(|id| self.at(id).lives() && self.is_behind_main(id))
    }

    /// Whether any module is alive.
    pub(in crate::state::lifecycle) fn some_module_lives(&self) -> bool {
        self.known_modules().any(|id| self.at(id).lives())
    }

    fn module_gone(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.transition(ProcessId::Module(id), RunState::Idle);
        self.module_enters(now, id, ModuleState::Deactivated);
        Self::end_deadlines(ProcessId::Module(id), effects);
    }

    /// A module has ended. Its leftovers are ended together with those of the process.
    pub(in crate::state::lifecycle) fn module_left(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.module_gone(now, id, effects);
        effects.push(match self.shutdown {
            Some(Shutdown::Reaping { survivors: Survivors::Killed, .. }) => Effect::SignalSurvivors(libc::SIGKILL),
            Some(Shutdown::Reaping { .. }) => Effect::SignalLatecomers(libc::SIGTERM),
            _ => Effect::SignalGroup(ProcessId::Module(id), libc::SIGTERM),
        });
    }
}
