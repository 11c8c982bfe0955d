//! The library behind the `portcullis` binary.

pub mod clock;
pub mod command;
pub mod config;
pub mod exit;
pub mod mailbox;
pub mod outcome;
pub mod plan;
pub mod published;
pub mod secret;
pub mod state;
