//! Tells time in which nobody could run from time in which this loop was busy.
//!
//! A freezer (`docker pause`), SIGSTOP or a machine without a processor to spare stops the loop and those it watches alike, so such
//! a time proves nothing about anybody. The monotonic clock runs on meanwhile; while the machine itself is suspended it stands.

use std::time::Duration;

use tracing::warn;

use super::Supervisor;
use crate::clock::{Moment, Pulse, suspended};
use crate::state::event::Event;

/// Lateness up to here is a busy machine and no gap.
pub(super) const SLACK: Duration = Duration::from_millis(500);

/// A gap from here on is told.
const TOLD: Duration = Duration::from_secs(2);

/// How far the wall clock or the clock of suspends may move against the monotonic one before what others lease us is doubted.
const JUMP: Duration = Duration::from_secs(2);

/// What the clocks show about the time since the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockGap {
    /// Time in which nobody could run; deadlines against others are moved by as much.
    pub(super) lost: Duration,
    /// Whether others may have lived on without us: the gap above, a suspend of the machine, or a jump of its wall clock.
    pub(super) away: bool,
}

/// Follows the turns of the loop.
#[derive(Debug)]
pub(super) struct Gaps {
    /// When the loop last woke, and the processor time it had used by then.
    woke: Moment,
    used: Duration,
    suspended: Duration,
}

impl Gaps {
    /// From now on; `used` is this thread's processor time, `suspended` the time for which the machine was suspended since it booted.
    pub(super) const fn new(now: Moment, used: Duration, suspended: Duration) -> Self {
        Self { woke: now, used, suspended }
    }

    /// When the loop last woke.
    pub(super) const fn woke(&self) -> Moment {
        self.woke
    }

    /// Looks at a turn that went to sleep at `slept`, for `planned` at most (none: until something happens), and woke at `now`.
    ///
    /// Asleep too long, the loop was not busy. Between waking and the next sleep it was, for as long as it used the processor; the
    /// rest is a gap, unless another thread turned in the midst of it: `pulse` is when that was last.
    pub(super) fn look(
        &mut self,
        slept: Moment,
        planned: Option<Duration>,
        now: Moment,
        used: Duration,
        suspended: Duration,
        pulse: Option<Duration>,
    ) -> ClockGap {
        let overslept = planned.map_or(Duration::ZERO, |planned| now.since(slept).saturating_sub(planned));
        let worked = slept.since(self.woke);
        let idle = worked.saturating_sub(used.saturating_sub(self.used));
        let other_ran = pulse.is_some_and(|at| at > self.woke.mono + SLACK && at + SLACK < slept.mono);
        let lost = [overslept, if other_ran { Duration::ZERO } else { idle }].into_iter().filter(|part| *part > SLACK).sum::<Duration>();
        let wall = now.wall.abs_diff(self.woke.wall).abs_diff(now.since(self.woke));
        let away = !lost.is_zero() || wall > JUMP || suspended.saturating_sub(self.suspended) > JUMP;
        (self.woke, self.used, self.suspended) = (now, used, suspended);
        ClockGap { lost, away }
    }
}

/// How long to sleep at most while the deadline that comes first is `left` away, so that a gap takes at most a quarter of that.
pub(super) fn slice(left: Duration) -> Duration {
    (left / 4).clamp(SLACK / 2, Pulse::TICK)
}

impl Supervisor {
    /// Time in which nobody could run is held against nobody, and what others lease us is doubted after it.
    pub(super) fn look_for_gap(&mut self, slept: Moment, planned: Option<Duration>, used: Duration) {
        let now = Moment::now();
        let found = self.gaps.look(slept, planned, now, used, suspended(), self.published.pulse.last());
        self.timers.shift(now, found.lost);
        if found.lost >= TOLD {
            let lost = found.lost.as_secs();
            warn!("nobody here could run for {lost}s (paused, stopped or starved); deadlines are moved by as much");
        }
        if found.away {
            self.queue.push_back(Event::Away(found.lost));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    const NONE: Duration = Duration::ZERO;

    /// Time lost over a turn that woke at 0, slept at `slept` having used the processor for `used`, and woke at `now` again.
    fn lost(slept: u64, planned: Option<u64>, now: u64, used: u64, pulse: Option<u64>) -> u128 {
        let (ms, mut gaps) = (Duration::from_millis, Gaps::new(at(0), NONE, NONE));
        let found = gaps.look(at(slept), planned.map(ms), at(now), ms(used), NONE, pulse.map(ms));
        assert_eq!(found.away, !found.lost.is_zero());
        found.lost.as_millis()
    }

    #[test]
    fn waking_late_is_a_gap_and_waking_in_time_is_none() {
        assert_eq!(lost(1, Some(1_000), 1_001, 1, None), 0);
        assert_eq!(lost(1, Some(1_000), 1_400, 1, None), 0, "a busy machine");
        assert_eq!(lost(1, Some(1_000), 9_001, 1, None), 8_000);
        assert_eq!(lost(1, Some(1_000), 200, 1, None), 0, "something happened first");
        assert_eq!(lost(1, None, 86_400_000, 1, None), 0, "nothing was to happen");
        // Another thread that turned before the gap or right after it says nothing about the gap.
        assert_eq!(lost(1, Some(5_000), 65_001, 1, Some(3_000)), 60_000);
    }

    #[test]
    fn a_busy_loop_is_no_gap_and_a_frozen_one_is() {
        assert_eq!(lost(8_000, Some(1_000), 8_100, 7_900, None), 0);
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, None), 7_995);
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, Some(4_000)), 0, "another thread ran meanwhile: this one alone was stuck");
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, Some(7_990)), 7_995, "the other one thawed first");
    }

    #[test]
    fn a_suspend_and_a_jump_of_the_wall_clock_take_no_deadline_s_time_but_are_told() {
        let mut gaps = Gaps::new(at(0), NONE, NONE);
        let hour = Duration::from_secs(3600);
        assert_eq!(gaps.look(at(1), None, at(100), NONE, hour, None), ClockGap { lost: NONE, away: true });
        assert_eq!(gaps.look(at(101), None, at(200), NONE, hour, None), ClockGap::default());
        let jumped = Moment { wall: at(300).wall + hour, ..at(300) };
        assert_eq!(gaps.look(at(201), None, jumped, NONE, hour, None), ClockGap { lost: NONE, away: true });
    }

    #[test]
    fn a_slice_leaves_three_quarters_of_what_was_left() {
        for (left, millis) in [(100, 250), (1_000, 250), (4_000, 1_000), (600_000, 5_000)] {
            assert_eq!(slice(Duration::from_millis(left)), Duration::from_millis(millis));
        }
    }
}
