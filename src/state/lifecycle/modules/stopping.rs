//! Modules in the shutdown: they and the process are stopped in the reverse order of their start.

use std::collections::BTreeSet;

use super::{Effect, Lifecycle, ModuleId, ModuleStart, ModuleState, Moment, Predecessor, ProcessId, ProcessTimer, RunState, Then, Timer};
use crate::state::shutdown::{Shutdown, Survivors, Withdrawal};

impl Lifecycle {
    /// Sends the stop signal to every module whose turn it is. Derived from the state after each event, so that no change is missed.
    pub(in crate::state::lifecycle) fn stop_in_turn(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(shutdown) = self.shutdown.filter(|shutdown| shutdown.has_begun_stopping()) else { return };
        let left = self.known_modules(|state| !matches!(state, RunState::Idle | RunState::Spawning | RunState::Stopping(_)));
        // Both only change with the end of a process, so they are the same for all that are left.
        let is_last = !left.is_empty() && self.is_last();
        let needed = if left.is_empty() { BTreeSet::new() } else { self.needed_by_others() };
        for id in left {
            if !self.at(id).runs() {
                effects.push(Effect::Disarm(Timer::Process(ProcessId::Module(id), ProcessTimer::Restart)));
                self.module_gone(now, id, effects);
            } else if !shutdown.kills() && !needed.contains(&id) && self.leaves_now(id, is_last) {
                self.stop_module(now, id, Then::Rest, effects);
            }
        }
        if matches!(shutdown, Shutdown::Preceding(_)) && !self.a_module_starts_before_main() {
            self.stop_held_main(effects);
        }
    }

    /// The modules in the `after` of others that have not ended.
    fn needed_by_others(&self) -> BTreeSet<ModuleId> {
        let mut needed = BTreeSet::new();
        for plan in self.known_modules(RunState::lives).into_iter().filter_map(|id| self.plan.module(id)) {
            needed.extend(plan.after.iter().filter_map(|one| if let Predecessor::Module(id) = one { Some(*id) } else { None }));
        }
        needed
    }

    /// Whether the process, and for one with `start = "first"` everything else, does not have to end before this module.
    fn leaves_now(&self, id: ModuleId, is_last: bool) -> bool {
        let comes_first = self.plan.module(id).is_some_and(|plan| plan.start == ModuleStart::First);
        (is_last || !comes_first) && (!self.main_lives() || self.is_behind_main(id))
    }

    /// Whether only modules with `start = "first"` are left: no process, no migration with its lock, no other module, and no heartbeat that
    /// is still being withdrawn.
    fn is_last(&self) -> bool {
        let is_over = matches!(self.shutdown, Some(Shutdown::Reaping { heartbeat: Withdrawal::Done, .. }));
        let others = self.plan.modules.iter().filter(|module| module.start != ModuleStart::First);
        is_over && !others.into_iter().any(|module| self.at(module.id).lives())
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
        self.known_modules(RunState::lives).into_iter().any(|id| self.is_behind_main(id))
    }

    /// Whether any module is alive.
    pub(in crate::state::lifecycle) fn some_module_lives(&self) -> bool {
        !self.known_modules(RunState::lives).is_empty()
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
