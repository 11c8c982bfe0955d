//! Reads all 64 signals from a signalfd, with their senders.
//!
//! It uses a signalfd instead of handlers: all signals are blocked from the first instruction on, so none is lost between exec and here;
//! real-time signals queue instead of merging; 32 to 34 are readable on musl as well; and no handler ever runs.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// The size of one record, fixed by the kernel.
const RECORD: usize = size_of::<libc::signalfd_siginfo>();

/// How many signals of a kind are read at once. At most 62 standard ones are pending, the lowest numbers first, but tens of thousands of
/// real-time ones may be queued; the rest stays in the kernel until the next turn.
const MOST: usize = 16;

/// How many real-time signals may be queued for us. To dequeue one signal, also TERM and CHLD, the kernel walks through all that are queued
/// before it, on our processor time: with a hundred thousand of them that takes 20 ms.
const MOST_QUEUED: u64 = 1024;

/// Limits how many signals may be queued for this process (RLIMIT_SIGPENDING, setrlimit(2)): beyond that, `sigqueue(3)` fails and real-time
/// signals of `kill(2)` merge like all others. Returns the previous limit (resource, soft, hard), which children get back; none if nothing
/// was changed.
pub fn bound_queue() -> Option<(u32, u64, u64)> {
    let resource = Resource::RLIMIT_SIGPENDING;
    let (soft, hard) = getrlimit(resource).ok().filter(|(soft, _)| *soft > MOST_QUEUED)?;
    setrlimit(resource, MOST_QUEUED, hard).ok().map(|()| (resource as u32, soft, hard))
}

/// The receiving ends of every signal sent to this process. Real-time signals have a separate one, so that TERM and CHLD never wait behind
/// them.
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

    /// The numbers of the received standard signals, including SIGCHLD, without the irrelevant ones.
    ///
    /// Irrelevant are our own SIGPIPEs and the job control signals of our own terminal, which concern portcullis and not the child.
    pub fn take(&self) -> Vec<i32> {
        self.read(&self.standard)
    }

    /// The numbers of the first queued real-time signals, a bounded number.
    pub fn take_realtime(&self) -> Vec<i32> {
        self.read(&self.realtime)
    }

    /// Reads the pending signals with one call: a second, empty one would cost time for every orphan.
    fn read(&self, fd: &SignalFd) -> Vec<i32> {
        let mut bytes = [0; RECORD * MOST];
        let count = nix::unistd::read(fd, &mut bytes).unwrap_or_default();
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
