//! Changes owner and mode of one entry if they differ, on exactly the examined file.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat};
use nix::unistd::{Gid, Uid, fchown, fchownat, geteuid};

use super::Fault;
use super::place::{PinnedPath, is_closed, is_directory, is_link};
use crate::plan::file::{FileMode, FilePlan, Owner};

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

    /// Owner and mode of a file with this text: those of the existing file, else the mode `usual`.
    pub(super) fn for_text(&self, there: Option<&FileStat>, usual: u32, has_secret: bool) -> Wanted {
        let own = Owner { uid: there.map(|there| there.st_uid), gid: there.map(|there| there.st_gid) };
        let named = self.owner.unwrap_or(Owner { uid: None, gid: None });
        let is_secret = self.secret.unwrap_or(has_secret);
        // The reader of a secret owns the file, so that no one else needs access.
        let reader = self.reader.filter(|_| is_secret && self.owner.is_none() && geteuid().is_root()).map(|reader| match there {
            None => reader,
            Some(_) => Owner { uid: reader.uid, gid: None },
        });
        let reader = reader.unwrap_or(Owner { uid: None, gid: None });
        let owner = Owner { uid: named.uid.or(reader.uid).or(own.uid), gid: named.gid.or(reader.gid).or(own.gid) };
        let present = there.map_or(usual & !umask(), |there| there.st_mode & 0o7777);
        let mode = match (&self.mode, self.secret, there) {
            (Some(mode), ..) => mode.applied(present, false, umask()),
            (None, Some(true), _) => 0o600,
            (None, None, None) if has_secret => 0o600,
            (None, None, Some(_)) if has_secret => present & 0o7770,
            _ => present,
        };
        Wanted { owner, mode }
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
        self.of_open(&entry, &found, Some(dir), shown)
    }

    /// The same for a file opened with `O_PATH`; `dir` is its directory, for files with several names.
    pub(super) fn of_open(&self, entry: &OwnedFd, found: &FileStat, dir: Option<BorrowedFd<'_>>, shown: &Path) -> Result<bool, Fault> {
        let owned = match self.owner.filter(|owner| is_wrong(*owner, found)) {
            Some(owner) => {
                may_have_one_name(found, dir, "change the owner of", shown)?;
                chown(entry.as_fd(), owner, shown)?;
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
        may_have_one_name(found, dir, "change the mode of", shown)?;
        chmod(entry.as_fd(), is_directory(&now), wanted)
            .map_err(|error| Fault::kernel(&format!("set the mode {wanted:04o} of"), shown, error))?;
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

/// Root does not change a file that may be a second name of another one: if the kernel lets any user hard-link any file, any user who can
/// write to the directory may have created it.
pub(super) fn may_have_one_name(found: &FileStat, dir: Option<BorrowedFd<'_>>, what: &str, shown: &Path) -> Result<(), Fault> {
    let is_closed = || dir.is_some_and(|dir| fstat(dir).is_ok_and(|found| is_closed(&found, dir)));
    if is_directory(found) || found.st_nlink < 2 || !geteuid().is_root() || links_are_protected() || is_closed() {
        return Ok(());
    }
    let why = format!(
        "it has {} names, and this kernel lets any user hard-link any file; set the sysctl fs.protected_hardlinks to 1",
        found.st_nlink
    );
    Err(Fault::of(what, shown, why))
}

fn links_are_protected() -> bool {
    static PROTECTED: OnceLock<bool> = OnceLock::new();
    *PROTECTED.get_or_init(|| std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.trim() == "1"))
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
