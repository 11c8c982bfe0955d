//! The one place that asks the kernel what time it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One instant as both clocks show it. Rules use `mono`, people are shown `wall`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time since this program first looked at the clock.
    pub mono: Duration,
    /// Wall time since the Unix epoch; it may jump, so no rule depends on it.
    pub wall: Duration,
}

impl Moment {
    /// The present.
    #[allow(clippy::disallowed_methods, reason = "this is the one home of both clocks")]
    pub fn now() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Self { mono: ORIGIN.get_or_init(Instant::now).elapsed(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// Monotonic time passed since `earlier`; zero when `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }

    /// This moment moved on by `by` on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { mono: self.mono + by, wall: self.wall + by }
    }
}

/// When the thread that runs the checks last turned, readable without a lock.
///
/// A reader that finds the pulse old knows that every check's result may be old, too.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// How often the thread beats.
    pub const TICK: Duration = Duration::from_secs(5);

    /// Notes that the thread turned at `now`.
    pub fn beat(&self, now: Moment) {
        self.0.store(now.mono.as_millis() as u64, Ordering::Relaxed);
    }

    /// Monotonic time of the last turn, in the terms of [`Moment::mono`].
    pub fn last(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
