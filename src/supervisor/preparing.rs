//! What a step needs before its commands, or in their place: found out and done on a thread of its own, and left off on order.
//!
//! A file system that does not answer holds up that thread and nothing else; its news of a step that is over are nobody's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use crate::mailbox::Mailbox;
use crate::plan::{StepAction, StepId, StepPlan};
use crate::process::hooks;
use crate::state::event::{Event, Prepared};
use crate::sys;

/// Starts such threads, one step after another.
#[derive(Debug)]
pub(super) struct Preparer {
    mailbox: Mailbox,
    /// Whether what is under way is to be left off.
    cancelled: Arc<AtomicBool>,
}

impl Preparer {
    /// Its news go to `mailbox`.
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, cancelled: Arc::default() }
    }

    /// Begins with this step.
    pub(super) fn begin(&mut self, id: StepId, step: StepPlan) {
        self.cancelled = Arc::default();
        let (mailbox, cancelled) = (self.mailbox.clone(), Arc::clone(&self.cancelled));
        let body = move || {
            let news = catch_unwind(AssertUnwindSafe(|| prepare(&step)));
            let fault = |_| Prepared::Failed(Exit::Internal.code(), "failed by a fault of portcullis itself; see the log".to_owned());
            if !cancelled.load(Ordering::Relaxed) {
                mailbox.send(Event::Prepared(id, news.unwrap_or_else(fault)));
            }
        };
        if let Err(error) = sys::start_thread("step", body) {
            let why = format!("cannot begin: there is no room for another thread ({error}); check the limits");
            self.mailbox.send(Event::Prepared(id, Prepared::Failed(Exit::Internal.code(), why)));
        }
    }

    /// Leaves off what is under way.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn prepare(step: &StepPlan) -> Prepared {
    match &step.action {
        StepAction::Commands(commands) => Prepared::Commands(commands.clone()),
        StepAction::Hooks(hooks) => match hooks::commands(hooks) {
            Ok(commands) => Prepared::Commands(commands),
            Err(why) => Prepared::Failed(Exit::Config.code(), why),
        },
    }
}
