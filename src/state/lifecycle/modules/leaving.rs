//! Modules on the way out: in the reverse of the order in which they started, with the process among them.

use super::{At, Effect, Lifecycle, ModuleId, ModuleStart, ModuleState, ModuleTimer, Moment, Predecessor, ProcessId, Timer};
use crate::state::lifecycle::leaving::Leaving;

impl Lifecycle {
    /// Asks whoever's turn it is. Derived from the state after each event, so that no turn can be missed.
    pub(in crate::state::lifecycle) fn leave_modules(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !matches!(self.leaving, Some(Leaving::Stopping | Leaving::Closing { .. })) {
            return;
        }
        for id in self.snapshot.modules.iter().map(|module| module.id).collect::<Vec<_>>() {
            match self.at(id) {
                At::Awaiting | At::Pausing | At::Clearing => {
                    for timer in [ModuleTimer::Restart, ModuleTimer::Grace, ModuleTimer::Reap] {
                        effects.push(Effect::Disarm(Timer::Module(id, timer)));
                    }
                    self.course(id).at = At::Rest;
                    self.module_enters(now, id, ModuleState::Deactivated);
                }
                At::Starting | At::Up if !self.killed && self.leaves_now(id) => self.stop_module(now, id, effects),
                At::Rest | At::Spawning | At::Starting | At::Up | At::Stopping => {}
            }
        }
        if self.leaving == Some(Leaving::Stopping) && !self.somebody_goes_before_main() {
            self.ask_held_main(effects);
        }
    }

    /// Whether everybody who started after this module is gone.
    fn leaves_now(&self, id: ModuleId) -> bool {
        let main_goes_first = self.main_lives() && !self.is_behind_main(id);
        let needs = |other: &ModuleId| {
            let after = self.plan.module(*other).is_some_and(|plan| plan.after.contains(&Predecessor::Module(id)));
            after && self.at(*other).lives()
        };
        !main_goes_first && !self.courses.keys().any(needs)
    }

    /// Whether the module starts after the process is up: it says so, somebody it comes after does, or it is asked for later.
    fn is_behind_main(&self, id: ModuleId) -> bool {
        self.plan.module(id).is_some_and(|plan| {
            plan.start == ModuleStart::OnDemand
                || plan.after.iter().any(|predecessor| match predecessor {
                    Predecessor::Main => true,
                    Predecessor::Module(other) => *other != id && self.is_behind_main(*other),
                })
        })
    }

    /// Whether a module is alive that is to be gone before the process is asked to stop.
    pub(in crate::state::lifecycle) fn somebody_goes_before_main(&self) -> bool {
        self.courses.iter().any(|(id, course)| course.at.lives() && self.is_behind_main(*id))
    }

    /// Whether any module is alive.
    pub(in crate::state::lifecycle) fn some_module_lives(&self) -> bool {
        self.courses.values().any(|course| course.at.lives())
    }

    /// A module is gone. What it left behind goes with what the process leaves behind, once that is gone.
    pub(super) fn module_left(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.course(id).at = At::Rest;
        self.module_enters(now, id, ModuleState::Deactivated);
        for timer in [ModuleTimer::Grace, ModuleTimer::Reap] {
            effects.push(Effect::Disarm(Timer::Module(id, timer)));
        }
        match self.leaving {
            Some(Leaving::Closing { .. }) if self.killed => effects.push(Effect::SignalSurvivors(libc::SIGKILL)),
            Some(Leaving::Closing { .. }) => effects.push(Effect::SignalLatecomers(libc::SIGTERM)),
            _ => effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGTERM)),
        }
    }
}
