//! Starts a command as a child in its own process group, with default signal handling, and explains errors.

mod reason;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::notify::{self, NotifyWays};
use super::{input, streams, terminal};
use crate::exit::Exit;
use crate::plan::CommandPlan;
use crate::plan::argv::Word;
use crate::sys;
use crate::sys::start::{Birth, Credentials, Recipe};
pub use reason::too_long;

/// The search path if PATH is not set, as in libc's `execvp(3)`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// What every child inherits from the start of portcullis itself.
#[derive(Clone, Debug, Default)]
pub struct InheritedEnvironment {
    /// The environment, byte for byte.
    pub environment: BTreeMap<OsString, OsString>,
    /// The working directory; none if unknown.
    pub directory: Option<PathBuf>,
    /// Inherited descriptors above 2 that are passed on, for example listening sockets.
    pub descriptors: Vec<i32>,
    /// Resource limits that portcullis changed for itself: the original values for children, as in [`Recipe::limits`].
    pub limits: Vec<(u32, u64, u64)>,
}

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The exit code: 127 not found, 126 not executable, 70 if the kernel cannot create another process.
    pub code: u8,
    /// What failed, on what, why, and what to check.
    pub sentence: String,
}

impl SpawnError {
    /// The pipes for its output cannot be created.
    pub(super) fn no_pipe(plan: &CommandPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: the pipes for its output cannot be created ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// Its standard input cannot be created.
    fn no_input(plan: &CommandPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: its standard input cannot be created ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// Its readiness channel cannot be created.
    pub fn no_reports(plan: &CommandPlan, error: &io::Error) -> Self {
        let sentence = format!("cannot start {}: its readiness channel cannot be created ({error}); check the limits", shown(plan));
        Self { code: Exit::Internal.code(), sentence }
    }

    /// The kernel cannot create the process, or the thread that starts it.
    pub(super) fn no_process(name: &str, error: &io::Error) -> Self {
        let sentence = format!("cannot start {name}: the kernel cannot create another process ({error}); check the limits");
        Self { code: Exit::Internal.code(), sentence }
    }

    /// Every thread that starts programs is blocked by a hanging one.
    pub(super) fn too_many_hang(name: &str) -> Self {
        let why = "all threads for starting programs are blocked by program files that do not respond";
        Self { code: Exit::Internal.code(), sentence: format!("cannot start {name}: {why}; check their file systems") }
    }
}

/// A command that can be started on any thread.
#[derive(Debug)]
pub struct PreparedCommand {
    recipe: Recipe,
    /// Whether its user takes precedence as owner of the inherited streams.
    has_precedence: bool,
    /// Its name for messages.
    name: String,
    /// Its working directory, for relative paths.
    home: PathBuf,
    candidates: Vec<PathBuf>,
    /// Kept open for the child.
    _input: Option<File>,
}

/// Prepares the command without accessing its files. The descriptors in `ways` have to stay open until the process exists.
///
/// Standard input, output and error are inherited, and so are all other descriptors that are not ours.
///
/// # Errors
/// A word of the command contains a NUL byte.
pub fn prepare(plan: &CommandPlan, inherited: &InheritedEnvironment, ways: &NotifyWays) -> Result<PreparedCommand, SpawnError> {
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

    /// Whether it gets a signal at the end of the thread that starts it.
    pub fn is_tied_to_thread(&self) -> bool {
        self.recipe.parent_death_signal != 0
    }

    /// Starts it, and returns once it executes, which may block on its files. `birth` reports its pid before that. The caller reaps it,
    /// also if the start failed after the process existed.
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

/// The child's working directory: that of the plan, relative to our own.
fn directory(plan: &CommandPlan, inherited: &InheritedEnvironment) -> Option<PathBuf> {
    let own = inherited.directory.clone();
    match &plan.attributes.directory {
        Some(path) => Some(own.unwrap_or_default().join(path)),
        None => own,
    }
}

/// The environment of portcullis, without the variables that the plan removes, plus those that it sets. The child does not get our own
/// notify socket.
fn environment(plan: &CommandPlan, inherited: &InheritedEnvironment, ways: &NotifyWays) -> BTreeMap<OsString, OsString> {
    let mut environment = inherited.environment.clone();
    let withheld: &[&str] = if plan.attributes.aside { &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] } else { &[] };
    for name in plan.env_remove.iter().map(String::as_str).chain(notify::VARIABLES).chain(withheld.iter().copied()) {
        environment.remove(OsStr::new(name));
    }
    environment.extend(ways.environment.iter().cloned());
    environment.extend(plan.env.iter().map(|(name, value)| (name.into(), value.value().into())));
    environment
}

/// The environment for `execve(2)`. Inherited sockets now belong to the child, so `LISTEN_PID` becomes its pid.
fn entries(environment: &BTreeMap<OsString, OsString>) -> Vec<CString> {
    let ours = sys::own_ids().0.to_string();
    environment
        .iter()
        .filter_map(|(name, value)| {
            if name == "LISTEN_PID" && value.to_str() == Some(&ours) {
                return Some(Recipe::LISTEN_PID.to_owned());
            }
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect()
}

/// The possible paths of the program of this command, as its child searches for it.
pub fn places(plan: &CommandPlan, inherited: &InheritedEnvironment) -> Vec<PathBuf> {
    let home = directory(plan, inherited).unwrap_or_default();
    candidates(plan, &environment(plan, inherited, &NotifyWays::default())).into_iter().map(|path| home.join(path)).collect()
}

/// The possible paths of the program, as `execvp(3)` would try them with the child's PATH.
fn candidates(plan: &CommandPlan, environment: &BTreeMap<OsString, OsString>) -> Vec<PathBuf> {
    let program = plan.argv.program();
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = environment.get(&OsString::from("PATH")).map_or(DEFAULT_PATH.as_bytes(), |path| path.as_bytes());
    let directories = path.split(|byte| *byte == b':').map(|directory| Path::new(OsStr::from_bytes(directory)));
    directories.map(|directory| directory.join(program)).collect()
}

fn c_string(word: &str) -> Result<CString, ()> {
    CString::new(word).map_err(drop)
}

/// Whether there is nothing to change: a container that already runs as this user may not be allowed to change it.
fn is_us(who: &Credentials) -> bool {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    !uid.is_root() && uid.as_raw() == who.uid && gid.as_raw() == who.gid
}

fn shown(plan: &CommandPlan) -> &str {
    plan.argv.words().first().map_or("", Word::shown)
}

fn unusable(plan: &CommandPlan) -> SpawnError {
    let sentence = format!("cannot start {}: a word of the command contains a NUL byte; check the variables in it", shown(plan));
    SpawnError { code: Exit::NotExecutable.code(), sentence }
}
