//! Timers as data: which are armed, and which have expired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gap;
use crate::clock::Moment;
use crate::state::event::{ProcessTimer, Timer};

/// How many times its own length a timer may reach by extensions.
const LONGEST_EXTENSION: u32 = 2;

/// An armed timer.
#[derive(Clone, Copy, Debug)]
struct Armed {
    /// Its monotonic deadline.
    at: Duration,
    /// Its original time.
    length: Duration,
    /// The latest deadline by extensions.
    latest: Duration,
}

/// The armed timers, also in the order of their deadlines: each of a thousand waits has one.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeMap<Timer, Armed>,
    order: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, now: Moment, after: Duration) {
        let latest = now.mono.saturating_add(after.saturating_mul(LONGEST_EXTENSION));
        self.set(timer, Armed { at: now.mono.saturating_add(after), length: after, latest });
    }

    /// Extends an armed timer to this long from now on, never shorter than before, and at most twice its original time.
    pub(super) fn extend(&mut self, timer: Timer, now: Moment, by: Duration) {
        if let Some(armed) = self.armed.get(&timer) {
            self.set(timer, Armed { at: armed.at.max(now.mono.saturating_add(by).min(armed.latest)), ..*armed });
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(armed) = self.armed.remove(&timer) {
            self.order.remove(&(armed.at, timer));
        }
    }

    fn set(&mut self, timer: Timer, armed: Armed) {
        self.disarm(timer);
        self.order.insert((armed.at, timer));
        self.armed.insert(timer, armed);
    }

    /// Time until the next expiry, or until the next check for a gap of the clock. None if nothing is armed.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        let left = |(at, timer): &(Duration, Timer)| {
            let left = at.saturating_sub(now.mono);
            if waits_for_us(*timer) { left.min(gap::slice(left)) } else { left }
        };
        // A later one of the same kind is not due before.
        let first_of_others = self.order.iter().find(|(_, timer)| waits_for_us(*timer));
        self.order.first().into_iter().chain(first_of_others).map(left).min()
    }

    /// Extends every deadline for other processes by the time in which this process could not run, at most to its full length from now.
    pub(super) fn shift(&mut self, now: Moment, lost: Duration) {
        if lost.is_zero() {
            return;
        }
        let moved: Vec<_> = self.armed.iter().filter(|(timer, _)| waits_for_us(**timer)).map(|(timer, armed)| (*timer, *armed)).collect();
        for (timer, armed) in moved {
            let at = armed.at.saturating_add(lost).min(now.mono.saturating_add(armed.length)).max(armed.at);
            let latest = armed.latest.saturating_add(at.saturating_sub(armed.at));
            self.set(timer, Armed { at, latest, ..armed });
        }
    }

    /// The earliest expired timer.
    pub(super) fn overdue(&self, now: Moment) -> Option<Timer> {
        self.order.first().filter(|(at, _)| *at <= now.mono).map(|(_, timer)| *timer)
    }
}

/// Whether a gap extends this timer: it does if it limits what other processes do. A pause before a restart is not extended, and neither is
/// a limit that protects other replicas from our migration.
const fn waits_for_us(timer: Timer) -> bool {
    !matches!(timer, Timer::Overlap | Timer::Process(_, ProcessTimer::Restart))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::event::ProcessId;

    const STARTUP: Timer = Timer::Process(ProcessId::Main, ProcessTimer::Limit);
    const RESTART: Timer = Timer::Process(ProcessId::Main, ProcessTimer::Restart);
    const WATCHDOG: Timer = Timer::Process(ProcessId::Main, ProcessTimer::Watchdog);

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn next_due(timers: &mut Timers, now: Moment) -> Option<Timer> {
        timers.overdue(now).inspect(|timer| timers.disarm(*timer))
    }

    fn all_due(timers: &mut Timers, now: Moment) -> Vec<Timer> {
        std::iter::from_fn(|| next_due(timers, now)).collect()
    }

    #[test]
    fn timers_run_out_in_order_and_once() {
        let (mut timers, start) = (Timers::default(), Moment::default());
        timers.arm(Timer::Grace, start, seconds(8));
        timers.arm(Timer::Drain, start, seconds(2));
        timers.arm(STARTUP, start, seconds(1));
        timers.disarm(STARTUP);
        assert_eq!(timers.next(start), Some(Duration::from_millis(500)));
        assert!(next_due(&mut timers, start.after(seconds(1))).is_none());
        let late = start.after(seconds(9));
        assert_eq!(all_due(&mut timers, late), [Timer::Drain, Timer::Grace]);
        assert!(next_due(&mut timers, late).is_none());
        assert_eq!(timers.next(late), None);
    }

    #[test]
    fn a_gap_moves_deadlines_against_others_and_nothing_else() {
        let (mut timers, start) = (Timers::default(), Moment::default());
        for timer in [WATCHDOG, Timer::Overlap, RESTART] {
            timers.arm(timer, start, seconds(5));
        }
        let thawed = start.after(seconds(10));
        timers.shift(thawed, seconds(8));
        let mut due = all_due(&mut timers, thawed);
        due.sort_by_key(|timer| *timer == RESTART);
        assert_eq!(due, [Timer::Overlap, RESTART]);
        assert!(next_due(&mut timers, start.after(Duration::from_millis(12_999))).is_none());
        assert_eq!(next_due(&mut timers, start.after(seconds(13))), Some(WATCHDOG));
    }

    #[test]
    fn a_deadline_that_was_set_after_the_gap_is_not_moved() {
        let (mut timers, thawed) = (Timers::default(), Moment::default().after(seconds(600)));
        timers.arm(Timer::Drain, thawed, seconds(3));
        timers.shift(thawed, seconds(590));
        assert_eq!(next_due(&mut timers, thawed.after(seconds(3))), Some(Timer::Drain));
    }

    #[test]
    fn an_extension_never_shortens_and_never_more_than_doubles() {
        let (mut timers, start) = (Timers::default(), Moment::default());
        let left = |timers: &Timers, now: Moment| timers.armed.get(&Timer::Grace).map(|armed| armed.at.saturating_sub(now.mono));
        timers.extend(Timer::Grace, start, seconds(5));
        assert_eq!(left(&timers, start), None, "what is not armed is not extended");
        timers.arm(Timer::Grace, start, seconds(8));
        let later = start.after(seconds(4));
        for (by, expected) in
            [(Duration::ZERO, 4), (seconds(3), 4), (seconds(6), 6), (seconds(5), 6), (Duration::from_micros(u64::MAX), 12)]
        {
            timers.extend(Timer::Grace, later, by);
            assert_eq!(left(&timers, later), Some(seconds(expected)), "{by:?}");
        }
        let last = start.after(seconds(15));
        timers.extend(Timer::Grace, last, Duration::MAX);
        assert_eq!(left(&timers, last), Some(seconds(1)), "repeated requests do not make it longer");
    }
}
