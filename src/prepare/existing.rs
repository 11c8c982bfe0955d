//! The file that is there before it is written, opened once: text and attributes are those of the same file, whatever has its name by now.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::{Fault, text};
use crate::pinned::{PinnedPath, Refusal, RefusalReason, is_directory, is_file};

/// An existing regular file.
pub(super) struct Existing {
    /// Its attributes.
    pub(super) found: FileStat,
    /// The open file, or why it cannot be read: what can be written but not read is written.
    pub(super) file: Result<File, Fault>,
}

impl Existing {
    /// The file in this place; none if there is none.
    pub(super) fn of(place: &PinnedPath) -> Result<Option<Self>, Fault> {
        let found = match place.stat()? {
            None => return Ok(None),
            Some(found) if is_directory(&found) => return Err(Fault::of("write", place.shown(), "it is a directory; name the file in it")),
            Some(found) if !is_file(&found) => return Err(Fault::of("write", place.shown(), "the existing file is not a regular file")),
            Some(found) => found,
        };
        match place.open() {
            Ok((file, found)) => Ok(Some(Self { found, file: Ok(file) })),
            Err(Refusal { why: RefusalReason::Kernel(Errno::ENOENT), .. }) => Ok(None),
            Err(refusal @ Refusal { why: RefusalReason::Kernel(_), .. }) => Ok(Some(Self { found, file: Err(refusal.into()) })),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Its text.
    pub(super) fn text(&self, place: &PinnedPath) -> Result<Vec<u8>, Fault> {
        text::whole(self.file.as_ref().map_err(Clone::clone)?, place.shown())
    }

    /// Whether it is mounted by itself; only the operator can do that. Without /proc it is not.
    pub(super) fn is_mounted(&self, place: &PinnedPath) -> bool {
        let of_file = self.file.as_ref().ok().and_then(mount);
        of_file.is_some_and(|of_file| mount(place.dir()).is_some_and(|of_dir| of_file != of_dir))
    }
}

/// The number of the mount of an open file (proc_pid_fdinfo(5)).
fn mount(file: impl AsFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}
