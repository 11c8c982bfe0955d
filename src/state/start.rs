//! The ordered start: a list of stages. To add a stage, add a row here and its runner to the reducer.

use crate::plan::StepAt;

/// A stage of the start, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartStage {
    /// Files are written, before everything else.
    Files,
    /// Steps before the waits.
    First,
    /// Modules with `start = "first"` are started, and awaited.
    FirstModules,
    /// The waits for dependencies.
    Waits,
    /// Steps after the waits.
    Ready,
    /// The migration, or the wait for another replica that migrates.
    Migration,
    /// Steps after the migration.
    Migrated,
    /// The modules that start with the process are requested; they come up beside it.
    Modules,
    /// The process is started, and its startup check awaited.
    Process,
    /// Steps beside the process, once it is up.
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

    /// The stage of steps at this point.
    pub const fn of(at: StepAt) -> Self {
        match at {
            StepAt::Files => Self::Files,
            StepAt::First => Self::First,
            StepAt::Ready => Self::Ready,
            StepAt::Migrated => Self::Migrated,
            StepAt::Up => Self::Up,
        }
    }

    /// The name in the log and the drawing.
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

/// Whether the start continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The stage is done.
    Done,
    /// It waits for an event.
    Pending,
}

/// The progress of the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartSequence {
    /// How many stages have begun; one more than their number once the last one is done.
    begun: usize,
}

impl StartSequence {
    /// The current stage; none before the first and after the last.
    pub fn stage(self) -> Option<StartStage> {
        self.begun.checked_sub(1).and_then(|index| StartStage::ORDER.get(index)).copied()
    }

    /// Moves on to the next stage; none after the last one.
    pub fn advance(&mut self) -> Option<StartStage> {
        self.begun = self.begun.saturating_add(1).min(StartStage::ORDER.len() + 1);
        self.stage()
    }

    /// Whether any stage has begun.
    pub const fn has_begun(self) -> bool {
        self.begun > 0
    }

    /// Whether this stage has begun.
    pub fn has_reached(self, stage: StartStage) -> bool {
        self.begun > StartStage::ORDER.iter().position(|other| *other == stage).unwrap_or(usize::MAX)
    }

    /// The name in the log and the drawing.
    pub fn word(self) -> &'static str {
        match self.begun {
            0 => "init",
            _ => self.stage().map_or("through", StartStage::word),
        }
    }
}
