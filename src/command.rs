//! The subcommands, one file each, from its arguments to an exit code.

pub mod healthcheck;
pub(crate) mod http_client;
pub mod interrupt;
pub mod order;
pub mod plan;
pub mod preset;
pub mod printing;
pub mod ready;
pub mod run;
mod stability;
pub mod status;
pub mod wait;
