//! A write that never waits.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Means the current position of the file (pwritev2(2)).
const HERE: libc::off_t = -1;

/// Writes as much as is accepted at once, whether or not the file blocks, and returns how much that was. A closed file, or one without a
/// reader, accepts everything.
///
/// # Errors
/// Nothing is accepted now, or this kind of file does not support it: terminals, most files on a disk, pipes before Linux 6.5.
pub fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the only part is live memory, which is only read; the rest are integers. On 64 bits the position is only the first half.
    let count = unsafe { libc::syscall(libc::SYS_pwritev2, to.as_raw_fd(), &raw const part, 1, HERE, HERE, libc::RWF_NOWAIT) };
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EBADF)) => Ok(bytes.len()),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_full_pipe_is_an_error_and_not_a_wait() {
        let (mut reading, writing) = io::pipe().unwrap();
        // Kernels without support report that at once, which is enough.
        let Ok(first) = write(writing.as_fd(), b"first\n") else { return };
        assert_eq!(first, 6);
        while write(writing.as_fd(), &[0; 4096]).is_ok() {}
        let mut line = [0; 6];
        reading.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"first\n");
        drop(reading);
        assert_eq!(write(writing.as_fd(), b"gone").unwrap(), 4);
    }
}
