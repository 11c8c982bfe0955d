//! Cancellation and progress of long work.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Fault;
use crate::clock::Moment;

/// The time between two progress lines.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// The work on one file.
pub(super) struct Watch<'a> {
    cancel: &'a AtomicBool,
    progress: &'a dyn Fn(String),
    what: String,
    last_line: Cell<Moment>,
    seen: Cell<u64>,
    changed: Cell<u64>,
}

impl<'a> Watch<'a> {
    /// Begins work on `what`.
    pub(super) fn new(cancel: &'a AtomicBool, progress: &'a dyn Fn(String), what: String) -> Self {
        Self { cancel, progress, what, last_line: Cell::new(Moment::now()), seen: Cell::new(0), changed: Cell::new(0) }
    }

    /// Whether to continue.
    pub(super) fn look(&self) -> Result<(), Fault> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Fault::Cancelled);
        }
        let now = Moment::now();
        if now.since(self.last_line.get()) >= BETWEEN_LINES {
            self.last_line.set(now);
            (self.progress)(format!("{}: {} entries so far, {} of them changed", self.what, self.seen.get(), self.changed.get()));
        }
        Ok(())
    }

    /// Counts an entry before it is handled.
    pub(super) fn entry(&self) -> Result<(), Fault> {
        self.seen.set(self.seen.get() + 1);
        self.look()
    }

    /// Counts an entry if it was changed; returns whether it was.
    pub(super) fn counted(&self, changed: bool) -> bool {
        self.changed.set(self.changed.get() + u64::from(changed));
        changed
    }

    /// `, 12 of 100 entries` for a tree, as the end of a sentence; empty without a tree.
    pub(super) fn count(&self) -> String {
        if self.seen.get() > 1 { format!(", {} of {} entries", self.changed.get(), self.seen.get()) } else { String::new() }
    }
}
