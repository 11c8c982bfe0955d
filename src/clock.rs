//! The one place that asks the kernel what time it is.

pub mod patience;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

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

/// Processor time that the calling thread has used so far, which stands while it is frozen or waits; zero where the kernel does not say.
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Time since the machine booted, its suspends included, which the monotonic clock leaves out (`clock_gettime(2)`).
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// For how long the machine was suspended since it booted.
pub fn suspended() -> Duration {
    let boot = since_boot();
    // Read last: a pause between the two makes it too little and never too much.
    boot.saturating_sub(clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from))
}

/// When the thread that runs the checks last turned, and whether that thread was given up, readable without a lock.
///
/// A reader that finds the pulse old knows that every check's result may be old, too. Where no such thread is needed there is
/// no pulse, and nothing can be old.
#[derive(Debug, Default)]
pub struct Pulse {
    last: AtomicU64,
    /// The turn after which nothing more was expected.
    given_up: AtomicU64,
}

impl Pulse {
    /// How often the thread beats.
    pub const TICK: Duration = Duration::from_secs(5);

    /// Notes that the thread turned at `now`.
    pub fn beat(&self, now: Moment) {
        self.last.store(now.mono.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Monotonic time of the last turn, in the terms of [`Moment::mono`]; none when there is no such thread.
    pub fn last(&self) -> Option<Duration> {
        self.last.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    /// Notes that no further turn is expected after that of `last`; one that comes all the same takes this back.
    pub fn give_up(&self, last: Duration) {
        self.given_up.store(last.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Whether the thread was given up and has not turned since.
    pub fn is_given_up(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up != 0 && given_up == self.last.load(Ordering::Relaxed)
    }
}

/// The turns of the loop that owns the signals, readable without a lock: the present one, and the longest so far.
#[derive(Debug, Default)]
pub struct Turns {
    /// Its begin in milliseconds plus one; 0 while the loop waits for something to happen.
    began: AtomicU64,
    /// In microseconds.
    longest: AtomicU64,
    /// The turn that was found overdue, by its begin, and when that was, likewise.
    suspected: AtomicU64,
    suspected_at: AtomicU64,
}

impl Turns {
    /// How long one turn may take before the loop counts as stuck.
    pub const STUCK: Duration = Duration::from_secs(10);

    /// How long after the look that found a turn overdue another one may judge it.
    const SECOND_LOOK: Duration = Duration::from_millis(500);

    /// Notes that the loop has something to do from `now` on.
    pub fn begin(&self, now: Moment) {
        self.began.store(now.mono.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Notes that a turn is over which used `took` of processor time; the time where none before it used as much.
    pub fn end(&self, took: Duration) -> Option<Duration> {
        self.began.store(0, Ordering::Relaxed);
        let micros = took.as_micros() as u64;
        (micros > self.longest.fetch_max(micros, Ordering::Relaxed)).then_some(took)
    }

    /// Whether the loop is in one turn for [`STUCK`](Self::STUCK) and more.
    ///
    /// Somebody who froze us (SIGSTOP, `docker pause`) froze the loop as well, and it may be thawed last: a turn that is found overdue has
    /// a moment more to end, and only the next look judges it.
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
    fn a_pulse_is_none_until_it_beats() {
        let pulse = Pulse::default();
        assert_eq!(pulse.last(), None);
        pulse.beat(Moment::default());
        assert_eq!(pulse.last(), Some(Duration::ZERO));
    }

    #[test]
    fn a_turn_takes_back_that_the_thread_was_given_up() {
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
    fn a_freeze_is_no_turn_that_is_stuck() {
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
