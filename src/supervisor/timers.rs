//! Timers as data: what is armed, and which has run out.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::state::event::Timer;

/// How many times its own length a timer may get at most by extensions.
const LONGEST_EXTENSION: u32 = 2;

/// The armed timers and their monotonic deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers(HashMap<Timer, Deadline>);

/// When a timer runs out.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Duration,
    /// The latest that an extension may move it to.
    latest: Duration,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, now: Moment, after: Duration) {
        let latest = now.mono.saturating_add(after.saturating_mul(LONGEST_EXTENSION));
        self.0.insert(timer, Deadline { at: now.mono.saturating_add(after), latest });
    }

    /// Gives an armed timer this long from now on, but never less than it has, and never more than twice what it was armed for.
    pub(super) fn extend(&mut self, timer: Timer, now: Moment, by: Duration) {
        if let Some(deadline) = self.0.get_mut(&timer) {
            deadline.at = deadline.at.max(now.mono.saturating_add(by).min(deadline.latest));
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// Time until the next one runs out; none when nothing is armed.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.0.values().map(|deadline| deadline.at.saturating_sub(now.mono)).min()
    }

    /// Takes out those that have run out, the earliest first.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Timer> {
        let mut due: Vec<(Duration, Timer)> =
            self.0.iter().filter(|(_, deadline)| deadline.at <= now.mono).map(|(timer, deadline)| (deadline.at, *timer)).collect();
        due.sort_by_key(|(deadline, _)| *deadline);
        self.0.retain(|_, deadline| deadline.at > now.mono);
        due.into_iter().map(|(_, timer)| timer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_run_out_in_order_and_once() {
        let (mut timers, start) = (Timers::default(), Moment::default());
        timers.arm(Timer::Grace, start, Duration::from_secs(8));
        timers.arm(Timer::Drain, start, Duration::from_secs(2));
        timers.arm(Timer::Startup, start, Duration::from_secs(1));
        timers.disarm(Timer::Startup);
        assert_eq!(timers.next(start), Some(Duration::from_secs(2)));
        assert!(timers.due(start.after(Duration::from_secs(1))).is_empty());
        let late = start.after(Duration::from_secs(9));
        assert_eq!(timers.due(late), [Timer::Drain, Timer::Grace]);
        assert!(timers.due(late).is_empty());
        assert_eq!(timers.next(late), None);
    }

    #[test]
    fn an_extension_never_shortens_and_never_more_than_doubles() {
        let (mut timers, start) = (Timers::default(), Moment::default());
        let seconds = Duration::from_secs;
        timers.extend(Timer::Grace, start, seconds(5));
        assert_eq!(timers.next(start), None, "what is not armed is not extended");
        timers.arm(Timer::Grace, start, seconds(8));
        let later = start.after(seconds(4));
        for (by, left) in [(Duration::ZERO, 4), (seconds(3), 4), (seconds(6), 6), (seconds(5), 6), (Duration::from_micros(u64::MAX), 12)] {
            timers.extend(Timer::Grace, later, by);
            assert_eq!(timers.next(later), Some(seconds(left)), "{by:?}");
        }
        let last = start.after(seconds(15));
        timers.extend(Timer::Grace, last, Duration::MAX);
        assert_eq!(timers.next(last), Some(seconds(1)), "asked again and again it is no longer");
    }
}
