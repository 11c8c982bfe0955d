//! Signals on their way to a child, and job control: a child that is stopped, and continued.

use super::{Effect, Lifecycle, ProcessId, RunState, Shutdown};
use crate::state::event::Suspend;

/// Whether this signal stops a process that does not catch it, as a terminal does it.
const fn is_job_control(number: i32) -> bool {
    matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// What job control has done to the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Job {
    /// Whether it is stopped.
    stopped: bool,
    /// Whether we are stopped together with it.
    suspended: bool,
}

impl Lifecycle {
    /// Hands a signal that starts no stop on.
    pub(super) fn pass_on(&mut self, id: ProcessId, number: i32, effects: &mut Vec<Effect>) {
        let as_dumb_init = self.main().is_some_and(|main| main.signals.group);
        match number {
            libc::SIGCONT => self.resume(id, effects),
            _ if as_dumb_init && is_job_control(number) => {
                self.job.suspended = true;
                // dumb-init sends STOP in place of these, unless it was told otherwise.
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

    /// A stopped child has not ended. Stopped by its terminal, it is a job that was put aside, and so are we.
    pub(super) fn was_stopped(&mut self, id: ProcessId, number: i32, effects: &mut Vec<Effect>) {
        // What runs beside the process is no job of the terminal.
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

    /// Wakes a child that is asked to stop: a signal to a stopped process stays pending.
    ///
    /// Where everything shall look like dumb-init, a child that is not stopped gets no CONT.
    pub(super) fn wake(&mut self, effects: &mut Vec<Effect>) {
        let group = self.main().is_some_and(|main| main.signals.group);
        if group && self.job.stopped {
            effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGCONT));
        } else if !group {
            effects.push(Effect::Signal(ProcessId::Main, libc::SIGCONT));
        }
    }

    /// A signal on its way to a child: rewritten, and to the child alone or to its whole group, as the plan says.
    pub(super) fn forward(&self, id: ProcessId, number: i32) -> Effect {
        let number = self.main().and_then(|main| main.signals.rewrite.get(&number)).copied().unwrap_or(number);
        self.send(id, number)
    }

    /// A signal to the child alone or to its whole group, as the plan says.
    pub(super) fn send(&self, id: ProcessId, number: i32) -> Effect {
        if self.main().is_some_and(|main| main.signals.group) { Effect::SignalGroup(id, number) } else { Effect::Signal(id, number) }
    }

    /// Before the first start, or held after one that failed: nobody is there to whom a signal could be handed on. Between two starts
    /// a signal is likely the process' own business, as to open its log anew.
    pub(super) fn waits_without_process(&self) -> bool {
        let restarts = matches!(self.state(ProcessId::Main), RunState::Backoff | RunState::Waiting(_));
        self.shutdown == Some(Shutdown::Held) || (self.shutdown.is_none() && !restarts)
    }

    /// Whether this signal ends a process that does nothing about it (signal(7)), as it would end one that waits.
    ///
    /// As PID 1 a WINCH ends the wait as well: images whose `STOPSIGNAL` it is send it. Below another init it may be the resize of a
    /// terminal, handed on; the kernel's own does not come here.
    pub(super) fn ends_a_wait(&self, number: i32) -> bool {
        match number {
            libc::SIGWINCH => self.is_init,
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => false,
            _ => true,
        }
    }
}
