//! Starts, signals and reaps children, all on the thread that waits for them.

pub mod capture;
pub mod children;
pub mod descendants;
pub mod executable;
pub mod hooks;
mod input;
mod lineage;
pub mod memory;
pub mod notify;
pub mod output;
pub mod signals;
pub mod spawn;
mod starter;
mod streams;
pub mod terminal;
