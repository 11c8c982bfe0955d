//! Forwards signals to the child, and job control: a child that is suspended and resumed.

use super::{Effect, Lifecycle, ProcessId, RunState, Shutdown};
use crate::state::event::Suspend;

/// Whether this is a signal of a terminal that suspends a process by default.
const fn is_job_control(number: i32) -> bool {
    matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// The job control state of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Job {
    /// Whether it is suspended.
    stopped: bool,
    /// Whether we are suspended together with it.
    suspended: bool,
}

impl Lifecycle {
    /// Forwards a signal that does not begin the stop.
    pub(super) fn pass_on(&mut self, id: ProcessId, number: i32, effects: &mut Vec<Effect>) {
        let as_dumb_init = self.main().is_some_and(|main| main.signals.group);
        match number {
            libc::SIGCONT => self.resume(id, effects),
            _ if as_dumb_init && is_job_control(number) => {
                self.job.suspended = true;
                // dumb-init sends STOP instead of these by default.
                let rewritten = self.main().is_some_and(|main| main.signals.rewrite.contains_key(&number));
                effects.push(if rewritten { self.forward(id, number) } else { Effect::SignalGroup(id, libc::SIGSTOP) });
                effects.push(Effect::Suspend(id, Suspend::Always));
            }
            libc::SIGTSTP => {
                self.job.suspended = true;
                effects.push(self.forward(id, number));
                effects.push(Effect::Suspend(id, Suspend::AsJob));
            }
            _ => effects.push(self.forward(id, number)),
        }
    }

    fn resume(&mut self, id: ProcessId, effects: &mut Vec<Effect>) {
        self.job.stopped = false;
        if std::mem::take(&mut self.job.suspended) {
            effects.push(Effect::Resume(id));
        } else {
            effects.push(self.forward(id, libc::SIGCONT));
        }
    }

    /// A suspended child has not ended. If its terminal suspended it, it is a background job, and so are we.
    pub(super) fn was_stopped(&mut self, id: ProcessId, number: i32, effects: &mut Vec<Effect>) {
        // Processes beside the main one are not jobs of the terminal.
        if matches!(id, ProcessId::Module(_)) || (matches!(id, ProcessId::Step(_)) && self.main_lives()) {
            return;
        }
        self.job.stopped = true;
        if is_job_control(number) && !self.job.suspended {
            self.job.suspended = true;
            let how = if number == libc::SIGTSTP { Suspend::AsJobOrNotAtAll } else { Suspend::AsJob };
            effects.push(Effect::Suspend(id, how));
        }
    }

    /// Resumes a child after its stop signal: a signal to a suspended process stays pending.
    ///
    /// With `signal_scope = "group"`, as in dumb-init, a child that is not suspended gets no CONT.
    pub(super) fn wake(&mut self, effects: &mut Vec<Effect>) {
        let group = self.main().is_some_and(|main| main.signals.group);
        if group && self.job.stopped {
            effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGCONT));
        } else if !group {
            effects.push(Effect::Signal(ProcessId::Main, libc::SIGCONT));
        }
    }

    /// The effect that forwards a signal: rewritten, and to the child or to its whole group, according to the plan.
    pub(super) fn forward(&self, id: ProcessId, number: i32) -> Effect {
        let number = self.main().and_then(|main| main.signals.rewrite.get(&number)).copied().unwrap_or(number);
        self.send(id, number)
    }

    /// A signal to the child or to its whole group, according to the plan.
    pub(super) fn send(&self, id: ProcessId, number: i32) -> Effect {
        if self.main().is_some_and(|main| main.signals.group) { Effect::SignalGroup(id, number) } else { Effect::Signal(id, number) }
    }

    /// Whether there is no process yet, or a failed start is held: then signals cannot be forwarded. Between two starts a signal probably
    /// belongs to the process, for example to reopen its log.
    pub(super) fn waits_without_process(&self) -> bool {
        let restarts = matches!(self.state(ProcessId::Main), RunState::Backoff | RunState::Waiting(_));
        self.shutdown == Some(Shutdown::Held) || (self.shutdown.is_none() && !restarts)
    }

    /// Whether this signal ends a process by default (signal(7)).
    ///
    /// As PID 1, WINCH ends the wait as well, because some images have it as `STOPSIGNAL`. Below another init it may be a forwarded resize
    /// of a terminal; the kernel's own WINCH does not arrive here.
    pub(super) fn ends_a_wait(&self, number: i32) -> bool {
        match number {
            libc::SIGWINCH => self.is_init,
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => false,
            _ => true,
        }
    }
}
