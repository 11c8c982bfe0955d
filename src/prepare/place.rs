//! Resolves a path component by component with open directories, so that the checked file is the one that is used.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::geteuid;

use super::Fault;

/// The maximum number of links in one path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The uid that no user has (chown(2)).
const NOBODY: u32 = u32::MAX;

/// How to handle a link in the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Follow it.
    Followed,
    /// The link itself.
    Itself,
}

/// A name in an open directory; it is not followed any further.
pub(super) struct PinnedPath {
    dir: OwnedFd,
    name: OsString,
    shown: PathBuf,
}

impl PinnedPath {
    /// The place of this path; missing parent directories are created.
    pub(super) fn make(path: &Path, last: Last) -> Result<Self, Fault> {
        Walk::new(path, last, true)?.go()?.ok_or_else(|| Fault::kernel("make", path, Errno::ENOENT))
    }

    /// The place of this path; none if a parent directory is missing.
    pub(super) fn find(path: &Path, last: Last) -> Result<Option<Self>, Fault> {
        Walk::new(path, last, false)?.go()
    }

    /// The place of an existing file.
    pub(super) fn existing(path: &Path, last: Last) -> Result<Self, Fault> {
        let found = Self::find(path, last)?.filter(Self::exists);
        found.ok_or_else(|| Fault::kernel("find", path, Errno::ENOENT))
    }

    /// A name in an open directory.
    pub(super) fn at(dir: BorrowedFd<'_>, name: &OsStr, shown: &Path, what: &str) -> Result<Self, Fault> {
        let dir = dir.try_clone_to_owned().map_err(|error| Fault::of(what, shown, error))?;
        Ok(Self { dir, name: name.to_owned(), shown: shown.to_owned() })
    }

    /// The directory.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The name in it; `.` for the root directory.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path as the configuration has it.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    /// The existing file; none if there is none.
    pub(super) fn stat(&self) -> Result<Option<FileStat>, Fault> {
        super::stat(&self.dir, &self.name, &self.shown)
    }

    /// Whether it exists.
    pub(super) fn exists(&self) -> bool {
        self.stat().is_ok_and(|found| found.is_some())
    }
}

/// Whether this is a directory.
pub(super) fn is_directory(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Whether this is a regular file.
pub(super) fn is_file(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Whether this is a symbolic link.
pub(super) fn is_link(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFLNK
}

/// Whether only root, and our own user if it is not root, can have created a link or a name in this directory.
pub(super) fn is_closed(dir: &FileStat, fd: BorrowedFd<'_>) -> bool {
    let own = geteuid().as_raw();
    let by_others = dir.st_mode & 0o022 != 0 && dir.st_mode & libc::S_ISVTX == 0;
    let is_read_only = || fstatvfs(fd).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY));
    is_ours(dir.st_uid, own) && (!by_others || is_read_only())
}

fn is_ours(uid: u32, own: u32) -> bool {
    uid == 0 || uid == own
}

struct Walk<'a> {
    path: &'a Path,
    last: Last,
    makes: bool,
    dir: OwnedFd,
    left: VecDeque<OsString>,
    links: usize,
    /// For each link of another user: the user, and how many components are left after its target.
    fences: Vec<(u32, usize)>,
}

impl<'a> Walk<'a> {
    fn new(path: &'a Path, last: Last, makes: bool) -> Result<Self, Fault> {
        let dir = root().map_err(|error| Fault::kernel("open the root directory on the way to", path, error))?;
        Ok(Self { path, last, makes, dir, left: components(path), links: 0, fences: Vec::new() })
    }

    fn fail(&self, error: Errno) -> Fault {
        Fault::kernel("get to", self.path, error)
    }

    fn go(mut self) -> Result<Option<PinnedPath>, Fault> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        while let Some(name) = self.left.pop_front() {
            let is_last = self.left.is_empty();
            let opened = match openat(&self.dir, name.as_os_str(), flags, Mode::empty()) {
                Ok(opened) => opened,
                // The target of a dangling link has no owner.
                Err(Errno::ENOENT) if is_last && self.fences.is_empty() => return Ok(Some(self.place(name))),
                Err(Errno::ENOENT) if self.makes && self.fences.is_empty() => {
                    match mkdirat(&self.dir, name.as_os_str(), Mode::from_bits_truncate(0o777)) {
                        Ok(()) | Err(Errno::EEXIST) => self.left.push_front(name),
                        Err(error) => return Err(Fault::kernel("create the directories of", self.path, error)),
                    }
                    continue;
                }
                Err(Errno::ENOENT) if !self.makes => return Ok(None),
                Err(error) => return Err(self.fail(error)),
            };
            let found = fstat(&opened).map_err(|error| self.fail(error))?;
            if is_link(&found) && !(is_last && self.last == Last::Itself) {
                self.follow(&opened, &found)?;
                continue;
            }
            self.pass(&found)?;
            if is_last && name != ".." {
                return Ok(Some(self.place(name)));
            }
            if !is_directory(&found) {
                return Err(self.fail(Errno::ENOTDIR));
            }
            self.dir = opened;
        }
        let found = fstat(&self.dir).map_err(|error| self.fail(error))?;
        self.pass(&found)?;
        Ok(Some(self.place(OsString::from("."))))
    }

    fn place(self, name: OsString) -> PinnedPath {
        PinnedPath { dir: self.dir, name, shown: self.path.to_owned() }
    }

    /// Follows a link, by the rule of this module.
    fn follow(&mut self, link: &OwnedFd, found: &FileStat) -> Result<(), Fault> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(self.fail(Errno::ELOOP));
        }
        let dir = fstat(&self.dir).map_err(|error| self.fail(error))?;
        let own = geteuid().as_raw();
        let is_trusted = if own == 0 {
            found.st_uid == 0 && is_closed(&dir, self.dir.as_fd())
        } else {
            is_ours(found.st_uid, own) || dir.st_mode & 0o002 == 0
        };
        if !is_trusted {
            // Another user who can write there may have moved one of root's links to it; if that can be any user, no owner is accepted.
            let uid = [found.st_uid, dir.st_uid].into_iter().find(|uid| !is_ours(*uid, own)).unwrap_or(NOBODY);
            self.fences.push((uid, self.left.len()));
        }
        // Read from the open link, not from its name, which may be another file by now.
        let target = readlinkat(link, "").map_err(|error| self.fail(error))?;
        let target = Path::new(&target);
        if target.is_absolute() {
            self.dir = root().map_err(|error| self.fail(error))?;
        }
        for name in components(target).into_iter().rev() {
            self.left.push_front(name);
        }
        Ok(())
    }

    /// The target of another user's link has to belong to that user.
    fn pass(&mut self, found: &FileStat) -> Result<(), Fault> {
        while let Some((uid, left)) = self.fences.last().copied() {
            if self.left.len() > left {
                return Ok(());
            }
            if found.st_uid != uid {
                let who = if uid == NOBODY { "anybody".to_owned() } else { format!("user {uid}") };
                let why = format!(
                    "a symbolic link on the way may have been created by {who}, and leads to files of another user; use the path that it \
                     leads to, or take it away"
                );
                return Err(Fault::of("use", self.path, why));
            }
            self.fences.pop();
        }
        Ok(())
    }
}

fn root() -> nix::Result<OwnedFd> {
    open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn components(path: &Path) -> VecDeque<OsString> {
    let named = |component| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(|component| named(*component)).map(|component| component.as_os_str().to_owned()).collect()
}
