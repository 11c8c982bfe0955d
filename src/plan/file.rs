//! A file of the start: what is done with it, whose it is then, and what may be done with it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::config::file::Unset;
use crate::config::interpolate::Text;
use crate::config::source::Environment;
pub use crate::config::values::FileMode;

/// A file, a directory or a link, and how it has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct FilePlan {
    /// Where it is; an absolute path.
    pub path: PathBuf,
    /// What is done with it.
    pub action: FileAction,
    /// Whose it is then; its creator's, or that of what was there, when none.
    pub owner: Option<Owner>,
    /// What may be done with it; as usual, or as with what was there, when none.
    pub mode: Option<FileMode>,
    /// Whether owner and mode hold for everything below it, too.
    pub recursive: bool,
    /// Whether what is there stays as it is.
    pub keep: bool,
    /// Whether only its owner may read it; none: where a secret goes in.
    pub secret: Option<bool>,
    /// To whom a file belongs into which a secret went and which names no owner: the user of the process.
    pub reader: Option<Owner>,
}

/// What is done with a file.
#[derive(Clone, Debug, PartialEq)]
pub enum FileAction {
    /// It gets this text.
    Write {
        /// The text, or where it comes from.
        text: FileText,
        /// Whether it is added to what is there, unless it is in it already.
        append: bool,
        /// What is replaced in it.
        replace: Vec<Replacement>,
    },
    /// It becomes a copy of this file or tree.
    Copy {
        /// What is copied.
        from: PathBuf,
        /// Whether what the source lacks goes.
        delete: bool,
        /// What is neither copied nor deleted: names, or paths below the source that begin with a `/`, with `*` for any text.
        exclude: Vec<String>,
        /// What is replaced in it; a file is wanted then.
        replace: Vec<Replacement>,
    },
    /// It is a directory.
    Directory,
    /// It is a symbolic link to this.
    Link(PathBuf),
    /// It is not there, nor anything below it.
    Remove,
    /// It is there; this is replaced in it, and it gets its owner and its mode.
    Change(Vec<Replacement>),
}

/// Where the text of a file comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FileText {
    /// The configuration.
    Content(Text),
    /// A file, which is read when its turn has come.
    Template {
        /// The file.
        from: PathBuf,
        /// The variables that are replaced in it; none: all, by the grammar of the configuration.
        variables: Option<Vec<String>>,
        /// What one becomes that is unset, where all are replaced.
        unset: Unset,
        /// What they are.
        values: Values,
    },
}

/// A text that takes the place of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// What is looked for; not empty.
    pub from: String,
    /// What takes its place.
    pub to: Text,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Whose something is; what is none stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: Option<u32>,
    /// The group's number.
    pub gid: Option<u32>,
}

/// The environment that a template is rendered with; printing it shows nothing.
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
    /// What is done with it in one line, without a text that goes into it.
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
