//! What is known of the migration: this replica's part in it, its lock, and the news of that lock.

use std::time::Duration;

use crate::clock::Moment;
use crate::exit::{Ended, Exit};

/// The part of this replica in the migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Migration {
    /// None yet, or none at all.
    #[default]
    Idle,
    /// Another replica holds the lock.
    Queued {
        /// Since when this replica queues.
        since: Moment,
        /// Who holds it, as far as the database tells.
        holder: String,
    },
    /// This replica holds the lock and runs the command.
    Holder {
        /// Since when.
        since: Moment,
    },
    /// It is over.
    Done,
}

/// What is remembered of the migration's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationLock {
    /// When this replica got it; none before.
    pub held_at: Option<Moment>,
    /// How often it was lost while the migration ran.
    pub lost: u64,
    /// What holds it: `postgres`, `file`, `redis`; none without a lock.
    pub kind: Option<&'static str>,
    /// What this replica does under it before the migration runs.
    pub preparing: Option<Preparation>,
    /// Who else held it, and when that was heard.
    pub holder: Option<(LockHolder, Moment)>,
    /// How often the command was started.
    pub attempts: u32,
    /// How it last ended.
    pub last_exit: Option<Ended>,
    /// Whether the schema was found to be newer than this replica's.
    pub ahead: bool,
    /// What it is doing now, and since when; none between two steps.
    pub step: Option<(MigrationStep, Moment)>,
    /// How long the command last ran.
    pub ran: Option<Duration>,
}

/// A step of the migration that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationStep {
    /// The lock is asked for.
    Asking,
    /// A command or a statement says whether there is anything to do.
    Checking,
    /// The migration's own command.
    Running,
    /// It is verified.
    Verifying,
}

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
    /// The answer to [`Effect::ConfirmLock`](super::event::Effect::ConfirmLock) where nothing was lost.
    Confirmed,
    /// It was ours and is not any more.
    Lost(String),
    /// It is not to be had: the code to end with, and why.
    Unavailable(Exit, String),
    /// It is given back.
    Released,
}
