//! The binary from outside, on real servers: one module a capability.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::format_push_string)]

mod aarch64;
mod clients;
mod config;
mod control;
mod dify;
mod docker;
mod gate;
mod health;
mod healthcheck;
mod heartbeat;
mod kubernetes;
mod load;
mod log;
mod migration;
mod modules;
mod neighbours;
mod output;
mod page;
mod pid1_notify;
mod pid1_restart;
mod pid1_signals;
mod pid1_start;
mod pid1_stop;
mod pid1_terminal;
mod presets;
mod privileges;
mod process;
mod registry;
mod schema;
mod secrets;
mod status;
mod support;
mod targets;
