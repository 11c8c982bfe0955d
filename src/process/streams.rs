//! Gives the standard streams that a child inherits to the user that it becomes, so that it may open `/dev/stdout` and the like.
//!
//! Opening `/proc/self/fd/1` asks for permission on the pipe or terminal itself, which belongs to whoever made it: root, as a rule.
//! A container runtime that starts the process as another user changes the owner (runc's `fixStdioPermissions`); portcullis, which
//! drops privileges in its place, does the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, fchown, geteuid, isatty};
use tracing::debug;

/// Makes `user` the owner of those of the streams 0 to 2 that are pipes or terminals. The group stays, and so does everything
/// about other files: `/dev/null` is everybody's, a file keeps the owner that the operator gave it, a socket cannot be opened.
///
/// `skipped` are numbers under which the child gets something else. Without `precedence` only what is still ours is given away:
/// a module must not take the streams from the main process' user. A failure is no reason not to start: many programs never open
/// their streams anew.
pub(super) fn give_to(user: u32, skipped: &[i32], precedence: bool) {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [(libc::STDIN_FILENO, stdin.as_fd()), (libc::STDOUT_FILENO, stdout.as_fd()), (libc::STDERR_FILENO, stderr.as_fd())];
    for (number, stream) in streams.into_iter().filter(|(number, _)| !skipped.contains(number)) {
        let Some(owner) = owner(stream) else { continue };
        if owner == user || !(precedence || owner == geteuid().as_raw()) {
            continue;
        }
        if let Err(error) = fchown(stream, Some(Uid::from_raw(user)), None) {
            debug!("cannot give descriptor {number} to the user {user}: {error}; that user cannot open it by its name");
        }
    }
}

/// The owner of a pipe or a terminal; none of anything else.
fn owner(stream: BorrowedFd<'_>) -> Option<u32> {
    let stat = fstat(stream).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    (kind == SFlag::S_IFIFO || (kind == SFlag::S_IFCHR && isatty(stream).unwrap_or(false))).then_some(stat.st_uid)
}
