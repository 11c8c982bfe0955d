//! The state of a module.

use super::{Child, CopyOnWrite, StageState};
use crate::clock::Moment;
use crate::plan::ModuleId;

/// The state of a module, with the names of Koupleless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModuleState {
    /// Known, and not started.
    #[default]
    Resolved,
    /// Starting: it waits for others, or its startup check has not passed yet.
    Starting,
    /// It runs, and its startup check has passed.
    Activated,
    /// Being stopped.
    Stopping,
    /// It was stopped, or ended as intended.
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

    /// The name for display.
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
    /// The name that all its instances share.
    pub table: String,
    /// Its version; empty if unknown.
    pub version: String,
    /// Its state.
    pub state: ModuleState,
    /// Whether its start counts for the status.
    pub counts: bool,
    /// The path of its web pages, for `/actuator/info`; empty if it has none.
    pub web_path: String,
    /// Since when it has had this state.
    pub since: Moment,
    /// Its process.
    pub child: CopyOnWrite<Child>,
    /// Why its start failed or how it ended, in words: a detail.
    pub trouble: Option<String>,
    /// While it waits to start: the name of the stopped module that it waits for, directly or through others. It waits until that one is
    /// started.
    pub held_up_by: Option<String>,
    /// How many control requests were accepted; it grows when a new one is accepted.
    pub orders: u64,
}
