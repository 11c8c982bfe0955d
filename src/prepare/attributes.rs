//! Changes owner and mode of one entry if they differ, on exactly the examined file.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat};
use nix::unistd::{Gid, Uid, fchown, fchownat, geteuid};

use super::Fault;
use super::existing::Existing;
use crate::pinned::{PinnedPath, hard_links, is_directory, is_link, is_private};
use crate::plan::file::{FileMode, FilePlan, Owner};

/// No owner at all.
const NO_OWNER: Owner = Owner { uid: None, gid: None };

/// The attributes for an entry.
pub(super) struct Attributes {
    owner: Option<Owner>,
    mode: Option<FileMode>,
    secret: Option<bool>,
    reader: Option<Owner>,
}

/// The attributes for a file with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) owner: Owner,
    pub(super) mode: u32,
    /// Whether the existing file does not count: another user may have made it, and may have it open.
    pub(super) is_new: bool,
}

impl Attributes {
    /// The attributes in the plan of a file.
    pub(super) fn of(file: &FilePlan) -> Self {
        Self { owner: file.owner, mode: file.mode.clone(), secret: file.secret, reader: file.reader }
    }

    /// Whether there is nothing to change.
    pub(super) const fn is_empty(&self) -> bool {
        self.owner.is_none() && self.mode.is_none()
    }

    /// Owner and mode of a file with this text: those of the existing file, else the mode `usual`. A secret does not go into a file that
    /// another user may have made, with an owner and a mode that let this user read it: it gets those of a new file.
    pub(super) fn for_text(&self, place: &PinnedPath, there: Option<&Existing>, usual: u32, has_secret: bool) -> Wanted {
        let is_secret = self.secret.unwrap_or(has_secret);
        let kept = there.filter(|there| !is_secret || self.is_made_by_us(place, there));
        let is_new = kept.is_none();
        let own = match (kept, there) {
            (Some(kept), _) => Owner { uid: Some(kept.found.st_uid), gid: Some(kept.found.st_gid) },
            // Ours; the group is that of a new file in this directory.
            (None, Some(_)) => Owner { uid: Some(geteuid().as_raw()), gid: None },
            (None, None) => NO_OWNER,
        };
        let named = self.owner.unwrap_or(NO_OWNER);
        // The reader of a secret owns the file, so that no one else needs access.
        let reader = self.reader.filter(|_| is_secret && self.owner.is_none() && geteuid().is_root());
        let reader = reader.map_or(NO_OWNER, |reader| Owner { gid: reader.gid.filter(|_| is_new), ..reader });
        let owner = Owner { uid: named.uid.or(reader.uid).or(own.uid), gid: named.gid.or(reader.gid).or(own.gid) };
        let fresh = if is_secret { 0o600 } else { usual & !umask() };
        let present = kept.map_or(fresh, |there| there.found.st_mode & 0o7777);
        let mode = match (&self.mode, self.secret) {
            (Some(mode), _) => mode.applied(present, false, umask()),
            (None, Some(true)) => 0o600,
            (None, None) if has_secret => present & 0o7770,
            _ => present,
        };
        Wanted { owner, mode, is_new }
    }

    /// Whether only root, our user, the owner and the reader can have made the file: it is theirs, and so is its directory. Or it is mounted.
    fn is_made_by_us(&self, place: &PinnedPath, there: &Existing) -> bool {
        let is_one = |uid| [self.owner, self.reader].into_iter().flatten().any(|owner| owner.uid == Some(uid));
        let uid = there.found.st_uid;
        let is_ours = uid == 0 || uid == geteuid().as_raw() || is_one(uid);
        is_ours && fstat(place.dir()).is_ok_and(|dir| is_private(&dir, place.dir(), is_one)) || there.is_mounted(place)
    }

    /// Changes what differs for one entry, also the owner of a link itself; returns whether it did.
    pub(super) fn of_entry(&self, dir: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<bool, Fault> {
        if self.is_empty() {
            return Ok(false);
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fail = |error| Fault::kernel("look at", shown, error);
        let entry = openat(dir, name, flags, Mode::empty()).map_err(fail)?;
        let found = fstat(&entry).map_err(fail)?;
        self.of_open(entry.as_fd(), &found, Some(dir), shown)
    }

    /// The same for an open file, `O_PATH` is enough; `dir` is its directory, for files with several names.
    pub(super) fn of_open(
        &self,
        entry: BorrowedFd<'_>,
        found: &FileStat,
        dir: Option<BorrowedFd<'_>>,
        shown: &Path,
    ) -> Result<bool, Fault> {
        let owned = match self.owner.filter(|owner| is_wrong(*owner, found)) {
            Some(owner) => {
                hard_links::refuse(found, dir, "change the owner of", shown)?;
                chown(entry, owner, shown)?;
                true
            }
            None => false,
        };
        let Some(mode) = self.mode.as_ref().filter(|_| !is_link(found)) else { return Ok(owned) };
        // chown(2) may have removed set-user-ID.
        let now = if owned { fstat(entry).map_err(|error| Fault::kernel("look at", shown, error))? } else { *found };
        let wanted = mode.applied(now.st_mode, is_directory(&now), umask());
        if wanted == now.st_mode & 0o7777 {
            return Ok(owned);
        }
        hard_links::refuse(found, dir, "change the mode of", shown)?;
        chmod(entry, is_directory(&now), wanted).map_err(|error| Fault::kernel(&format!("set the mode {wanted:04o} of"), shown, error))?;
        Ok(true)
    }

    /// Changes the owner of a link.
    pub(super) fn of_link(&self, place: &PinnedPath) -> Result<bool, Fault> {
        let owner = Self { owner: self.owner, mode: None, secret: None, reader: None };
        owner.of_entry(place.dir(), place.name(), place.shown())
    }

    /// Only the owner, if there is one.
    pub(super) fn owner_only(&self) -> Self {
        Self { owner: self.owner, mode: None, secret: None, reader: None }
    }
}

impl Wanted {
    /// Sets the owner of a new file.
    pub(super) fn give_owner(self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        if !is_wrong(self.owner, &fstat(file)?) {
            return Ok(());
        }
        fchown(file, self.owner.uid.map(Uid::from_raw), self.owner.gid.map(Gid::from_raw))
    }

    /// Whether a file with the right text can get them, or needs none: not one that another user may have made, and may have open.
    pub(super) fn may_be_set(self, there: &Existing) -> bool {
        !self.is_new || !is_wrong(self.owner, &there.found) && self.mode == there.found.st_mode & 0o7777
    }

    /// Gives them to the file that was opened, where they differ; returns whether they did.
    pub(super) fn set(self, there: &Existing, place: &PinnedPath) -> Result<bool, Fault> {
        let file = there.file.as_ref().map_err(Clone::clone)?;
        self.attributes().of_open(file.as_fd(), &there.found, Some(place.dir()), place.shown())
    }

    /// The attributes of the existing file.
    pub(super) fn attributes(self) -> Attributes {
        let mode = FileMode::parse(&format!("{:05o}", self.mode));
        Attributes { owner: Some(self.owner), mode, secret: None, reader: None }
    }
}

fn is_wrong(owner: Owner, found: &FileStat) -> bool {
    owner.uid.is_some_and(|uid| uid != found.st_uid) || owner.gid.is_some_and(|gid| gid != found.st_gid)
}

fn chown(entry: BorrowedFd<'_>, owner: Owner, shown: &Path) -> Result<(), Fault> {
    let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
    fchownat(entry, "", uid, gid, AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|error| Fault::kernel(&format!("set the owner {owner} of"), shown, error))
}

/// `fchmod(2)` does not accept `O_PATH`, and `fchmodat2(2)` is new, so it uses /proc. If that is not mounted, a directory is opened again.
fn chmod(entry: BorrowedFd<'_>, is_directory: bool, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_bits_truncate(mode);
    let way = format!("/proc/self/fd/{}", entry.as_raw_fd());
    match fchmodat(AT_FDCWD, way.as_str(), mode, FchmodatFlags::FollowSymlink) {
        Err(Errno::ENOENT) if is_directory => {
            fchmod(openat(entry, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?, mode)
        }
        result => result,
    }
}

/// The file mode creation mask of this process, without changing it as umask(2) would.
pub(super) fn umask() -> u32 {
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
        mask.unwrap_or(0o022)
    })
}
