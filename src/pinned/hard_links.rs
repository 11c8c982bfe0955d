//! Hard links: whether a file may be a second name of a file of another user.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::OnceLock;

use nix::sys::stat::{FileStat, fstat};
use nix::unistd::geteuid;

use super::{Refusal, is_directory, is_private};

/// Refuses a file that may be a second name of another one: if the kernel lets any user hard-link any file, any user who can write to the
/// directory may have created it. `what` would be done with it.
///
/// # Errors
/// The sentence about it.
pub fn refuse(found: &FileStat, dir: Option<BorrowedFd<'_>>, what: &str, shown: &Path) -> Result<(), Refusal> {
    if may_have_one_name(found, dir) {
        return Ok(());
    }
    let why = format!(
        "it has {} names, and this kernel lets any user hard-link any file; set the sysctl fs.protected_hardlinks to 1",
        found.st_nlink
    );
    Err(Refusal::of(what, shown, why))
}

/// Whether no other user can have created a second name of this file in the directory; always if we are not root.
pub(super) fn may_have_one_name(found: &FileStat, dir: Option<BorrowedFd<'_>>) -> bool {
    let is_private = || dir.is_some_and(|dir| fstat(dir).is_ok_and(|found| is_private(&found, dir, |_| false)));
    is_directory(found) || found.st_nlink < 2 || !geteuid().is_root() || are_protected() || is_private()
}

fn are_protected() -> bool {
    static PROTECTED: OnceLock<bool> = OnceLock::new();
    #[cfg(test)]
    if let Some(protected) = PROTECTED_IN_THIS_THREAD.get() {
        return protected;
    }
    *PROTECTED.get_or_init(|| std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.trim() == "1"))
}

#[cfg(test)]
thread_local! {
    static PROTECTED_IN_THIS_THREAD: std::cell::Cell<Option<bool>> = const { std::cell::Cell::new(None) };
}

/// Lets a test be on a kernel that protects hard links, or on one that does not: the sysctl is that of the whole machine.
#[cfg(test)]
pub(crate) fn protected_in_this_thread(protected: bool) {
    PROTECTED_IN_THIS_THREAD.set(Some(protected));
}
