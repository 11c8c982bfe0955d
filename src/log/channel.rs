//! A channel for a bounded number of messages, which needs memory only for those that wait. The one of std has all its places at once: 40 kB
//! for this log, of which a run uses a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// The end for messages.
pub(super) struct Sender<T> {
    messages: mpsc::Sender<T>,
    waiting: Arc<AtomicUsize>,
    length: usize,
}

/// The end for their reader.
pub(super) struct Receiver<T> {
    messages: mpsc::Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

/// A channel for this many messages.
pub(super) fn channel<T>(length: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let waiting = Arc::default();
    (Sender { messages: sender, waiting: Arc::clone(&waiting), length }, Receiver { messages: receiver, waiting })
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), waiting: Arc::clone(&self.waiting), length: self.length }
    }
}

impl<T> Sender<T> {
    /// Never waits; returns a message that does not fit, or has no reader any more.
    pub(super) fn try_send(&self, message: T) -> Result<(), T> {
        let more = |waiting| (waiting < self.length).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(message);
        }
        self.messages.send(message).map_err(|mpsc::SendError(message)| message)
    }
}

impl<T> Receiver<T> {
    /// The next message; none if none waits.
    pub(super) fn try_recv(&self) -> Option<T> {
        self.messages.try_recv().ok().inspect(|_| self.taken())
    }

    /// Waits for the next message; none if all senders are gone.
    pub(super) fn recv(&self) -> Option<T> {
        self.messages.recv().ok().inspect(|_| self.taken())
    }

    fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
