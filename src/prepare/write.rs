//! Writes a file: first under a temporary name, then renamed, so that no reader ever sees half of it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};

use super::Fault;
use super::attributes::{Attributes, Wanted};
use super::existing::Existing;
use super::text::{self, Rendered};
use crate::pinned::{PinnedPath, Refusal, hard_links, is_file};
use crate::plan::file::Replacement;

/// The default mode of a new file.
const USUAL: u32 = 0o666;

/// An unused name that begins with a dot.
pub(super) fn temporary() -> String {
    format!(".portcullis-{:016x}", fastrand::u64(..))
}

/// Writes a text, or appends it to the existing file; returns whether anything was changed.
pub(super) fn text(
    place: &PinnedPath,
    rendered: &Rendered,
    (append, replacements): (bool, &[Replacement]),
    attributes: &Attributes,
) -> Result<bool, Fault> {
    let there = Existing::of(place)?;
    let (mut bytes, of_replacement) = replace_in(rendered.bytes.clone(), replacements, place.shown())?;
    let present = there.as_ref().map(|there| there.text(place));
    if append && let Some(present) = &present {
        let present = present.as_ref().map_err(Clone::clone)?;
        bytes = text::appended(present, &bytes).unwrap_or_else(|| present.clone());
    }
    let wanted = attributes.for_text(place, there.as_ref(), USUAL, rendered.has_secret || of_replacement);
    // A file that can be written but not read is written.
    put(place, there.as_ref(), present.and_then(Result::ok).as_deref(), &bytes, wanted)
}

/// Replaces texts in the existing file; returns whether anything was changed.
pub(super) fn replace(place: &PinnedPath, replacements: &[Replacement], attributes: &Attributes) -> Result<bool, Fault> {
    let there = Existing::of(place)?.ok_or_else(|| Fault::kernel("find", place.shown(), Errno::ENOENT))?;
    let present = there.text(place)?;
    let (bytes, _) = replace_in(present.clone(), replacements, place.shown())?;
    // It keeps its owner and mode, whatever the new text contains, unless the configuration sets them.
    put(place, Some(&there), Some(&present), &bytes, attributes.for_text(place, Some(&there), USUAL, false))
}

/// Replaces the texts; an error sentence if one is missing.
pub(super) fn replace_in(bytes: Vec<u8>, replacements: &[Replacement], shown: &Path) -> Result<(Vec<u8>, bool), Fault> {
    text::replaced(bytes, replacements).map_err(|why| Fault::of("replace a text in", shown, why))
}

/// Makes the file contain these bytes; returns whether it was changed.
pub(super) fn put(
    place: &PinnedPath,
    there: Option<&Existing>,
    present: Option<&[u8]>,
    bytes: &[u8],
    wanted: Wanted,
) -> Result<bool, Fault> {
    if let Some(there) = there.filter(|there| present == Some(bytes) && wanted.may_be_set(there)) {
        return wanted.set(there, place);
    }
    let write_to = |file: &mut File| file.write_all(bytes);
    replace_by(place, there, wanted, write_to).map(|()| true)
}

/// Puts a new file in this place; `write_to` writes it. If the directory does not allow a new file, or the place is a mount point, the
/// existing file is overwritten.
pub(super) fn replace_by(
    place: &PinnedPath,
    there: Option<&Existing>,
    wanted: Wanted,
    mut write_to: impl FnMut(&mut File) -> std::io::Result<()>,
) -> Result<(), Fault> {
    let fail = |error| Fault::kernel("write", place.shown(), error);
    let name = temporary();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let written = match openat(place.dir(), name.as_str(), flags, Mode::from_bits_truncate(0o600)) {
        Ok(file) => {
            let written = beside(place, &name, File::from(file), wanted, &mut write_to);
            if written.is_err() {
                let _ = unlinkat(place.dir(), name.as_str(), UnlinkatFlags::NoRemoveDir);
            }
            written
        }
        Err(error @ (Errno::EACCES | Errno::EPERM | Errno::EROFS)) => Err(Beside::NotPossible(error)),
        Err(error) => Err(Beside::Failed(fail(error))),
    };
    match written {
        Err(Beside::NotPossible(error)) if let Some(there) = there => match over(place, there, wanted, write_to) {
            // The reason why a new file was not possible is the more useful error.
            Err(Over::NotOpened) => Err(fail(error)),
            Err(Over::Refused(fault)) => Err(fault),
            Err(Over::Failed(error)) => Err(fail(error)),
            Ok(()) => Ok(()),
        },
        Err(Beside::NotPossible(error)) => Err(fail(error)),
        Err(Beside::Failed(fault)) => Err(fault),
        Ok(()) => Ok(()),
    }
}

/// Why no new file could be put in place.
enum Beside {
    /// The directory, or the owner of the file, does not allow it; the existing file may be overwritten.
    NotPossible(Errno),
    Failed(Fault),
}

/// Fills a new file, and renames it.
fn beside(
    place: &PinnedPath,
    name: &str,
    mut file: File,
    wanted: Wanted,
    write_to: &mut impl FnMut(&mut File) -> std::io::Result<()>,
) -> Result<(), Beside> {
    let failed = |error| Beside::Failed(Fault::kernel("write", place.shown(), error));
    wanted.give_owner(file.as_fd()).map_err(Beside::NotPossible)?;
    write_to(&mut file).map_err(|error| failed(errno(&error)))?;
    fchmod(&file, Mode::from_bits_truncate(wanted.mode)).map_err(failed)?;
    match renameat(place.dir(), name, place.dir(), place.name()) {
        // A file that was mounted by itself.
        Err(error @ Errno::EBUSY) => Err(Beside::NotPossible(error)),
        result => result.map_err(failed),
    }
}

/// Why a file was not overwritten.
enum Over {
    NotOpened,
    Failed(Errno),
    Refused(Fault),
}

/// Overwrites the existing file.
fn over(
    place: &PinnedPath,
    there: &Existing,
    wanted: Wanted,
    mut write_to: impl FnMut(&mut File) -> std::io::Result<()>,
) -> Result<(), Over> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file: OwnedFd = openat(place.dir(), place.name(), flags, Mode::empty()).map_err(|_| Over::NotOpened)?;
    let found = fstat(&file).map_err(Over::Failed)?;
    if !is_file(&found) {
        return Err(Over::NotOpened);
    }
    let refused = |refusal: Refusal| Over::Refused(refusal.into());
    hard_links::refuse(&found, Some(place.dir()), "write over", place.shown()).map_err(refused)?;
    // Not the numbers of device and inode: a layered file system may change them when it opens a file for writing.
    let access = |found: &FileStat| (found.st_uid, found.st_gid, found.st_mode);
    if access(&found) != access(&there.found) {
        return Err(Over::Refused(Fault::of("write over", place.shown(), "it was replaced by another file meanwhile")));
    }
    // Before a secret is in it.
    wanted.attributes().of_open(file.as_fd(), &found, Some(place.dir()), place.shown()).map_err(Over::Refused)?;
    ftruncate(&file, 0).map_err(Over::Failed)?;
    write_to(&mut File::from(file)).map_err(|error| Over::Failed(errno(&error)))
}

/// The kernel error in an error of std.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
