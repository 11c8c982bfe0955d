//! Events and requests on their way to the supervisor, and the wake-up that makes it look.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{oneshot, watch};

use crate::exit::Ended;
use crate::plan::ProcessPlan;
use crate::state::event::Event;

/// What a probe wants of the one thread that starts children and waits for them. It has no part in the run's decisions.
#[derive(Debug)]
pub enum Request {
    /// Run this command and say how it ended, or in words why it cannot be started. When nobody waits for that any more its group is killed.
    Run(Box<ProcessPlan>, oneshot::Sender<Result<Ended, String>>),
    /// Say whether the main process runs, or the module of this name.
    Runs(Option<String>, oneshot::Sender<bool>),
}

/// For how long a subsystem is listened to: while the generation that it belongs to is the current one.
#[derive(Clone, Debug)]
pub struct Term {
    generation: u64,
    current: watch::Receiver<u64>,
}

impl Term {
    /// That of a subsystem which begins now: until `current` changes, or nobody can change it any more.
    pub fn new(current: &watch::Sender<u64>) -> Self {
        Self { generation: *current.borrow(), current: current.subscribe() }
    }

    /// Whether it lasts.
    pub fn lasts(&self) -> bool {
        *self.current.borrow() == self.generation
    }

    /// Comes back at its end.
    pub async fn ended(mut self) {
        let _ = self.current.wait_for(|current| *current != self.generation).await;
    }
}

/// Where every subsystem sends what happened.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// What is sent after its end is nobody's any more; none: it has no end.
    term: Option<Term>,
    sender: Sender<Event>,
    requests: Sender<Request>,
    bell: Arc<EventFd>,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Event>,
    requests: Receiver<Request>,
    bell: Arc<EventFd>,
}

/// A mailbox and its inbox; the bell is an eventfd, closed in children.
pub fn mailbox() -> nix::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    let (request_sender, requests) = mpsc::channel();
    Ok((Mailbox { term: None, sender, requests: request_sender, bell: Arc::clone(&bell) }, Inbox { receiver, requests, bell }))
}

impl Mailbox {
    /// This mailbox for a subsystem that may be replaced: what it sends after its `term` is dropped.
    #[must_use]
    pub fn during(&self, term: Term) -> Self {
        Self { term: Some(term), ..self.clone() }
    }

    fn is_open(&self) -> bool {
        self.term.as_ref().is_none_or(Term::lasts)
    }

    /// Sends an event and wakes the supervisor. Nothing is lost while it is busy; after it has left nobody listens.
    pub fn send(&self, event: Event) {
        if self.is_open() && self.sender.send(event).is_ok() {
            self.ring();
        }
    }

    /// Hands a request in and wakes the supervisor; after that has left, the answer's sender is dropped.
    pub fn ask(&self, request: Request) {
        if self.is_open() && self.requests.send(request).is_ok() {
            self.ring();
        }
    }

    /// Wakes the supervisor, for example because nobody waits for an answer any more.
    pub fn ring(&self) {
        // The bell can only fail to ring when it is ringing already: its counter is full.
        let _ = self.bell.write(1);
    }
}

impl Inbox {
    /// The file that becomes readable when there is something to take.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Everything that has arrived.
    pub fn take(&self) -> Vec<Event> {
        let _ = self.bell.read();
        self.receiver.try_iter().collect()
    }

    /// Every request that has arrived; to be called after [`take`](Self::take), which silences the bell.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_replaced_is_not_heard_any_more() {
        let (mailbox, inbox) = mailbox().unwrap();
        let generation = watch::Sender::new(0);
        let first = mailbox.during(Term::new(&generation));
        first.send(Event::Withdrawn);
        generation.send_modify(|generation| *generation += 1);
        let second = mailbox.during(Term::new(&generation));
        first.send(Event::Withdrawn);
        let (answer, answered) = oneshot::channel();
        first.ask(Request::Runs(None, answer));
        assert!(answered.blocking_recv().is_err());
        assert_eq!(inbox.take().len(), 1);
        second.send(Event::Withdrawn);
        mailbox.send(Event::Withdrawn);
        assert_eq!((inbox.take().len(), inbox.requests().len()), (2, 0));
    }
}
