//! Keeps the subsystems of one thread at work: what panics is started again, and what it held or promised is given up first.

use tracing::error;

use super::{FIRST_PAUSE, LONGEST_PAUSE, Work};
use crate::exit::Exit;
use crate::heartbeat::{self, HeartbeatContext};
use crate::mailbox::{Mailbox, Term};
use crate::state::event::{Event, LockNews, Readiness};

/// Works until the end of the term at most: a thread that was replaced and turns again does no further work.
pub(super) async fn during(term: Term, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = term.ended() => {}
        () = work => {}
    }
}

/// Runs a subsystem until it ends of its own accord; after a panic it is started again.
pub(super) async fn keep<F: Future<Output = ()> + Send + 'static>(name: &'static str, term: Term, start: impl Fn() -> F) {
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = tokio::spawn(during(term.clone(), start())).await {
        error!("the {name} failed ({}); starting it again in {}", describe(&fault), humantime::format_duration(pause));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// As [`keep`]; what others read of this instance is taken back first, it is back within a beat, and a stop ends the pause.
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

/// The lock's keeper cannot be started again in the middle: its connection, and so the lock, went with it.
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
