//! A condition that is evaluated when it is needed, because it depends on files that may still appear, or on commands.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::CommandPlan;
use crate::config::source::open_file;

/// How much of a file is searched for a text.
const SEARCHED: u64 = 16 << 20;

/// A condition in which all known parts are already evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ConditionPlan {
    /// It always holds.
    #[default]
    Always,
    /// It never holds.
    Never,
    /// A property of a path.
    Path(PathTest),
    /// Whether a command exits with 0.
    Command(Box<CommandPlan>),
    /// A condition that must not hold.
    Not(Box<Self>),
    /// Conditions that all have to hold.
    All(Vec<Self>),
    /// Conditions of which one has to hold.
    Any(Vec<Self>),
}

/// A test of a path; links are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTest {
    /// The path, absolute.
    pub path: PathBuf,
    /// Whether it has to be a directory; otherwise it must not be one.
    pub directory: bool,
    /// The tested property.
    pub property: PathProperty,
}

/// A property of a file or of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathProperty {
    /// It exists.
    Exists,
    /// It is empty, or does not exist.
    Empty,
    /// It is a regular file that portcullis may execute.
    Executable,
    /// Portcullis may read it.
    Readable,
    /// Portcullis may write to it.
    Writable,
    /// The file's text contains this; the directory has an entry of this name.
    Contains(String),
}

impl ConditionPlan {
    /// A condition that is decided.
    pub const fn of(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }

    /// Whether it holds, if that is already known.
    pub const fn constant(&self) -> Option<bool> {
        match self {
            Self::Always => Some(true),
            Self::Never => Some(false),
            _ => None,
        }
    }

    /// Whether it is already known.
    pub const fn is_constant(&self) -> bool {
        self.constant().is_some()
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        let mut open: Vec<Self> = conditions.into_iter().filter(|condition| *condition != Self::Always).collect();
        match open.len() {
            0 => Self::Always,
            _ if open.contains(&Self::Never) => Self::Never,
            1 => open.swap_remove(0),
            _ => Self::All(open),
        }
    }

    /// One of them.
    #[must_use]
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        let mut open: Vec<Self> = conditions.into_iter().filter(|condition| *condition != Self::Never).collect();
        match open.len() {
            0 => Self::Never,
            _ if open.contains(&Self::Always) => Self::Always,
            1 => open.swap_remove(0),
            _ => Self::Any(open),
        }
    }

    /// Whether it holds now; `run` says whether a command exits with 0. It reads the file system and blocks: never call it on the thread that owns
    /// the signals. Evaluation stops as soon as the result is known.
    pub fn holds(&self, run: &mut dyn FnMut(&CommandPlan) -> bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Path(test) => test.holds(),
            Self::Command(command) => run(command),
            Self::Not(inner) => !inner.holds(run),
            Self::All(all) => all.iter().all(|condition| condition.holds(run)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(run)),
        }
    }

    /// The commands that may run.
    pub fn commands(&self) -> Vec<&CommandPlan> {
        match self {
            Self::Command(command) => vec![command],
            Self::Not(inner) => inner.commands(),
            Self::All(several) | Self::Any(several) => several.iter().flat_map(Self::commands).collect(),
            Self::Always | Self::Never | Self::Path(_) => Vec::new(),
        }
    }
}

impl PathTest {
    /// Whether the path has the property now. It blocks.
    pub fn holds(&self) -> bool {
        let found = std::fs::metadata(&self.path).ok().filter(|found| found.is_dir() == self.directory);
        let is_regular = found.as_ref().is_some_and(std::fs::Metadata::is_file);
        match &self.property {
            PathProperty::Exists => found.is_some(),
            PathProperty::Empty if self.directory => std::fs::read_dir(&self.path).map_or(true, |mut entries| entries.next().is_none()),
            PathProperty::Empty => found.is_none_or(|found| found.len() == 0),
            PathProperty::Executable => is_regular && eaccess(&self.path, AccessFlags::X_OK).is_ok(),
            PathProperty::Readable => found.is_some() && eaccess(&self.path, AccessFlags::R_OK).is_ok(),
            PathProperty::Writable => found.is_some() && eaccess(&self.path, AccessFlags::W_OK).is_ok(),
            PathProperty::Contains(name) if self.directory => {
                found.is_some() && std::fs::read_dir(&self.path).is_ok_and(|mut entries| entries.any(|entry| is_named(entry, name)))
            }
            PathProperty::Contains(text) => is_regular && contains(&self.path, text.as_bytes()).unwrap_or(false),
        }
    }
}

fn is_named(entry: std::io::Result<std::fs::DirEntry>, name: &str) -> bool {
    entry.is_ok_and(|entry| entry.file_name() == name)
}

/// Whether the searched part of a file contains these bytes.
fn contains(path: &Path, wanted: &[u8]) -> std::io::Result<bool> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let (mut file, mut window, mut part) = (open_file(path)?.take(SEARCHED), Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = file.read(&mut part)?;
        if length == 0 {
            return Ok(false);
        }
        window.extend_from_slice(part.get(..length).unwrap_or_default());
        if window.windows(wanted.len()).any(|found| found == wanted) {
            return Ok(true);
        }
        // The end of the block may be the beginning of the text, so it is kept.
        let kept = window.len().min(wanted.len() - 1);
        window.drain(..window.len() - kept);
    }
}

impl fmt::Display for ConditionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, several: &[Self], word: &str| {
            for (index, one) in several.iter().enumerate() {
                let between = if index > 0 { word } else { "" };
                match one {
                    Self::All(_) | Self::Any(_) => write!(f, "{between}({one})")?,
                    _ => write!(f, "{between}{one}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Always => f.write_str("always"),
            Self::Never => f.write_str("never"),
            Self::Path(test) => test.write(f, true),
            Self::Command(command) => write!(f, "`{}` ends with 0", command.argv),
            Self::Not(inner) => match inner.as_ref() {
                Self::Path(test) => test.write(f, false),
                Self::Command(command) => write!(f, "`{}` does not end with 0", command.argv),
                inner => write!(f, "not ({inner})"),
            },
            Self::All(all) => list(f, all, " and "),
            Self::Any(any) => list(f, any, " or "),
        }
    }
}

impl PathTest {
    fn write(&self, f: &mut fmt::Formatter<'_>, holds: bool) -> fmt::Result {
        let kind = if self.directory { "directory" } else { "file" };
        write!(f, "the {kind} {} ", self.path.display())?;
        let not = if holds { "" } else { " not" };
        match &self.property {
            PathProperty::Exists if holds => f.write_str("exists"),
            PathProperty::Exists => f.write_str("does not exist"),
            PathProperty::Empty => write!(f, "is{not} empty"),
            PathProperty::Executable => write!(f, "is{not} executable"),
            PathProperty::Readable => write!(f, "is{not} readable"),
            PathProperty::Writable => write!(f, "is{not} writable"),
            // The text may be confidential.
            PathProperty::Contains(_) if holds => f.write_str("contains the expected text"),
            PathProperty::Contains(_) => f.write_str("does not contain the expected text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::argv::{Argv, Word};

    fn path(path: &Path, directory: bool, property: PathProperty) -> ConditionPlan {
        ConditionPlan::Path(PathTest { path: path.to_owned(), directory, property })
    }

    #[test]
    fn known_parts_are_folded_and_the_rest_is_evaluated_in_order_until_the_result_is_known() {
        let command = |name: &str| ConditionPlan::Command(Box::new(CommandPlan::new(Argv::new(vec![Word::plain(name)]).unwrap())));
        let (always, never) = (ConditionPlan::Always, ConditionPlan::Never);
        assert_eq!(ConditionPlan::all([always.clone(), command("a")]), command("a"));
        assert_eq!(ConditionPlan::all([command("a"), never.clone()]), never);
        assert_eq!(ConditionPlan::any([never.clone(), command("a")]), command("a"));
        assert_eq!(ConditionPlan::any([command("a"), always.clone()]), always);
        assert_eq!((ConditionPlan::all([]), ConditionPlan::any([])), (always, never));
        assert_eq!(command("a").negated().negated(), command("a"));
        let both = ConditionPlan::all([command("a"), command("b").negated(), ConditionPlan::any([command("c"), command("d")])]);
        assert_eq!(both.to_string(), "`a` ends with 0 and `b` does not end with 0 and (`c` ends with 0 or `d` ends with 0)");
        for (passing, expected) in [("", "a"), ("a", "abcd"), ("ab", "ab"), ("ac", "abc"), ("ad", "abcd")] {
            let mut run = String::new();
            let holds = both.holds(&mut |command| {
                run.push_str(command.argv.program());
                passing.contains(command.argv.program())
            });
            assert_eq!((run.as_str(), holds), (expected, ["ac", "ad"].contains(&passing)), "{passing}");
        }
        assert_eq!(both.commands().len(), 4);
    }

    #[test]
    fn paths_are_examined_when_they_are_needed() {
        let base = std::env::temp_dir().join(format!("portcullis-condition-{}", std::process::id()));
        let (file, directory) = (base.join("file"), base.join("directory"));
        let holds = |at: &Path, is_directory, property: &PathProperty| path(at, is_directory, property.clone()).holds(&mut |_| false);
        let all = |at: &Path, is_directory| {
            let contains = |text: &str| PathProperty::Contains(text.into());
            [PathProperty::Exists, PathProperty::Empty, PathProperty::Executable, contains("needle"), contains("")]
                .map(|property| holds(at, is_directory, &property))
        };
        assert_eq!(all(&file, false), [false, true, false, false, false], "nothing there");
        std::fs::create_dir_all(&directory).unwrap();
        assert_eq!(all(&directory, true), [true, true, false, false, false], "empty");
        assert_eq!(all(&directory, false), [false, true, false, false, false], "a directory is no file");
        std::fs::write(directory.join("needle"), "").unwrap();
        assert_eq!(all(&directory, true), [true, false, false, true, false]);
        // On the border of what is read at once.
        std::fs::write(&file, format!("{}needle", "x".repeat((64 << 10) - 3))).unwrap();
        assert_eq!(all(&file, false), [true, false, false, true, true]);
        assert!(!holds(&file, false, &PathProperty::Contains("needles".into())));
        std::os::unix::fs::symlink(&file, base.join("link")).unwrap();
        assert!(holds(&base.join("link"), false, &PathProperty::Exists));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(holds(&file, false, &PathProperty::Executable));
        assert_eq!(path(&file, false, PathProperty::Exists).negated().to_string(), format!("the file {} does not exist", file.display()));
        std::fs::remove_dir_all(base).unwrap();
    }
}
