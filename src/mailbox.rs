//! The queue of events and requests to the supervisor, with the wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{oneshot, watch};

use crate::exit::Ended;
use crate::plan::CommandPlan;
use crate::state::event::Event;

/// The maximum number of queued events of the kinds that repeat by themselves; a later event replaces dropped ones.
const MOST_UNREAD: usize = 4096;

/// A request of a probe to the thread that starts children and waits for them. It does not affect the state of the run.
#[derive(Debug)]
pub enum ProcessRequest {
    /// Run this command and return how it ended, or why it cannot be started. If the receiver is dropped, the command's group is killed.
    Run(Box<CommandPlan>, oneshot::Sender<Result<Ended, String>>),
    /// Return whether the main process runs, or the module of this name.
    Runs(Option<String>, oneshot::Sender<bool>),
}

/// How long events of a subsystem are accepted: while its generation is the current one.
#[derive(Clone, Debug)]
pub struct Term {
    generation: u64,
    current: watch::Receiver<u64>,
}

impl Term {
    /// The term of a subsystem that begins now: until `current` changes, or its sender is gone.
    pub fn new(current: &watch::Sender<u64>) -> Self {
        Self { generation: *current.borrow(), current: current.subscribe() }
    }

    /// Whether it is still valid.
    pub fn lasts(&self) -> bool {
        *self.current.borrow() == self.generation
    }

    /// Returns at its end.
    pub async fn ended(mut self) {
        let _ = self.current.wait_for(|current| *current != self.generation).await;
    }
}

/// The sender of events for every subsystem.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Events after its end are dropped; none: it has no end.
    term: Option<Term>,
    sender: Sender<Event>,
    requests: Sender<ProcessRequest>,
    bell: Arc<EventFd>,
    /// The number of events that were sent and not taken yet.
    unread: Arc<AtomicUsize>,
}

/// The receiving end, for the supervisor.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Event>,
    requests: Receiver<ProcessRequest>,
    bell: Arc<EventFd>,
    unread: Arc<AtomicUsize>,
}

/// A mailbox and its inbox; the wake-up is an eventfd, closed in children.
pub fn mailbox() -> nix::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    let (request_sender, requests) = mpsc::channel();
    let unread = Arc::<AtomicUsize>::default();
    let inbox = Inbox { receiver, requests, bell: Arc::clone(&bell), unread: Arc::clone(&unread) };
    Ok((Mailbox { term: None, sender, requests: request_sender, bell, unread }, inbox))
}

impl Mailbox {
    /// This mailbox for a subsystem that may be replaced: its events after `term` are dropped.
    #[must_use]
    pub fn during(&self, term: Term) -> Self {
        Self { term: Some(term), ..self.clone() }
    }

    fn is_open(&self) -> bool {
        self.term.as_ref().is_none_or(Term::lasts)
    }

    /// Sends an event and wakes the supervisor; after the supervisor's end, events are dropped. While it is busy, nothing is lost except
    /// events that repeat by themselves, of which at most `MOST_UNREAD` are queued.
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

    /// Sends a request and wakes the supervisor; after the supervisor's end, the answer's sender is dropped.
    pub fn request(&self, request: ProcessRequest) {
        if self.is_open() && self.requests.send(request).is_ok() {
            self.ring();
        }
    }

    /// Wakes the supervisor, for example because an answer is no longer needed.
    pub fn ring(&self) {
        // This can fail only if the counter is full, and then the wake-up is already pending.
        let _ = self.bell.write(1);
    }
}

impl Inbox {
    /// The file that becomes readable when an event or request is queued.
    pub fn bell(&self) -> &Arc<EventFd> {
        &self.bell
    }

    /// The queued events, at most `most`; the rest wakes the supervisor again.
    pub fn take(&self, most: usize) -> Vec<Event> {
        let _ = self.bell.read();
        let taken: Vec<Event> = self.receiver.try_iter().take(most).collect();
        self.unread.fetch_sub(taken.len(), Ordering::Relaxed);
        self.ring_again(taken.len() == most);
        taken
    }

    /// The queued requests, at most `most`; call it after [`take`](Self::take), which resets the wake-up.
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
    fn results_of_a_replaced_task_are_ignored() {
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
    fn a_turn_handles_a_bounded_number_and_the_rest_wakes_the_loop_again() {
        let (mailbox, inbox) = mailbox().unwrap();
        (0..5).for_each(|_| mailbox.send(Event::Withdrawn));
        assert_eq!(inbox.take(3).len(), 3);
        assert!(inbox.bell().read().is_ok(), "two are left");
        assert_eq!(inbox.take(3).len(), 2);
        assert!(inbox.bell().read().is_err(), "nothing is left");
    }

    #[test]
    fn repeating_events_never_pile_up_and_all_others_arrive() {
        let (mailbox, inbox) = mailbox().unwrap();
        (0..MOST_UNREAD + 100).for_each(|_| mailbox.send(Event::Beaten(Ok(()))));
        mailbox.send(Event::Withdrawn);
        assert_eq!(inbox.take(usize::MAX).len(), MOST_UNREAD + 1);
        mailbox.send(Event::Beaten(Ok(())));
        assert_eq!(inbox.take(9).len(), 1);
    }
}
