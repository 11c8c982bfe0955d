//! Signals as data: every one of the 64, read from a signalfd together with who sent it.
//!
//! A signalfd rather than handlers, because all signals are blocked from the first instruction on: nothing can be lost between
//! exec and here, real-time signals queue instead of merging, 32 to 34 are readable on musl as well, and no handler ever runs.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// Bytes of one record, as the kernel fixed it.
const RECORD: usize = size_of::<libc::signalfd_siginfo>();

/// Records that are read at once.
const RECORDS: usize = 8;

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
        loop {
            // One call for all that is pending: a second one that finds nothing would be paid for with every orphan.
            let mut bytes = [0_u8; RECORD * RECORDS];
            let count = nix::unistd::read(&self.fd, &mut bytes).unwrap_or_default();
            numbers.extend(bytes[..count].chunks_exact(RECORD).filter_map(|record| self.meaning(record)));
            if count < bytes.len() {
                return numbers;
            }
        }
    }

    /// The number in one `struct signalfd_siginfo` (signalfd(2)): `ssi_signo`, `ssi_errno`, `ssi_code`, `ssi_pid`, 32 bits each.
    fn meaning(&self, record: &[u8]) -> Option<i32> {
        let field = |index: usize| Some(i32::from_ne_bytes(*record.get(index * 4..)?.first_chunk()?));
        let (number, from_kernel, sender) = (field(0)?, field(2)? > 0, field(3)?);
        let job_control = matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGWINCH);
        let own = number == libc::SIGPIPE && sender == self.own_pid;
        let about_us = own || (job_control && from_kernel);
        (!about_us).then_some(number)
    }
}
