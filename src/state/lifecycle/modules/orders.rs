//! What somebody wants of a module while everything runs: start, stop, start again.

use super::{At, Effect, Lifecycle, ModuleId, ModuleState, ModuleTimer, Moment, Timer};
use crate::state::event::Order;

impl Lifecycle {
    /// Takes an order; on the way out, and for a module that is not there, nothing is started any more.
    pub(in crate::state::lifecycle) fn asked(&mut self, now: Moment, order: Order, effects: &mut Vec<Effect>) {
        let (Order::Start(id) | Order::Stop(id) | Order::Restart(id)) = order;
        let Some(module) = self.module_mut(id) else { return };
        module.orders += 1;
        if self.leaving.is_some() {
            return;
        }
        match order {
            Order::Start(_) => self.start_asked(now, id, effects),
            Order::Stop(_) => self.stop_asked(now, id, effects),
            Order::Restart(_) => self.restart_asked(now, id, effects),
        }
    }

    fn start_asked(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        match self.at(id) {
            At::Rest => self.install(now, id),
            At::Pausing => {
                self.cut_pause_short(id, effects);
                self.start_once_gone(now, id);
            }
            At::Stopping | At::Clearing => self.start_once_gone(now, id),
            At::Awaiting | At::Spawning | At::Starting | At::Up => {}
        }
    }

    /// What was stopped by an order counts for nothing: neither for the start nor for the running.
    fn stop_asked(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.uninstall(id);
        self.course(id).again = false;
        match self.at(id) {
            At::Starting | At::Up => self.stop_module(now, id, effects),
            At::Stopping | At::Clearing => self.module_enters(now, id, ModuleState::Stopping),
            At::Pausing => {
                self.cut_pause_short(id, effects);
                self.module_enters(now, id, ModuleState::Stopping);
            }
            // The news of its spawn come before anything else.
            At::Spawning => {}
            At::Awaiting | At::Rest => {
                self.course(id).at = At::Rest;
                self.module_enters(now, id, ModuleState::Deactivated);
            }
        }
        self.course(id).failed = None;
    }

    fn restart_asked(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        match self.at(id) {
            At::Starting | At::Up => {
                self.stop_module(now, id, effects);
                self.start_once_gone(now, id);
            }
            At::Awaiting | At::Spawning => {}
            At::Rest | At::Pausing | At::Stopping | At::Clearing => self.start_asked(now, id, effects),
        }
    }

    /// Installs it anew once nothing is left of it: its start counts again from the order on, as far as it counts at all.
    fn start_once_gone(&mut self, now: Moment, id: ModuleId) {
        self.lay_out(now, id);
        (self.course(id).again, self.course(id).failed) = (true, None);
        self.module_enters(now, id, ModuleState::Stopping);
    }

    /// Ends the pause before another start. What the process left in its group would outlive the next one otherwise.
    fn cut_pause_short(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disarm(Timer::Module(id, ModuleTimer::Restart)));
        self.clear(id, true, effects);
    }
}
