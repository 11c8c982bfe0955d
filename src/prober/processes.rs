//! The probes of processes: the startup check during the start, a module's own checks while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{Alarm, Guarded, Orders, watch_check, watch_target};
use crate::mailbox::Mailbox;
use crate::plan::target::Target;
use crate::plan::{CheckId, CheckPlan};
use crate::state::event::{Event, ProcessId};

/// The probes of one process, including their targets, because a module may be new to the plan.
#[derive(Debug)]
pub enum ProcessWatch {
    /// Its startup check, until it passes.
    Start {
        /// The target.
        target: Box<Target>,
        /// How long one run may take.
        timeout: Duration,
    },
    /// A module's own checks, with their numbers.
    Checks(Vec<(CheckId, CheckPlan)>),
}

/// The tasks of all probed processes.
#[derive(Default)]
pub(super) struct Processes(BTreeMap<ProcessId, (Arc<ProcessWatch>, Vec<AbortHandle>)>);

impl Processes {
    /// Ends tasks that are no longer needed, and starts new ones.
    pub(super) fn follow(&mut self, orders: &watch::Receiver<Orders>, tasks: &mut JoinSet<()>, mailbox: &Mailbox) {
        let wanted = orders.borrow().processes.clone();
        self.0.retain(|id, (watch, running)| {
            let stays = wanted.get(id).is_some_and(|other| Arc::ptr_eq(watch, other));
            if !stays {
                running.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for (id, watch) in wanted {
            self.0.entry(id).or_insert_with(|| (Arc::clone(&watch), begin(id, &watch, orders, tasks, mailbox)));
        }
        // Finished tasks are removed, because modules come and go.
        while tasks.try_join_next().is_some() {}
    }
}

fn begin(
    id: ProcessId,
    watch: &ProcessWatch,
    orders: &watch::Receiver<Orders>,
    tasks: &mut JoinSet<()>,
    mailbox: &Mailbox,
) -> Vec<AbortHandle> {
    match watch {
        ProcessWatch::Start { target, timeout } => {
            let sender = mailbox.clone();
            let tell = move |outcome| sender.send(Event::StartupProbed(id, outcome));
            vec![tasks.spawn(watch_target(target.as_ref().clone(), *timeout, mailbox.clone(), tell))]
        }
        ProcessWatch::Checks(checks) => checks
            .iter()
            .map(|(number, check)| {
                let sender = mailbox.clone();
                let probe = Guarded::new(check.target.clone(), Some(mailbox.clone()));
                tasks.spawn(watch_check(*number, check.clone(), probe, orders.clone(), false, Alarm::new, move |event| sender.send(event)))
            })
            .collect(),
    }
}
