//! Starts a program: the steps between clone and exec, using only calls that are safe there.

mod birth;
mod child;

use std::ffi::{CStr, CString, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;
pub use birth::Birth;
use birth::OrNone;
use child::{Launch, child};

/// Everything that the child needs, prepared before the clone, because nothing may be allocated after it.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Paths to try in order, as `execvp(3)` tries the directories of PATH.
    pub candidates: Vec<CString>,
    /// The command line.
    pub argv: Vec<CString>,
    /// The environment, `NAME=VALUE` each. A `LISTEN_PID` of [`Recipe::LISTEN_PID`] gets the child's own pid.
    pub env: Vec<CString>,
    /// The working directory; none: the parent's.
    pub directory: Option<CString>,
    /// User, group and supplementary groups to become.
    pub credentials: Option<Credentials>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits: `RLIMIT_…`, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether set-user-ID programs give no further privileges (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// The signal that the child gets when the starting thread ends; 0: none.
    pub parent_death_signal: i32,
    /// Whether the child becomes the terminal's foreground group.
    pub terminal: bool,
    /// Inherited descriptors that the child does not get.
    pub withheld: Vec<i32>,
    /// Descriptors that the child gets under another number: our number, its number.
    pub pass: Vec<(i32, i32)>,
}

/// The user of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The step between clone and exec that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SpawnStep {
    /// Creating the process.
    Fork = 0,
    /// Passing a descriptor.
    Pass = 1,
    /// Setting a limit.
    Limit = 2,
    /// Entering the working directory.
    Directory = 3,
    /// Changing the user.
    Credentials = 4,
    /// Executing the program.
    Exec = 5,
}

impl SpawnStep {
    const ALL: [Self; 6] = [Self::Fork, Self::Pass, Self::Limit, Self::Directory, Self::Credentials, Self::Exec];
}

impl Recipe {
    /// A `LISTEN_PID` with room for any pid, rewritten in the child (`sd_listen_fds(3)`).
    pub const LISTEN_PID: &'static CStr = c"LISTEN_PID=0000000000";

    /// Starts the program, and returns once it executes, which may block on its files. `birth` reports its pid before that. The caller
    /// reaps it, also if the start failed after the process existed.
    ///
    /// The child is in its own process group and has an empty signal mask. All signals must be blocked in the calling thread, so that no
    /// signal for us reaches the child between fork and exec.
    ///
    /// # Errors
    /// The failed step and its error; the child is then about to end. A child that is killed before it executes is not an error.
    pub fn start(&self, birth: &Birth) -> Result<(), (SpawnStep, io::Error)> {
        let failed = |error| (SpawnStep::Fork, error);
        let _or_none = OrNone(birth);
        let (reading, writing) = pipe().map_err(failed)?;
        let mut launch = Launch::new(self, writing.as_raw_fd(), birth);
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
        // The memory is shared instead of copied, and this thread is suspended until the child executes or ends: copying the page tables
        // and every page written meanwhile would cost more than the rest of a start. glibc and musl start programs in the same way.
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child has its own stack, given by its upper end, which outlives it, as does the launch: this thread continues only
        // when the child no longer uses either. It calls only what is listed in `child`, and never returns into our frames. If an emulator
        // turns this into a plain fork, the child has copies of both.
        let pid = unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut launch).cast::<c_void>()) };
        if pid < 0 {
            let error = io::Error::last_os_error();
            birth.report(error.raw_os_error().unwrap_or(libc::EAGAIN).saturating_neg());
            return Err(failed(error));
        }
        // The child reports its pid itself, unless it was killed before its first instruction, or has its own memory under an emulator.
        let shares_memory = birth.pid().is_some();
        birth.report(pid);
        drop(writing);
        if shares_memory {
            // This thread was suspended until here, so it finds the complete report, or none. It does not wait for the end of the pipe,
            // because another child that was forked meanwhile and hangs before exec also has the other end open. SAFETY: changes a flag of
            // our own descriptor.
            unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        }
        let mut report = [0_u8; 5];
        match File::from(reading).read_exact(&mut report) {
            // Nothing was written: the program executes.
            Err(_) => Ok(()),
            Ok(()) => {
                let [step, errno @ ..] = report;
                let step = SpawnStep::ALL.into_iter().find(|known| *known as u8 == step).unwrap_or(SpawnStep::Exec);
                Err((step, io::Error::from_raw_os_error(i32::from_ne_bytes(errno))))
            }
        }
    }
}

/// The size of the child's stack until exec: many times what its few frames need.
const STACK: usize = 64 * 1024;

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to a live array.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both are open and have no other owner.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}
