//! The place where a value was written.

use std::fmt;
use std::sync::Arc;

/// The name of the built-in configuration of a run without file and preset; it cannot be printed as a preset.
pub const ENVIRONMENT: &str = "environment";

/// The place where a value was written; ordered as problems are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A built-in preset.
    Preset {
        /// The preset's name.
        name: Arc<str>,
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// The configuration file.
    File {
        /// The path as it was given.
        path: Arc<str>,
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// An environment variable, by its name; or several, with commas between.
    Variable(Arc<str>),
    /// An option of the command line, as `--mode`.
    Flag(Arc<str>),
}

impl Origin {
    /// Whether text from there is used unchanged: a `$` has no meaning in a variable's value or an option.
    pub const fn verbatim(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset { name, .. } if **name == *ENVIRONMENT => f.write_str("the environment"),
            Self::Preset { name, line, .. } => write!(f, "line {line} of `portcullis preset {name}`"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Variable(names) if names.contains(',') => write!(f, "environment variables {names}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}
