//! Sends signals to a child or to its whole group; some are held back before exec, because a core dump would include us.

use std::io;

use super::Children;
use crate::process::terminal;
use crate::state::event::ProcessId;
use crate::sys;

/// Signals that dump core by default (signal(7)).
const DUMPING: [i32; 10] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGSYS,
];

impl Children {
    /// Sends a signal to the process; does nothing if it has ended.
    pub fn signal(&mut self, id: ProcessId, number: i32) -> io::Result<()> {
        self.note_kill(id, number);
        match self.pid(id) {
            Some(pid) if self.holds_back(pid, number) => Ok(()),
            Some(pid) => sys::send(pid, number),
            None => Ok(()),
        }
    }

    /// Whether this signal has to wait until the process executes its program: until then it shares our memory, and with a kernel before
    /// 5.16 its core dump would also kill us (`zap_threads` of fs/coredump.c).
    fn holds_back(&mut self, pid: i32, number: i32) -> bool {
        let Some(start) = self.starts.get_mut(&pid).filter(|_| DUMPING.contains(&number)) else { return false };
        if !start.held.contains(&number) {
            start.held.push(number);
        }
        true
    }

    /// Sends a signal to the process' whole group, or only to the process if it has left that group.
    pub fn signal_group(&mut self, id: ProcessId, number: i32) -> io::Result<()> {
        self.note_kill(id, number);
        let Some(group) = self.groups.get(&id).copied() else { return Ok(()) };
        if self.running.get(&group) != Some(&id) {
            // Its leader has ended, so the group id may be reused: only descendants get the signal. Usually the group is empty.
            if !sys::is_free(-group) {
                self.survivors.signal_group(group, number);
            }
            return Ok(());
        }
        if self.holds_back(group, number) {
            return Ok(());
        }
        match sys::send(-group, number) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.signal(id, number),
            other => other,
        }
    }

    /// Resumes the process' whole group, in the terminal's foreground if we own it.
    pub fn resume(&mut self, id: ProcessId) -> io::Result<()> {
        if let Some(group) = self.groups.get(&id) {
            terminal::hand_on(*group);
        }
        self.signal_group(id, libc::SIGCONT)
    }

    /// Whether the process' group is the terminal's foreground.
    pub fn in_foreground(&self, id: ProcessId) -> bool {
        self.groups.get(&id).is_some_and(|group| terminal::belongs_to(*group))
    }

    /// Whether the process' group is not empty, including zombies that are not reaped yet.
    pub fn group_lives(&self, id: ProcessId) -> bool {
        self.groups.get(&id).is_some_and(|group| sys::send(-group, 0).is_ok())
    }

    fn note_kill(&mut self, id: ProcessId, number: i32) {
        if number == libc::SIGKILL && self.pid(id).is_some() {
            self.killed.insert(id);
        }
    }

    /// Whether the last start of this process was sent KILL from here.
    pub fn was_killed(&self, id: ProcessId) -> bool {
        self.killed.contains(&id)
    }
}
