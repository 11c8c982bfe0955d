//! What can be said on the command line, and who answers it.

mod asked;
mod dispatch;
mod grammar;
mod help;
mod reading;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use dispatch::main;
pub use grammar::{Count, HELP, Opt, Subcommand, Word};
pub use table::{SUBCOMMANDS, WITHOUT};
