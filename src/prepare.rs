//! The files of a start: makes what a `FilePlan` says, off the loop, without following a link that somebody planted.
//!
//! The rule for symbolic links, in any part of a path: as root, one is followed where it belongs to root and lies in a directory of
//! root's that nobody else may write to (a sticky one, or one on a read-only file system, counts); else only to what belongs to the user who made
//! it, so that nobody reaches by it what is not theirs. Any other user has no power to lend: there a link is followed unless a third one may
//! have put it where everybody may write. Inside of trees none is followed.

mod attributes;
mod copy;
mod executables;
mod place;
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
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use crate::plan::Plan;
use crate::plan::file::{FileAction, FilePlan};
use crate::process::spawn::InheritedEnvironment;
use crate::secret::scrub;
use crate::{sys, visible};
use attributes::Attributes;
pub use executables::Missing;
use executables::missing;
use place::{Last, PinnedPath};
pub use privileges::obstacles;
use watch::Watch;

/// What was found out about a plan before anything of it is done.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What cannot be done for want of power.
    pub obstacles: Vec<String>,
    /// The programs that are nowhere.
    pub missing: Vec<Missing>,
}

/// Looks for what stands in the way of a plan, on a thread of its own: a file system that does not answer `within` this time must not keep anybody from being
/// stopped, and nothing is found then.
pub fn look(plan: &Plan, inherited: &InheritedEnvironment, within: Duration) -> Inspection {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (plan, inherited) = (plan.clone(), inherited.clone());
    let body = move || {
        // Nobody may be waiting any more.
        let _ = sender.send(Inspection { obstacles: obstacles(&plan), missing: missing(&plan, &inherited) });
    };
    sys::start_thread("look", body).ok().and_then(|()| receiver.recv_timeout(within).ok()).unwrap_or_default()
}

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether anything was changed.
    pub changed: bool,
    /// What was done, as the end of a line that begins with the path.
    pub words: String,
}

/// Why a file is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody wants it any more; what was done so far stays.
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

    /// `what` failed on `path` with this error of the kernel's.
    fn kernel(what: &str, path: &Path, error: Errno) -> Self {
        Self::of(what, path, reason(error))
    }
}

/// What an error of the kernel's means here, and what to check.
fn reason(error: Errno) -> String {
    let check = match error {
        Errno::ENOENT => "check the path, and what makes it",
        Errno::EACCES => "check whose it is, and as which user portcullis runs",
        Errno::EPERM => "it takes root, or the capability for it",
        Errno::EROFS => "mount something writable there, or take it out of [[files]]",
        Errno::ENOSPC | Errno::EDQUOT => "check the room on that file system",
        Errno::EMFILE | Errno::ENFILE => "check the limit of open files",
        _ => return error.desc().to_owned(),
    };
    format!("{}; {check}", error.desc())
}

/// Makes one file as `file` says. It may block for as long as the file system does, and looks at `cancel` between two entries of a tree and between two
/// blocks of a file; `progress` gets a line every few seconds.
///
/// # Errors
/// Why it cannot be done, in one sentence; what was done before stays.
pub fn perform(file: &FilePlan, cancel: &AtomicBool, progress: &dyn Fn(String)) -> Result<Done, Fault> {
    let watch = Watch::new(cancel, progress, format!("{file}"));
    watch.look()?;
    let attributes = Attributes::of(file);
    let done =
        |changed: bool, words: &str| Ok(Done { changed, words: if changed { words.to_owned() } else { "is as it should be".to_owned() } });
    if file.keep && !matches!(file.action, FileAction::Copy { .. } | FileAction::Remove | FileAction::Change(_)) {
        let place = PinnedPath::find(&file.path, Last::Itself)?;
        if place.is_some_and(|place| place.exists()) {
            return Ok(Done { changed: false, words: "is there and stays as it is".to_owned() });
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
            done(remove::below(place.dir(), place.name(), place.shown(), &watch)?, &format!("is removed{}", watch.count()))
        }
        FileAction::Change(replace) => {
            let place = PinnedPath::existing(&file.path, Last::Followed)?;
            let replaced = !replace.is_empty() && write::replace(&place, replace, &attributes)?;
            let set = set(&place, file, &attributes, &watch)?;
            done(replaced || set, &format!("is changed{}", watch.count()))
        }
    }
}

/// Owner and mode of what is there, and of what is below it where that is wanted.
fn set(place: &PinnedPath, file: &FilePlan, attributes: &Attributes, watch: &Watch<'_>) -> Result<bool, Fault> {
    if file.recursive { tree::apply(place, attributes, watch) } else { attributes.of_entry(place.dir(), place.name(), place.shown()) }
}

/// Makes a directory where there is none; whether it did.
fn directory(place: &PinnedPath) -> Result<bool, Fault> {
    let fail = |error| Fault::kernel("make the directory", place.shown(), error);
    match place.stat()? {
        Some(found) if place::is_directory(&found) => Ok(false),
        Some(_) => Err(fail(Errno::ENOTDIR)),
        None => mkdirat(place.dir(), place.name(), Mode::from_bits_truncate(0o777)).map(|()| true).map_err(fail),
    }
}

/// Makes a link, in the place of another one or of a file; whether it did.
fn link(place: &PinnedPath, target: &Path) -> Result<bool, Fault> {
    let fail = |error| Fault::kernel("make the link", place.shown(), error);
    match place.stat()? {
        Some(found) if place::is_directory(&found) => {
            return Err(Fault::of("make the link", place.shown(), "a directory is there; take it away first, by `remove = true`"));
        }
        Some(found) if place::is_link(&found) && nix::fcntl::readlinkat(place.dir(), place.name()).is_ok_and(|now| now == *target) => {
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

/// What `fstatat(2)` says of a name, links not followed; none where there is nothing.
fn stat(dir: impl std::os::fd::AsFd, name: &std::ffi::OsStr, shown: &Path) -> Result<Option<nix::sys::stat::FileStat>, Fault> {
    match nix::sys::stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(Fault::kernel("look at", shown, error)),
    }
}

#[cfg(test)]
mod tests;
