//! Starts a command as a child in a group of its own, with clean signals, and says what is wrong when it cannot.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::exit::Exit;
use crate::plan::ProcessPlan;
use crate::sys;

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The code to end with: 127 not found, 126 not executable, 70 when the kernel has no room for another process.
    pub code: u8,
    /// What failed, on what, why, and what to check.
    pub sentence: String,
}

/// Starts the command and returns its pid. The caller reaps it; must run on the thread that waits for children.
///
/// Standard input, output and error are inherited, and so is every other descriptor that is not ours.
pub fn start(plan: &ProcessPlan) -> Result<i32, SpawnError> {
    let mut command = Command::new(plan.argv.program());
    command.args(plan.argv.words().iter().skip(1).map(super::super::plan::argv::Word::value));
    for name in &plan.env_remove {
        command.env_remove(name);
    }
    for (name, value) in &plan.env {
        command.env(name, value.value());
    }
    sys::prepare_child(&mut command, holds_terminal());
    match command.spawn() {
        // Dropping std's handle neither waits nor kills: the reaper owns all waiting.
        Ok(child) => Ok(child.id() as i32),
        Err(error) => Err(explain(plan, &error)),
    }
}

/// Whether we are the terminal's foreground group, so that it is ours to hand over.
fn holds_terminal() -> bool {
    let stdin = io::stdin();
    nix::unistd::tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group.as_raw() == sys::own_ids().1)
}

fn explain(plan: &ProcessPlan, error: &io::Error) -> SpawnError {
    let program = plan.argv.program();
    let shown = plan.argv.words().first().map_or("", |word| word.shown());
    let (exit, why) = match error.raw_os_error() {
        Some(libc::ENOENT) if find(program, plan).is_none() => {
            (Exit::NotFound, "it was not found; check the name, PATH and the image".to_owned())
        }
        Some(libc::ENOENT) => (Exit::NotFound, format!("{}; install it or mend the first line", missing_interpreter(program, plan))),
        Some(libc::ENOTDIR) => (Exit::NotFound, "a part of its path is not a directory; check the path".to_owned()),
        Some(libc::EACCES) => (Exit::NotExecutable, "it is not executable; check its mode, its directory and its mount options".to_owned()),
        Some(libc::ENOEXEC) => {
            (Exit::NotExecutable, "it is no program for this machine; check its architecture or its first line".to_owned())
        }
        Some(libc::EAGAIN | libc::ENOMEM) => {
            (Exit::Internal, format!("the kernel has no room for another process ({error}); check the limits"))
        }
        _ => (Exit::NotExecutable, format!("{error}; check the command")),
    };
    SpawnError { code: exit.code(), sentence: format!("cannot start {shown}: {why}") }
}

/// Where the program is, as `execvp(3)` would look for it.
fn find(program: &str, plan: &ProcessPlan) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let set = plan.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.value().to_owned());
    let path = set.or_else(|| crate::config::source::Environment::of_process().get("PATH").map(str::to_owned));
    path.as_deref().unwrap_or("/bin:/usr/bin").split(':').map(|directory| Path::new(directory).join(program)).find(|file| file.exists())
}

/// Names the interpreter of a file that is there and still "not found".
fn missing_interpreter(program: &str, plan: &ProcessPlan) -> String {
    let first_line = find(program, plan).and_then(|file| std::fs::read(file).ok()).and_then(|bytes| {
        let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
    });
    first_line.map_or_else(|| "its dynamic loader is missing in this image".to_owned(), |name| format!("its interpreter {name} is missing"))
}
