//! Events and requests on their way to the supervisor, and the wake-up that makes it look.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

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

/// Where every subsystem sends what happened.
#[derive(Clone, Debug)]
pub struct Mailbox {
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
    Ok((Mailbox { sender, requests: request_sender, bell: Arc::clone(&bell) }, Inbox { receiver, requests, bell }))
}

impl Mailbox {
    /// Sends an event and wakes the supervisor. Nothing is lost while it is busy; after it has left nobody listens.
    pub fn send(&self, event: Event) {
        if self.sender.send(event).is_ok() {
            self.ring();
        }
    }

    /// Hands a request in and wakes the supervisor; after that has left, the answer's sender is dropped.
    pub fn ask(&self, request: Request) {
        if self.requests.send(request).is_ok() {
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
