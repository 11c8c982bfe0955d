//! The files of a start: applies a `FilePlan` outside of the loop, without following planted links.
//! The rules for links are those of `pinned`.

mod attributes;
mod copy;
mod executables;
mod existing;
mod overlap;
mod privileges;
mod remove;
mod text;
mod tree;
mod watch;
mod write;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use crate::pinned::{self, Last, PinnedPath, Refusal, RefusalReason};
use crate::plan::Plan;
use crate::plan::file::{FileAction, FilePlan};
use crate::process::spawn::InheritedEnvironment;
use crate::secret::scrub;
use crate::{sys, visible};
use attributes::Attributes;
pub use executables::Missing;
use executables::missing;
pub use privileges::obstacles;
use watch::Watch;

/// The obstacles of a plan, found before the start does anything.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Actions without the necessary privileges.
    pub obstacles: Vec<String>,
    /// The missing programs.
    pub missing: Vec<Missing>,
}

/// Searches the obstacles of a plan on a separate thread: a file system that does not respond `within` this time must not block the stop;
/// then nothing is found.
pub fn look(plan: &Plan, inherited: &InheritedEnvironment, within: Duration) -> Inspection {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (plan, inherited) = (plan.clone(), inherited.clone());
    let body = move || {
        // The receiver may be gone.
        let _ = sender.send(Inspection { obstacles: obstacles(&plan), missing: missing(&plan, &inherited) });
    };
    sys::start_thread("look", body).ok().and_then(|()| receiver.recv_timeout(within).ok()).unwrap_or_default()
}

/// The result of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether anything was changed.
    pub changed: bool,
    /// What was done, as the end of a line that begins with the path.
    pub words: String,
}

/// Why a file could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It was cancelled; what was done so far stays.
    Cancelled,
    /// What failed, on what, why, and what to check: one scrubbed sentence.
    Failed(String),
}

impl Fault {
    /// `what` failed on `path` for this reason.
    fn of(what: &str, path: &Path, why: impl std::fmt::Display) -> Self {
        Self::failed(&format!("cannot {what} {}: {why}", path.display()))
    }

    fn failed(sentence: &str) -> Self {
        Self::Failed(visible::line(&scrub(sentence)).into_owned())
    }

    /// `what` failed on `path` with this kernel error.
    fn kernel(what: &str, path: &Path, error: Errno) -> Self {
        Self::of(what, path, reason(error))
    }
}

impl From<Refusal> for Fault {
    fn from(Refusal { what, path, why }: Refusal) -> Self {
        match why {
            RefusalReason::Kernel(error) => Self::kernel(&what, &path, error),
            RefusalReason::Rule(why) => Self::of(&what, &path, why),
        }
    }
}

/// The meaning of a kernel error here, and what to check.
fn reason(error: Errno) -> String {
    let check = match error {
        Errno::ENOENT => "check the path, and what creates it",
        Errno::EACCES => "check its owner, and the user of portcullis",
        Errno::EPERM => "it needs root, or the capability for it",
        Errno::EROFS => "mount a writable file system there, or remove the entry from [[files]]",
        Errno::ENOSPC | Errno::EDQUOT => "check the free space on that file system",
        Errno::EMFILE | Errno::ENFILE => "check the limit of open files",
        _ => return error.desc().to_owned(),
    };
    format!("{}; {check}", error.desc())
}

/// Applies one file. It may block as long as the file system does, and checks `cancel` between two entries of a tree and between two blocks
/// of a file; `progress` gets a line every few seconds.
///
/// # Errors
/// The reason in one sentence; what was done before stays.
pub fn perform(file: &FilePlan, cancel: &AtomicBool, progress: &dyn Fn(String)) -> Result<Done, Fault> {
    let watch = Watch::new(cancel, progress, format!("{file}"));
    watch.look()?;
    let attributes = Attributes::of(file);
    let done =
        |changed: bool, words: &str| Ok(Done { changed, words: if changed { words.to_owned() } else { "is already correct".to_owned() } });
    if file.keep && !matches!(file.action, FileAction::Copy { .. } | FileAction::Remove | FileAction::Change(_)) {
        let place = PinnedPath::find(&file.path, Last::Itself)?;
        if place.is_some_and(|place| place.exists()) {
            return Ok(Done { changed: false, words: "exists and is not changed".to_owned() });
        }
    }
    match &file.action {
        FileAction::Write { text, append, replace } => {
            let place = PinnedPath::make(&file.path, Last::Followed)?;
            let rendered = text::render(text)?;
            let changed = write::text(&place, &rendered, (*append, replace), &attributes)?;
            done(changed, "is written")
        }
        FileAction::Copy { from, delete, exclude, replace } => {
            let wanted = copy::Wanted { delete: *delete, exclude, replace, keep: file.keep, attributes: &attributes };
            let changed = copy::copy(from, &file.path, &wanted, &watch)?;
            let below = file.recursive && tree::apply(&PinnedPath::existing(&file.path, Last::Followed)?, &attributes, &watch)?;
            done(changed || below, &format!("is copied{}", watch.count()))
        }
        FileAction::Directory => {
            let place = PinnedPath::make(&file.path, Last::Followed)?;
            let made = directory(&place)?;
            let set = set(&place, file, &attributes, &watch)?;
            done(made || set, if made { "is made" } else { "has its owner and mode now" })
        }
        FileAction::Link(target) => {
            let place = PinnedPath::make(&file.path, Last::Itself)?;
            let changed = link(&place, target)?;
            let owned = attributes.of_link(&place)?;
            done(changed || owned, "is a link now")
        }
        FileAction::Remove => {
            let Some(place) = PinnedPath::find(&file.path, Last::Itself)? else { return done(false, "") };
            done(remove::below(place.dir(), place.name(), place.shown(), (&watch, None))?, &format!("is removed{}", watch.count()))
        }
        FileAction::Change(replace) => {
            let place = PinnedPath::existing(&file.path, Last::Followed)?;
            let replaced = !replace.is_empty() && write::replace(&place, replace, &attributes)?;
            let set = set(&place, file, &attributes, &watch)?;
            done(replaced || set, &format!("is changed{}", watch.count()))
        }
    }
}

/// Changes owner and mode of the existing file, and of everything below it if configured.
fn set(place: &PinnedPath, file: &FilePlan, attributes: &Attributes, watch: &Watch<'_>) -> Result<bool, Fault> {
    if file.recursive { tree::apply(place, attributes, watch) } else { attributes.of_entry(place.dir(), place.name(), place.shown()) }
}

/// Creates a directory if it is missing; returns whether it did.
fn directory(place: &PinnedPath) -> Result<bool, Fault> {
    let fail = |error| Fault::kernel("create the directory", place.shown(), error);
    match place.stat()? {
        Some(found) if pinned::is_directory(&found) => Ok(false),
        Some(_) => Err(fail(Errno::ENOTDIR)),
        None => mkdirat(place.dir(), place.name(), Mode::from_bits_truncate(0o777)).map(|()| true).map_err(fail),
    }
}

/// Creates a link, replacing another link or a file; returns whether it did.
fn link(place: &PinnedPath, target: &Path) -> Result<bool, Fault> {
    let fail = |error| Fault::kernel("create the link", place.shown(), error);
    match place.stat()? {
        Some(found) if pinned::is_directory(&found) => {
            return Err(Fault::of("create the link", place.shown(), "there is a directory; remove it first, with `remove = true`"));
        }
        Some(found) if pinned::is_link(&found) && nix::fcntl::readlinkat(place.dir(), place.name()).is_ok_and(|now| now == *target) => {
            return Ok(false);
        }
        None => return symlinkat(target, place.dir(), place.name()).map(|()| true).map_err(fail),
        Some(_) => {}
    }
    let name = write::temporary();
    symlinkat(target, place.dir(), name.as_str()).map_err(fail)?;
    nix::fcntl::renameat(place.dir(), name.as_str(), place.dir(), place.name()).map(|()| true).map_err(|error| {
        let _ = nix::unistd::unlinkat(place.dir(), name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir);
        fail(error)
    })
}

#[cfg(test)]
mod tests;
