//! Timers as data: what is armed, and which has run out.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::state::event::Timer;

/// The armed timers and their monotonic deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers(HashMap<Timer, Duration>);

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, now: Moment, after: Duration) {
        self.0.insert(timer, now.mono.saturating_add(after));
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// Time until the next one runs out; none when nothing is armed.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.0.values().min().map(|deadline| deadline.saturating_sub(now.mono))
    }

    /// Takes out those that have run out, the earliest first.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Timer> {
        let mut due: Vec<(Duration, Timer)> =
            self.0.iter().filter(|(_, deadline)| **deadline <= now.mono).map(|(timer, deadline)| (*deadline, *timer)).collect();
        due.sort_by_key(|(deadline, _)| *deadline);
        self.0.retain(|_, deadline| *deadline > now.mono);
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
}
