//! Starts a command as a child in a group of its own, with clean signals, and says what is wrong when it cannot.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::executable::{Kind, kind};
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::plan::ProcessPlan;
use crate::plan::argv::Word;
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
    match spawn(plan, Command::new(plan.argv.program())) {
        // A script without a first line: shells and glibc's execvp run it by /bin/sh, musl and std do not.
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            let Some(script) = find(plan).filter(|file| kind(file) == Kind::Text) else { return Err(explain(plan, &error)) };
            let mut shell = Command::new("/bin/sh");
            shell.arg(script);
            spawn(plan, shell).map_err(|_| explain(plan, &error))
        }
        result => result.map_err(|error| explain(plan, &error)),
    }
}

fn spawn(plan: &ProcessPlan, mut command: Command) -> io::Result<i32> {
    command.args(plan.argv.words().iter().skip(1).map(Word::value));
    for name in &plan.env_remove {
        command.env_remove(name);
    }
    for (name, value) in &plan.env {
        command.env(name, value.value());
    }
    sys::prepare_child(&mut command, holds_terminal());
    // Dropping std's handle neither waits nor kills: the reaper owns all waiting.
    command.spawn().map(|child| child.id() as i32)
}

/// Whether we are the terminal's foreground group, so that it is ours to hand over.
fn holds_terminal() -> bool {
    let stdin = io::stdin();
    nix::unistd::tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group.as_raw() == sys::own_ids().1)
}

fn explain(plan: &ProcessPlan, error: &io::Error) -> SpawnError {
    let shown = plan.argv.words().first().map_or("", |word| word.shown());
    let found = find(plan);
    let kind = found.as_deref().map_or(Kind::Other, kind);
    let (exit, why) = match (error.raw_os_error(), kind) {
        (Some(libc::ENOENT), _) if found.is_none() => (Exit::NotFound, "it was not found; check the name, PATH and the image".to_owned()),
        (Some(libc::ENOENT), Kind::Script(interpreter)) => {
            (Exit::NotFound, format!("its interpreter {interpreter} is missing; install it or mend the first line"))
        }
        (Some(libc::ENOENT), Kind::Program { loader: Some(loader), .. }) => {
            (Exit::NotFound, format!("its loader {loader} is missing; the program was built for another kind of image"))
        }
        (Some(libc::ENOENT), _) => (Exit::NotFound, "its interpreter is missing; check what it needs".to_owned()),
        (Some(libc::ENOTDIR), _) => (Exit::NotFound, "a part of its path is not a directory; check the path".to_owned()),
        (Some(libc::EACCES), _) => {
            (Exit::NotExecutable, "it is not executable; check its mode, its directory and its mount options".to_owned())
        }
        (Some(libc::ENOEXEC), Kind::Program { machine, .. }) => {
            (Exit::NotExecutable, format!("it was built for {machine}, this is {}; check the image's platform", std::env::consts::ARCH))
        }
        (Some(libc::ENOEXEC), _) => (Exit::NotExecutable, "it is neither a program nor a script; check the file".to_owned()),
        (Some(libc::EAGAIN | libc::ENOMEM), _) => {
            (Exit::Internal, format!("the kernel has no room for another process ({error}); check the limits"))
        }
        _ => (Exit::NotExecutable, format!("{error}; check the command")),
    };
    SpawnError { code: exit.code(), sentence: format!("cannot start {shown}: {why}") }
}

/// Where the program is, as `execvp(3)` would look for it in the child's own PATH.
fn find(plan: &ProcessPlan) -> Option<PathBuf> {
    let program = plan.argv.program();
    if program.contains('/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let set = plan.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.value().to_owned());
    let path = set.or_else(|| Environment::of_process().get("PATH").map(str::to_owned));
    path.as_deref().unwrap_or("/bin:/usr/bin").split(':').map(|directory| Path::new(directory).join(program)).find(|file| file.exists())
}
