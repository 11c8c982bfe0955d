//! What every command has, whoever runs it and for what: its command line, environment and attributes. It knows of nothing else in a plan.

use std::path::PathBuf;

use super::argv::{Argv, Word};
use crate::sys::start::Credentials;

/// A command, and what it is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandPlan {
    /// The command line, never empty.
    pub argv: Argv,
    /// Variables set for it on top of portcullis' own environment.
    pub env: Vec<(String, Word)>,
    /// Variables of portcullis' own environment that are not passed on.
    pub env_remove: Vec<String>,
    /// Its other attributes: user, directory, limits and so on.
    pub attributes: ProcessAttributes,
}

impl CommandPlan {
    /// A command that inherits everything from portcullis.
    pub fn new(argv: Argv) -> Self {
        Self { argv, env: Vec::new(), env_remove: Vec::new(), attributes: ProcessAttributes::default() }
    }

    /// The same command beside the process: with empty standard input, never in the terminal's foreground, and killed if portcullis dies.
    #[must_use]
    pub const fn aside(mut self) -> Self {
        self.attributes.aside = true;
        self.attributes.parent_death_signal = libc::SIGKILL;
        self
    }
}

/// The attributes of a process besides its environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessAttributes {
    /// Its user; none: the user of portcullis.
    pub user: Option<Credentials>,
    /// Its working directory; none: that of portcullis.
    pub directory: Option<PathBuf>,
    /// Its file mode creation mask.
    pub umask: Option<u32>,
    /// Its resource limits: `RLIMIT_…` of the kernel, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether set-user-ID programs give it no further privileges.
    pub no_new_privileges: bool,
    /// The signal that it gets if portcullis dies; 0: none.
    pub parent_death_signal: i32,
    /// The contents of its standard input, if it runs beside the process.
    pub input: Option<Word>,
    /// Whether it runs beside the process: with an empty standard input, and never in the terminal's foreground.
    pub aside: bool,
}
