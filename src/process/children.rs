//! The table of children: which process has which pid, and which have ended.

mod signals;
mod survivors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix::sys::eventfd::EventFd;

use super::lineage::Lineage;
use super::notify::NotifyWays;
use super::output::{OutputRelays, Pipes, Scan, StopDeadline};
use super::spawn::{self, InheritedEnvironment, SpawnError};
use super::starter::{Report, Starters};
use super::{memory, terminal};
use crate::exit::Ended;
use crate::plan::process::RestartPolicy;
use crate::plan::{CommandPlan, ProcessPlan};
use crate::state::event::ProcessId;
use crate::sys::{self, Reaped};
use survivors::SurvivorSignals;
pub use survivors::There;

/// How many are reaped in one turn of the loop: this takes half a millisecond.
const MOST_REAPED: usize = 32;

/// The result of one turn of reaping.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Children that ended.
    pub ended: Vec<(ProcessId, Ended)>,
    /// Commands of probes that ended, by their pids.
    pub exec_probes: Vec<(i32, Ended)>,
    /// Children that were suspended, with the signal.
    pub stopped: Vec<(ProcessId, i32)>,
    /// Adopted orphans that ended.
    pub orphans: usize,
    /// Whether no child of any kind is left.
    pub none_left: bool,
    /// Whether more may have ended than were reaped.
    pub unfinished: bool,
}

/// The result of the start of a child, also of one that has ended meanwhile.
#[derive(Debug)]
pub enum News {
    /// It executes its program.
    Executes(ProcessId, i32),
    /// It could not be executed.
    Failed(ProcessId, SpawnError),
    /// It executed its program and has ended.
    Ended(ProcessId, Ended),
    /// The command of a probe could not be executed: its pid, and why.
    ExecProbeFailed(i32, String),
    /// The command of a probe has ended.
    ExecProbeEnded(i32, Ended),
}

/// The identity of a child.
#[derive(Clone, Copy, Debug)]
enum Who {
    Process(ProcessId),
    ExecProbe,
}

/// A child that may not execute its program yet.
#[derive(Debug, Default)]
struct Start {
    /// Its identity and how it ended, if it was already reaped.
    ended: Option<(Who, Ended)>,
    /// Signals to send once it executes.
    held: Vec<i32>,
}

/// All children. Exit statuses are read only here, so that none is lost.
#[derive(Debug)]
pub struct Children {
    inherited: InheritedEnvironment,
    starters: Starters,
    starts: BTreeMap<i32, Start>,
    running: BTreeMap<i32, ProcessId>,
    groups: BTreeMap<ProcessId, i32>,
    exec_probes: BTreeSet<i32>,
    output: OutputRelays,
    survivors: SurvivorSignals,
    /// The processes that were sent KILL from here.
    killed: BTreeSet<ProcessId>,
    lineage: Lineage,
}

impl Children {
    /// An empty table; children inherit `inherited`. `bell` is signalled when there are [`News`].
    pub fn new(inherited: InheritedEnvironment, bell: Arc<EventFd>) -> Self {
        Self {
            inherited,
            starters: Starters::new(bell),
            starts: BTreeMap::new(),
            running: BTreeMap::new(),
            groups: BTreeMap::new(),
            exec_probes: BTreeSet::new(),
            output: OutputRelays::default(),
            survivors: SurvivorSignals::default(),
            killed: BTreeSet::new(),
            lineage: Lineage::default(),
        }
    }

    /// Starts a process. Its pid is known before anything can be reaped; [`news`](Self::news) reports whether its program executes.
    pub fn start(&mut self, id: ProcessId, plan: &ProcessPlan, ways: &NotifyWays) -> Result<i32, SpawnError> {
        let command = &plan.command;
        let open = || self.output.open(command.attributes.user.as_ref());
        let pipes = plan.is_relayed().then(open).transpose().map_err(|error| SpawnError::no_pipe(command, &error))?;
        let pass = pipes.iter().flat_map(Pipes::pass).chain(ways.pass.iter().copied()).collect();
        let ways_out = NotifyWays { environment: ways.environment.clone(), pass, seen: None };
        let prepared = spawn::prepare(command, &self.inherited, &ways_out)?;
        let pid = self.starters.start(prepared, id == ProcessId::Main)?;
        self.starts.insert(pid, Start::default());
        if let Some(pipes) = pipes {
            if plan.label.is_none() {
                self.output.mention_terminal();
            }
            let awaited = plan.awaited_line().zip(ways.seen.as_ref());
            let scan = awaited.map(|(line, seen)| Scan::new(line.value().as_bytes(), Arc::clone(seen)));
            self.output.take(pid, plan.label.as_deref(), scan.as_ref(), pipes);
        }
        if id == ProcessId::Main && plan.restart.policy == RestartPolicy::Never {
            // They belong to the child now; if they stayed open here, their readers would never see the end.
            self.inherited.descriptors.drain(..).for_each(sys::descriptors::close_inherited);
        }
        self.running.insert(pid, id);
        self.groups.insert(id, pid);
        self.killed.remove(&id);
        Ok(pid)
    }

    /// Starts the command of a probe and returns its pid.
    pub fn start_exec_probe(&mut self, command: &CommandPlan) -> Result<i32, SpawnError> {
        let prepared = spawn::prepare(command, &self.inherited, &NotifyWays::default())?;
        let pid = self.starters.start(prepared, false)?;
        self.starts.insert(pid, Start::default());
        self.exec_probes.insert(pid);
        Ok(pid)
    }

    /// Kills the group of a probe's command, unless it has been reaped: its pid may then be reused.
    pub fn kill_exec_probe(&self, pid: i32) {
        if self.exec_probes.contains(&pid) {
            let _ = sys::send(-pid, libc::SIGKILL).or_else(|_| sys::send(pid, libc::SIGKILL));
        }
    }

    /// The results of starts.
    pub fn news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for Report { pid, result } in self.starters.reports() {
            let Some(Start { ended, held }) = self.starts.remove(&pid) else { continue };
            let who = match (&ended, self.running.get(&pid)) {
                (Some((who, _)), _) => *who,
                (None, Some(id)) => Who::Process(*id),
                (None, None) => Who::ExecProbe,
            };
            if let (Err(_), None) = (&result, &ended) {
                // It is about to end; its status only repeats this.
                self.forget(pid);
            }
            match (who, result) {
                (Who::Process(id), _) if self.groups.get(&id) != Some(&pid) => {}
                (Who::Process(id), Ok(())) => {
                    news.push(News::Executes(id, pid));
                    news.extend(ended.map(|(_, ended)| News::Ended(id, ended)));
                    // A process that was reaped meanwhile has nothing held back.
                    held.into_iter().filter(|_| self.running.contains_key(&pid)).for_each(|number| drop(sys::send(pid, number)));
                }
                (Who::Process(id), Err(error)) => news.push(News::Failed(id, error)),
                (Who::ExecProbe, Ok(())) => news.extend(ended.map(|(_, ended)| News::ExecProbeEnded(pid, ended))),
                (Who::ExecProbe, Err(error)) => news.push(News::ExecProbeFailed(pid, error.sentence)),
            }
        }
        news
    }

    /// The identity of this child, if it was started here; the pid is then forgotten.
    fn forget(&mut self, pid: i32) -> Option<Who> {
        match self.running.remove(&pid) {
            Some(id) => {
                terminal::take_back(pid);
                self.output.ended(pid);
                Some(Who::Process(id))
            }
            None => self.exec_probes.remove(&pid).then_some(Who::ExecProbe),
        }
    }

    /// Reaps ended children, at most `MOST_REAPED`: one SIGCHLD may stand for thousands.
    pub fn reap(&mut self) -> Harvest {
        let mut harvest = Harvest { unfinished: true, ..Harvest::default() };
        for _ in 0..MOST_REAPED {
            match sys::reap() {
                Reaped::Child(pid, ended) => {
                    let who = self.forget(pid);
                    self.survivors.forget(pid);
                    if matches!(who, Some(Who::ExecProbe)) && sys::send(-pid, 0).is_ok() {
                        self.survivors.signal_group(pid, libc::SIGKILL);
                    }
                    match (who, self.starts.get_mut(&pid)) {
                        (Some(who), Some(start)) => start.ended = Some((who, ended)),
                        (Some(Who::Process(id)), None) if self.groups.get(&id) == Some(&pid) => harvest.ended.push((id, ended)),
                        (Some(Who::ExecProbe), None) => harvest.exec_probes.push((pid, ended)),
                        _ => harvest.orphans += 1,
                    }
                }
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
        self.signal_new_survivors(&harvest);
        harvest
    }

    /// A variable that every child inherits.
    pub fn inherited(&self, name: &str) -> Option<String> {
        self.inherited.environment.get(&std::ffi::OsString::from(name)).and_then(|value| value.to_str()).map(str::to_owned)
    }

    /// Whether this is a running child, or in the group of one.
    fn belongs(&self, pid: i32, group: Option<i32>) -> bool {
        self.running.contains_key(&pid) || group.is_some_and(|group| self.running.contains_key(&group))
    }

    /// Whether this pid, which the kernel has authenticated, is a child or a descendant.
    ///
    /// A helper like `systemd-notify` may have ended before its parent can be read: a visible pid without a process is accepted. A process
    /// of another pid namespace has the pid 0 here.
    pub fn is_ours(&mut self, pid: i32) -> bool {
        pid > 0 && (self.running.contains_key(&pid) || self.lineage.is_below(pid).unwrap_or_else(|| sys::is_free(pid)))
    }

    /// Whether a KILL is pending for a child, or a child is already ending.
    pub fn some_is_dying(&self) -> bool {
        self.running.keys().any(|pid| memory::is_dying(*pid))
    }

    /// Passes on the rest of the children's output, for a limited time; see [`OutputRelays::finish`].
    pub fn finish_output(&self, stop: Option<StopDeadline>) {
        self.output.finish(stop);
    }

    /// Whether the process runs, and executes its program.
    pub fn runs(&self, id: ProcessId) -> bool {
        self.pid(id).is_some_and(|pid| !self.starts.contains_key(&pid))
    }

    /// Its last start, unless that has ended.
    fn pid(&self, id: ProcessId) -> Option<i32> {
        self.groups.get(&id).copied().filter(|pid| self.running.get(pid) == Some(&id))
    }
}

fn group_of(pid: i32) -> Option<i32> {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).ok().map(nix::unistd::Pid::as_raw)
}
