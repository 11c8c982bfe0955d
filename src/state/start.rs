//! The ordered start: a list of stages that is walked. A further kind of stage is a row here and its runner in the reducer.

use crate::plan::StepAt;

/// A stage of the start, in the order in which they are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartStage {
    /// Files are written, and what else comes before everything.
    Files,
    /// Steps that come before the waits.
    First,
    /// The modules that come before the waits are started, and awaited.
    FirstModules,
    /// The dependencies are waited for.
    Waits,
    /// Steps that come after the waits.
    Ready,
    /// The schema is migrated, or another replica is waited for that does.
    Migration,
    /// Steps that come after the migration.
    Migrated,
    /// The modules that start with the process are asked for; they come up beside it.
    Modules,
    /// The process is started, and its startup check awaited.
    Process,
    /// Steps beside the process, which is up.
    Up,
}

impl StartStage {
    /// Every stage in order.
    pub const ORDER: [Self; 10] = [
        Self::Files,
        Self::First,
        Self::FirstModules,
        Self::Waits,
        Self::Ready,
        Self::Migration,
        Self::Migrated,
        Self::Modules,
        Self::Process,
        Self::Up,
    ];

    /// The stage in which steps of this time are done.
    pub const fn of(at: StepAt) -> Self {
        match at {
            StepAt::Files => Self::Files,
            StepAt::First => Self::First,
            StepAt::Ready => Self::Ready,
            StepAt::Migrated => Self::Migrated,
            StepAt::Up => Self::Up,
        }
    }

    /// The word for the log and the drawing.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::First => "first",
            Self::FirstModules => "first_modules",
            Self::Waits => "waits",
            Self::Ready => "ready",
            Self::Migration => "migration",
            Self::Migrated => "migrated",
            Self::Modules => "modules",
            Self::Process => "process",
            Self::Up => "up",
        }
    }
}

/// Whether the walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The stage is through.
    Done,
    /// Something has to happen first.
    Pending,
}

/// Where the start stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartSequence {
    /// How many stages were begun; one more than there are once the last is through.
    begun: usize,
}

impl StartSequence {
    /// The stage that is under way; none before the first and after the last.
    pub fn stage(self) -> Option<StartStage> {
        self.begun.checked_sub(1).and_then(|index| StartStage::ORDER.get(index)).copied()
    }

    /// Moves on to the next stage; none when the last one is through.
    pub fn advance(&mut self) -> Option<StartStage> {
        self.begun = self.begun.saturating_add(1).min(StartStage::ORDER.len() + 1);
        self.stage()
    }

    /// Whether any stage was begun.
    pub const fn has_begun(self) -> bool {
        self.begun > 0
    }

    /// Whether this stage was begun.
    pub fn has_reached(self, stage: StartStage) -> bool {
        self.begun > StartStage::ORDER.iter().position(|other| *other == stage).unwrap_or(usize::MAX)
    }

    /// The word for the log and the drawing.
    pub fn word(self) -> &'static str {
        match self.begun {
            0 => "init",
            _ => self.stage().map_or("through", StartStage::word),
        }
    }
}
