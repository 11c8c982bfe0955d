//! Prepares steps and evaluates conditions on a separate thread, which can be cancelled.
//!
//! A hanging file system blocks only that thread; its results for a finished step are dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tracing::warn;

use crate::exit::{Ended, Exit};
use crate::mailbox::{Mailbox, ProcessRequest};
use crate::plan::argv::Word;
use crate::plan::{CommandPlan, ConditionPlan, StepAction, StepPlan};
use crate::prepare::{self, Fault};
use crate::process::hooks;
use crate::state::event::{Event, Inquiry, PreparedStep};
use crate::sys;

/// The work of such a thread.
pub(super) enum Work {
    /// It determines the commands of a step, or performs the step.
    Step(Box<StepPlan>),
    /// It evaluates this condition.
    Condition(ConditionPlan),
}

/// Starts such threads, one after another.
#[derive(Debug)]
pub(super) struct Preparer {
    mailbox: Mailbox,
    /// Whether the current preparation is cancelled.
    cancelled: Arc<AtomicBool>,
}

impl Preparer {
    /// Results go to `mailbox`.
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, cancelled: Arc::default() }
    }

    /// Starts this work.
    pub(super) fn begin(&mut self, inquiry: Inquiry, work: Work) {
        self.cancelled = Arc::default();
        let (mailbox, cancelled) = (self.mailbox.clone(), Arc::clone(&self.cancelled));
        let body = move || {
            let news = catch_unwind(AssertUnwindSafe(|| match &work {
                Work::Step(step) => prepare(inquiry, step, &cancelled, &mailbox),
                Work::Condition(condition) if condition.holds(&mut |command| passes(command, &mailbox)) => {
                    PreparedStep::Done(String::new())
                }
                Work::Condition(_) => PreparedStep::Skipped,
            }));
            let fault =
                |_| PreparedStep::Failed(Exit::Internal.code(), "failed by an internal error of portcullis; see the log".to_owned());
            if !cancelled.load(Ordering::Relaxed) {
                mailbox.send(Event::Prepared(inquiry, news.unwrap_or_else(fault)));
            }
        };
        if let Err(error) = sys::start_thread("step", body) {
            let why = format!("cannot begin: no further thread can be created ({error}); check the limits");
            self.mailbox.send(Event::Prepared(inquiry, PreparedStep::Failed(Exit::Internal.code(), why)));
        }
    }

    /// Cancels the current preparation.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn prepare(inquiry: Inquiry, step: &StepPlan, cancelled: &AtomicBool, mailbox: &Mailbox) -> PreparedStep {
    if !step.condition.holds(&mut |command| passes(command, mailbox)) {
        return PreparedStep::Skipped;
    }
    match &step.action {
        StepAction::Commands(commands) => PreparedStep::Commands(commands.clone()),
        StepAction::Hooks(hooks) => match hooks::commands(hooks) {
            Ok(commands) => PreparedStep::Commands(commands.into_iter().map(Into::into).collect()),
            Err(why) => PreparedStep::Failed(Exit::Config.code(), why),
        },
        StepAction::File(file) => {
            let tell = |words| mailbox.send(Event::Prepared(inquiry, PreparedStep::Progress(words)));
            match prepare::perform(file, cancelled, &tell) {
                Ok(done) => PreparedStep::Done(done.words),
                Err(Fault::Cancelled) => PreparedStep::Done(String::new()),
                Err(Fault::Failed(why)) => PreparedStep::Failed(Exit::Config.code(), why),
            }
        }
    }
}

/// Whether a command of a condition exits with 0 in time; it is a child of the loop like all others, and killed after that.
fn passes(command: &CommandPlan, mailbox: &Mailbox) -> bool {
    let (answer, answered) = oneshot::channel();
    mailbox.request(ProcessRequest::Run(Box::new(command.clone()), answer));
    let program = command.argv.words().first().map_or("", Word::shown);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        warn!("the condition `{program}` cannot be tested, so it does not hold: its process cannot be created; check the limits");
        return false;
    };
    let ended = runtime.block_on(async { tokio::time::timeout(StepPlan::CONDITION_LIMIT, answered).await });
    match ended {
        Ok(Ok(Ok(ended))) => ended == Ended::Code(0),
        Ok(Ok(Err(why))) => {
            warn!("the condition `{program}` cannot be tested, so it does not hold: {why}");
            false
        }
        // The shutdown has begun.
        Ok(Err(_)) => false,
        Err(_) => {
            // The loop kills it because the receiver is dropped.
            mailbox.ring();
            warn!("the condition `{program}` took longer than 10s, so it does not hold");
            false
        }
    }
}
