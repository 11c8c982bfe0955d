//! Refuses a copy whose source and target lie in each other. They are compared by device and inode number, because links lead to them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, stat};

use super::Fault;
use crate::pinned::{Last, PinnedPath, is_directory};

/// A path cannot have more components (`PATH_MAX`).
const DEEPEST: usize = 4096;

/// The numbers of device and inode.
pub(super) type Id = (libc::dev_t, libc::ino_t);

/// Those of a file.
pub(super) fn id(found: &FileStat) -> Id {
    (found.st_dev, found.st_ino)
}

/// Refuses a target in the source directory, and with `delete` a source in the target, before anything is created; returns the source and
/// the directories that it lies in.
pub(super) fn refuse(source: &PinnedPath, to: &Path, delete: bool) -> Result<Vec<Id>, Fault> {
    let from = source.shown();
    let inside = open(source).and_then(|dir| chain(dir.as_fd())).map_err(|error| Fault::kernel("go into", from, error))?;
    for path in to.ancestors() {
        let Some(place) = PinnedPath::find(path, Last::Followed)? else { continue };
        let there = match place.stat()? {
            Some(found) if is_directory(&found) => open(&place),
            // A new entry of this directory. A file there is reported by what it prevents.
            _ => place.dir().try_clone_to_owned().map_err(|_| Errno::EMFILE),
        };
        let outside = there.and_then(|dir| chain(dir.as_fd())).map_err(|error| Fault::kernel("go into", path, error))?;
        if inside.first().is_some_and(|source| outside.contains(source)) {
            return Err(Fault::of("copy", from, format!("{} lies in it", to.display())));
        }
        let is_whole = path == to && place.exists();
        if delete && is_whole && outside.first().is_some_and(|target| inside.contains(target)) {
            let why = format!("{} lies in it, and `delete` would remove it; copy from another place", from.display());
            return Err(Fault::of("copy to", to, why));
        }
        break;
    }
    Ok(inside)
}

fn open(place: &PinnedPath) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(place.dir(), place.name(), flags, Mode::empty())
}

/// This directory, and all that it lies in.
fn chain(dir: BorrowedFd<'_>) -> Result<Vec<Id>, Errno> {
    let root = id(&stat("/")?);
    let mut ids = vec![id(&fstat(dir)?)];
    let up = |dir: BorrowedFd<'_>| openat(dir, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let mut dir = up(dir)?;
    while ids.len() < DEEPEST {
        let next = id(&fstat(&dir)?);
        // Only the root directory lies in itself; a directory that is mounted in itself looks like that, too.
        if next == root && ids.last() == Some(&root) {
            return Ok(ids);
        }
        ids.push(next);
        dir = up(dir.as_fd())?;
    }
    Err(Errno::ELOOP)
}
