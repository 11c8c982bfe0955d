//! Why a command could not be started, in words.

use std::io;
use std::path::PathBuf;

use super::{PreparedCommand, SpawnError};
use crate::exit::Exit;
use crate::process::executable::{FileKind, is_nowhere, kind};
use crate::sys::start::SpawnStep;

/// The kernel's limit for one argument or one variable in bytes, including its name and the final NUL (MAX_ARG_STRLEN, 32 pages;
/// execve(2)).
const LONGEST_STRING: usize = 32 * 4096;

/// Why the kernel reports that the argument list is too long (E2BIG): a single string, which is named but not shown, or all together.
pub fn too_long<'a>(words: &[&[u8]], variables: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let variables: Vec<(&[u8], usize)> = variables.map(|(name, value)| (name, name.len() + value.len() + 2)).collect();
    let all: usize = words.iter().map(|word| word.len() + 1).chain(variables.iter().map(|(_, length)| *length)).sum();
    let longest_variable = variables.iter().max_by_key(|(_, length)| *length).filter(|(_, length)| *length > LONGEST_STRING);
    let longest_word = words.iter().position(|word| word.len() >= LONGEST_STRING);
    if let Some((name, length)) = longest_variable {
        let name = String::from_utf8_lossy(name);
        return format!("the variable {name} has {length} bytes, and the kernel accepts {LONGEST_STRING}; shorten it, or use a file");
    }
    if let Some(number) = longest_word {
        let what = if number == 0 { "its name".to_owned() } else { format!("argument {number} of the command") };
        return format!("{what} is longer than the {LONGEST_STRING} bytes that the kernel accepts; shorten it, or use a file");
    }
    format!("its arguments and environment have {all} bytes, more than the kernel accepts (a quarter of the stack limit); shorten them")
}

impl PreparedCommand {
    pub(super) fn explain(&self, step: SpawnStep, error: &io::Error) -> SpawnError {
        let (exit, why) = match step {
            SpawnStep::Fork => return SpawnError::no_process(&self.name, error),
            SpawnStep::Pass => (Exit::Internal, format!("a descriptor cannot be passed to it ({error})")),
            SpawnStep::Limit => {
                (Exit::NotExecutable, format!("its resource limits cannot be set ({error}); check them against the container's"))
            }
            SpawnStep::Directory => {
                (Exit::NotExecutable, format!("its working directory cannot be entered ({error}); check that it exists"))
            }
            SpawnStep::Credentials => {
                let needs = "portcullis has to run as root for that, with the capabilities SETUID and SETGID";
                (Exit::NotExecutable, format!("its user cannot be set ({error}); {needs}"))
            }
            SpawnStep::Exec => self.explain_exec(error),
        };
        SpawnError { code: exit.code(), sentence: format!("cannot start {}: {why}", self.name) }
    }

    fn explain_exec(&self, error: &io::Error) -> (Exit, String) {
        let places: Vec<PathBuf> = self.candidates.iter().map(|path| self.home.join(path)).collect();
        let found = places.iter().find(|path| path.exists());
        let kind = found.map_or(FileKind::Other, |path| kind(path));
        match (error.raw_os_error(), kind) {
            (Some(libc::ENOENT), _) if found.is_none() => {
                let program = self.recipe.argv.first().map_or("", |word| word.to_str().unwrap_or_default());
                (Exit::NotFound, is_nowhere(program, &places))
            }
            (Some(libc::ENOENT), FileKind::Script(interpreter)) => {
                (Exit::NotFound, format!("its interpreter {interpreter} is missing; install it or fix the first line"))
            }
            (Some(libc::ENOENT), FileKind::Program { loader: Some(loader), .. }) => {
                (Exit::NotFound, format!("its loader {loader} is missing; the program was built for another kind of image"))
            }
            (Some(libc::ENOENT), _) => (Exit::NotFound, "its interpreter is missing; check what it needs".to_owned()),
            (Some(libc::ENOTDIR), _) => (Exit::NotFound, "a part of its path is not a directory; check the path".to_owned()),
            (Some(libc::EACCES), FileKind::NoFile(what)) => {
                (Exit::NotExecutable, format!("it is not executable: it is {what}; check the path"))
            }
            (Some(libc::EACCES), _) => {
                (Exit::NotExecutable, "it is not executable; check its mode, its directory and its mount options".to_owned())
            }
            (Some(libc::ENOEXEC), FileKind::Program { machine, .. }) => {
                (Exit::NotExecutable, format!("it was built for {machine}, this is {}; check the image's platform", std::env::consts::ARCH))
            }
            (Some(libc::E2BIG), _) => {
                let words: Vec<&[u8]> = self.recipe.argv.iter().map(|word| word.to_bytes()).collect();
                let variables = self.recipe.env.iter().filter_map(|entry| {
                    let bytes = entry.to_bytes();
                    let end = bytes.iter().position(|byte| *byte == b'=')?;
                    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
                });
                (Exit::NotExecutable, too_long(&words, variables))
            }
            (Some(libc::ENOEXEC), _) => (Exit::NotExecutable, "it is neither a program nor a script; check the file".to_owned()),
            _ => (Exit::NotExecutable, format!("{error}; check the command")),
        }
    }
}
