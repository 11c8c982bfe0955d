//! The end of a module: requested, by itself, or because its start took too long; whether it is restarted, and what that means for the
//! container.

use super::{Duration, Effect, Ended, ErrorKind, Lifecycle, ModuleId, ModuleState, Moment, Outcome, ProcessId, ProcessTimer, RunState};
use super::{StageState, Then, Timer, stage_name};
use crate::plan::module::OnExit;
use crate::state::lifecycle::ending::why_not_again;
use crate::state::process::refusal;

impl Lifecycle {
    /// Records that a start has failed or that the module has ended; a module that was up stays up for the start, and is down for the
    /// running state.
    pub(in crate::state::lifecycle) fn module_failed(&mut self, now: Moment, id: ModuleId, why: String) {
        let Some((name, on_exit)) = self.plan.module(id).map(|plan| (stage_name(&plan.name), plan.on_exit)) else { return };
        if let Some(module) = self.module_mut(id) {
            module.trouble = Some(why);
        }
        if self.step_of(&name) != Some(StageState::Up) {
            self.stage_ended(now, &name, StageState::Down);
        }
        self.module_enters(now, id, ModuleState::Broken);
        // If its end means nothing, there is no check that could be down.
        if on_exit == OnExit::Ignore {
            self.snapshot.checks.remove(&|check| check.module == Some(id));
        } else {
            self.feed(now, ProcessId::Module(id), Outcome::failed(ErrorKind::Exited, "", Duration::ZERO));
        }
    }

    /// Sends a module its stop signal, and CONT in case it is suspended: a signal to a suspended process stays pending.
    pub(in crate::state::lifecycle) fn stop_module(&mut self, now: Moment, id: ModuleId, then: Then, effects: &mut Vec<Effect>) {
        let process = ProcessId::Module(id);
        let rules = self.process(process).rules;
        self.transition(process, RunState::Stopping(then));
        self.module_enters(now, id, ModuleState::Stopping);
        self.drop_checks(id, effects);
        let send = |number| if rules.group { Effect::SignalGroup(process, number) } else { Effect::Signal(process, number) };
        effects.extend([rules.signal.unwrap_or(libc::SIGTERM), libc::SIGCONT].map(send));
        effects.push(Effect::Arm(Timer::Process(process, ProcessTimer::Grace), rules.timeout));
    }

    /// Its own checks exist only while it runs.
    fn drop_checks(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        self.snapshot.checks.remove(&|check| check.module == Some(id) && check.id.is_some());
        Self::stop_watching(ProcessId::Module(id), effects);
    }

    pub(in crate::state::lifecycle) fn module_ended(
        &mut self,
        now: Moment,
        id: ModuleId,
        ended: Ended,
        ran: Option<Duration>,
        for_memory: &str,
        effects: &mut Vec<Effect>,
    ) {
        self.drop_checks(id, effects);
        if self.shutdown.is_some() {
            return self.module_left(now, id, effects);
        }
        let (process, in_a_row) = (ProcessId::Module(id), self.process(ProcessId::Module(id)).in_a_row);
        let Some(plan) = self.plan.module(id).map(|plan| plan.process.restart.clone()) else { return };
        // A failed start stays failed, whatever status its process ends with after its stop signal.
        let (counted, code, grace) = match *self.at(id) {
            RunState::Stopping(Then::Failed(code)) => (Ended::Code(code), code, None),
            RunState::Stopping(Then::Restart(_)) => return self.back_off(now, process, ran, effects),
            RunState::Stopping(then) => return self.clear(process, then, libc::SIGTERM, None, effects),
            _ => {
                let not_again = why_not_again(&plan, in_a_row, ran, ended);
                self.module_failed(now, id, format!("it ended with {ended}{for_memory}{not_again}"));
                (ended, ended.exit_code(), Some(self.process(process).rules.timeout))
            }
        };
        if refusal(&plan, in_a_row, ran, counted).is_none() {
            self.back_off(now, process, ran, effects);
        } else {
            self.clear(process, Then::Rest, libc::SIGTERM, grace, effects);
            self.module_over(now, id, code, effects);
        }
    }

    pub(in crate::state::lifecycle) fn module_stuck(&mut self, now: Moment, id: ModuleId) {
        if let Some(module) = self.module_mut(id) {
            module.child.pid = None;
            module.trouble = Some("it did not end after KILL".to_owned());
        }
        self.module_enters(now, id, ModuleState::Broken);
    }

    /// Its group is empty.
    pub(in crate::state::lifecycle) fn module_cleared(&mut self, now: Moment, id: ModuleId, then: Then) {
        if then == Then::Install {
            self.install(now, &[id]);
        } else if self.snapshot.module(id).is_some_and(|module| module.state == ModuleState::Stopping) {
            self.module_enters(now, id, ModuleState::Deactivated);
        }
    }

    /// What its final end means for the container.
    pub(in crate::state::lifecycle) fn module_over(&mut self, now: Moment, id: ModuleId, code: u8, effects: &mut Vec<Effect>) {
        if self.fails_the_start(now, id, code, effects) {
            return;
        }
        match self.plan.module(id).map(|plan| plan.on_exit) {
            Some(OnExit::Ignore) if code == 0 => self.module_enters(now, id, ModuleState::Deactivated),
            Some(OnExit::StopAll) => {
                let module = self.snapshot.module(id);
                let words = module.map(|module| (module.name.as_str(), module.trouble.as_deref().unwrap_or_default()));
                let (name, why) = words.unwrap_or_default();
                let sentence = format!("module {name} stops everything: {why}");
                self.decide(code, sentence);
                self.leave(now, libc::SIGTERM, effects);
            }
            Some(OnExit::Ignore | OnExit::Degrade) | None => {}
        }
    }
}
