//! Removes a file, or a directory with everything below it, without following links or entering other file systems.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::Fault;
use super::overlap::{Id, id};
use super::tree::list;
use super::watch::Watch;
use crate::pinned::{is_directory, stat};

/// Removes `name` in `dir` and everything below it; returns whether anything existed. The directory `spared` is an error there.
pub(super) fn below(dir: BorrowedFd<'_>, name: &OsStr, shown: &Path, (watch, spared): (&Watch<'_>, Option<Id>)) -> Result<bool, Fault> {
    let device = fstat(dir).map_err(|error| Fault::kernel("remove", shown, error))?.st_dev;
    entry(dir, name, shown, &Removal { watch, spared, device }, 0)
}

struct Removal<'a> {
    watch: &'a Watch<'a>,
    spared: Option<Id>,
    device: libc::dev_t,
}

fn entry(dir: BorrowedFd<'_>, name: &OsStr, shown: &Path, removal: &Removal<'_>, depth: usize) -> Result<bool, Fault> {
    let watch = removal.watch;
    watch.entry()?;
    let fail = |error| Fault::kernel("remove", shown, error);
    let Some(found) = stat(dir, name, shown)? else { return Ok(false) };
    let gone = |how| match unlinkat(dir, name, how) {
        Ok(()) => Ok(watch.counted(true)),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(fail(error)),
    };
    if !is_directory(&found) {
        return gone(UnlinkatFlags::NoRemoveDir);
    }
    if removal.spared == Some(id(&found)) {
        return Err(Fault::of("remove", shown, "it is the source of the copy"));
    }
    if found.st_dev != removal.device {
        return Err(Fault::of("remove", shown, "another file system is mounted there"));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(dir, name, flags, Mode::empty()).map_err(fail)?;
    // Removing entries while reading a directory may skip others, so it is read until it is empty.
    loop {
        let mut removed = false;
        let mut listing = list(opened.as_fd(), shown, depth)?;
        for inner in listing.iter() {
            let inner = inner.map_err(fail)?.file_name().to_owned();
            if !matches!(inner.to_bytes(), b"." | b"..") {
                let inner = OsStr::from_bytes(inner.to_bytes());
                removed |= entry(opened.as_fd(), inner, &shown.join(inner), removal, depth + 1)?;
            }
        }
        if !removed {
            return gone(UnlinkatFlags::RemoveDir);
        }
    }
}
