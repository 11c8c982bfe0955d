//! The sources of a configuration: the only module that reads the environment of the process and secret files, and selects the
//! configuration file.

mod arguments;
mod keeping;
mod making;
mod processors;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, getegid, geteuid, gethostname};

use crate::pinned::{Last, PinnedPath, Refusal};
pub use making::CommandRunner;

/// The default paths of the configuration file.
const DEFAULT_FILES: [&str; 2] = ["/etc/portcullis.toml", "portcullis.toml"];

/// A larger secret file is a mistake, `/dev/zero` for one.
const LARGEST_SECRET_FILE: u64 = 1 << 20;

/// The environment of the process, passed as an argument so that tests can set it. Copies share the variables until one of them changes them: each
/// part of a configuration is read in a copy of its own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<BTreeMap<OsString, OsString>>,
    host_name: String,
    /// How many processors this process may use; none: the number from the kernel, read when needed.
    processors: Option<usize>,
    ids: (u32, u32),
    instance: Option<u32>,
    each: Option<Found>,
    item_number: Option<usize>,
    /// The variables that the configuration sets; they override `variables`.
    set: Arc<BTreeMap<String, making::Set>>,
    /// The generated values so far, by name; shared by all copies.
    made: Arc<Mutex<BTreeMap<String, String>>>,
    /// The values to keep, by the path of their file; shared by all copies.
    kept: Arc<Mutex<BTreeMap<PathBuf, String>>>,
    /// The signal that ended the start during a condition's command, 0 before; shared by all copies.
    stopped: Arc<AtomicI32>,
    command_runner: Option<Arc<dyn CommandRunner>>,
    /// Whether nothing is generated or run, because the start did that.
    recalling: bool,
    /// The arguments after the options of portcullis that no rule or option has used yet.
    arguments: Vec<String>,
    /// The results of `[conditions]`, by name; shared by all copies, because each is evaluated once.
    answers: Arc<Mutex<BTreeMap<String, bool>>>,
    /// Where `/proc` and the cgroups are; none if there are no limits.
    root: Option<PathBuf>,
    default_files: Vec<PathBuf>,
    /// The base of relative paths; the working directory if empty.
    directory: PathBuf,
}

/// A variable's value for an interpolation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The value; without the newline at its end if it comes from a file.
    pub value: String,
    /// Whether it is a secret in any case, because it was read from the file that `NAME_FILE` names.
    pub secret: bool,
}

impl Environment {
    /// The environment of this process, its host name, and the default paths of the configuration file.
    pub fn of_process() -> Self {
        // Not collected, which would sort all of them first.
        let mut variables = BTreeMap::new();
        variables.extend(std::env::vars_os());
        Self {
            variables: Arc::new(variables),
            host_name: gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            ids: (geteuid().as_raw(), getegid().as_raw()),
            root: Some(PathBuf::from("/")),
            default_files: DEFAULT_FILES.map(PathBuf::from).to_vec(),
            ..Self::default()
        }
    }

    /// An environment of these variables, host `localhost`, user and group 1000, four processors and no default file.
    pub fn new<N: Into<OsString>, V: Into<OsString>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self {
            variables: Arc::new(variables),
            host_name: "localhost".to_owned(),
            processors: Some(4),
            ids: (1000, 1000),
            ..Self::default()
        }
    }

    /// The same after a change of the working directory: relative paths begin at `directory`.
    #[must_use]
    pub fn at(self, directory: PathBuf) -> Self {
        Self { directory, ..self }
    }

    /// A variable's own value; none if it is unset or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name))?.to_str()
    }

    /// Every variable byte for byte; children get those of [`children`](crate::config::children).
    pub fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }

    /// The kernel's name of this host; in a container its id or its configured name.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    fn own_processors(&self) -> usize {
        let of_process = || {
            let is_set = |set: &CpuSet, cpu| set.is_set(cpu).unwrap_or(false);
            sched_getaffinity(Pid::from_raw(0)).map_or(1, |set| (0..CpuSet::count()).filter(|cpu| is_set(&set, *cpu)).count())
        };
        self.processors.unwrap_or_else(of_process).max(1)
    }

    /// The processors that this process may use, counted as `nproc(1)` counts: affinity, `OMP_NUM_THREADS`, `OMP_THREAD_LIMIT`.
    pub fn processors(&self) -> usize {
        let number = |name: &str| {
            self.variables.get(OsStr::new(name))?.to_str()?.split(',').next()?.trim().parse::<usize>().ok().filter(|number| *number > 0)
        };
        let available = number("OMP_NUM_THREADS").unwrap_or_else(|| self.own_processors());
        number("OMP_THREAD_LIMIT").map_or(available, |limit| available.min(limit))
    }

    /// The processors that the cgroups of this process grant and its affinity allows, rounded up; at least 1.
    pub fn granted_processors(&self) -> usize {
        let own = self.own_processors();
        self.root.as_deref().map_or(own, |root| processors::granted(root, own))
    }

    /// User and group of this process.
    pub fn ids(&self) -> (u32, u32) {
        self.ids
    }

    /// The item of a step's `each` that is being read; none outside of a step.
    pub fn each(&self) -> Option<&Found> {
        self.each.as_ref()
    }

    /// The number of that item, from 1.
    pub fn item_number(&self) -> Option<usize> {
        self.item_number
    }

    /// The same environment for item `number` of a step's `each`; `secret` if no part of the item may be shown.
    #[must_use]
    pub fn of_item(&self, value: impl Into<String>, secret: bool, number: usize) -> Self {
        Self { each: Some(Found { value: value.into(), secret }), item_number: Some(number), ..self.clone() }
    }

    /// The number of the module's instance that is being read; none outside of one.
    pub fn instance(&self) -> Option<u32> {
        self.instance
    }

    /// The same environment for this instance of a module.
    #[must_use]
    pub fn of_instance(&self, number: u32) -> Self {
        Self { instance: Some(number), ..self.clone() }
    }

    /// Names of all variables that are text, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().filter_map(|name| name.to_str())
    }

    /// Whether `name` is set to something.
    pub fn nonempty(&self, name: &str) -> bool {
        self.variables.get(OsStr::new(name)).is_some_and(|value| !value.is_empty())
    }

    /// The value of `name`, or the text of the file that `NAME_FILE` names if `name` is unset or empty; an error message if that fails.
    pub fn lookup(&self, name: &str) -> Result<Option<Found>, String> {
        // A value of the configuration overrides a file that the container names.
        if let Some(set) = self.set.get(name) {
            return Ok(set.found.clone());
        }
        let own = self.variables.get(OsStr::new(name));
        let file_variable = format!("{name}_FILE");
        let file = self.variables.get(OsStr::new(&file_variable)).filter(|path| !path.is_empty());
        match (own, file) {
            (Some(value), Some(_)) if !value.is_empty() => Err(format!("both {name} and {file_variable} are set; unset one of them")),
            (_, Some(path)) => {
                let path = &self.directory.join(path);
                let text =
                    read_secret(path).map_err(|why| format!("cannot read {}, which {file_variable} names: {why}", path.display()))?;
                Ok(Some(Found { value: text, secret: true }))
            }
            (Some(value), None) => match value.to_str() {
                Some(value) => Ok(Some(Found { value: value.to_owned(), secret: false })),
                None => Err(format!("the value of {name} is not UTF-8")),
            },
            (None, None) => Ok(None),
        }
    }

    /// `path` made absolute: relative paths begin at the working directory.
    pub fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }

    /// The configuration file: the one named by a flag, else by `PORTCULLIS_CONFIG`, else the first default one that exists.
    pub fn file(&self, flag: Option<&Path>) -> Option<PathBuf> {
        if let Some(path) = flag {
            return Some(self.directory.join(path));
        }
        if let Some(path) = self.variables.get(OsStr::new("PORTCULLIS_CONFIG")).filter(|path| !path.is_empty()) {
            return Some(self.directory.join(path));
        }
        self.default_files.iter().map(|path| self.directory.join(path)).find(|path| path.exists())
    }
}

/// Opens a regular file; anything else might block forever before portcullis handles signals.
pub fn open_file(path: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a regular file")) }
}

/// The text of a file of 1 MiB at most, without the newline at its end. Another user of the container cannot make us read a file of root:
/// it is opened by the rules of `pinned`.
pub fn read_secret(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let open = || -> Result<_, Refusal> { PinnedPath::existing(&path, Last::Followed)?.open() };
    let (file, _) = open().map_err(|refusal| refusal.to_string())?;
    file.take(LARGEST_SECRET_FILE + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_SECRET_FILE {
        return Err("it is larger than 1 MiB".to_owned());
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn secret_file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_secret_file_stands_in_for_an_unset_or_empty_variable() {
        let path = secret_file("stands-in", "hunter 2 \n");
        let file = || ("DB_PASSWORD_FILE", path.to_str().unwrap());
        for environment in [Environment::new([file()]), Environment::new([file(), ("DB_PASSWORD", "")])] {
            let found = environment.lookup("DB_PASSWORD").unwrap().unwrap();
            assert_eq!((found.value.as_str(), found.secret), ("hunter 2 ", true));
        }
        let both = Environment::new([file(), ("DB_PASSWORD", "x")]);
        assert_eq!(both.lookup("DB_PASSWORD").err().unwrap(), "both DB_PASSWORD and DB_PASSWORD_FILE are set; unset one of them");
        std::fs::remove_file(&path).unwrap();
        assert!(Environment::new([file()]).lookup("DB_PASSWORD").err().unwrap().contains("No such file"));
    }

    #[test]
    fn bytes_that_are_not_text_disturb_only_requests_for_them() {
        let environment = Environment::new([("BAD", OsString::from_vec(vec![0xff])), ("GOOD", OsString::from("1"))]);
        assert_eq!(environment.names().count(), 2);
        assert!(environment.lookup("GOOD").unwrap().is_some());
        assert_eq!(environment.lookup("BAD").err().unwrap(), "the value of BAD is not UTF-8");
        assert!(environment.nonempty("BAD"));
    }

    #[test]
    fn processors_are_counted_as_nproc_counts() {
        let count = |variables: &[(&str, &str)]| Environment::new(variables.iter().copied()).processors();
        assert_eq!(count(&[]), 4);
        assert_eq!(count(&[("OMP_NUM_THREADS", "7,2")]), 7);
        assert_eq!(count(&[("OMP_NUM_THREADS", "7"), ("OMP_THREAD_LIMIT", "3")]), 3);
        assert_eq!(count(&[("OMP_NUM_THREADS", "0")]), 4);
        assert!(Environment::of_process().processors() > 0);
    }
}
