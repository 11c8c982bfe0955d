//! The time between two probes: back-off while a check is waited for, a fixed interval once it has passed.

use std::time::Duration;

use crate::outcome::ErrorKind;

/// The pace of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is waited for and does not pass yet.
    Waiting {
        /// The time since its first probe.
        waited: Duration,
        /// Its last result.
        kind: ErrorKind,
    },
    /// It has passed once, or is rate-limited: this interval applies.
    InStep(Duration),
}

/// The time from a result to the next probe; `chance` is 0 to 1.
///
/// While waiting: 10 ms at first, then 2 % of the time already waited, at most 250 ms, shortened by up to a tenth; so the start is late by
/// two per cent at most, and a booting server is not flooded. With wrong credentials only once a second, because they do not become right
/// and may lock the account. Otherwise: the interval plus up to a tenth, so that replicas do not probe at the same time and a peer is
/// probed at most once per interval.
pub fn delay(pace: Pace, chance: f64) -> Duration {
    match pace {
        Pace::Waiting { kind: ErrorKind::Auth, .. } => Duration::from_secs(1),
        Pace::Waiting { waited, .. } => {
            waited.mul_f64(0.02).clamp(Duration::from_millis(10), Duration::from_millis(250)).mul_f64(1.0 - 0.1 * chance)
        }
        Pace::InStep(interval) => interval.mul_f64(1.0 + 0.1 * chance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(waited_ms: u64, kind: ErrorKind) -> Pace {
        Pace::Waiting { waited: Duration::from_millis(waited_ms), kind }
    }

    #[test]
    fn the_pace_is_as_documented() {
        for (pace, chance, ms) in [
            (waiting(0, ErrorKind::Refused), 0.0, 10),
            (waiting(0, ErrorKind::Refused), 1.0, 9),
            (waiting(1_000, ErrorKind::Dns), 0.0, 20),
            (waiting(5_000, ErrorKind::Timeout), 0.0, 100),
            (waiting(5_000, ErrorKind::NotReady), 1.0, 90),
            (waiting(60_000, ErrorKind::Refused), 0.0, 250),
            (waiting(60_000, ErrorKind::Refused), 1.0, 225),
            (waiting(0, ErrorKind::Auth), 1.0, 1_000),
            (Pace::InStep(Duration::from_secs(5)), 0.0, 5_000),
            (Pace::InStep(Duration::from_secs(5)), 0.5, 5_250),
            (Pace::InStep(Duration::from_secs(5)), 1.0, 5_500),
        ] {
            assert_eq!(delay(pace, chance), Duration::from_millis(ms), "{pace:?} {chance}");
        }
    }
}
