//! Reports across threads that a process was created: its pid, or that there is none.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

const FUTEX_WAIT: c_int = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
const FUTEX_WAKE: c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// The pid of a process that is being started, known from its first instruction on, before anything can hang.
#[derive(Debug, Default)]
pub struct Birth(AtomicI32);

impl Birth {
    /// Waits until there is a process, and returns its pid.
    ///
    /// # Errors
    /// The kernel could not make one.
    pub fn wait(&self) -> io::Result<i32> {
        loop {
            match self.0.load(Ordering::Acquire) {
                // SAFETY: futex(2) compares a live aligned integer and sleeps while it is 0; no time limit is given.
                0 => unsafe {
                    libc::syscall(libc::SYS_futex, self.0.as_ptr(), FUTEX_WAIT, 0, std::ptr::null::<libc::timespec>());
                },
                pid if pid > 0 => return Ok(pid),
                errno => return Err(io::Error::from_raw_os_error(errno.saturating_neg())),
            }
        }
    }

    /// Its pid, if there is one.
    pub fn pid(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Acquire)).filter(|pid| *pid > 0)
    }

    /// Sets a pid, or a negative errno, unless one was set before; async-signal-safe.
    pub(super) fn report(&self, what: i32) {
        if self.0.compare_exchange(0, what, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // SAFETY: futex(2) wakes the waiters at this address; it reads nothing.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), FUTEX_WAKE, i32::MAX) };
        }
    }
}

/// Sets that no process was created.
pub(super) struct OrNone<'b>(pub(super) &'b Birth);

impl Drop for OrNone<'_> {
    fn drop(&mut self) {
        self.0.report(-libc::EAGAIN);
    }
}
