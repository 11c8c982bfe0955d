//! Signals as data: every one of the 64, read from a signalfd together with who sent it.
//!
//! A signalfd rather than handlers, because all signals are blocked from the first instruction on: nothing can be lost between
//! exec and here, real-time signals queue instead of merging, 32 to 34 are readable on musl as well, and no handler ever runs.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// The receiving end of every signal sent to this process.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    own_pid: i32,
}

impl Signals {
    /// Opens the signalfd; the mask must block every signal already ([`sys::block_every_signal`]).
    pub fn open() -> nix::Result<Self> {
        let fd = SignalFd::with_flags(&sys::every_signal(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, own_pid: sys::own_ids().0 })
    }

    /// The file that becomes readable when a signal is pending.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The numbers of the signals that arrived and mean something, SIGCHLD included.
    ///
    /// Left out are our own SIGPIPEs and the job control signals of our own terminal, which are about portcullis and not about
    /// the child.
    pub fn take(&self) -> Vec<i32> {
        let mut numbers = Vec::new();
        while let Ok(Some(info)) = self.fd.read_signal() {
            let number = info.ssi_signo as i32;
            let from_kernel = info.ssi_code > 0;
            let job_control = matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGWINCH);
            let own = number == libc::SIGPIPE && info.ssi_pid as i32 == self.own_pid;
            if !(own || (job_control && from_kernel)) {
                numbers.push(number);
            }
        }
        numbers
    }
}
