//! The command line, and the subcommand for it.

mod dispatch;
mod grammar;
mod help;
mod options;
mod reading;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use dispatch::main;
pub use grammar::{Count, HELP, Opt, Positional, Subcommand};
pub use table::{SUBCOMMANDS, WITHOUT};
