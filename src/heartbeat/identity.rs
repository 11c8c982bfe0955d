//! As whom a run writes its beats, in a place that outlives whoever writes them.

use std::sync::{Arc, Mutex, PoisonError};

/// Under which name this run writes, and what it has written: it outlives whoever writes, so that a successor goes on from there.
#[derive(Clone, Debug)]
pub struct InstanceIdentity(Arc<Mutex<Who>>);

/// What an instance is known by, and the number of its next beat.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// Its name.
    pub(super) id: String,
    /// Tells this run from an earlier or another one of the same id.
    pub(super) token: String,
    /// The number of a beat: a later one has a higher one.
    pub(super) sequence: u64,
    /// Whether this run has taken the id over: its first beat clears what a predecessor left behind.
    pub(super) taken: bool,
    /// Whether the lease to restart what is unhealthy may be this run's.
    pub(super) leases: bool,
}

impl Who {
    /// A new run's, which goes on from this number.
    pub(super) fn new(id: String, sequence: u64) -> Self {
        Self { id, token: format!("{:016x}", fastrand::u64(..)), sequence, taken: false, leases: false }
    }
}

impl InstanceIdentity {
    /// Of an instance that has written nothing yet.
    pub fn new(instance: &str) -> Self {
        Self(Arc::new(Mutex::new(Who::new(instance.to_owned(), 0))))
    }

    /// Changes it in one step.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Who) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As it writes its next beat.
    pub(super) fn next(&self) -> Who {
        self.change(|who| {
            who.sequence = who.sequence.saturating_add(1);
            who.clone()
        })
    }
}
