//! What somebody wants of a module while everything runs: start, stop, start again.

use super::{At, Effect, Lifecycle, ModuleId, ModuleState, ModuleTimer, Moment, Timer};
use crate::state::event::Order;

impl Lifecycle {
    /// Takes an order; on the way out, and for a module that is not there, nothing is begun any more.
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
                self.cancel_pause(id, effects);
                self.install(now, id);
            }
            At::Stopping | At::Clearing => self.course(id).again = true,
            At::Awaiting | At::Spawning | At::Starting | At::Up => {}
        }
    }

    /// What was stopped by an order counts for nothing: neither for the start nor for the running.
    fn stop_asked(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.uninstall(id);
        self.course(id).again = false;
        match self.at(id) {
            At::Starting | At::Up => self.stop_module(now, id, effects),
            At::Stopping => self.module_enters(now, id, ModuleState::Stopping),
            // The news of its spawn come before anything else.
            At::Spawning | At::Clearing => {}
            At::Awaiting | At::Pausing | At::Rest => {
                self.cancel_pause(id, effects);
                self.course(id).at = At::Rest;
                self.module_enters(now, id, ModuleState::Deactivated);
            }
        }
        self.course(id).failed = None;
    }

    /// Installs it anew: its start counts again from the order on, as far as it counts at all.
    fn restart_asked(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        match self.at(id) {
            At::Starting | At::Up => {
                self.stop_module(now, id, effects);
                self.lay_out(now, id);
                (self.course(id).again, self.course(id).failed) = (true, None);
                self.module_enters(now, id, ModuleState::Stopping);
            }
            At::Awaiting | At::Spawning => {}
            At::Rest | At::Pausing | At::Stopping | At::Clearing => self.start_asked(now, id, effects),
        }
    }

    fn cancel_pause(&self, id: ModuleId, effects: &mut Vec<Effect>) {
        if self.at(id) == At::Pausing {
            effects.push(Effect::Disarm(Timer::Module(id, ModuleTimer::Restart)));
        }
    }
}
