//! Starts a command as a child in a group of its own, with clean signals, and says what is wrong when it cannot.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::executable::{Kind, kind};
use super::notify::{self, NotifyWays};
use super::{streams, terminal};
use crate::exit::Exit;
use crate::plan::ProcessPlan;
use crate::plan::argv::Word;
use crate::sys;
use crate::sys::start::{Credentials, Recipe, Step};

/// Where programs are looked for when PATH is not set at all, as libc's `execvp(3)` does.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// What every child inherits: what portcullis itself was given at its start.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment, byte for byte.
    pub environment: BTreeMap<OsString, OsString>,
    /// The working directory; none when it could not be told.
    pub directory: Option<PathBuf>,
    /// Descriptors above 2 that were passed to us to be passed on, for example listening sockets.
    pub descriptors: Vec<i32>,
}

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The code to end with: 127 not found, 126 not executable, 70 when the kernel has no room for another process.
    pub code: u8,
    /// What failed, on what, why, and what to check.
    pub sentence: String,
}

impl SpawnError {
    /// The kernel has no room for what the output goes through.
    pub(super) fn no_pipe(plan: &ProcessPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: there is no room for the pipes of its output ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// The kernel has no room for what it could tell its readiness by.
    pub fn no_reports(plan: &ProcessPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: there is no room for its readiness notification ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }
}

/// Starts the command and returns its pid. The caller reaps it; must run on the thread that waits for children.
///
/// Standard input, output and error are inherited, and so is every other descriptor that is not ours.
pub fn start(plan: &ProcessPlan, surroundings: &Surroundings, ways: &NotifyWays) -> Result<i32, SpawnError> {
    let environment = environment(plan, surroundings, ways);
    let candidates = candidates(plan, &environment);
    let nothing = plan.conditions.aside.then(|| File::open("/dev/null").ok()).flatten();
    let input = nothing.as_ref().map(|file| (file.as_raw_fd(), libc::STDIN_FILENO));
    let mut recipe = Recipe {
        argv: plan.argv.words().iter().map(|word| c_string(word.value())).collect::<Result<_, _>>().map_err(|()| unusable(plan))?,
        candidates: candidates.iter().filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok()).collect(),
        env: entries(&environment),
        directory: directory(plan, surroundings).and_then(|path| CString::new(path.into_os_string().into_vec()).ok()),
        credentials: plan.conditions.user.clone().filter(|who| !is_us(who)),
        umask: plan.conditions.umask,
        limits: plan.conditions.limits.clone(),
        no_new_privileges: plan.conditions.no_new_privileges,
        parent_death_signal: plan.conditions.parent_death_signal,
        terminal: !plan.conditions.aside && terminal::is_ours(),
        // What becomes 0, 1 or 2 goes first: what is passed as a higher number may lie where one of these is.
        pass: input.into_iter().chain(ways.pass.iter().copied()).collect(),
    };
    if let Some(who) = &recipe.credentials {
        let others: Vec<i32> = recipe.pass.iter().map(|(_, theirs)| *theirs).collect();
        streams::give_to(who.uid, &others, !plan.conditions.aside);
    }
    // Sockets that were passed to us are the main process': held open elsewhere, their ports would outlive it.
    let withheld: &[i32] = if plan.conditions.aside { &surroundings.descriptors } else { &[] };
    for descriptor in withheld {
        sys::descriptors::survive_exec(*descriptor, false);
    }
    let result = match recipe.start() {
        // A script without a first line: shells and glibc's execvp run it by /bin/sh, musl does not.
        Err((Step::Exec, error)) if error.raw_os_error() == Some(libc::ENOEXEC) => match text_file(plan, surroundings, &candidates) {
            Some(script) => {
                recipe.candidates = vec![c"/bin/sh".to_owned()];
                recipe.argv.splice(..1, [c"/bin/sh".to_owned(), script]);
                recipe.start().map_err(|(step, again)| if step == Step::Exec { (step, error) } else { (step, again) })
            }
            None => Err((Step::Exec, error)),
        },
        result => result,
    };
    for descriptor in withheld {
        sys::descriptors::survive_exec(*descriptor, true);
    }
    result.map_err(|(step, error)| explain(plan, surroundings, &candidates, step, &error))
}

/// Where the child starts: the plan's directory, relative to our own.
fn directory(plan: &ProcessPlan, surroundings: &Surroundings) -> Option<PathBuf> {
    let own = surroundings.directory.clone();
    match &plan.conditions.directory {
        Some(path) => Some(own.unwrap_or_default().join(path)),
        None => own,
    }
}

/// What portcullis got, less what the plan takes away, plus what it sets. The line to our own supervisor is not the child's.
fn environment(plan: &ProcessPlan, surroundings: &Surroundings, ways: &NotifyWays) -> BTreeMap<OsString, OsString> {
    let mut environment = surroundings.environment.clone();
    let withheld: &[&str] = if plan.conditions.aside { &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] } else { &[] };
    for name in plan.env_remove.iter().map(String::as_str).chain(notify::VARIABLES).chain(withheld.iter().copied()) {
        environment.remove(&OsString::from(name));
    }
    environment.extend(ways.environment.iter().cloned());
    environment.extend(plan.env.iter().map(|(name, value)| (name.into(), value.value().into())));
    environment
}

/// The environment as `execve(2)` wants it. Sockets that were passed to us are the child's now, so `LISTEN_PID` becomes its pid.
fn entries(environment: &BTreeMap<OsString, OsString>) -> Vec<CString> {
    let ours = sys::own_ids().0.to_string();
    environment
        .iter()
        .filter_map(|(name, value)| {
            if name == "LISTEN_PID" && value.to_str() == Some(&ours) {
                return Some(Recipe::LISTEN_PID.to_owned());
            }
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec()).ok()
        })
        .collect()
}

/// The paths at which the program may be, as `execvp(3)` would try them with the child's own PATH.
fn candidates(plan: &ProcessPlan, environment: &BTreeMap<OsString, OsString>) -> Vec<PathBuf> {
    let program = plan.argv.program();
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = environment.get(&OsString::from("PATH")).map_or(DEFAULT_PATH.as_bytes(), |path| path.as_bytes());
    let directories = path.split(|byte| *byte == b':').map(|directory| Path::new(std::ffi::OsStr::from_bytes(directory)));
    directories.map(|directory| directory.join(program)).collect()
}

fn c_string(word: &str) -> Result<CString, ()> {
    CString::new(word).map_err(drop)
}

/// Whether there is nothing to change: an image that names its user already may not change it again.
fn is_us(who: &Credentials) -> bool {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    !uid.is_root() && uid.as_raw() == who.uid && gid.as_raw() == who.gid
}

/// The first candidate that is there, when it is text.
fn text_file(plan: &ProcessPlan, surroundings: &Surroundings, candidates: &[PathBuf]) -> Option<CString> {
    let home = directory(plan, surroundings).unwrap_or_default();
    let file = candidates.iter().find(|path| home.join(path).is_file())?;
    (kind(&home.join(file)) == Kind::Text).then(|| CString::new(file.as_os_str().as_bytes()).ok()).flatten()
}

fn shown(plan: &ProcessPlan) -> &str {
    plan.argv.words().first().map_or("", Word::shown)
}

fn unusable(plan: &ProcessPlan) -> SpawnError {
    let sentence = format!("cannot start {}: a word of the command holds a NUL byte; check the variables in it", shown(plan));
    SpawnError { code: Exit::NotExecutable.code(), sentence }
}

fn explain(plan: &ProcessPlan, surroundings: &Surroundings, candidates: &[PathBuf], step: Step, error: &io::Error) -> SpawnError {
    let (exit, why) = match step {
        Step::Fork => (Exit::Internal, format!("the kernel has no room for another process ({error}); check the limits")),
        Step::Pass => (Exit::Internal, format!("a descriptor cannot be passed to it ({error})")),
        Step::Limit => (Exit::NotExecutable, format!("its resource limits cannot be set ({error}); check them against the container's")),
        Step::Directory => (Exit::NotExecutable, format!("its working directory cannot be entered ({error}); check that it exists")),
        Step::Credentials => {
            let needs = "portcullis has to run as root for that, with the capabilities SETUID and SETGID";
            (Exit::NotExecutable, format!("its user cannot be taken on ({error}); {needs}"))
        }
        Step::Exec => explain_exec(plan, surroundings, candidates, error),
    };
    SpawnError { code: exit.code(), sentence: format!("cannot start {}: {why}", shown(plan)) }
}

fn explain_exec(plan: &ProcessPlan, surroundings: &Surroundings, candidates: &[PathBuf], error: &io::Error) -> (Exit, String) {
    let home = directory(plan, surroundings).unwrap_or_default();
    let found = candidates.iter().map(|path| home.join(path)).find(|path| path.exists());
    let kind = found.as_deref().map_or(Kind::Other, kind);
    match (error.raw_os_error(), kind) {
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
        _ => (Exit::NotExecutable, format!("{error}; check the command")),
    }
}
