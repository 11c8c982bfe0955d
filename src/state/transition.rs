//! A transition of one of the state machines of a run, for the log and for the drawings.

use super::event::ProcessId;

/// One of the state machines of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// The ordered start.
    Start,
    /// One process.
    Process(ProcessId),
    /// The shutdown.
    Shutdown,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Process(ProcessId::Main) => f.write_str("process"),
            Self::Process(ProcessId::Migration) => f.write_str("migration"),
            Self::Process(ProcessId::Module(id)) => write!(f, "module {}", id.0),
            Self::Process(ProcessId::Step(id)) => write!(f, "step {id}"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// A transition, with the names of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    /// The machine.
    pub machine: Machine,
    /// The state that it left.
    pub from: &'static str,
    /// The state that it entered.
    pub to: &'static str,
}
