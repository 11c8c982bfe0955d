//! The migration lock in events: who holds it, what its holder prepares, and the news that its keeper brings.

use std::time::Duration;

use crate::exit::Exit;

/// Who is waited for by a replica whose mode does not migrate.
pub const ANOTHER_MODE: &str = "another replica, whose mode migrates";

/// Who holds the migration lock, as far as the lock tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockHolder {
    /// All that is known, in words.
    pub words: String,
    /// The replica's name.
    pub instance: Option<String>,
    /// Where it is.
    pub address: Option<String>,
    /// For how long it has been there.
    pub held: Option<Duration>,
    /// Whether it has ended since: the lock refused us for its sake, and is free or somebody else's by now.
    pub gone: bool,
}

impl LockHolder {
    /// One that has ended before it could be asked who it is.
    pub fn gone(words: &str) -> Self {
        Self { gone: true, ..words.into() }
    }
}

impl From<&str> for LockHolder {
    fn from(words: &str) -> Self {
        Self { words: words.to_owned(), ..Self::default() }
    }
}

/// What the lock's holder does before the migration runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// The last holder vanished without a word: it is given time to stop its migration.
    Settling,
    /// So many sessions of an earlier migration are still at work.
    Fencing(usize),
}

/// News of the migration lock.
#[derive(Clone, Debug)]
pub enum LockNews {
    /// Somebody else holds it.
    Queued(LockHolder),
    /// Whoever held it says that it is done.
    HandedOn,
    /// By the database's own words there is nothing to do; whether because it is ahead of this replica.
    Current {
        /// Whether the schema is newer than this replica's.
        ahead: bool,
    },
    /// By the database's own words there may be something to do; how long it took to say so.
    Checked(Duration),
    /// It is ours, but not safe yet.
    Preparing(Preparation),
    /// What the migration gets into its environment; comes before [`LockNews::Held`].
    Environment(Vec<(String, String)>),
    /// It is ours.
    Held,
    /// What the database says to the question after the migration.
    Verified(Result<(), String>),
    /// The answer to [`Effect::ConfirmLock`](super::Effect::ConfirmLock) where nothing was lost.
    Confirmed,
    /// It was ours and is not any more.
    Lost(String),
    /// It is not to be had: the code to end with, and why.
    Unavailable(Exit, String),
    /// It is given back.
    Released,
}
