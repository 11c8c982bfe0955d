//! Time between two questions: backing off while a check is waited for, in step once it passed.

use std::time::Duration;

use crate::outcome::ErrorKind;

/// How often a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is waited for and does not pass yet.
    Waiting {
        /// Since it was first asked.
        waited: Duration,
        /// What it last yielded.
        kind: ErrorKind,
    },
    /// It once passed, or its peer is not to be asked more often: in step from here on, with this interval.
    InStep(Duration),
}

/// Time from an answer to the next question; `chance` is 0 to 1.
///
/// While waiting: 10 ms at first, then 3 % of the time already waited, 250 ms at most, less up to a tenth; so the start is
/// late by a few per cent at most and a server that boots is not flooded. Wrong credentials do not get right by themselves
/// and may lock the account: once a second. In step: the interval and up to a tenth more, so that replicas do not beat together
/// and a peer is asked once an interval at most.
pub fn delay(pace: Pace, chance: f64) -> Duration {
    match pace {
        Pace::Waiting { kind: ErrorKind::Auth, .. } => Duration::from_secs(1),
        Pace::Waiting { waited, .. } => {
            waited.mul_f64(0.03).clamp(Duration::from_millis(10), Duration::from_millis(250)).mul_f64(1.0 - 0.1 * chance)
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
            (waiting(1_000, ErrorKind::Dns), 0.0, 30),
            (waiting(5_000, ErrorKind::Timeout), 0.0, 150),
            (waiting(5_000, ErrorKind::NotReady), 1.0, 135),
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
