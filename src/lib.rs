//! The library of the `portcullis` binary: which module may import which, and the course of one run.
//!
//! A module imports only from floors below its own, and modules of one floor do not import each other, except on the lowest and the highest
//! floor. `tests/tidy` reads this table and refuses any other import, and cycles between the modules of a folder.
//!
//! | floor | modules | knows |
//! |---|---|---|
//! | 0 words | `secret` `outcome` `exit` `clock` `hooked_stream` `sys` `log` `visible` `pinned` | nothing of ours |
//! | 1 | `config` `names` | what an operator may write, and its origin; the addresses of a host |
//! | 2 | `plan` | the validated plan of one run |
//! | 3 | `state` | the state of a run, and the only code that changes it: no I/O, no clock |
//! | 4 | `mailbox` `published` | the channel of events to the supervisor, and of its snapshots to readers |
//! | 5 | `view` `process` | a snapshot; a process and how it ended |
//! | 6 | `probe` `prepare` | one target; the files of a start |
//! | 7 | `prober` `migration` `heartbeat` `server` `control` `event_log` | the floors below and events, not each other |
//! | 8 | `supervisor` | the loop: perform effects, publish, take the next event |
//! | 9 | `command` | one subcommand each |
//! | 10 | `cli` `main` `fuzzing` | the command line; the entry points for `fuzz/`, built only by cargo-fuzz |
//!
//! One run: `main` blocks all signals, `cli` reads the command line, `plan::resolve` turns file and environment into a plan, or into a list
//! of all problems, `server` binds, `supervisor` opens the signalfd and begins: the prober probes what the start waits for, the migration
//! waits for its lock and runs once, the process is spawned, its startup check passes, the phase is running, the heartbeat writes `ready`.
//! TERM reverses this order: not ready, heartbeat withdrawn, drained, stopped, remaining processes ended, exit.
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
pub mod pinned;
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
