//! The state of the migration: this replica's role, its lock, and the news of that lock.

use std::time::Duration;

use crate::clock::Moment;
use crate::exit::{Ended, Exit};

/// The role of this replica in the migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Migration {
    /// None yet, or none at all.
    #[default]
    Idle,
    /// Another replica holds the lock.
    Queued {
        /// Since when this replica waits.
        since: Moment,
        /// Who holds it, as far as the database shows.
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

/// The data about the migration lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationLock {
    /// When this replica got it; none before that.
    pub held_at: Option<Moment>,
    /// How often it was lost while the migration ran.
    pub lost: u64,
    /// What holds it: `postgres`, `file`, `redis`; none without a lock.
    pub kind: Option<&'static str>,
    /// What this replica does under the lock before the migration runs.
    pub preparing: Option<Preparation>,
    /// The last other holder, and when it was reported.
    pub holder: Option<(LockHolder, Moment)>,
    /// How often the command was started.
    pub attempts: u32,
    /// How it last ended.
    pub last_exit: Option<Ended>,
    /// Whether the schema is newer than this replica.
    pub ahead: bool,
    /// The current activity, and since when; none between two activities.
    pub step: Option<(MigrationStep, Moment)>,
    /// How long the command last ran.
    pub ran: Option<Duration>,
}

/// A step of the migration that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationStep {
    /// The lock is requested.
    Asking,
    /// A command or a statement checks whether there is anything to do.
    Checking,
    /// The migration's own command.
    Running,
    /// The verification.
    Verifying,
}

/// The holder that is shown while a replica whose mode does not migrate waits.
pub const ANOTHER_MODE: &str = "another replica, whose mode migrates";

/// Who holds the migration lock, as far as the lock shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockHolder {
    /// All that is known, in words.
    pub words: String,
    /// The replica's name.
    pub instance: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// How long it has been connected.
    pub held: Option<Duration>,
    /// Whether it has ended meanwhile: the lock was refused because of it, and is now free or held by another.
    pub gone: bool,
}

impl LockHolder {
    /// A holder that ended before it could be identified.
    pub fn gone(words: &str) -> Self {
        Self { gone: true, ..words.into() }
    }
}

impl From<&str> for LockHolder {
    fn from(words: &str) -> Self {
        Self { words: words.to_owned(), ..Self::default() }
    }
}

/// What the holder of the lock does before the migration runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// The last holder disappeared without releasing the lock: it has time to stop its migration.
    Settling,
    /// This many sessions of an earlier migration are still at work.
    Fencing(usize),
}

/// News of the migration lock.
#[derive(Clone, Debug)]
pub enum LockNews {
    /// Another replica holds it.
    Queued(LockHolder),
    /// The holder announced that it is done.
    HandedOn,
    /// The statement says that there is nothing to do; with whether the schema is ahead of this replica.
    Current {
        /// Whether the schema is newer than this replica.
        ahead: bool,
    },
    /// The statement says that there may be something to do; with its duration.
    Checked(Duration),
    /// It is held, but not safe yet.
    Preparing(Preparation),
    /// Variables for the migration; sent before [`LockNews::Held`].
    Environment(Vec<(String, String)>),
    /// It is held.
    Held,
    /// The result of the verification in the database.
    Verified(Result<(), String>),
    /// The reply to [`Effect::ConfirmLock`](super::event::Effect::ConfirmLock) if the lock was not lost.
    Confirmed,
    /// It was lost.
    Lost(String),
    /// It is not available; with the exit code and the reason.
    Unavailable(Exit, String),
    /// It is released.
    Released,
}
