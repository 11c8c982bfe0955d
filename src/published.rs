//! The newest snapshot, swapped by pointer: a reader never locks and never waits.

use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clock::{Moment, Pulse};
use crate::state::snapshot::{Look, Snapshot};

/// What every view, the heartbeat and the log read from.
#[derive(Debug)]
pub struct Published {
    snapshot: ArcSwap<Snapshot>,
    changed: Notify,
    /// The pulse of the thread that runs the checks.
    pub pulse: Pulse,
}

impl Published {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), changed: Notify::new(), pulse: Pulse::default() }
    }

    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.changed.notify_waiters();
    }

    /// Comes back with what `found` yields, once it yields something of the newest snapshot.
    pub async fn until<T>(&self, found: impl Fn(&Snapshot) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed, so that it is looked at the snapshot afterwards.
            changed.as_mut().enable();
            if let Some(found) = found(&self.snapshot.load()) {
                return found;
            }
            changed.await;
        }
    }

    /// The newest snapshot and the circumstances of this look at it.
    pub fn look(&self) -> (Arc<Snapshot>, Look) {
        let now = Moment::now();
        (self.snapshot.load_full(), Look { now, beat: self.pulse.last().unwrap_or(now.mono), given_up: self.pulse.is_given_up() })
    }
}
