//! The commands of probes: which probe waits for which, and the end of those that no probe waits for.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::exit::Ended;
use crate::mailbox::ProcessRequest;
use crate::plan::Plan;
use crate::process::children::Children;
use crate::state::event::ProcessId;

/// The probe that waits for the end of a command.
type ResultSender = oneshot::Sender<Result<Ended, String>>;

/// Every command of a probe that runs.
#[derive(Debug, Default)]
pub(super) struct ExecProbes {
    waiting: BTreeMap<i32, ResultSender>,
    closed: bool,
}

impl ExecProbes {
    /// Handles a request: starts the command, or replies at once.
    pub(super) fn take(&mut self, request: ProcessRequest, plan: &Plan, children: &mut Children) {
        match request {
            ProcessRequest::Runs(None, answer) => drop(answer.send(children.runs(ProcessId::Main))),
            ProcessRequest::Runs(Some(name), answer) => {
                let module = plan.modules.iter().find(|module| module.name == name);
                let _ = answer.send(module.is_some_and(|module| children.runs(ProcessId::Module(module.id))));
            }
            // Dropped silently: in the shutdown nothing may be started, and checks no longer matter.
            ProcessRequest::Run(_, _) if self.closed => {}
            ProcessRequest::Run(_, answer) if answer.is_closed() => {}
            ProcessRequest::Run(command, answer) => match children.start_exec_probe(&command) {
                Ok(pid) => drop(self.waiting.insert(pid, answer)),
                Err(error) => drop(answer.send(Err(error.sentence))),
            },
        }
    }

    /// Reports the end of the command to its probe.
    pub(super) fn ended(&mut self, pid: i32, ended: Ended) {
        if let Some(answer) = self.waiting.remove(&pid) {
            let _ = answer.send(Ok(ended));
        }
    }

    /// Reports to its probe that the command could not be executed.
    pub(super) fn failed(&mut self, pid: i32, sentence: String) {
        if let Some(answer) = self.waiting.remove(&pid) {
            let _ = answer.send(Err(sentence));
        }
    }

    /// Kills the commands that took longer than their check's timeout; they are reaped like all others.
    pub(super) fn look(&mut self, children: &Children) {
        self.waiting.retain(|pid, answer| {
            if answer.is_closed() {
                children.kill_exec_probe(*pid);
            }
            !answer.is_closed()
        });
    }

    /// Kills all of them and starts no others, so that they do not delay the end of the run.
    pub(super) fn close(&mut self, children: &Children) {
        self.closed = true;
        for pid in std::mem::take(&mut self.waiting).into_keys() {
            children.kill_exec_probe(pid);
        }
    }
}
