//! What an operator may write, where it comes from, and how it is read: every problem at once, each with its place.

pub mod accounts;
pub mod argument;
pub mod check;
pub mod condition;
pub mod dify;
pub mod environment;
pub mod health;
pub mod heartbeat;
pub mod interpolate;
pub mod layers;
pub mod migration;
pub mod mode;
pub mod module;
pub mod node;
pub mod preset;
pub mod problem;
pub mod process;
pub mod reader;
pub mod schema;
pub mod source;
pub mod started;
pub mod target;
pub mod values;
