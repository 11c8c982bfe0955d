//! Events and requests on their way to the supervisor, and the wake-up that makes it look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{oneshot, watch};

use crate::exit::Ended;
use crate::plan::ProcessPlan;
use crate::state::event::Event;

/// Events that may wait at a time of the kinds that come again by themselves; what is told of a later one stands for those that did not.
const MOST_UNREAD: usize = 4096;

/// What a probe wants of the one thread that starts children and waits for them. It has no part in the run's decisions.
#[derive(Debug)]
pub enum ProcessRequest {
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
    requests: Sender<ProcessRequest>,
    bell: Arc<EventFd>,
    /// Events that were sent and not taken yet.
    unread: Arc<AtomicUsize>,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Event>,
    requests: Receiver<ProcessRequest>,
    bell: Arc<EventFd>,
    unread: Arc<AtomicUsize>,
}

/// A mailbox and its inbox; the bell is an eventfd, closed in children.
pub fn mailbox() -> nix::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    let (request_sender, requests) = mpsc::channel();
    let unread = Arc::<AtomicUsize>::default();
    let inbox = Inbox { receiver, requests, bell: Arc::clone(&bell), unread: Arc::clone(&unread) };
    Ok((Mailbox { term: None, sender, requests: request_sender, bell, unread }, inbox))
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

    /// Sends an event and wakes the supervisor; after that has left nobody listens. Nothing is lost while it is busy, but for what comes
    /// again by itself: of that no more than `MOST_UNREAD` wait.
    pub fn send(&self, event: Event) {
        let comes_again = matches!(event, Event::Probed(..) | Event::Recalled(..) | Event::Beaten(_) | Event::Counted(_));
        if !self.is_open() || (comes_again && self.unread.load(Ordering::Relaxed) >= MOST_UNREAD) {
            return;
        }
        self.unread.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(event).is_ok() {
            self.ring();
        }
    }

    /// Hands a request in and wakes the supervisor; after that has left, the answer's sender is dropped.
    pub fn request(&self, request: ProcessRequest) {
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
    pub fn bell(&self) -> &Arc<EventFd> {
        &self.bell
    }

    /// What has arrived, `most` at most; what is left wakes the supervisor again.
    pub fn take(&self, most: usize) -> Vec<Event> {
        let _ = self.bell.read();
        let taken: Vec<Event> = self.receiver.try_iter().take(most).collect();
        self.unread.fetch_sub(taken.len(), Ordering::Relaxed);
        self.ring_again(taken.len() == most);
        taken
    }

    /// The requests that have arrived, `most` at most; to be called after [`take`](Self::take), which silences the bell.
    pub fn requests(&self, most: usize) -> Vec<ProcessRequest> {
        let taken: Vec<ProcessRequest> = self.requests.try_iter().take(most).collect();
        self.ring_again(taken.len() == most);
        taken
    }

    fn ring_again(&self, there_may_be_more: bool) {
        if there_may_be_more {
            let _ = self.bell.write(1);
        }
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
        first.request(ProcessRequest::Runs(None, answer));
        assert!(answered.blocking_recv().is_err());
        assert_eq!(inbox.take(9).len(), 1);
        second.send(Event::Withdrawn);
        mailbox.send(Event::Withdrawn);
        assert_eq!((inbox.take(9).len(), inbox.requests(9).len()), (2, 0));
    }

    #[test]
    fn a_turn_takes_a_bounded_number_and_the_rest_rings_again() {
        let (mailbox, inbox) = mailbox().unwrap();
        (0..5).for_each(|_| mailbox.send(Event::Withdrawn));
        assert_eq!(inbox.take(3).len(), 3);
        assert!(inbox.bell().read().is_ok(), "two are left");
        assert_eq!(inbox.take(3).len(), 2);
        assert!(inbox.bell().read().is_err(), "nothing is left");
    }

    #[test]
    fn what_comes_again_by_itself_never_piles_up_and_everything_else_arrives() {
        let (mailbox, inbox) = mailbox().unwrap();
        (0..MOST_UNREAD + 100).for_each(|_| mailbox.send(Event::Beaten(Ok(()))));
        mailbox.send(Event::Withdrawn);
        assert_eq!(inbox.take(usize::MAX).len(), MOST_UNREAD + 1);
        mailbox.send(Event::Beaten(Ok(())));
        assert_eq!(inbox.take(9).len(), 1);
    }
}
