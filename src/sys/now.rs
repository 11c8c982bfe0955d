//! A write that waits for nobody.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Stands for the place where the file is (pwritev2(2)).
const HERE: libc::off_t = -1;

/// Writes as much as is taken at once, whether or not the file is said to block, and tells how much that was. What is closed, or has lost
/// its reader, takes everything.
///
/// # Errors
/// Nothing can be taken now, or this kind of file cannot say so: terminals, most files on a disk, pipes before Linux 6.5.
pub fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the one part lies in live memory, which is only read; the rest are integers. On 64 bits the place is its first half alone.
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
        // Kernels that cannot tell say so at once, which is all that is asked of them.
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
