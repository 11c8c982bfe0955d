//! One file a subcommand: from what was asked to what is printed.

pub mod plan;
pub mod preset;
