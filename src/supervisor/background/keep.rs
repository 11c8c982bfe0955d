//! Restarts panicked subsystems of one thread, after releasing what they held or promised.

use tracing::error;

use super::{FIRST_PAUSE, LONGEST_PAUSE, Work};
use crate::exit::Exit;
use crate::heartbeat::{self, HeartbeatContext};
use crate::mailbox::{Mailbox, Term};
use crate::state::event::{Event, LockNews, Readiness};

/// Runs at most until the end of the term: a replaced thread that becomes active again does no further work.
pub(super) async fn during(term: Term, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = term.ended() => {}
        () = work => {}
    }
}

/// Runs a subsystem until it ends by itself; after a panic it is restarted.
pub(super) async fn keep<F: Future<Output = ()> + Send + 'static>(name: &'static str, term: Term, start: impl Fn() -> F) {
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = tokio::spawn(during(term.clone(), start())).await {
        error!("the {name} failed ({}); starting it again in {}", describe(&fault), humantime::format_duration(pause));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Like [`keep`] for the heartbeat: the published readiness is withdrawn first, it is back within one heartbeat, and a stop ends the pause.
pub(super) async fn keep_heartbeat(start: fn(HeartbeatContext) -> Work, mut context: HeartbeatContext, term: Term) {
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = tokio::spawn(during(term.clone(), start(context.clone()))).await {
        pause = pause.min(context.plan.every);
        let (why, after) = (describe(&fault), humantime::format_duration(pause));
        error!("the heartbeat failed ({why}); what it has written is withdrawn, starting it again in {after}");
        let state = *context.readiness.borrow_and_update();
        let withdrawn = tokio::spawn(during(term.clone(), heartbeat::withdraw(context.clone(), state))).await;
        if let Err(fault) = withdrawn {
            error!("withdrawing the heartbeat failed ({})", describe(&fault));
        }
        if state == Readiness::Stopped {
            context.mailbox.send(Event::Withdrawn);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = context.readiness.wait_for(|readiness| *readiness == Readiness::Stopped) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The lock's keeper cannot be restarted in the middle: its connection, and so the lock, is lost.
pub(super) async fn keep_lock(keeper: Work, mailbox: Mailbox) {
    if let Err(fault) = tokio::spawn(keeper).await {
        error!("the keeper of the migration lock failed ({})", describe(&fault));
        mailbox.send(Event::Lock(LockNews::Lost("its keeper failed".to_owned())));
        mailbox.send(Event::Lock(LockNews::Unavailable(Exit::Internal, "the keeper of the migration lock failed; see the log".to_owned())));
        mailbox.send(Event::Lock(LockNews::Released));
    }
}

fn describe(fault: &tokio::task::JoinError) -> &'static str {
    if fault.is_panic() { "it panicked" } else { "it was cancelled" }
}
