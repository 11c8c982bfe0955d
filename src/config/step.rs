//! `[[steps]]`: what is done once in the ordered start, before the process or beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When something is done in the ordered start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StepAt {
    /// Before everything else: where files stand by default.
    Files,
    /// Before the dependencies are waited for, and after the files.
    First,
    /// After the dependencies were waited for.
    Ready,
    /// After the migration, before the process.
    #[default]
    Migrated,
    /// Beside the process, once it is up.
    Up,
}

impl StepAt {
    /// Every time, in order.
    pub const ALL: [Self; 5] = [Self::Files, Self::First, Self::Ready, Self::Migrated, Self::Up];
}

/// What the failure of a step means for the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnFailure {
    /// The start ends with the exit code of the step.
    Stop,
    /// It is logged, and the start goes on.
    Continue,
}

impl OnFailure {
    /// What is meant where nothing is said: beside a process that is up, a step does not stop it.
    pub const fn default_at(at: StepAt) -> Self {
        if matches!(at, StepAt::Up) { Self::Continue } else { Self::Stop }
    }
}
