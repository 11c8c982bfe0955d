//! For how long a condition has held without interruption.

use std::time::Duration;

/// A condition that counts only after it has held for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stability {
    wanted: Duration,
    began: Option<Duration>,
}

impl Stability {
    /// A condition that has to hold for `wanted`; zero: once is enough.
    pub(super) const fn new(wanted: Duration) -> Self {
        Self { wanted, began: None }
    }

    /// Adds the result of a probe that began at `began_at` and ended at `ended_at`. Returns how much longer it has to hold: zero if it has
    /// held long enough, none if it does not hold.
    ///
    /// It counts from the end of the first probe to the begin of the last one, the time that is certain.
    pub(super) fn look(&mut self, began_at: Duration, ended_at: Duration, holds: bool) -> Option<Duration> {
        if !holds {
            self.began = None;
            return None;
        }
        let began = *self.began.get_or_insert(ended_at);
        Some(self.wanted.saturating_sub(began_at.saturating_sub(began)))
    }

    /// After a pause of this process the condition may have been interrupted, so it starts again.
    pub(super) const fn interrupt(&mut self) {
        self.began = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each look yields: its begin and its end in seconds, and what it found.
    fn run(wanted: u64, looks: &[(u64, u64, bool)]) -> Vec<Option<u64>> {
        let mut stability = Stability::new(Duration::from_secs(wanted));
        let seconds = Duration::from_secs;
        looks
            .iter()
            .map(|(began_at, ended_at, holds)| stability.look(seconds(*began_at), seconds(*ended_at), *holds).map(|left| left.as_secs()))
            .collect()
    }

    #[test]
    fn it_has_to_hold_without_a_break() {
        assert_eq!(run(0, &[(0, 1, false), (2, 3, true)]), [None, Some(0)], "once is enough");
        assert_eq!(run(5, &[(0, 0, true), (2, 2, true), (5, 5, true)]), [Some(5), Some(3), Some(0)]);
        assert_eq!(
            run(5, &[(0, 0, true), (4, 4, false), (5, 5, true), (9, 9, true), (10, 10, true)]),
            [Some(5), None, Some(5), Some(1), Some(0)]
        );
    }

    #[test]
    fn unseen_time_is_not_part_of_it() {
        let (mut stability, seconds) = (Stability::new(Duration::from_secs(5)), Duration::from_secs);
        assert_eq!(stability.look(seconds(0), seconds(0), true), Some(seconds(5)));
        stability.interrupt();
        assert_eq!(stability.look(seconds(60), seconds(60), true), Some(seconds(5)));
        assert_eq!(stability.look(seconds(65), seconds(65), true), Some(seconds(0)));
    }

    #[test]
    fn the_duration_of_a_probe_is_not_part_of_it() {
        assert_eq!(run(5, &[(0, 4, true), (5, 9, true), (9, 10, true)]), [Some(5), Some(4), Some(0)]);
    }
}
