//! The only module that reads the kernel's clocks.

pub mod patience;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// One instant on both clocks. Rules use `mono`; `wall` is only displayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time since this program first read the clock.
    pub mono: Duration,
    /// Wall time since the Unix epoch; it may jump, so no rule depends on it.
    pub wall: Duration,
}

impl Moment {
    /// The current time.
    #[allow(clippy::disallowed_methods, reason = "this is the one home of both clocks")]
    pub fn now() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Self { mono: ORIGIN.get_or_init(Instant::now).elapsed(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// Monotonic time since `earlier`; zero if `earlier` is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }

    /// This moment plus `by` on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { mono: self.mono + by, wall: self.wall + by }
    }
}

/// Processor time that the calling thread has used so far, which does not advance while it is frozen or waits; zero if unknown.
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Time since the machine booted, including suspends, which the monotonic clock excludes (`clock_gettime(2)`).
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// For how long the machine was suspended since it booted.
pub fn suspended() -> Duration {
    let boot = since_boot();
    // Read last: a pause between the two reads can only make the result too small.
    boot.saturating_sub(clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from))
}

/// When the thread that runs the checks was last active, and whether it was given up; readable without a lock.
///
/// If the pulse is old, the results of all checks may be old, too. Without such a thread there is no pulse, and nothing can be old.
#[derive(Debug, Default)]
pub struct Pulse {
    last: AtomicU64,
    /// The last turn after which the thread was given up.
    given_up: AtomicU64,
}

impl Pulse {
    /// How often the thread updates the pulse.
    pub const TICK: Duration = Duration::from_secs(5);

    /// Records that the thread was active at `now`.
    pub fn beat(&self, now: Moment) {
        self.last.store(now.mono.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Monotonic time of the last activity, like [`Moment::mono`]; none without such a thread.
    pub fn last(&self) -> Option<Duration> {
        self.last.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    /// Records that the thread is given up after its activity at `last`; any later activity revokes this.
    pub fn give_up(&self, last: Duration) {
        self.given_up.store(last.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Whether the thread was given up and has not been active since.
    pub fn is_given_up(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up != 0 && given_up == self.last.load(Ordering::Relaxed)
    }
}

/// The turns of the loop that owns the signals, readable without a lock: the current one, and the longest so far.
#[derive(Debug, Default)]
pub struct Turns {
    /// Its begin in milliseconds plus one; 0 while the loop waits for events.
    began: AtomicU64,
    /// In microseconds.
    longest: AtomicU64,
    /// The begin of the turn that was found overdue, and when that was found, in the same form.
    suspected: AtomicU64,
    suspected_at: AtomicU64,
}

impl Turns {
    /// How long one turn may take before the loop counts as stuck.
    pub const STUCK: Duration = Duration::from_secs(10);

    /// How long after a turn was found overdue it may be judged as stuck.
    const SECOND_LOOK: Duration = Duration::from_millis(500);

    /// Records that a turn begins at `now`.
    pub fn begin(&self, now: Moment) {
        self.began.store(now.mono.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Records the end of a turn that used `took` of processor time; returns the time if it is the longest so far.
    pub fn end(&self, took: Duration) -> Option<Duration> {
        self.began.store(0, Ordering::Relaxed);
        let micros = took.as_micros() as u64;
        (micros > self.longest.fetch_max(micros, Ordering::Relaxed)).then_some(took)
    }

    /// Whether one turn of the loop has lasted for [`STUCK`](Self::STUCK) or longer.
    ///
    /// A freeze of this process (SIGSTOP, `docker pause`) also freezes the loop, and the loop may be resumed last: a turn that is found
    /// overdue has a little more time, and only a later call judges it.
    pub fn is_stuck(&self, now: Moment) -> bool {
        let millis = |moment: Moment| moment.mono.as_millis() as u64 + 1;
        let began = self.began.load(Ordering::Relaxed);
        if began == 0 || Duration::from_millis(millis(now).saturating_sub(began)) < Self::STUCK {
            return false;
        }
        if self.suspected.swap(began, Ordering::Relaxed) != began {
            self.suspected_at.store(millis(now), Ordering::Relaxed);
            return false;
        }
        Duration::from_millis(millis(now).saturating_sub(self.suspected_at.load(Ordering::Relaxed))) >= Self::SECOND_LOOK
    }

    /// Processor time that the longest turn has used.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_none_until_its_first_beat() {
        let pulse = Pulse::default();
        assert_eq!(pulse.last(), None);
        pulse.beat(Moment::default());
        assert_eq!(pulse.last(), Some(Duration::ZERO));
    }

    #[test]
    fn a_turn_revokes_that_the_thread_was_given_up() {
        let (pulse, now) = (Pulse::default(), Moment::default());
        assert!(!pulse.is_given_up());
        pulse.beat(now);
        pulse.give_up(now.mono);
        assert!(pulse.is_given_up());
        pulse.beat(now.after(Pulse::TICK));
        assert!(!pulse.is_given_up());
    }

    #[test]
    fn a_turn_is_stuck_when_it_is_found_overdue_twice() {
        let (turns, now) = (Turns::default(), Moment::default());
        let later = |millis: u64| now.after(Turns::STUCK + Duration::from_millis(millis));
        assert!(!turns.is_stuck(later(0)), "who waits is not stuck");
        turns.begin(now);
        assert!(!turns.is_stuck(now.after(Turns::STUCK.saturating_sub(Duration::from_millis(1)))));
        assert!(!turns.is_stuck(later(0)), "it may have been frozen with us");
        assert!(!turns.is_stuck(later(499)));
        assert!(turns.is_stuck(later(500)) && turns.is_stuck(later(60_000)));
        assert_eq!(turns.end(Duration::from_micros(7)), Some(Duration::from_micros(7)));
        assert!(!turns.is_stuck(later(60_000)));
        assert_eq!((turns.end(Duration::from_micros(6)), turns.longest()), (None, Duration::from_micros(7)));
    }

    #[test]
    fn a_freeze_is_not_a_hanging_turn() {
        let (turns, now) = (Turns::default(), Moment::default());
        let seconds = |seconds| now.after(Duration::from_secs(seconds));
        turns.begin(now);
        assert!(!turns.is_stuck(seconds(600)), "thawed first");
        turns.end(Duration::ZERO);
        turns.begin(seconds(601));
        assert!(!turns.is_stuck(seconds(602)));
        assert!(!turns.is_stuck(seconds(1300)), "frozen again: another turn, judged anew");
    }
}
