//! How long the runs of a check took, in a fixed number of buckets.

use std::time::Duration;

/// The limits of the buckets in seconds: from a response in the same rack to a long wait.
pub const LIMITS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The runs by the first of the [`LIMITS`] that is not exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// The runs of each bucket; those that exceed all limits are in none.
    pub counts: [u64; LIMITS.len()],
    /// All runs.
    pub count: u64,
    /// Their total time.
    pub sum: Duration,
}

impl Durations {
    /// Counts one run.
    pub fn observe(&mut self, took: Duration) {
        let bucket = LIMITS.iter().position(|limit| took.as_secs_f64() <= *limit).and_then(|index| self.counts.get_mut(index));
        if let Some(count) = bucket {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_falls_into_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for millis in [1, 2, 700, 31_000] {
            durations.observe(Duration::from_millis(millis));
        }
        assert_eq!((durations.counts, durations.count), ([1, 1, 0, 0, 0, 0, 1, 0, 0], 4));
        assert_eq!(durations.sum, Duration::from_millis(31_703));
    }
}
