//! Events on their way to the supervisor, and the wake-up that makes it look.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::state::event::Event;

/// Where every subsystem sends what happened.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: Sender<Event>,
    bell: Arc<EventFd>,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Event>,
    bell: Arc<EventFd>,
}

/// A mailbox and its inbox; the bell is an eventfd, closed in children.
pub fn mailbox() -> nix::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Mailbox { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

impl Mailbox {
    /// Sends an event and wakes the supervisor. Nothing is lost while it is busy; after it has left nobody listens.
    pub fn send(&self, event: Event) {
        if self.sender.send(event).is_ok() {
            // The bell can only fail to ring when it is ringing already: its counter is full.
            let _ = self.bell.write(1);
        }
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
}
