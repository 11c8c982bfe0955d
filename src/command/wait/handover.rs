//! The end of a wait: executes the command in place of this process.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::report;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::process::spawn::too_long;
use crate::sys;

/// Executes the command with default signal handling; returns only if that fails.
pub(super) fn become_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return Exit::Success.code() };
    sys::release_signals();
    let error = Command::new(program).args(arguments).exec();
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
        let environment = Environment::of_process();
        let variables = environment.variables().iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let why = too_long(&words, variables);
        report::say(&format!("cannot start {}: {why}; exit code {}", program.to_string_lossy(), Exit::NotExecutable.code()));
        return Exit::NotExecutable.code();
    }
    let (exit, check) = match error.kind() {
        io::ErrorKind::NotFound => (Exit::NotFound, "check the name, PATH and the image"),
        _ => (Exit::NotExecutable, "check that it is a program for this platform and executable"),
    };
    report::say(&format!("cannot start {}: {error}; {check}; exit code {}", program.to_string_lossy(), exit.code()));
    exit.code()
}
