//! Resolves a path component by component with open directories, so that the checked file is the one that is used.
//!
//! The rule for symbolic links, in any part of a path: as root, a link is followed if it belongs to root and is in a directory of root that
//! no other user can change (a sticky one, or one on a read-only file system, counts). Any other link is followed only to files of the user
//! who created it, so that no user can reach the files of another. If portcullis does not run as root, a link is followed unless a third
//! user may have created it in a directory that all users can write to. Inside trees no link is followed.
//!
//! The rule for hard links: root uses no file that may be a second name of another user's file ([`hard_links`]).

pub mod hard_links;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::geteuid;

use walk::Walk;

/// How to handle a link in the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// Follow it.
    Followed,
    /// The link itself.
    Itself,
}

/// Why a path cannot be used.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What failed: the verb of "cannot VERB PATH".
    pub what: String,
    /// On which path.
    pub path: PathBuf,
    /// Why.
    pub why: RefusalReason,
}

/// The reason of a [`Refusal`].
#[derive(Clone, Debug)]
pub enum RefusalReason {
    /// An error of the kernel.
    Kernel(Errno),
    /// A rule of this module.
    Rule(String),
}

impl Refusal {
    fn kernel(what: &str, path: &Path, error: Errno) -> Self {
        Self { what: what.to_owned(), path: path.to_owned(), why: RefusalReason::Kernel(error) }
    }

    fn of(what: &str, path: &Path, why: String) -> Self {
        Self { what: what.to_owned(), path: path.to_owned(), why: RefusalReason::Rule(why) }
    }
}

/// Only the reason: callers name the path in their own words.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            RefusalReason::Kernel(error) => std::io::Error::from(*error).fmt(f),
            RefusalReason::Rule(why) => f.write_str(why),
        }
    }
}

/// A name in an open directory; it is not followed any further.
pub struct PinnedPath {
    dir: OwnedFd,
    name: OsString,
    shown: PathBuf,
}

impl PinnedPath {
    /// The place of this absolute path; missing parent directories are created.
    ///
    /// # Errors
    /// A directory that cannot be entered or created, or a link that is not followed.
    pub fn make(path: &Path, last: Last) -> Result<Self, Refusal> {
        Walk::new(path, last, true)?.go()?.ok_or_else(|| Refusal::kernel("make", path, Errno::ENOENT))
    }

    /// The place of this absolute path; none if a parent directory is missing.
    ///
    /// # Errors
    /// A directory that cannot be entered, or a link that is not followed.
    pub fn find(path: &Path, last: Last) -> Result<Option<Self>, Refusal> {
        Walk::new(path, last, false)?.go()
    }

    /// The place of an existing file.
    ///
    /// # Errors
    /// As for `find`, and a file that does not exist.
    pub fn existing(path: &Path, last: Last) -> Result<Self, Refusal> {
        let found = Self::find(path, last)?.filter(Self::exists);
        found.ok_or_else(|| Refusal::kernel("find", path, Errno::ENOENT))
    }

    /// A name in an open directory.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn at(dir: BorrowedFd<'_>, name: &OsStr, shown: &Path, what: &str) -> Result<Self, Refusal> {
        let dir = dir.try_clone_to_owned().map_err(|error| Refusal::of(what, shown, error.to_string()))?;
        Ok(Self { dir, name: name.to_owned(), shown: shown.to_owned() })
    }

    /// The directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The name in it; `.` for the root directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path as the configuration has it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// The existing file; none if there is none.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn stat(&self) -> Result<Option<FileStat>, Refusal> {
        stat(&self.dir, &self.name, &self.shown)
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.stat().is_ok_and(|found| found.is_some())
    }

    /// Opens a regular file for reading; anything else is refused, because it might block, and so is one that may be a second name of
    /// another user's file. The attributes are those of the opened file: its name may be that of another one by now.
    ///
    /// # Errors
    /// Why it is not opened.
    pub fn open(&self) -> Result<(File, FileStat), Refusal> {
        let fail = |error| Refusal::kernel("read", &self.shown, error);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.dir, self.name.as_os_str(), flags, Mode::empty()).map_err(fail)?;
        let found = fstat(&file).map_err(fail)?;
        if !is_file(&found) {
            return Err(Refusal::of("read", &self.shown, "it is not a regular file".to_owned()));
        }
        hard_links::refuse(&found, Some(self.dir()), "read", &self.shown)?;
        Ok((file.into(), found))
    }
}

/// `fstatat(2)` of a name, without following links; none if it does not exist.
///
/// # Errors
/// The kernel does not say.
pub fn stat(dir: impl AsFd, name: &OsStr, shown: &Path) -> Result<Option<FileStat>, Refusal> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(Refusal::kernel("look at", shown, error)),
    }
}

/// Whether this is a directory.
pub fn is_directory(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Whether this is a regular file.
pub fn is_file(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Whether this is a symbolic link.
pub fn is_link(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFLNK
}

/// Whether only root, and our own user if it is not root, can have changed a name of theirs in this directory.
fn is_closed(dir: &FileStat, fd: BorrowedFd<'_>) -> bool {
    is_private(dir, fd, |_| false) || is_ours(dir.st_uid, geteuid().as_raw()) && dir.st_mode & libc::S_ISVTX != 0
}

/// Whether only root, our own user, and users who `may`, can have created a name in this directory: a sticky one that others can write to
/// does not count.
pub fn is_private(dir: &FileStat, fd: BorrowedFd<'_>, may: impl Fn(u32) -> bool) -> bool {
    let is_read_only = || fstatvfs(fd).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY));
    (is_ours(dir.st_uid, geteuid().as_raw()) || may(dir.st_uid)) && (dir.st_mode & 0o022 == 0 || is_read_only())
}

fn is_ours(uid: u32, own: u32) -> bool {
    uid == 0 || uid == own
}
