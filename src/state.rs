//! The state of one run, and the only place where it changes.

pub mod check;
pub mod checks;
pub mod copy_on_write;
pub mod event;
pub mod instances;
pub mod lifecycle;
pub mod migration;
pub mod phase;
pub mod process;
pub mod shutdown;
pub mod snapshot;
pub mod start;
pub mod transition;
