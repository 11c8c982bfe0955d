//! The table of children: who runs under which pid, how to reach them, and who has ended.

use std::collections::{HashMap, HashSet};
use std::io;

use super::lineage::Lineage;
use super::notify::NotifyWays;
use super::output::{Deadline, Output};
use super::spawn::{self, SpawnError, Surroundings};
use super::{descendants, memory, terminal};
use crate::exit::Ended;
use crate::plan::process::{ProcessPlan, RestartPolicy};
use crate::state::event::ProcessId;
use crate::sys::{self, Reaped};

/// How many are reaped in one turn of the loop: a few milliseconds' work at most.
const MOST_REAPED: usize = 256;

/// What one turn of reaping found.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Children of ours that ended.
    pub ended: Vec<(ProcessId, Ended)>,
    /// Those of them that KILL ended, and not ours.
    pub killed: Vec<ProcessId>,
    /// Commands of probes that ended, by their pids.
    pub errands: Vec<(i32, Ended)>,
    /// Children of ours that were stopped, by which signal.
    pub stopped: Vec<(ProcessId, i32)>,
    /// Orphans that were given to us and ended.
    pub orphans: usize,
    /// Whether no child of any kind is left.
    pub none_left: bool,
    /// Whether more may have ended than were reaped.
    pub unfinished: bool,
}

/// Every child that was started here. Exits are read in this place only, so that no status can be stolen.
#[derive(Debug, Default)]
pub struct Children {
    surroundings: Surroundings,
    running: HashMap<i32, ProcessId>,
    groups: HashMap<ProcessId, i32>,
    errands: HashSet<i32>,
    output: Output,
    /// Who was left behind and was sent a signal for it.
    seen_off: HashSet<i32>,
    killing: bool,
    /// Who of those that run was sent KILL from here.
    killed: HashSet<i32>,
    lineage: Lineage,
}

impl Children {
    /// No children yet; those to come inherit `surroundings`.
    pub fn new(surroundings: Surroundings) -> Self {
        Self { surroundings, ..Self::default() }
    }

    /// Starts a command; its pid is known here before anything can be reaped.
    pub fn start(&mut self, id: ProcessId, plan: &ProcessPlan, ways: &NotifyWays) -> Result<i32, SpawnError> {
        let pipes = plan.label.as_ref().map(|label| (label, self.output.open(plan.conditions.user.as_ref())));
        let pipes =
            pipes.map(|(label, pipes)| pipes.map(|pipes| (label, pipes)).map_err(|error| SpawnError::no_pipe(plan, &error))).transpose()?;
        let pass = pipes.iter().flat_map(|(_, pipes)| pipes.pass()).chain(ways.pass.iter().copied()).collect();
        let pid = spawn::start(plan, &self.surroundings, &NotifyWays { environment: ways.environment.clone(), pass })?;
        if let Some((label, pipes)) = pipes {
            self.output.take(pid, label, pipes);
        }
        if id == ProcessId::Main && plan.restart.policy == RestartPolicy::Never {
            // They are the child's now; held open here, their readers would never see an end.
            self.surroundings.descriptors.drain(..).for_each(sys::descriptors::close_inherited);
        }
        self.running.insert(pid, id);
        self.groups.insert(id, pid);
        Ok(pid)
    }

    /// Starts the command of a probe and returns its pid.
    pub fn start_errand(&mut self, plan: &ProcessPlan) -> Result<i32, SpawnError> {
        let pid = spawn::start(plan, &self.surroundings, &NotifyWays::default())?;
        self.errands.insert(pid);
        Ok(pid)
    }

    /// Kills the group of a probe's command, as long as that is not reaped: later the number may be a stranger's.
    pub fn kill_errand(&self, pid: i32) {
        if self.errands.contains(&pid) {
            let _ = sys::send(-pid, libc::SIGKILL);
        }
    }

    /// Reaps what has ended, [`MOST_REAPED`] at most: one SIGCHLD may stand for thousands.
    pub fn reap(&mut self) -> Harvest {
        let mut harvest = Harvest { unfinished: true, ..Harvest::default() };
        for _ in 0..MOST_REAPED {
            match sys::reap() {
                Reaped::Child(pid, ended) => match self.running.remove(&pid) {
                    Some(id) => {
                        terminal::take_back(pid);
                        self.output.ended(pid);
                        if !self.killed.remove(&pid) && ended == Ended::Signal(libc::SIGKILL as u8) {
                            harvest.killed.push(id);
                        }
                        harvest.ended.push((id, ended));
                    }
                    None if self.errands.remove(&pid) => {
                        kill_rest(pid);
                        harvest.errands.push((pid, ended));
                    }
                    None => harvest.orphans += 1,
                },
                Reaped::Stopped(pid, number) => harvest.stopped.extend(self.running.get(&pid).map(|id| (*id, number))),
                Reaped::AllRunning => {
                    harvest.unfinished = false;
                    break;
                }
                Reaped::NoChild => {
                    (harvest.none_left, harvest.unfinished) = (true, false);
                    break;
                }
            }
        }
        if self.killing && !harvest.none_left {
            // Killing a parent makes its children ours: they are met here.
            self.signal_survivors(libc::SIGKILL);
        }
        harvest
    }

    /// Sends the process itself a signal; nothing when it has ended.
    pub fn signal(&mut self, id: ProcessId, number: i32) -> io::Result<()> {
        match self.pid(id) {
            Some(pid) => {
                self.note_kill(pid, number);
                sys::send(pid, number)
            }
            None => Ok(()),
        }
    }

    /// Takes down that a child was killed from here: then nothing else has ended it.
    fn note_kill(&mut self, pid: i32, number: i32) {
        if number == libc::SIGKILL && self.running.contains_key(&pid) {
            self.killed.insert(pid);
        }
    }

    /// Sends the process' whole group a signal, or the process alone where it has left that group.
    pub fn signal_group(&mut self, id: ProcessId, number: i32) -> io::Result<()> {
        let Some(group) = self.groups.get(&id).copied() else { return Ok(()) };
        if self.running.get(&group) != Some(&id) {
            // Its leader is gone, so the number may be a stranger's by now: only who is below us can be meant.
            for member in descendants::all().into_iter().filter(|descendant| group_of(descendant.pid) == Some(group)) {
                let _ = sys::send(member.pid, number);
                self.seen_off.insert(member.pid);
            }
            return Ok(());
        }
        self.note_kill(group, number);
        match sys::send(-group, number) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.signal(id, number),
            other => other,
        }
    }

    /// Continues the process' whole group, in the terminal's foreground where that is ours to give.
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

    /// A variable that every child inherits.
    pub fn inherited(&self, name: &str) -> Option<String> {
        self.surroundings.environment.get(&std::ffi::OsString::from(name)).and_then(|value| value.to_str()).map(str::to_owned)
    }

    /// Whether anybody is left of the process' group, a zombie that was not reaped yet included.
    pub fn group_lives(&self, id: ProcessId) -> bool {
        self.groups.get(&id).is_some_and(|group| sys::send(-group, 0).is_ok())
    }

    /// Sends what is left below us a signal: adopted orphans and members of groups whose leader has ended, and for KILL everything.
    ///
    /// Never `kill(-1)`: with the host's pid namespace that would reach the host's processes.
    pub fn signal_survivors(&mut self, number: i32) {
        self.seen_off.clear();
        self.signal_latecomers(number);
    }

    /// The same for those who were sent nothing yet.
    pub fn signal_latecomers(&mut self, number: i32) {
        let kills = number == libc::SIGKILL;
        self.killing |= kills;
        if kills {
            self.killed.extend(self.running.keys());
        }
        if !descendants::readable() {
            // Without /proc only the groups that were made here are known.
            for group in self.groups.values().filter(|group| kills || !self.running.contains_key(group)) {
                let _ = sys::send(-group, number);
            }
        }
        let ours: HashSet<i32> = self.groups.values().copied().collect();
        for descendant in descendants::all() {
            let group = group_of(descendant.pid);
            let left = || (descendant.direct || group.is_some_and(|group| ours.contains(&group))) && !self.belongs(descendant.pid, group);
            if kills || (left() && !self.seen_off.contains(&descendant.pid)) {
                // It may have ended since it was listed.
                let _ = sys::send(descendant.pid, number);
                self.seen_off.insert(descendant.pid);
                if !kills {
                    let _ = sys::send(descendant.pid, libc::SIGCONT);
                }
            }
        }
    }

    /// Whether this is a process of ours that runs, or in the group of one.
    fn belongs(&self, pid: i32, group: Option<i32>) -> bool {
        self.running.contains_key(&pid) || group.is_some_and(|group| self.running.contains_key(&group))
    }

    /// Whether this pid, as the kernel vouches for it, is one of ours or below one of ours.
    ///
    /// A helper like `systemd-notify` may be gone before it is asked about: a pid that is ours to see but of nobody is believed. A
    /// process of another pid namespace has the pid 0 here.
    pub fn is_ours(&mut self, pid: i32) -> bool {
        let gone = || sys::send(pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH));
        pid > 0 && (self.running.contains_key(&pid) || self.lineage.is_below(pid).unwrap_or_else(gone))
    }

    /// Whether KILL is on its way to a child of ours, or one of them is ending already.
    pub fn some_is_dying(&self) -> bool {
        self.running.keys().any(|pid| memory::is_dying(*pid))
    }

    /// Who of the process' group is there, and of everything below us without one; commands of probes are left out.
    pub fn there(&self, id: Option<ProcessId>) -> Vec<i32> {
        let group = id.map(|id| self.groups.get(&id).copied());
        let all = descendants::all().into_iter().map(|descendant| descendant.pid);
        let is_meant = |pid: &i32| match group {
            Some(group) => group_of(*pid) == group && group.is_some(),
            None => !self.errands.contains(pid) && !group_of(*pid).is_some_and(|group| self.errands.contains(&group)),
        };
        all.filter(is_meant).collect()
    }

    /// Passes on the rest of what children wrote, for a bounded time; see [`Output::finish`].
    pub fn finish_output(&self, stop: Option<Deadline>) {
        self.output.finish(stop);
    }

    /// Whether the process runs.
    pub fn runs(&self, id: ProcessId) -> bool {
        self.pid(id).is_some()
    }

    fn pid(&self, id: ProcessId) -> Option<i32> {
        self.running.iter().find(|(_, running)| **running == id).map(|(pid, _)| *pid)
    }
}

/// Kills who is left of a group whose leader is reaped; its number is a stranger's only when nobody is.
fn kill_rest(group: i32) {
    if sys::send(-group, 0).is_ok() {
        for member in descendants::all().into_iter().filter(|descendant| group_of(descendant.pid) == Some(group)) {
            let _ = sys::send(member.pid, libc::SIGKILL);
        }
    }
}

fn group_of(pid: i32) -> Option<i32> {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).ok().map(nix::unistd::Pid::as_raw)
}
