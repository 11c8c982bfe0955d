//! Signals as data: every one of the 64, read from a signalfd together with who sent it.
//!
//! A signalfd rather than handlers, because all signals are blocked from the first instruction on: nothing can be lost between
//! exec and here, real-time signals queue instead of merging, 32 to 34 are readable on musl as well, and no handler ever runs.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// Bytes of one record, as the kernel fixed it.
const RECORD: usize = size_of::<libc::signalfd_siginfo>();

/// Standard signals that can be pending at a time: each of the 31 once for the process and once for the thread (signal(7)).
const MOST_STANDARD: usize = 62;

/// Real-time signals that are read at once. Tens of thousands may be queued: the rest stays with the kernel.
const MOST_REALTIME: usize = 16;

/// Real-time signals that may be queued for us. To take one signal out the kernel walks past all that are queued before it, TERM and CHLD
/// included, on our processor time: past a hundred thousand of them for 20 ms.
const MOST_QUEUED: u64 = 1024;

/// Bounds how many signals may be queued for this process (RLIMIT_SIGPENDING, setrlimit(2)): beyond that, `sigqueue(3)` fails and real-time
/// signals of `kill(2)` merge as all others do. Returns the limit as it was, resource, soft and hard, for children to get back; none where
/// nothing was changed.
pub fn bound_queue() -> Option<(u32, u64, u64)> {
    let resource = Resource::RLIMIT_SIGPENDING;
    let (soft, hard) = getrlimit(resource).ok().filter(|(soft, _)| *soft > MOST_QUEUED)?;
    setrlimit(resource, MOST_QUEUED, hard).ok().map(|()| (resource as u32, soft, hard))
}

/// The receiving ends of every signal sent to this process. Real-time signals have one of their own, so that however many of them are
/// queued, TERM and CHLD are never behind them.
#[derive(Debug)]
pub struct Signals {
    standard: SignalFd,
    realtime: SignalFd,
    own_pid: i32,
}

impl Signals {
    /// Opens the signalfds; the mask must block every signal already ([`sys::block_every_signal`]).
    pub fn open() -> nix::Result<Self> {
        let open = |numbers| SignalFd::with_flags(&sys::signals(numbers), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let (standard, realtime) = (open(1..=sys::FIRST_REALTIME - 1)?, open(sys::FIRST_REALTIME..=sys::LAST_SIGNAL)?);
        Ok(Self { standard, realtime, own_pid: sys::own_ids().0 })
    }

    /// The files that become readable when a signal is pending.
    pub fn files(&self) -> [BorrowedFd<'_>; 2] {
        [self.standard.as_fd(), self.realtime.as_fd()]
    }

    /// The numbers of all standard signals that arrived and mean something, SIGCHLD included.
    ///
    /// Left out are our own SIGPIPEs and the job control signals of our own terminal, which are about portcullis and not about
    /// the child.
    pub fn take(&self) -> Vec<i32> {
        self.read(&self.standard, &mut [0; RECORD * MOST_STANDARD])
    }

    /// The numbers of the real-time signals that were queued first, a bounded number of them.
    pub fn take_realtime(&self) -> Vec<i32> {
        self.read(&self.realtime, &mut [0; RECORD * MOST_REALTIME])
    }

    /// One call for what is pending: a second one that finds nothing would be paid for with every orphan.
    fn read(&self, fd: &SignalFd, bytes: &mut [u8]) -> Vec<i32> {
        let count = nix::unistd::read(fd, bytes).unwrap_or_default();
        bytes.chunks_exact(RECORD).take(count / RECORD).filter_map(|record| self.meaning(record)).collect()
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
