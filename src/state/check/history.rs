//! The last half hour of a check: a fixed ring of sixty buckets, whatever its interval.

use std::time::Duration;

use crate::clock::Moment;

/// The number of buckets.
pub const BUCKETS: usize = 60;

/// The time that one bucket covers.
pub const BUCKET: Duration = Duration::from_secs(30);

/// What happened within one [`BUCKET`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Runs that passed.
    pub passed: u32,
    /// Runs that failed.
    pub failed: u32,
    /// The slowest run in microseconds, 71 minutes at most.
    slowest: u32,
}

impl Bucket {
    /// The slowest run.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(u64::from(self.slowest))
    }

    /// Passed and failed runs.
    fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            slowest: self.slowest.max(other.slowest),
        }
    }

    /// Whether nothing happened.
    pub const fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed == 0
    }
}

/// The last sixty buckets. Its size is fixed, so that memory does not grow with time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    buckets: [Bucket; BUCKETS],
    /// The number of the newest bucket since this program began.
    newest: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], newest: 0 }
    }
}

impl History {
    /// Counts one run that ended at `now`.
    pub fn feed(&mut self, now: Moment, passed: bool, elapsed: Duration) {
        let number = number_of(now);
        for skipped in (self.newest + 1..=number).take(BUCKETS) {
            *self.slot(skipped) = Bucket::default();
        }
        self.newest = self.newest.max(number);
        let bucket = self.slot(number);
        let count = if passed { &mut bucket.passed } else { &mut bucket.failed };
        *count = count.saturating_add(1);
        bucket.slowest = bucket.slowest.max(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
    }

    /// The sixty buckets at `now`, the oldest first, each with the age of its beginning.
    pub fn seen(&self, now: Moment) -> impl Iterator<Item = (Duration, Bucket)> {
        self.grouped(now, 1)
    }

    /// The same in groups of `each` buckets, a divisor of sixty. The bounds of the groups do not move; the newest one fills.
    pub fn grouped(&self, now: Moment, each: u64) -> impl Iterator<Item = (Duration, Bucket)> {
        let last = number_of(now) / each;
        let into = now.mono.saturating_sub(BUCKET * (last * each) as u32);
        (0..BUCKETS as u64 / each).rev().map(move |distance| {
            // In the first half hour the strip begins with buckets from before the start.
            let numbers = last.checked_sub(distance).map_or(0..0, |group| group * each..(group + 1) * each);
            let bucket = numbers.map(|number| self.bucket(number)).fold(Bucket::default(), Bucket::and);
            (BUCKET * (distance * each) as u32 + into, bucket)
        })
    }

    fn bucket(&self, number: u64) -> Bucket {
        let kept = number <= self.newest && self.newest - number < BUCKETS as u64;
        if kept { self.buckets.get(index_of(number)).copied().unwrap_or_default() } else { Bucket::default() }
    }

    fn slot(&mut self, number: u64) -> &mut Bucket {
        // The index is a remainder modulo the length.
        &mut self.buckets[index_of(number)]
    }
}

fn number_of(now: Moment) -> u64 {
    now.mono.as_secs() / BUCKET.as_secs()
}

const fn index_of(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    /// Counts of the strip at `seconds`: index from the oldest, passed, failed, slowest in milliseconds.
    fn strip(history: &History, seconds: u64) -> Vec<(usize, u32, u32, u128)> {
        let seen = history.seen(at(seconds)).enumerate().filter(|(_, (_, bucket))| !bucket.is_empty());
        seen.map(|(index, (_, bucket))| (index, bucket.passed, bucket.failed, bucket.slowest().as_millis())).collect()
    }

    #[test]
    fn a_bucket_holds_thirty_seconds_and_leaves_after_half_an_hour() {
        let mut history = History::default();
        history.feed(at(0), true, Duration::from_millis(3));
        history.feed(at(29), false, Duration::from_millis(7));
        history.feed(at(30), true, Duration::from_millis(1));
        assert_eq!(strip(&history, 31), [(58, 1, 1, 7), (59, 1, 0, 1)]);
        assert_eq!(strip(&history, 60 * 30 - 1), [(0, 1, 1, 7), (1, 1, 0, 1)]);
        assert_eq!(strip(&history, 60 * 30), [(0, 1, 0, 1)]);
        assert_eq!(strip(&history, 10_000), []);
        history.feed(at(10_000), true, Duration::from_secs(100_000));
        assert_eq!(strip(&history, 10_000), [(59, 1, 0, u128::from(u32::MAX) / 1000)]);
    }

    #[test]
    fn ages_are_of_the_beginnings() {
        let ages: Vec<u64> = History::default().seen(at(95)).map(|(age, _)| age.as_secs()).collect();
        assert_eq!((ages.len(), ages.first(), ages.last()), (BUCKETS, Some(&1775), Some(&5)));
        assert!(ages.windows(2).all(|pair| pair[0] == pair[1] + 30));
    }

    #[test]
    fn groups_keep_their_bounds() {
        let mut history = History::default();
        for second in [30, 119, 120, 150] {
            history.feed(at(second), second < 120, Duration::from_millis(second));
        }
        let groups = |seconds| {
            let seen = history.grouped(at(seconds), 4).collect::<Vec<_>>();
            assert_eq!(seen.len(), BUCKETS / 4);
            seen.into_iter()
                .filter(|(_, bucket)| !bucket.is_empty())
                .map(|(age, bucket)| (age.as_secs(), bucket.passed, bucket.failed))
                .collect::<Vec<_>>()
        };
        assert_eq!(groups(150), [(150, 2, 0), (30, 0, 2)]);
        assert_eq!(groups(239), [(239, 2, 0), (119, 0, 2)]);
        assert_eq!(groups(240), [(240, 2, 0), (120, 0, 2)]);
        assert_eq!(groups(120 * 15), [(120 * 14, 0, 2)]);
    }

    proptest! {
        #[test]
        fn the_strip_counts_what_is_young_enough(mut times in proptest::collection::vec(0..9000u64, 0..80), later in 0..4000u64) {
            times.sort_unstable();
            let mut history = History::default();
            for time in &times {
                history.feed(at(*time), time % 3 > 0, Duration::from_millis(*time));
            }
            let now = times.last().copied().unwrap_or_default() + later;
            let young = times.iter().filter(|time| now / 30 - **time / 30 < BUCKETS as u64).count() as u32;
            prop_assert_eq!(history.seen(at(now)).map(|(_, bucket)| bucket.passed + bucket.failed).sum::<u32>(), young);
        }
    }
}
