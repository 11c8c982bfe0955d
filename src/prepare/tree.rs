//! Walks trees entry by entry, and sets owner and mode of everything below a directory if they differ.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};

use super::Fault;
use super::attributes::Attributes;
use super::watch::Watch;
use crate::pinned::{PinnedPath, is_directory};

/// The maximum depth of directories; each level keeps a descriptor open.
pub(super) const DEEPEST: usize = 256;

/// Sets owner and mode at `place` and of everything below it; returns whether anything was changed. Links are not followed, and other file
/// systems below are not entered.
pub(super) fn apply(place: &PinnedPath, attributes: &Attributes, watch: &Watch<'_>) -> Result<bool, Fault> {
    if attributes.is_empty() {
        return Ok(false);
    }
    let found = place.stat()?.ok_or_else(|| Fault::kernel("find", place.shown(), Errno::ENOENT))?;
    Pass { attributes, watch, device: found.st_dev }.entry(place.dir(), place.name(), place.shown(), 0)
}

struct Pass<'a> {
    attributes: &'a Attributes,
    watch: &'a Watch<'a>,
    device: libc::dev_t,
}

impl Pass<'_> {
    fn entry(&self, dir: BorrowedFd<'_>, name: &OsStr, shown: &Path, depth: usize) -> Result<bool, Fault> {
        self.watch.entry()?;
        let fail = |error| Fault::kernel("look at", shown, error);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let entry = match openat(dir, name, flags, Mode::empty()) {
            Ok(entry) => entry,
            // It was removed meanwhile.
            Err(Errno::ENOENT) if depth > 0 => return Ok(false),
            Err(error) => return Err(fail(error)),
        };
        let found = fstat(&entry).map_err(fail)?;
        if !is_directory(&found) {
            let changed = match self.attributes.of_open(entry.as_fd(), &found, Some(dir), shown) {
                // A bind-mounted file, such as one of a ConfigMap. In a layered file system a file may have another device number, and it
                // is changed.
                Err(_) if self.is_foreign(&found) && is_read_only(&entry) => false,
                changed => changed?,
            };
            return Ok(self.watch.counted(changed));
        }
        if self.is_foreign(&found) {
            return Ok(false);
        }
        // Bottom-up, so that the new owner of a directory cannot change entries that are still to be checked; its own mode comes last, in
        // case it denies us access.
        let below = self.below(entry.as_fd(), shown, depth)?;
        let own = self.watch.counted(self.attributes.of_open(entry.as_fd(), &found, Some(dir), shown)?);
        Ok(below || own)
    }

    fn below(&self, dir: BorrowedFd<'_>, shown: &Path, depth: usize) -> Result<bool, Fault> {
        let mut changed = false;
        let mut listing = list(dir, shown, depth)?;
        let listed = listing.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        for name in listed {
            let name = name.map_err(|error| Fault::kernel("list", shown, error))?;
            if !matches!(name.to_bytes(), b"." | b"..") {
                let name = OsStr::from_bytes(name.to_bytes());
                changed |= self.entry(dir, name, &shown.join(name), depth + 1)?;
            }
        }
        Ok(changed)
    }

    fn is_foreign(&self, found: &FileStat) -> bool {
        found.st_dev != self.device
    }
}

fn is_read_only(entry: impl AsFd) -> bool {
    nix::sys::statvfs::fstatvfs(entry).is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

/// Opens a directory again, to list it.
pub(super) fn list(dir: BorrowedFd<'_>, shown: &Path, depth: usize) -> Result<Dir, Fault> {
    if depth >= DEEPEST {
        return Err(Fault::of("go into", shown, format!("it is more than {DEEPEST} directories deep")));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat(dir, ".", flags, Mode::empty()).and_then(Dir::from_fd);
    opened.map_err(|error| Fault::kernel("list", shown, error))
}
