//! The stop of steps: before the process like a migration, beside the process together with it.

use super::{Effect, Exit, Lifecycle, Moment, ProcessId, ProcessTimer, RunState, StageState, StepId, Task, Then, Timer, retry};
use crate::exit::{signal_code, signal_name};
use crate::state::shutdown::Shutdown;

impl Lifecycle {
    /// The current step if the process does not run yet; none for a step that waits for the lock, which has nothing to stop.
    pub(in crate::state::lifecycle) fn step_under_way(&self) -> Option<ProcessId> {
        self.stepping.current.filter(|(_, task)| *task != Task::Queue).map(|(id, _)| ProcessId::Step(id))
    }

    /// Whether the shutdown stops this command.
    pub(in crate::state::lifecycle) fn is_stopped_with(&self, id: ProcessId) -> bool {
        matches!(self.shutdown, Some(Shutdown::Stopping(stopped) | Shutdown::Killing(stopped)) if stopped == id)
    }

    /// Whether the shutdown stops a command before the process.
    pub(in crate::state::lifecycle) fn stops_one_off(&self) -> bool {
        matches!(self.shutdown, Some(Shutdown::Stopping(id) | Shutdown::Killing(id)) if id.is_one_off())
    }

    /// A stop is requested during a step before the process.
    pub(in crate::state::lifecycle) fn stop_before_process(
        &mut self,
        now: Moment,
        process: ProcessId,
        number: i32,
        effects: &mut Vec<Effect>,
    ) {
        let ProcessId::Step(id) = process else { return };
        let (signal, name) = (signal_name(number), self.current_step().map(|step| step.name.clone()).unwrap_or_default());
        self.decide(signal_code(number as u8), format!("ended by {signal} while the step `{name}` ran"));
        match self.state(process) {
            state if state.runs() => self.stop_task(process, number, Timer::Grace, self.stop_timeout(), effects),
            RunState::Clearing(_) if self.requests.count >= 3 => self.kill(process, effects),
            RunState::Clearing(_) => {}
            _ => {
                self.leave_off(id, effects);
                self.step_over(now, StageState::Down, None, effects);
            }
        }
    }

    /// A step beside the process is stopped together with it: derived from the state after each event, so that none is missed. It has the
    /// time of the shutdown.
    pub(in crate::state::lifecycle) fn stop_step(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some((id, _)) = self.stepping.current.filter(|_| self.shutdown.is_some() && !self.stops_one_off()) else { return };
        let process = ProcessId::Step(id);
        match self.state(process) {
            state if state.may_be_stopped() => {
                self.transition(process, RunState::Stopping(Then::Rest));
                effects.extend([libc::SIGTERM, libc::SIGCONT].map(|number| Effect::Signal(process, number)));
            }
            RunState::Idle | RunState::Backoff => {
                self.leave_off(id, effects);
                self.step_abandoned(now, effects);
            }
            _ => {}
        }
    }

    /// It took too long: a check is killed, a command gets its stop signal, and a preparation is cancelled.
    pub(in crate::state::lifecycle) fn step_took_too_long(&mut self, now: Moment, id: StepId, effects: &mut Vec<Effect>) {
        let Some((_, task)) = self.stepping.current.filter(|(current, _)| *current == id && self.ending.is_none()) else { return };
        let process = ProcessId::Step(id);
        match (task, self.state(process)) {
            (Task::Prepare, _) => {
                let took = humantime::format_duration(self.step_limit());
                effects.push(Effect::CancelPreparation);
                self.step_failed(now, Exit::MigrationTimeout.code(), format!("took longer than {took}"), effects);
            }
            (Task::Check | Task::CheckItem(_), RunState::Forked | RunState::Up(_)) => {
                effects.push(Effect::SignalGroup(process, libc::SIGKILL))
            }
            (Task::Run(_), RunState::Forked | RunState::Up(_)) => {
                self.stepping.overdue = true;
                self.transition(process, RunState::Stopping(Then::Rest));
                effects.extend([libc::SIGTERM, libc::SIGCONT].map(|number| Effect::Signal(process, number)));
                let grace = self.process(process).rules.timeout;
                effects.push(Effect::Arm(Timer::Process(process, ProcessTimer::Grace), grace));
            }
            _ => {}
        }
    }

    /// Ends the step, which has no process.
    fn leave_off(&mut self, id: StepId, effects: &mut Vec<Effect>) {
        effects.extend([super::limit(id), retry(id)].map(Effect::Disarm));
        if matches!(self.stepping.current, Some((_, Task::Prepare | Task::Weigh(_)))) {
            effects.push(Effect::CancelPreparation);
        }
        self.transition(ProcessId::Step(id), RunState::Idle);
    }

    /// The step is over because of the shutdown: nothing follows it.
    pub(super) fn step_abandoned(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.note_step(now, StageState::Down, None);
        if self.lock_is_out() {
            self.release_lock(effects);
        }
    }
}
