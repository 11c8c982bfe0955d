//! Standard output and standard error, written to the last byte in any mode that other processes set.
//!
//! O_NONBLOCK is a property of the open file, which portcullis shares with its children and often with its parent: Node sets it on
//! each pipe that it finds as a standard stream. A plain `write_all` then loses what does not fit at once.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys;

/// Writes all bytes, waiting for room without limit, and reports how many each write took.
///
/// # Errors
/// The error of `write(2)`, for example that the reader is gone or the file system is full. A closed stream accepts everything.
pub fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8], mut taken: impl FnMut(usize)) -> nix::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(count) => {
                taken(count);
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => _ = has_room(to, PollTimeout::NONE),
            Err(Errno::EBADF) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what is accepted at once, and returns how much that was, without waiting for a reader. A stream that fails accepts everything, as for
/// [`write_all`].
pub(super) fn write_some(to: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    if let Ok(count) = sys::now::write(to, bytes) {
        return count;
    }
    // A terminal, a file on a disk, or a pipe of an older kernel. A pipe with room accepts at least this much (PIPE_BUF in pipe(7)).
    let part = bytes.get(..libc::PIPE_BUF).unwrap_or(bytes);
    match has_room(to, PollTimeout::ZERO).then(|| nix::unistd::write(to, part)) {
        Some(Ok(count)) => count,
        None | Some(Err(Errno::EINTR | Errno::EAGAIN)) => 0,
        Some(Err(_)) => bytes.len(),
    }
}

/// Whether a write would succeed or fail at once; waits for that until `timeout`.
pub(super) fn has_room(to: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], timeout).is_ok_and(|ready| ready > 0)
}

/// One of the two streams as a writer without a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Writer(Which);

#[derive(Clone, Copy, Debug)]
enum Which {
    Stdout,
    Stderr,
}

/// Standard output.
pub const fn stdout() -> Writer {
    Writer(Which::Stdout)
}

/// Standard error.
pub const fn stderr() -> Writer {
    Writer(Which::Stderr)
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            Which::Stdout => write_all(io::stdout().lock().as_fd(), bytes, |_| {})?,
            Which::Stderr => write_all(io::stderr().lock().as_fd(), bytes, |_| {})?,
        }
        Ok(bytes.len())
    }

    /// One call for the whole text, so that writes of other processes do not split it.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write(text.to_string().as_bytes()).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    #[test]
    fn a_full_pipe_that_does_not_block_is_waited_for() {
        let (mut reading, writing) = io::pipe().unwrap();
        fcntl(&writing, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            reading.read_to_end(&mut all).unwrap();
            all
        });
        let bytes = vec![7; 1 << 20];
        let mut count = 0;
        write_all(writing.as_fd(), &bytes, |taken| count += taken).unwrap();
        assert!(!has_room(writing.as_fd(), PollTimeout::ZERO) || count == bytes.len());
        drop(writing);
        assert!(reader.join().unwrap() == bytes && count == bytes.len());
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (reading, writing) = io::pipe().unwrap();
        drop(reading);
        assert_eq!(write_all(writing.as_fd(), b"x", |_| {}), Err(Errno::EPIPE));
    }
}
