//! Whether the thread of the checks hangs, as opposed to a gap of the clock. First another thread replaces it; if that does not help, it is
//! given up.

use std::time::Duration;

use crate::clock::{Moment, Pulse};

/// How old the last activity may be before it is overdue.
const OVERDUE: Duration = Pulse::TICK.saturating_mul(3);

/// How long the replacement thread has for its first activity.
const HELP: Duration = Duration::from_secs(30);

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// The thread hangs: another one has to take its place.
    Detected,
    /// That did not help within 30 s.
    Persists,
    /// It is active again.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Turning,
    /// Overdue; after a thaw the thread has until then to show that it was only frozen.
    Suspected(Duration),
    /// Another thread replaced it and has until then.
    Replaced(Duration),
    GivenUp,
}

/// Monitors the pulse of the checks' thread. All times are monotonic, like [`Moment::mono`].
#[derive(Debug)]
pub(super) struct StallDetector {
    state: State,
    beat: Duration,
    looked: Duration,
}

impl StallDetector {
    pub(super) const fn new(now: Moment) -> Self {
        Self { state: State::Turning, beat: now.mono, looked: now.mono }
    }

    /// Judges the thread whose last activity was at `beat`.
    ///
    /// Time in which this process did not run is no evidence: a freeze also stops the thread, which may be resumed later than us.
    pub(super) fn look(&mut self, now: Moment, beat: Duration) -> Option<Stall> {
        let now = now.mono;
        let was_away = now.saturating_sub(std::mem::replace(&mut self.looked, now)) > Pulse::TICK * 2;
        if beat != self.beat {
            self.beat = beat;
            let before = std::mem::replace(&mut self.state, State::Turning);
            return matches!(before, State::Replaced(_) | State::GivenUp).then_some(Stall::Over);
        }
        let (state, stall) = match self.state {
            State::Turning if now.saturating_sub(beat) >= OVERDUE => (State::Suspected(now + Pulse::TICK), None),
            State::Suspected(until) if was_away => (State::Suspected(until.max(now + Pulse::TICK)), None),
            State::Replaced(until) if was_away => (State::Replaced(until.max(now + Pulse::TICK)), None),
            State::Suspected(until) if now >= until => (State::Replaced(now + HELP), Some(Stall::Detected)),
            State::Replaced(until) if now >= until => (State::GivenUp, Some(Stall::Persists)),
            state => (state, None),
        };
        self.state = state;
        stall
    }

    /// Time until the next check.
    pub(super) fn next(&self, now: Moment) -> Duration {
        let at = match self.state {
            State::Turning => self.beat + OVERDUE,
            State::Suspected(until) | State::Replaced(until) => until.min(self.looked + Pulse::TICK),
            State::GivenUp => self.looked + Pulse::TICK,
        };
        at.saturating_sub(now.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    /// Looks as often as the watchdog requests until `end`, and returns what it found and when. The thread was last active at 0.
    fn stalls(detector: &mut StallDetector, from: u64, end: u64) -> Vec<(u64, Stall)> {
        let (mut now, mut found) = (at(from), Vec::new());
        while now.mono <= at(end).mono {
            found.extend(detector.look(now, Duration::ZERO).map(|stall| (now.mono.as_secs(), stall)));
            let next = detector.next(now);
            assert!(next <= Pulse::TICK * 3, "{detector:?}");
            now = now.after(next.max(Duration::from_millis(1)));
        }
        found
    }

    #[test]
    fn a_wedge_is_answered_by_another_thread_and_given_up_30_s_later() {
        let mut detector = StallDetector::new(at(0));
        assert_eq!(stalls(&mut detector, 0, 200), [(20, Stall::Detected), (50, Stall::Persists)]);
        assert_eq!(detector.look(at(201), at(201).mono), Some(Stall::Over));
        assert_eq!(detector.look(at(202), at(201).mono), None);
    }

    #[test]
    fn a_turn_of_the_other_thread_ends_the_wedge() {
        let mut detector = StallDetector::new(at(0));
        assert_eq!(stalls(&mut detector, 0, 22), [(20, Stall::Detected)]);
        assert_eq!(detector.look(at(25), at(25).mono), Some(Stall::Over));
        assert_eq!(detector.next(at(25)), OVERDUE);
    }

    #[test]
    fn a_thread_that_turns_is_never_suspected() {
        let mut detector = StallDetector::new(at(0));
        for second in 1..600 {
            assert_eq!(detector.look(at(second), at(second / 5 * 5).mono), None);
            assert_eq!(detector.state, State::Turning);
        }
    }

    #[test]
    fn a_gap_of_the_clock_is_not_a_stall_and_grants_a_full_tick() {
        for (before, thaw) in [(3, 603), (16, 616), (19, 100)] {
            let mut detector = StallDetector::new(at(0));
            assert_eq!(stalls(&mut detector, 0, before), [], "{before}");
            // The supervisor thaws first; the thread turns within the tick.
            assert_eq!(detector.look(at(thaw), Duration::ZERO), None, "{before}");
            assert_eq!(detector.look(at(thaw + 4), Duration::ZERO), None, "{before}");
            assert_eq!(detector.look(at(thaw + 4), at(thaw + 4).mono), None, "{before}");
            assert_eq!(detector.state, State::Turning, "{before}");
        }
        let mut stalled = StallDetector::new(at(0));
        assert_eq!(stalls(&mut stalled, 0, 3), []);
        assert_eq!(stalls(&mut stalled, 603, 700), [(608, Stall::Detected), (638, Stall::Persists)]);
    }

    #[test]
    fn a_gap_while_another_thread_has_just_begun_gives_that_one_a_full_tick() {
        let mut detector = StallDetector::new(at(0));
        assert_eq!(stalls(&mut detector, 0, 21), [(20, Stall::Detected)]);
        assert_eq!(stalls(&mut detector, 1000, 1100), [(1005, Stall::Persists)]);
    }
}
