//! Detects gaps: time in which this process could not run, as opposed to time in which the loop was busy.
//!
//! A freezer (`docker pause`), SIGSTOP or an overloaded machine stops the loop and the supervised processes alike, so such time says
//! nothing about them. The monotonic clock continues meanwhile; while the machine itself is suspended it stops.

use std::time::Duration;

use tracing::warn;

use super::Supervisor;
use crate::clock::{Moment, Pulse, suspended};
use crate::state::event::Event;

/// A delay up to this is a busy machine and not a gap.
pub(super) const SLACK: Duration = Duration::from_millis(500);

/// Longer gaps are logged.
const TOLD: Duration = Duration::from_secs(2);

/// How far the wall clock or the suspend clock may deviate from the monotonic one before leases have to be confirmed.
const JUMP: Duration = Duration::from_secs(2);

/// The state of the clocks since the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockGap {
    /// Time in which this process could not run; deadlines for other processes are extended by it.
    pub(super) lost: Duration,
    /// Whether other machines may have continued meanwhile: after a gap, a suspend of this machine, or a jump of its wall clock.
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
    /// Starts now; `used` is this thread's processor time, `suspended` the total time of suspends since boot.
    pub(super) const fn new(now: Moment, used: Duration, suspended: Duration) -> Self {
        Self { woke: now, used, suspended }
    }

    /// When the loop last woke.
    pub(super) const fn woke(&self) -> Moment {
        self.woke
    }

    /// Examines a turn that went to sleep at `slept`, for at most `planned` (none: until an event), and woke at `now`.
    ///
    /// A sleep that lasted too long is a gap. Between waking and the next sleep the loop was busy for as long as it used the processor; the
    /// rest is a gap, unless another thread was active in the middle of it: `pulse` is its last activity.
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

/// The longest sleep while the next deadline is `left` away, so that a gap takes at most a quarter of it.
pub(super) fn slice(left: Duration) -> Duration {
    (left / 4).clamp(SLACK / 2, Pulse::TICK)
}

impl Supervisor {
    /// After a gap, deadlines are extended, and leases have to be confirmed.
    pub(super) fn look_for_gap(&mut self, slept: Moment, planned: Option<Duration>, used: Duration) {
        let now = Moment::now();
        let found = self.gaps.look(slept, planned, now, used, suspended(), self.published.pulse.last());
        self.timers.shift(now, found.lost);
        if found.lost >= TOLD {
            let lost = found.lost.as_secs();
            warn!("this process could not run for {lost}s (paused, stopped or starved); deadlines are extended by that time");
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

    /// The lost time of a turn that woke at 0, used the processor for `used`, slept at `slept`, and woke again at `now`.
    fn lost(slept: u64, planned: Option<u64>, now: u64, used: u64, pulse: Option<u64>) -> u128 {
        let (ms, mut gaps) = (Duration::from_millis, Gaps::new(at(0), NONE, NONE));
        let found = gaps.look(at(slept), planned.map(ms), at(now), ms(used), NONE, pulse.map(ms));
        assert_eq!(found.away, !found.lost.is_zero());
        found.lost.as_millis()
    }

    #[test]
    fn waking_late_is_a_gap_and_waking_in_time_is_not() {
        assert_eq!(lost(1, Some(1_000), 1_001, 1, None), 0);
        assert_eq!(lost(1, Some(1_000), 1_400, 1, None), 0, "a busy machine");
        assert_eq!(lost(1, Some(1_000), 9_001, 1, None), 8_000);
        assert_eq!(lost(1, Some(1_000), 200, 1, None), 0, "something happened first");
        assert_eq!(lost(1, None, 86_400_000, 1, None), 0, "nothing was to happen");
        // Another thread that turned before the gap or right after it says nothing about the gap.
        assert_eq!(lost(1, Some(5_000), 65_001, 1, Some(3_000)), 60_000);
    }

    #[test]
    fn a_busy_loop_is_not_a_gap_and_a_frozen_one_is() {
        assert_eq!(lost(8_000, Some(1_000), 8_100, 7_900, None), 0);
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, None), 7_995);
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, Some(4_000)), 0, "another thread ran meanwhile: this one alone was stuck");
        assert_eq!(lost(8_000, Some(1_000), 8_100, 5, Some(7_990)), 7_995, "the other one thawed first");
    }

    #[test]
    fn a_suspend_and_a_jump_of_the_wall_clock_take_no_deadline_s_time_but_are_reported() {
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
