//! The library behind the `portcullis` binary.

pub mod clock;
pub mod exit;
pub mod mailbox;
pub mod migration;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod prober;
pub mod published;
pub mod registry;
pub mod secret;
pub mod state;
