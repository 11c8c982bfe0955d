//! The identity of a run in the registry, stored so that it survives a restart of the heartbeat task.

use std::sync::{Arc, Mutex, PoisonError};

/// The name and the state of this run in the registry; a restarted heartbeat task continues from there.
#[derive(Clone, Debug)]
pub struct InstanceIdentity(Arc<Mutex<Who>>);

/// The name of an instance, and the number of its next heartbeat.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// Its name.
    pub(super) id: String,
    /// Distinguishes this run from an earlier or another one with the same id.
    pub(super) token: String,
    /// The sequence number of a heartbeat; it grows.
    pub(super) sequence: u64,
    /// Whether this run has taken over the id: its first heartbeat removes the record of a predecessor.
    pub(super) taken: bool,
    /// Whether this run may hold the restart lease.
    pub(super) leases: bool,
}

impl Who {
    /// The identity of a new run, which starts with this number.
    pub(super) fn new(id: String, sequence: u64) -> Self {
        Self { id, token: format!("{:016x}", fastrand::u64(..)), sequence, taken: false, leases: false }
    }
}

impl InstanceIdentity {
    /// The identity of an instance that has written nothing yet.
    pub fn new(instance: &str) -> Self {
        Self(Arc::new(Mutex::new(Who::new(instance.to_owned(), 0))))
    }

    /// Changes it atomically.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Who) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The state for its next heartbeat.
    pub(super) fn next(&self) -> Who {
        self.change(|who| {
            who.sequence = who.sequence.saturating_add(1);
            who.clone()
        })
    }
}
