//! The few calls that need `unsafe`: the allocator, raw signal masks, waiting for any child, unused pages of a stack, and the code of a child
//! between fork and exec.
//!
//! Raw system calls are used for signals because musl's wrappers reserve 32 to 34: its `sigfillset` excludes them and its `sigaction`
//! refuses them, so a stray signal 34 would end a PID 1 that relied on them. `waitpid` and `kill` are called here and not through nix
//! because its `Signal` knows no real-time signals, and a child killed by one would lose its status.
#![allow(unsafe_code)]

pub mod allocator;
pub mod command;
pub mod descriptors;
pub mod now;
pub mod peer;
pub mod stack;
pub mod start;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::signal::SigSet;

use crate::exit::Ended;

/// The kernel's signal set: bit n-1 stands for signal n (`sigset_t` of the kernel, 64 bits on every Linux).
type KernelSet = u64;

/// The highest signal number of Linux.
pub const LAST_SIGNAL: i32 = 64;

/// Replaces the calling thread's mask and returns the old one; the kernel ignores KILL and STOP.
fn set_mask(mask: KernelSet) -> KernelSet {
    let mut old: KernelSet = 0;
    // SAFETY: both pointers are to live 8-byte integers and the size passed is 8, as rt_sigprocmask(2) requires; the call can only fail for
    // a bad pointer or size. It is async-signal-safe.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size_of::<KernelSet>());
    }
    old
}

/// Blocks all 64 signals in this thread and in every thread it starts.
///
/// Every thread calls it again at its start, and so does the first one after starting another: musl unblocks 33 in each new thread, and 33
/// and 34 in the thread that starts the first one.
pub extern "C" fn block_every_signal() {
    set_mask(KernelSet::MAX);
}

/// Starts a thread of this name in which, as in the caller, every signal is blocked.
pub fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let body = move || {
        block_every_signal();
        body();
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    block_every_signal();
    started.map(drop)
}

/// Unblocks every signal in this thread: for subcommands that supervise nothing.
pub fn unblock_every_signal() {
    set_mask(0);
}

/// The first of the real-time signals, which queue up instead of merging (signal(7)). For the kernel they begin before libc's SIGRTMIN.
pub const FIRST_REALTIME: i32 = 32;

/// A set of the signals of these numbers, 1 to [`LAST_SIGNAL`], for a signalfd.
pub fn signals(numbers: std::ops::RangeInclusive<i32>) -> SigSet {
    let bits = numbers.filter_map(|number| 1_u64.checked_shl(u32::try_from(number - 1).ok()?)).fold(0, |bits: KernelSet, bit| bits | bit);
    // SAFETY: sigset_t is a plain array of integers on every libc, so all zeros is a value of it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is larger than the 8 bytes written, on glibc and musl alike (128 bytes of unsigned longs), and any bits are valid.
    unsafe { (&raw mut set).cast::<KernelSet>().write_unaligned(bits) };
    // SAFETY: the set is initialised.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// The signals that musl keeps for its threads (SIGTIMER, SIGCANCEL, SIGSYNCCALL).
const OF_MUSL: std::ops::RangeInclusive<i32> = 32..=34;

/// The kernel's `struct sigaction`: 32 bytes at most on 64-bit Linux (handler, flags, restorer, mask).
#[derive(Default)]
#[repr(C)]
struct KernelAction([u64; 4]);

/// The handler of a signal; none for an invalid number.
fn handler(number: i32) -> Option<u64> {
    let mut action = KernelAction::default();
    // SAFETY: the old action is written to a live buffer of at least its size; a null new action changes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, std::ptr::null::<KernelAction>(), &raw mut action, size_of::<KernelSet>()) };
    (result == 0).then_some(action.0[0])
}

/// Sets a signal to "default" or "ignore"; async-signal-safe.
fn set_handler(number: i32, handler: usize) {
    let action = KernelAction([handler as u64, 0, 0, 0]);
    // SAFETY: SIG_DFL or SIG_IGN with no flags, no restorer and an empty mask is a valid action; the buffer is live.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, number, &raw const action, std::ptr::null_mut::<KernelAction>(), size_of::<KernelSet>())
    };
}

/// Resets every inherited "ignore" to the default, so that children start with default dispositions and can be waited for.
///
/// With an inherited SIGCHLD=ignore the kernel would reap children itself and lose their status. SIGPIPE is not changed: std has set it to
/// "ignore" for us, and the start of a child resets it. The three reserved by musl become "ignore": its first `pthread_create` unblocks
/// them, and until [`block_every_signal`] is called again one of them would end us.
pub fn reset_dispositions() {
    for number in (1..=LAST_SIGNAL).filter(|number| *number != libc::SIGPIPE) {
        if OF_MUSL.contains(&number) {
            set_handler(number, libc::SIG_IGN);
        } else if handler(number) == Some(libc::SIG_IGN as u64) {
            set_handler(number, libc::SIG_DFL);
        }
    }
}

/// The dispositions of a child that is about to execute; async-signal-safe.
fn clean_dispositions() {
    set_handler(libc::SIGPIPE, libc::SIG_DFL);
    for number in OF_MUSL {
        set_handler(number, libc::SIG_DFL);
    }
}

/// Prepares the signals for the program that this process is about to execute: all at their default, none blocked.
pub fn release_signals() {
    for number in (1..=LAST_SIGNAL).filter(|number| handler(*number) == Some(libc::SIG_IGN as u64)) {
        set_handler(number, libc::SIG_DFL);
    }
    unblock_every_signal();
}

/// Makes this process the reaper of its orphaned descendants, so that they can be signalled and reaped without being PID 1.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer and touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// Whether PR_SET_CHILD_SUBREAPER or anything else failed.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One result of `waitpid(2)` for any child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child ended and is reaped.
    Child(i32, Ended),
    /// This child was suspended by this signal.
    Stopped(i32, i32),
    /// Children are left and none has ended.
    AllRunning,
    /// There is no child.
    NoChild,
}

/// Reaps one ended child, or returns a suspended one, without waiting.
pub fn reap() -> Reaped {
    let mut status: libc::c_int = 0;
    // SAFETY: the status is written to a live integer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    match pid {
        0 => Reaped::AllRunning,
        pid if pid > 0 && libc::WIFSTOPPED(status) => Reaped::Stopped(pid, libc::WSTOPSIG(status)),
        pid if pid > 0 && libc::WIFSIGNALED(status) => Reaped::Child(pid, Ended::Signal(libc::WTERMSIG(status) as u8)),
        pid if pid > 0 => Reaped::Child(pid, Ended::Code(libc::WEXITSTATUS(status) as u8)),
        _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => reap(),
        _ => Reaped::NoChild,
    }
}

/// How this child ended; none while it runs (without `wait`), or if it is not our child.
pub fn reap_one(pid: i32, wait: bool) -> Option<Ended> {
    let mut status: libc::c_int = 0;
    // SAFETY: the status is written to a live integer.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, if wait { 0 } else { libc::WNOHANG }) };
    (reaped == pid).then(|| {
        if libc::WIFSIGNALED(status) { Ended::Signal(libc::WTERMSIG(status) as u8) } else { Ended::Code(libc::WEXITSTATUS(status) as u8) }
    })
}

/// Sends a signal to a process, or to the group of that number when `pid` is negative.
///
/// # Errors
/// `ESRCH` if there is no such process or group, `EPERM` if it belongs to another user. A `pid` of 0, 1 or -1 is refused with `EINVAL`:
/// those mean our own group, init and all processes.
pub fn send(pid: i32, number: i32) -> io::Result<()> {
    if matches!(pid, -1..=1) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: kill(2) takes two integers.
    check(unsafe { libc::kill(pid, number) })
}

/// Whether there is no process, or for a negative number no group, with this number, as for [`send`].
pub fn is_free(pid: i32) -> bool {
    send(pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Sends a signal to all other processes of the pid namespace, if we are its first process and it is not the host's.
///
/// All processes there were started by us, by our descendants, or into our container.
pub fn send_to_everybody(number: i32) {
    if own_ids().0 == 1 {
        // SAFETY: kill(2) takes two integers; -1 means all processes that we may signal, except ourselves (kill(2)).
        unsafe { libc::kill(-1, number) };
    }
}

/// Columns and rows of this terminal; none if it is not a terminal, or unknown.
pub fn terminal_size(terminal: BorrowedFd<'_>) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, and the pointer is to a live one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// The calling process' id and its process group's.
pub fn own_ids() -> (i32, i32) {
    // SAFETY: both calls take nothing and cannot fail.
    unsafe { (libc::getpid(), libc::getpgrp()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_or_one_group_can_be_signalled() {
        for pid in [-1, 0, 1] {
            // Signal 0 is harmless, should the check ever fail.
            assert_eq!(send(pid, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL), "{pid}");
        }
        assert!(send(own_ids().0, 0).is_ok());
    }
}
