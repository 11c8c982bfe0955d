//! Values that are generated once and kept in a file: written once nothing prevents the start any more.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::Environment;
use crate::pinned::{Last, PinnedPath, RefusalReason};

impl Environment {
    /// Records that this value has to be kept in `path`.
    pub fn keep(&self, path: PathBuf, value: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(path, value.to_owned());
    }

    /// The value to keep in `path`, if one was recorded.
    pub fn to_be_kept(&self, path: &Path) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Whether no value was recorded.
    pub fn keeps_nothing(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Writes all recorded values, each file completely or not at all; returns whether all of them are ours. If another replica was faster,
    /// its value has to be read.
    ///
    /// # Errors
    /// The file that cannot be created, and why.
    pub fn keep_all(&self) -> Result<bool, String> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.iter().try_fold(true, |ours, (path, value)| Ok(make(path, value)? && ours))
    }
}

fn make(path: &Path, value: &str) -> Result<bool, String> {
    let failed = |error: &std::io::Error| {
        let check = to_check(error.kind());
        format!("{}, which is to keep what was generated, cannot be made: {error}{check}", path.display())
    };
    let path = &std::path::absolute(path).map_err(|error| failed(&error))?;
    let place = PinnedPath::find(path, Last::Itself).map_err(|refusal| match refusal.why {
        RefusalReason::Kernel(error) => failed(&error.into()),
        RefusalReason::Rule(why) => failed(&std::io::Error::other(why)),
    })?;
    let place = place.ok_or_else(|| failed(&Errno::ENOENT.into()))?;
    let draft = format!(".{}.{:016x}", place.name().display(), fastrand::u64(..));
    let write = || {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(place.dir(), draft.as_str(), flags, Mode::from_bits_truncate(0o600))?);
        file.write_all(value.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    let linked = write().and_then(|()| match linkat(place.dir(), draft.as_str(), place.dir(), place.name(), AtFlags::empty()) {
        Err(Errno::EEXIST) => Ok(false),
        result => Ok(result.map(|()| true)?),
    });
    let _ = unlinkat(place.dir(), draft.as_str(), UnlinkatFlags::NoRemoveDir);
    linked.map_err(|error| failed(&error))
}

/// What to check for this error, as the end of a sentence.
const fn to_check(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::NotFound => "; its directory has to be there",
        ErrorKind::PermissionDenied => "; check the owner of its directory, and the user of portcullis",
        ErrorKind::ReadOnlyFilesystem => "; mount a writable file system there",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; check the free space on that file system",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_a_missing_directory() {
        let check = |number| to_check(std::io::Error::from_raw_os_error(number).kind());
        assert!(check(libc::ENOSPC).contains("free space") && check(libc::EDQUOT).contains("free space"));
        assert!(check(libc::ENOENT).contains("its directory has to be there"));
        assert_eq!(check(libc::EIO), "");
    }
}
