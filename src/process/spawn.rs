//! Starts a command as a child in a group of its own, with clean signals, and says what is wrong when it cannot.

mod reason;

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::notify::{self, NotifyWays};
use super::{input, streams, terminal};
use crate::exit::Exit;
use crate::plan::ProcessPlan;
use crate::plan::argv::Word;
use crate::sys;
use crate::sys::start::{Birth, Credentials, Recipe};
pub use reason::too_long;

/// Where programs are looked for when PATH is not set at all, as libc's `execvp(3)` does.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// What every child inherits: what portcullis itself was given at its start.
#[derive(Clone, Debug, Default)]
pub struct InheritedEnvironment {
    /// The environment, byte for byte.
    pub environment: BTreeMap<OsString, OsString>,
    /// The working directory; none when it could not be told.
    pub directory: Option<PathBuf>,
    /// Descriptors above 2 that were passed to us to be passed on, for example listening sockets.
    pub descriptors: Vec<i32>,
    /// Resource limits that are our own: what children have in their place, as in [`Recipe::limits`].
    pub limits: Vec<(u32, u64, u64)>,
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

    /// The kernel has no room for its standard input.
    fn no_input(plan: &ProcessPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: there is no room for its standard input ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// The kernel has no room for what it could tell its readiness by.
    pub fn no_reports(plan: &ProcessPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: there is no room for its readiness notification ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// There is no room for the process, or for the thread that starts it.
    pub(super) fn no_process(name: &str, error: &io::Error) -> Self {
        let sentence = format!("cannot start {name}: the kernel has no room for another process ({error}); check the limits");
        Self { code: Exit::Internal.code(), sentence }
    }

    /// Every thread that starts programs is held by one that hangs.
    pub(super) fn too_many_hang(name: &str) -> Self {
        let why = "programs that were started before hang in their files, and hold every thread for that";
        Self { code: Exit::Internal.code(), sentence: format!("cannot start {name}: {why}; check the file systems they are on") }
    }
}

/// A command that can be started on any thread.
#[derive(Debug)]
pub struct PreparedCommand {
    recipe: Recipe,
    /// Whether the streams that it inherits are its user's rather than another's.
    has_precedence: bool,
    /// Its name for messages.
    name: String,
    /// Where it starts, for relative paths.
    home: PathBuf,
    candidates: Vec<PathBuf>,
    /// Kept open for the child.
    _input: Option<File>,
}

/// Prepares the command; no file of it is touched. What `ways` names has to stay open until the process is born.
///
/// Standard input, output and error are inherited, and so is every other descriptor that is not ours.
///
/// # Errors
/// No word of a command may hold a NUL byte.
pub fn prepare(plan: &ProcessPlan, inherited: &InheritedEnvironment, ways: &NotifyWays) -> Result<PreparedCommand, SpawnError> {
    let environment = environment(plan, inherited, ways);
    let (candidates, home) = (candidates(plan, &environment), directory(plan, inherited));
    let own_input = input::of(&plan.attributes).map_err(|error| SpawnError::no_input(plan, &error))?;
    let recipe = Recipe {
        argv: plan.argv.words().iter().map(|word| c_string(word.value())).collect::<Result<_, _>>().map_err(|()| unusable(plan))?,
        candidates: candidates.iter().filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok()).collect(),
        env: entries(&environment),
        directory: home.clone().and_then(|path| CString::new(path.into_os_string().into_vec()).ok()),
        credentials: plan.attributes.user.clone().filter(|who| !is_us(who)),
        umask: plan.attributes.umask,
        limits: inherited.limits.iter().chain(&plan.attributes.limits).copied().collect(),
        no_new_privileges: plan.attributes.no_new_privileges,
        parent_death_signal: plan.attributes.parent_death_signal,
        terminal: !plan.attributes.aside && terminal::is_ours(),
        // Sockets that were passed to us are the main process': held open elsewhere, their ports would outlive it.
        withheld: if plan.attributes.aside { inherited.descriptors.clone() } else { Vec::new() },
        // What becomes 0, 1 or 2 goes first: what is passed as a higher number may lie where one of these is.
        pass: own_input.iter().map(|file| (file.as_raw_fd(), libc::STDIN_FILENO)).chain(ways.pass.iter().copied()).collect(),
    };
    Ok(PreparedCommand {
        recipe,
        has_precedence: !plan.attributes.aside,
        name: shown(plan).to_owned(),
        home: home.unwrap_or_default(),
        candidates,
        _input: own_input,
    })
}

impl PreparedCommand {
    /// The program's name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it gets a signal when the thread ends that starts it.
    pub fn is_tied_to_thread(&self) -> bool {
        self.recipe.parent_death_signal != 0
    }

    /// Starts it, and comes back once it executes: as late as the files that this needs answer. `birth` tells its pid before that. The
    /// caller reaps it, also where the start has failed after it was born.
    ///
    /// # Errors
    /// What failed, on what, why, and what to check.
    pub fn start(self, birth: &Birth) -> Result<(), SpawnError> {
        if let Some(who) = &self.recipe.credentials {
            let others: Vec<i32> = self.recipe.pass.iter().map(|(_, theirs)| *theirs).collect();
            streams::give_to(who.uid, &others, self.has_precedence);
        }
        self.recipe.start(birth).map_err(|(step, error)| self.explain(step, &error))
    }
}

/// Where the child starts: the plan's directory, relative to our own.
fn directory(plan: &ProcessPlan, inherited: &InheritedEnvironment) -> Option<PathBuf> {
    let own = inherited.directory.clone();
    match &plan.attributes.directory {
        Some(path) => Some(own.unwrap_or_default().join(path)),
        None => own,
    }
}

/// What portcullis got, less what the plan takes away, plus what it sets. The line to our own supervisor is not the child's.
fn environment(plan: &ProcessPlan, inherited: &InheritedEnvironment, ways: &NotifyWays) -> BTreeMap<OsString, OsString> {
    let mut environment = inherited.environment.clone();
    let withheld: &[&str] = if plan.attributes.aside { &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] } else { &[] };
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

/// The paths at which the program of this command may be, as its child looks for it.
pub fn places(plan: &ProcessPlan, inherited: &InheritedEnvironment) -> Vec<PathBuf> {
    let home = directory(plan, inherited).unwrap_or_default();
    candidates(plan, &environment(plan, inherited, &NotifyWays::default())).into_iter().map(|path| home.join(path)).collect()
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

fn shown(plan: &ProcessPlan) -> &str {
    plan.argv.words().first().map_or("", Word::shown)
}

fn unusable(plan: &ProcessPlan) -> SpawnError {
    let sentence = format!("cannot start {}: a word of the command holds a NUL byte; check the variables in it", shown(plan));
    SpawnError { code: Exit::NotExecutable.code(), sentence }
}
