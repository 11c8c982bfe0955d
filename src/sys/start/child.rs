//! The child between clone and exec, on its parent's memory: only system calls that are safe there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use super::{Birth, Recipe, SpawnStep};
use crate::sys::{clean_dispositions, set_mask};

/// The interpreter of a script without `#!`, as in glibc's `execvp(3)` and every shell; musl's has none.
const SHELL: &CStr = c"/bin/sh";

/// The index of the script in the arguments for the shell.
const SCRIPT: usize = 1;

/// The task of the child.
pub(super) struct Launch<'a> {
    recipe: &'a Recipe,
    pointers: Pointers,
    report: c_int,
    birth: &'a Birth,
}

impl<'a> Launch<'a> {
    /// Prepares this recipe; failures go to the pipe `report`.
    pub(super) fn new(recipe: &'a Recipe, report: c_int, birth: &'a Birth) -> Self {
        Self { recipe, pointers: Pointers::new(recipe), report, birth }
    }
}

/// Null-terminated arrays of pointers into a recipe's strings.
struct Pointers {
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The command line of a shell for the file whose path the child puts at [`SCRIPT`].
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

/// The code of the child until exec, on the memory of the parent. It uses system calls and prepared memory, allocates nothing, takes no
/// lock and never returns.
pub(super) extern "C" fn child(launch: *mut c_void) -> c_int {
    // SAFETY: `start` passes its launch, which no other code uses while the child lives.
    let Launch { recipe, pointers, report, birth } = unsafe { &mut *launch.cast::<Launch>() };
    let mut report = *report;
    let fail = |report: c_int, step: SpawnStep| -> ! {
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
        // Before its pid is reported, so that the group can be signalled as soon as the pid is known.
        libc::setpgid(0, 0);
        birth.report(pid);
        for withheld in &recipe.withheld {
            libc::fcntl(*withheld, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        // No passed descriptor may overwrite the pipe that reports failures.
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
                fail(report, SpawnStep::Pass);
            }
        }
        for (resource, soft, hard) in &recipe.limits {
            let limit = [*soft, *hard];
            if libc::syscall(libc::SYS_prlimit64, 0, *resource, limit.as_ptr(), std::ptr::null::<u64>()) != 0 {
                fail(report, SpawnStep::Limit);
            }
        }
        if let Some(mask) = recipe.umask {
            libc::umask(mask as libc::mode_t);
        }
        // The user may be able to enter a directory that root cannot (NFS with root_squash): then it is tried as that user, as runc does.
        let mut enter = None;
        if let Some(directory) = &recipe.directory
            && libc::chdir(directory.as_ptr()) != 0
        {
            if recipe.credentials.is_none() || errno() != libc::EACCES {
                fail(report, SpawnStep::Directory);
            }
            enter = Some(directory);
        }
        if let Some(who) = &recipe.credentials {
            let (gid, uid) = (who.gid, who.uid);
            let done = libc::syscall(libc::SYS_setgroups, who.groups.len(), who.groups.as_ptr()) == 0
                && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
                && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0;
            if !done {
                fail(report, SpawnStep::Credentials);
            }
        }
        if enter.is_some_and(|directory| libc::chdir(directory.as_ptr()) != 0) {
            fail(report, SpawnStep::Directory);
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
                    fail(report, SpawnStep::Exec);
                }
                _ => fail(report, SpawnStep::Exec),
            }
        }
        if denied {
            set_errno(libc::EACCES);
        }
    }
    fail(report, SpawnStep::Exec)
}

/// Whether the beginning of this file is text without a first line that names an interpreter; async-signal-safe.
fn is_text(path: &CStr) -> bool {
    let mut head = [0_u8; 1024];
    // SAFETY: system calls on a live path and a live buffer of the size that is given. Opened in this way, no file blocks.
    let count = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK);
        let count = libc::read(file, head.as_mut_ptr().cast(), head.len());
        libc::close(file);
        count
    };
    let head = head.get(..usize::try_from(count).unwrap_or_default()).unwrap_or_default();
    !head.is_empty() && !head.starts_with(b"#!") && !head.contains(&0)
}

/// Writes the pid and a NUL after `LISTEN_PID=`, without leading zeros, which readers would treat as an octal number.
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
