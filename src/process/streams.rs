//! Changes the owner of the standard streams that a child inherits to its user, so that it may open `/dev/stdout` and the like.
//!
//! Opening `/proc/self/fd/1` needs permission for the pipe or terminal itself, which usually belongs to root. A container runtime that
//! starts the process as another user changes the owner (runc's `fixStdioPermissions`); portcullis, which drops privileges instead, does
//! the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, fchown, geteuid, isatty};
use tracing::debug;

/// Makes `user` the owner of the streams 0 to 2 that are pipes or terminals. The group is not changed, and neither are other files:
/// `/dev/null` is shared, a file keeps its owner, a socket cannot be opened.
///
/// `skipped` are descriptors that the child gets replaced. Without `precedence` only streams that still belong to us are changed: a module
/// must not take the streams from the main process' user. A failure does not prevent the start, because many programs never reopen their
/// streams.
pub(super) fn give_to(user: u32, skipped: &[i32], precedence: bool) {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [(libc::STDIN_FILENO, stdin.as_fd()), (libc::STDOUT_FILENO, stdout.as_fd()), (libc::STDERR_FILENO, stderr.as_fd())];
    for (number, stream) in streams.into_iter().filter(|(number, _)| !skipped.contains(number)) {
        let Some(owner) = owner(stream) else { continue };
        if owner == user || !(precedence || owner == geteuid().as_raw()) {
            continue;
        }
        if let Err(error) = fchown(stream, Some(Uid::from_raw(user)), None) {
            debug!("cannot change the owner of descriptor {number} to the user {user}: {error}; that user cannot open it by name");
        }
    }
}

/// The owner of a pipe or a terminal; none for anything else.
fn owner(stream: BorrowedFd<'_>) -> Option<u32> {
    let stat = fstat(stream).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    (kind == SFlag::S_IFIFO || (kind == SFlag::S_IFCHR && isatty(stream).unwrap_or(false))).then_some(stat.st_uid)
}
