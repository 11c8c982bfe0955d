//! What is known of a module.

use super::{Child, StageState};
use crate::clock::Moment;
use crate::plan::ModuleId;

/// Where a module stands, in the words of Koupleless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModuleState {
    /// Known, and not started.
    #[default]
    Resolved,
    /// Being started: it waits for others, or its startup check has not passed yet.
    Starting,
    /// It runs, and its startup check has passed.
    Activated,
    /// Being stopped.
    Stopping,
    /// It was stopped, or has ended and was meant to.
    Deactivated,
    /// Its start failed, or it ended by itself.
    Broken,
}

impl ModuleState {
    /// Koupleless' `bizState`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resolved | Self::Starting => "RESOLVED",
            Self::Activated => "ACTIVATED",
            Self::Stopping | Self::Deactivated => "DEACTIVATED",
            Self::Broken => "BROKEN",
        }
    }

    /// The word for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Resolved => "not started",
            Self::Starting => "starting",
            Self::Activated => "up",
            Self::Stopping => "stopping",
            Self::Deactivated => "stopped",
            Self::Broken => "failed",
        }
    }

    /// What it means for the start.
    pub const fn step(self) -> StageState {
        match self {
            Self::Resolved | Self::Starting => StageState::Unknown,
            Self::Activated => StageState::Up,
            Self::Stopping | Self::Deactivated | Self::Broken => StageState::Down,
        }
    }
}

/// A further process beside the main one. Its start is the stage `module:NAME`, its runtime check has its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its number.
    pub id: ModuleId,
    /// Its name.
    pub name: String,
    /// The name that it shares with the other instances.
    pub table: String,
    /// Its version; empty when nobody says one.
    pub version: String,
    /// Where it stands.
    pub state: ModuleState,
    /// Whether its start counts for the status.
    pub counts: bool,
    /// Where its pages are, for `/actuator/info`; empty without.
    pub web_path: String,
    /// Since when it stands there.
    pub since: Moment,
    /// Its process.
    pub child: Child,
    /// Why its start failed or how it ended, in words: a detail.
    pub trouble: Option<String>,
    /// While it waits to be started: the name of the module at rest that holds it up, because it, or one that it waits for, comes after
    /// that. Nothing happens until somebody starts that one.
    pub held_up_by: Option<String>,
    /// How many orders were taken; one that was just given has been seen when this has grown.
    pub orders: u64,
}
