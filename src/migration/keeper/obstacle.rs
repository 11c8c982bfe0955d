//! Why a replica does not have the lock yet, and how this is reported.

use std::fmt;

use crate::outcome::Failure;
use crate::probe::dial::shown;
use crate::state::event::LockHolder;

/// Why this replica does not have the lock yet.
pub(super) enum Obstacle {
    /// The first attempt is not answered yet.
    Silence,
    Taken(LockHolder),
    Failed(Failure),
}

impl Obstacle {
    /// Logs that the database itself is the obstacle, once for each kind.
    pub(super) fn log(&self, before: &Self, place: &str) {
        match (self, before) {
            (Self::Failed(now), Self::Failed(before)) if now == before => {}
            (Self::Failed(failure), _) => tracing::warn!(
                lock = place,
                kind = failure.kind.word(),
                why = failure.private.as_str(),
                "the migration lock cannot be requested"
            ),
            _ => {}
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("the database did not answer"),
            Self::Taken(LockHolder { words, held, .. }) => {
                let since = held.map(|held| format!(", connected for {}", shown(held))).unwrap_or_default();
                write!(f, "held by {words}{since}; check whether its migration still runs")
            }
            Self::Failed(failure) => {
                write!(f, "{} ({}); {}", failure.reason().words(), failure.private.as_str(), failure.reason().advice())
            }
        }
    }
}
