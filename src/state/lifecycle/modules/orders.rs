//! Control requests for modules: start, stop, restart.

use super::{Effect, Lifecycle, ModuleId, ModuleState, Moment, ProcessId, ProcessTimer, RunState, Then, Timer};
use crate::state::event::Order;

impl Lifecycle {
    /// Applies a request; in the shutdown, and for a module that does not exist, nothing is started.
    pub(in crate::state::lifecycle) fn take_order(&mut self, now: Moment, order: Order, effects: &mut Vec<Effect>) {
        let (Order::Start(id) | Order::Stop(id) | Order::Restart(id)) = order;
        let Some(module) = self.module_mut(id) else { return };
        module.orders += 1;
        if self.shutdown.is_some() {
            return;
        }
        match order {
            Order::Start(_) => self.order_start(now, id, effects),
            Order::Stop(_) => self.order_stop(now, id, effects),
            Order::Restart(_) => self.order_restart(now, id, effects),
        }
    }

    fn order_start(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        match self.at(id) {
            RunState::Idle => self.install(now, &[id]),
            RunState::Backoff => {
                self.cut_pause_short(id, effects);
                self.start_once_gone(now, id);
            }
            RunState::Stopping(_) | RunState::Clearing(_) => self.start_once_gone(now, id),
            _ => {}
        }
    }

    /// A module that was stopped by a request does not count, neither its start nor its running state.
    fn order_stop(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.uninstall(id);
        match self.at(id) {
            state if state.may_be_stopped() => self.stop_module(now, id, Then::Rest, effects),
            RunState::Stopping(_) | RunState::Clearing(_) => {
                self.then(id, Then::Rest);
                self.module_enters(now, id, ModuleState::Stopping);
            }
            RunState::Backoff => {
                self.cut_pause_short(id, effects);
                self.module_enters(now, id, ModuleState::Stopping);
            }
            // The result of its spawn arrives before anything else.
            RunState::Spawning => {}
            _ => {
                self.transition(ProcessId::Module(id), RunState::Idle);
                self.module_enters(now, id, ModuleState::Deactivated);
            }
        }
    }

    fn order_restart(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        match self.at(id) {
            state if state.may_be_stopped() => {
                self.stop_module(now, id, Then::Install, effects);
                self.start_once_gone(now, id);
            }
            RunState::Waiting(_) | RunState::Spawning => {}
            _ => self.order_start(now, id, effects),
        }
    }

    /// Starts it as for the first time once its group is empty: its start counts again from the request on, if it counts at all.
    fn start_once_gone(&mut self, now: Moment, id: ModuleId) {
        self.lay_out(now, &[id]);
        self.then(id, Then::Install);
        self.module_enters(now, id, ModuleState::Stopping);
    }

    /// Changes what happens after its end.
    fn then(&mut self, id: ModuleId, next: Then) {
        if let RunState::Stopping(then) | RunState::Clearing(then) = &mut self.process(ProcessId::Module(id)).state {
            *then = next;
        }
    }

    /// Ends the pause before a restart, and the leftovers in the process' group, which otherwise would outlive the next start.
    fn cut_pause_short(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        let process = ProcessId::Module(id);
        let grace = self.process(process).rules.timeout;
        effects.push(Effect::Disarm(Timer::Process(process, ProcessTimer::Restart)));
        self.clear(process, Then::Rest, libc::SIGTERM, Some(grace), effects);
    }
}
