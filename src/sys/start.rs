//! Starts a program: what happens between clone and exec, by calls that are safe there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::{check, clean_dispositions, set_mask};

/// Everything the child needs, prepared before the clone because nothing may be allocated after it.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Paths to try in order, as `execvp(3)` tries the directories of PATH.
    pub candidates: Vec<CString>,
    /// The command line.
    pub argv: Vec<CString>,
    /// The environment, `NAME=VALUE` each. A `LISTEN_PID` of [`Recipe::LISTEN_PID`] gets the child's own pid.
    pub env: Vec<CString>,
    /// The working directory; the parent's when none.
    pub directory: Option<CString>,
    /// User, group and supplementary groups to become.
    pub credentials: Option<Credentials>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits: `RLIMIT_…`, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether set-user-ID programs shall give nothing any more (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// The signal that the child gets when the starting thread ends; 0: none.
    pub parent_death_signal: i32,
    /// Whether the child becomes the terminal's foreground group.
    pub terminal: bool,
    /// Inherited descriptors that the child does not get.
    pub withheld: Vec<i32>,
    /// Descriptors that the child gets under another number: ours, theirs.
    pub pass: Vec<(i32, i32)>,
}

/// Who a child shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The pid of a process that is being started, known from its first instruction on: before it does anything that may hang.
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

    /// Its pid, as far as there is one.
    pub fn pid(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Acquire)).filter(|pid| *pid > 0)
    }

    /// Tells a pid, or an errno below 0, unless one was told before; async-signal-safe.
    fn tell(&self, what: i32) {
        if self.0.compare_exchange(0, what, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // SAFETY: futex(2) wakes whoever waits at this address; it reads nothing.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), FUTEX_WAKE, i32::MAX) };
        }
    }
}

const FUTEX_WAIT: c_int = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
const FUTEX_WAKE: c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// Tells that nothing was made, however it came to that.
struct OrNone<'b>(&'b Birth);

impl Drop for OrNone<'_> {
    fn drop(&mut self) {
        self.0.tell(-libc::EAGAIN);
    }
}

/// The step between clone and exec that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Making the process.
    Fork = 0,
    /// Passing a descriptor.
    Pass = 1,
    /// Setting a limit.
    Limit = 2,
    /// Entering the working directory.
    Directory = 3,
    /// Becoming the user.
    Credentials = 4,
    /// Executing the program.
    Exec = 5,
}

impl Step {
    const ALL: [Self; 6] = [Self::Fork, Self::Pass, Self::Limit, Self::Directory, Self::Credentials, Self::Exec];
}

impl Recipe {
    /// A `LISTEN_PID` with room for any pid, rewritten in the child (`sd_listen_fds(3)`).
    pub const LISTEN_PID: &'static CStr = c"LISTEN_PID=0000000000";

    /// Starts the program, and comes back once it is executing: as late as the files that this needs answer. Its pid is told by `birth`
    /// before that. The caller reaps it, also where the start has failed after it was born.
    ///
    /// The child is in a group of its own and has an empty signal mask. All signals must be blocked in the calling thread, so
    /// that nothing meant for us reaches the child between fork and exec.
    ///
    /// # Errors
    /// The step that failed and why; the child is then about to end. A child that is killed before it executes is no error.
    pub fn start(&self, birth: &Birth) -> Result<(), (Step, io::Error)> {
        let failed = |error| (Step::Fork, error);
        let _or_none = OrNone(birth);
        let (reading, writing) = pipe().map_err(failed)?;
        let pointers = Pointers::new(self);
        let mut launch = Launch { recipe: self, pointers, report: writing.as_raw_fd(), birth };
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
        // The memory is shared instead of copied, and this thread is held until the child executes or is gone: a copy of the page
        // tables and of every page written meanwhile costs more than all else that a start costs. glibc and musl start programs so.
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child has a stack of its own, given by its upper end, that outlives it, as does the launch: this thread goes on only
        // when the child no longer uses either. It calls only what is listed in `child`, and never returns into our frames. Where
        // an emulator makes a plain fork of this, the child has copies of both.
        let pid = unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut launch).cast::<c_void>()) };
        if pid < 0 {
            let error = io::Error::last_os_error();
            birth.tell(error.raw_os_error().unwrap_or(libc::EAGAIN).saturating_neg());
            return Err(failed(error));
        }
        // It has told so itself, but where it was killed before its first instruction, or on memory of its own under an emulator.
        let shares_memory = birth.pid().is_some();
        birth.tell(pid);
        drop(writing);
        if shares_memory {
            // Held until here, this thread finds the whole report, or none. The end of the pipe is not awaited: somebody who was forked
            // meanwhile, and hangs before he executes, has the other end open, too.
            // SAFETY: changes a flag of our own descriptor.
            unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        }
        let mut report = [0_u8; 5];
        match File::from(reading).read_exact(&mut report) {
            // Nothing was written: the program executes.
            Err(_) => Ok(()),
            Ok(()) => {
                let [step, errno @ ..] = report;
                let step = Step::ALL.into_iter().find(|known| *known as u8 == step).unwrap_or(Step::Exec);
                Err((step, io::Error::from_raw_os_error(i32::from_ne_bytes(errno))))
            }
        }
    }
}

/// Bytes of the stack on which the child lives until exec: a few frames without large variables, many times over.
const STACK: usize = 64 * 1024;

/// What reads a script that does not say so itself, as `execvp(3)` of glibc and every shell has it; musl's has not.
const SHELL: &CStr = c"/bin/sh";

/// Where the script stands among the words for the shell.
const SCRIPT: usize = 1;

/// What the child is to do.
struct Launch<'a> {
    recipe: &'a Recipe,
    pointers: Pointers,
    report: c_int,
    birth: &'a Birth,
}

/// Null-terminated arrays of pointers into a recipe's strings.
struct Pointers {
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The command line that has a shell read the file whose path the child puts at [`SCRIPT`].
    shell: Vec<*const c_char>,
    /// The entry that the child writes its own pid into; `env` points to it.
    listen_pid: Vec<u8>,
}

impl Pointers {
    fn new(recipe: &Recipe) -> Self {
        let mut listen_pid = Recipe::LISTEN_PID.to_bytes_with_nul().to_vec();
        let own = listen_pid.as_mut_ptr().cast_const().cast();
        let entry = |entry: &CString| if entry.as_c_str() == Recipe::LISTEN_PID { own } else { entry.as_ptr() };
        Self {
            argv: recipe.argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect(),
            env: recipe.env.iter().map(entry).chain([std::ptr::null()]).collect(),
            shell: [SHELL.as_ptr(); SCRIPT + 1]
                .into_iter()
                .chain(recipe.argv.iter().skip(1).map(|word| word.as_ptr()))
                .chain([std::ptr::null()])
                .collect(),
            listen_pid,
        }
    }
}

/// The child's life until exec, on the memory of the parent. It uses system calls and memory prepared before, allocates nothing,
/// takes no lock and never returns.
extern "C" fn child(launch: *mut c_void) -> c_int {
    // SAFETY: `start` hands in its launch, which nobody else uses while the child lives.
    let Launch { recipe, pointers, report, birth } = unsafe { &mut *launch.cast::<Launch>() };
    let mut report = *report;
    let fail = |report: c_int, step: Step| -> ! {
        let [a, b, c, d] = errno().to_ne_bytes();
        let message = [step as u8, a, b, c, d];
        // SAFETY: writes five live bytes to our own pipe, then ends without running anything of the parent's.
        unsafe {
            libc::write(report, message.as_ptr().cast(), message.len());
            libc::_exit(127)
        }
    };
    // SAFETY: every call below is a plain system call on integers or on memory that lives until exec. The raw calls for groups
    // and ids change this process alone; libc's wrappers would try to change all threads of a process that has only this one.
    unsafe {
        let pid = libc::getpid();
        // Before its pid is told, so that whoever knows it can reach the group.
        libc::setpgid(0, 0);
        birth.tell(pid);
        for withheld in &recipe.withheld {
            libc::fcntl(*withheld, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        // Nothing that is passed may land on the pipe that tells what failed.
        let above = recipe.pass.iter().map(|(_, theirs)| *theirs).max().unwrap_or(0);
        let moved = libc::fcntl(report, libc::F_DUPFD_CLOEXEC, above + 1);
        if moved >= 0 {
            libc::close(report);
            report = moved;
        }
        if recipe.terminal {
            libc::tcsetpgrp(libc::STDIN_FILENO, pid);
        }
        for (ours, theirs) in &recipe.pass {
            let passed = if ours == theirs { libc::fcntl(*ours, libc::F_SETFD, 0) } else { libc::dup2(*ours, *theirs) };
            if passed < 0 {
                fail(report, Step::Pass);
            }
        }
        for (resource, soft, hard) in &recipe.limits {
            let limit = [*soft, *hard];
            if libc::syscall(libc::SYS_prlimit64, 0, *resource, limit.as_ptr(), std::ptr::null::<u64>()) != 0 {
                fail(report, Step::Limit);
            }
        }
        if let Some(mask) = recipe.umask {
            libc::umask(mask as libc::mode_t);
        }
        // A directory that root may not enter (NFS squashes root) may well be the user's: then it is tried as that user, as runc does.
        let mut enter = None;
        if let Some(directory) = &recipe.directory
            && libc::chdir(directory.as_ptr()) != 0
        {
            if recipe.credentials.is_none() || errno() != libc::EACCES {
                fail(report, Step::Directory);
            }
            enter = Some(directory);
        }
        if let Some(who) = &recipe.credentials {
            let (gid, uid) = (who.gid, who.uid);
            let done = libc::syscall(libc::SYS_setgroups, who.groups.len(), who.groups.as_ptr()) == 0
                && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
                && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0;
            if !done {
                fail(report, Step::Credentials);
            }
        }
        if enter.is_some_and(|directory| libc::chdir(directory.as_ptr()) != 0) {
            fail(report, Step::Directory);
        }
        if recipe.no_new_privileges {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
        if recipe.parent_death_signal != 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, recipe.parent_death_signal, 0, 0, 0);
        }
        write_pid(&mut pointers.listen_pid, pid);
        clean_dispositions();
        set_mask(0);
        let mut denied = false;
        for path in &recipe.candidates {
            libc::execve(path.as_ptr(), pointers.argv.as_ptr(), pointers.env.as_ptr());
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => denied = true,
                libc::ENOEXEC if is_text(path) => {
                    if let Some(script) = pointers.shell.get_mut(SCRIPT) {
                        *script = path.as_ptr();
                    }
                    libc::execve(SHELL.as_ptr(), pointers.shell.as_ptr(), pointers.env.as_ptr());
                    set_errno(libc::ENOEXEC);
                    fail(report, Step::Exec);
                }
                _ => fail(report, Step::Exec),
            }
        }
        if denied {
            set_errno(libc::EACCES);
        }
    }
    fail(report, Step::Exec)
}

/// Whether the beginning of this file is text without a first line that names an interpreter; async-signal-safe.
fn is_text(path: &CStr) -> bool {
    let mut head = [0_u8; 1024];
    // SAFETY: system calls on a live path and a live buffer of the size that is given. Opened so, no file waits for anybody.
    let count = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK);
        let count = libc::read(file, head.as_mut_ptr().cast(), head.len());
        libc::close(file);
        count
    };
    let head = head.get(..usize::try_from(count).unwrap_or_default()).unwrap_or_default();
    !head.is_empty() && !head.starts_with(b"#!") && !head.contains(&0)
}

/// Writes the pid and a NUL behind `LISTEN_PID=`; leading zeros would make readers take it for an octal number.
fn write_pid(entry: &mut [u8], pid: i32) {
    let digits = (1..10).take_while(|power| pid / 10_i32.pow(*power) > 0).count() + 1;
    for (place, byte) in entry.iter_mut().skip(c"LISTEN_PID=".count_bytes()).enumerate() {
        *byte = digits.checked_sub(place + 1).map_or(0, |power| b'0' + (pid / 10_i32.pow(power as u32) % 10) as u8);
    }
}

fn errno() -> i32 {
    // SAFETY: libc's errno location is always valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

fn set_errno(errno: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to a live array.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both are open and owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_in_its_own_number_of_digits() {
        for pid in [1, 9, 10, 99, 4_194_304, i32::MAX] {
            let mut entry = Recipe::LISTEN_PID.to_bytes_with_nul().to_vec();
            write_pid(&mut entry, pid);
            assert_eq!(CStr::from_bytes_until_nul(&entry).unwrap().to_str().unwrap(), format!("LISTEN_PID={pid}"));
        }
    }
}
