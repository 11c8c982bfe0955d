//! A file of the start: its contents, owner and permissions.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::config::file::Unset;
use crate::config::interpolate::Text;
use crate::config::source::Environment;
pub use crate::config::values::FileMode;

/// A file, a directory or a link, and its required state.
#[derive(Clone, Debug, PartialEq)]
pub struct FilePlan {
    /// Its absolute path.
    pub path: PathBuf,
    /// What is done with it.
    pub action: FileAction,
    /// Its owner; none: that of the existing file, else the creator.
    pub owner: Option<Owner>,
    /// Its permissions; none: those of the existing file, else the usual ones.
    pub mode: Option<FileMode>,
    /// Whether owner and mode also apply to everything below it.
    pub recursive: bool,
    /// Whether an existing file is left unchanged.
    pub keep: bool,
    /// Whether only its owner may read it; none: if it contains a secret.
    pub secret: Option<bool>,
    /// The owner of a file that contains a secret and has no `owner`: the user of the process.
    pub reader: Option<Owner>,
}

/// What is done with a file.
#[derive(Clone, Debug, PartialEq)]
pub enum FileAction {
    /// Write this text.
    Write {
        /// The text, or its source.
        text: FileText,
        /// Whether it is appended to the existing file, unless the file contains it already.
        append: bool,
        /// The replacements in it.
        replace: Vec<Replacement>,
    },
    /// Copy this file or tree.
    Copy {
        /// The source.
        from: PathBuf,
        /// Whether entries that the source does not have are deleted.
        delete: bool,
        /// Entries that are neither copied nor deleted: names, or paths below the source that begin with a `/`; `*` matches any text.
        exclude: Vec<String>,
        /// The replacements in it; the source then has to be a file.
        replace: Vec<Replacement>,
    },
    /// Create a directory.
    Directory,
    /// Create a symbolic link to this.
    Link(PathBuf),
    /// Remove it, with everything below it.
    Remove,
    /// Change an existing file: these replacements, its owner and its mode.
    Change(Vec<Replacement>),
}

/// The source of the text of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum FileText {
    /// The configuration.
    Content(Text),
    /// A file, which is read when the entry is applied.
    Template {
        /// The file.
        from: PathBuf,
        /// The variables that are replaced in it; none: all, by the grammar of the configuration.
        variables: Option<Vec<String>>,
        /// How an unset one is replaced, if all are replaced.
        unset: Unset,
        /// Their values.
        values: Values,
    },
}

/// A replacement of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// The text to replace; not empty.
    pub from: String,
    /// The replacement.
    pub to: Text,
    /// Whether it may be missing.
    pub optional: bool,
}

/// An owner; a part that is none is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: Option<u32>,
    /// The group's number.
    pub gid: Option<u32>,
}

/// The environment for rendering a template; printing it shows nothing.
#[derive(Clone)]
pub struct Values(pub Arc<Environment>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment")
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.0.variables() == other.0.variables()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(uid) = self.uid {
            write!(f, "{uid}")?;
        }
        self.gid.map_or(Ok(()), |gid| write!(f, ":{gid}"))
    }
}

impl fmt::Display for FilePlan {
    /// The action in one line, without the contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, action, owner, mode, recursive, keep, .. } = self;
        write!(f, "{}", path.display())?;
        match action {
            FileAction::Write { text: FileText::Content(_), append: false, .. } => write!(f, ": a text of the configuration")?,
            FileAction::Write { text: FileText::Content(_), .. } => write!(f, ": gets a text of the configuration at its end")?,
            FileAction::Write { text: FileText::Template { from, .. }, append, .. } => {
                let end = if *append { " at its end" } else { "" };
                write!(f, ": rendered from {}{end}", from.display())?;
            }
            FileAction::Copy { from, delete, .. } => {
                let delete = if *delete { ", and nothing else" } else { "" };
                write!(f, ": a copy of {}{delete}", from.display())?;
            }
            FileAction::Directory => write!(f, ": a directory")?,
            FileAction::Link(target) => write!(f, ": a link to {}", target.display())?,
            FileAction::Remove => write!(f, ": removed")?,
            FileAction::Change(replace) if replace.is_empty() => {}
            FileAction::Change(_) => write!(f, ": texts in it replaced")?,
        }
        if let Some(owner) = owner {
            write!(f, ", owner {owner}")?;
        }
        if let Some(mode) = mode {
            write!(f, ", mode {mode}")?;
        }
        if *recursive {
            write!(f, ", with everything below it")?;
        }
        if *keep { write!(f, ", unless it is there") } else { Ok(()) }
    }
}
