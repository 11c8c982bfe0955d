//! The library behind the `portcullis` binary: a map of who may know whom, and the life of one run in order.
//!
//! A module imports only from floors below its own, and modules of one floor do not know each other, but for the words and for the
//! program itself, the lowest and the highest floor. `tests/tidy` reads this table and refuses what it does not allow, and circles
//! between the modules of any folder.
//!
//! | floor | modules | know |
//! |---|---|---|
//! | 0 words | `secret` `outcome` `exit` `clock` `hooked_stream` `sys` `log` `visible` | nothing of ours |
//! | 1 | `config` `names` | what an operator may write, and where it comes from; which addresses a host has |
//! | 2 | `plan` | the validated orders of one run |
//! | 3 | `state` | what is known of a run, and the one place where it changes: no I/O, no clock |
//! | 4 | `mailbox` `published` | the way of events to the supervisor, and of its snapshots to readers |
//! | 5 | `view` `process` | a snapshot, or a command line and how it ended |
//! | 6 | `probe` `prepare` | one target; the files of a start |
//! | 7 | `prober` `migration` `heartbeat` `server` `control` `event_log` | floors below and events, not each other |
//! | 8 | `supervisor` | the loop: perform effects, publish, take the next event |
//! | 9 | `command` | one subcommand each |
//! | 10 | `cli` `main` `fuzzing` | what can be said; the doors for `fuzz/`, built by cargo-fuzz alone |
//!
//! One run: `main` blocks all signals, `cli` reads the command line, `plan::resolve` turns file and environment into orders or
//! into every problem at once, `server` binds, `supervisor` opens the signalfd and begins: the prober asks what is waited for,
//! the migration queues for its lock and runs once, the process is spawned, its startup check passes, the phase is running,
//! the heartbeat writes `ready`. TERM turns that order round: not ready, withdrawn, drained, stopped, seen off, exit.
//! `docs/architecture.md` goes through it by function: a start, a failing check up to every view, and TERM.

pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod event_log;
pub mod exit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod heartbeat;
pub mod hooked_stream;
pub mod log;
pub mod mailbox;
pub mod migration;
pub mod names;
pub mod outcome;
pub mod plan;
pub mod prepare;
pub mod probe;
pub mod prober;
pub mod process;
pub mod published;
pub mod secret;
pub mod server;
pub mod state;
pub mod supervisor;
pub mod sys;
pub mod view;
pub mod visible;
