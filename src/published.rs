//! The newest snapshot, swapped by pointer: a reader never locks and never waits.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::{Moment, Pulse};
use crate::state::snapshot::{Look, Snapshot};

/// What every view, the heartbeat and the log read from.
#[derive(Debug)]
pub struct Published {
    snapshot: ArcSwap<Snapshot>,
    /// The pulse of the thread that runs the checks.
    pub pulse: Pulse,
}

impl Published {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), pulse: Pulse::default() }
    }

    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The newest snapshot and the circumstances of this look at it.
    pub fn look(&self) -> (Arc<Snapshot>, Look) {
        let now = Moment::now();
        (self.snapshot.load_full(), Look { now, beat: self.pulse.last().unwrap_or(now.mono), given_up: self.pulse.is_given_up() })
    }
}
