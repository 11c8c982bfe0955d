//! The walk: from the root directory, component by component, with each directory open.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};
use nix::unistd::geteuid;

use super::hard_links::may_have_one_name;
use super::{Last, PinnedPath, Refusal, is_closed, is_directory, is_link, is_ours};

/// The maximum number of links in one path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The uid that no user has (chown(2)).
const NOBODY: u32 = u32::MAX;

/// A path that is being resolved.
pub(super) struct Walk<'a> {
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
    pub(super) fn new(path: &'a Path, last: Last, makes: bool) -> Result<Self, Refusal> {
        let dir = root().map_err(|error| Refusal::kernel("open the root directory on the way to", path, error))?;
        Ok(Self { path, last, makes, dir, left: components(path), links: 0, fences: Vec::new() })
    }

    fn fail(&self, error: Errno) -> Refusal {
        Refusal::kernel("get to", self.path, error)
    }

    pub(super) fn go(mut self) -> Result<Option<PinnedPath>, Refusal> {
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
                        Err(error) => return Err(Refusal::kernel("create the directories of", self.path, error)),
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

    /// Follows a link, by the rule of `pinned`.
    fn follow(&mut self, link: &OwnedFd, found: &FileStat) -> Result<(), Refusal> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(self.fail(Errno::ELOOP));
        }
        let dir = fstat(&self.dir).map_err(|error| self.fail(error))?;
        let own = geteuid().as_raw();
        let is_trusted = if own == 0 {
            found.st_uid == 0 && is_closed(&dir, self.dir.as_fd()) && may_have_one_name(found, Some(self.dir.as_fd()))
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
    fn pass(&mut self, found: &FileStat) -> Result<(), Refusal> {
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
                return Err(Refusal::of("use", self.path, why));
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
