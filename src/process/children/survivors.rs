//! Sends signals to all remaining descendants, a bounded number in each turn of the loop.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use tracing::warn;

use super::{Children, Harvest, group_of};
use crate::clock::processor_time;
use crate::exit::signal_name;
use crate::process::descendants::{self, Descendant, Reserve, Walk, WalkStep};
use crate::state::event::ProcessId;
use crate::sys;

/// The processor time for signals, and for listing processes, in one turn: enough for some dozens of processes.
const SHARE: Duration = Duration::from_micros(500);

/// The maximum number of queued signals: all 64, for the remaining processes and some groups.
const MOST_ROUNDS: usize = 256;

/// The maximum number of processes that are examined for a listing.
const MOST_THERE: usize = 1000;

/// Means all processes in [`SurvivorSignals::signalled`]; no process has this pid.
const ALL: i32 = -1;

/// The target of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// All remaining processes.
    Left,
    /// Those of them that have not had a signal yet.
    Latecomers,
    /// The members of a group whose leader has ended.
    Group(i32),
}

/// One queued signal.
#[derive(Debug)]
struct Round {
    number: i32,
    to: To,
    walk: Walk,
    has_begun: bool,
    /// Whether the walk is from an earlier turn.
    is_old: bool,
}

impl Round {
    fn new(number: i32, to: To) -> Self {
        Self { number, to, walk: Walk::default(), has_begun: false, is_old: false }
    }
}

/// The queued signals, and the processes that were sent one.
#[derive(Debug, Default)]
pub(super) struct SurvivorSignals {
    /// The queue.
    rounds: VecDeque<Round>,
    /// The leftover processes that were sent a signal.
    signalled: BTreeSet<i32>,
    /// The signal for all remaining processes, once that has begun.
    number: Option<i32>,
    /// Whether an orphan ended since the last listing.
    orphaned: bool,
    killing: bool,
    reserve: Reserve,
    /// Whether it was logged that leftovers cannot be listed.
    warned_unseen: bool,
}

impl SurvivorSignals {
    /// A queued round that has not begun also covers a repeated request, as with pending signals.
    fn push(&mut self, number: i32, to: To) {
        let same = |round: &Round| !round.has_begun && (round.number, round.to) == (number, to);
        if !self.rounds.iter().any(same) && self.rounds.len() < MOST_ROUNDS {
            self.rounds.push_back(Round::new(number, to));
        }
    }

    /// Sends a signal to the rest of a group whose leader has ended. The group id may have been reused, so only descendants get it.
    pub(super) fn signal_group(&mut self, group: i32, number: i32) {
        self.push(number, To::Group(group));
    }

    /// Forgets this pid: its process was reaped.
    pub(super) fn forget(&mut self, pid: i32) {
        self.signalled.remove(&pid);
        for round in &mut self.rounds {
            round.walk.forget(pid);
        }
    }
}

/// A listing of processes.
#[derive(Debug)]
pub struct There {
    /// Their pids.
    pub pids: Vec<i32>,
    /// Whether it is complete.
    pub are_all: bool,
}

impl Children {
    /// Queues a signal to the remaining descendants: adopted orphans and members of groups whose leader has ended, and for KILL all.
    /// [`send_signals`](Self::send_signals) sends it.
    ///
    /// Never `kill(-1)`: in the host's pid namespace that would kill the host's processes.
    pub fn signal_survivors(&mut self, number: i32) {
        self.survivors.number = Some(number);
        if number == libc::SIGKILL {
            self.survivors.killing = true;
            self.killed.extend(self.running.values());
            // No other signal is needed after it.
            self.survivors.rounds.retain(|round| (round.number, round.to) == (libc::SIGKILL, To::Left));
        }
        self.survivors.push(number, To::Left);
    }

    /// The same for those that have not had a signal yet.
    pub fn signal_latecomers(&mut self, number: i32) {
        self.survivors.push(number, To::Latecomers);
    }

    /// Called after a turn of reaping: newly adopted orphans are handled after the dead ones are reaped.
    pub(super) fn signal_new_survivors(&mut self, harvest: &Harvest) {
        self.survivors.orphaned |= harvest.orphans > 0;
        if harvest.none_left && !self.survivors.rounds.is_empty() && (sys::own_ids().0 != 1 || descendants::are_known()) {
            // Without a child we have no descendants. If we are PID 1 and cannot list them, other processes may be meant: see
            // `signal_unseen`.
            self.survivors.rounds.clear();
        }
        if harvest.none_left || harvest.unfinished {
            return;
        }
        if self.survivors.killing {
            // After the death of a parent its children are adopted by us.
            self.signal_survivors(libc::SIGKILL);
        } else if let Some(number) = self.survivors.number.filter(|_| self.survivors.orphaned) {
            self.survivors.orphaned = false;
            // Leftovers may have left further orphans, which are adopted by us.
            self.signal_latecomers(number);
        }
    }

    /// Whether signals are queued.
    pub fn has_signals_to_send(&self) -> bool {
        !self.survivors.rounds.is_empty()
    }

    /// Sends as many of them as fit into a turn of the loop.
    pub fn send_signals(&mut self) {
        let began = processor_time();
        while self.send_next() && processor_time().saturating_sub(began) < SHARE {}
        if let Some(round) = self.survivors.rounds.front_mut() {
            round.is_old = true;
        }
    }

    /// Sends all of them, because there is no further turn.
    pub fn send_all_signals(&mut self) {
        while self.send_next() {}
    }

    /// Makes one step; false if all signals are sent.
    fn send_next(&mut self) -> bool {
        let Some(mut round) = self.survivors.rounds.pop_front() else { return false };
        if !std::mem::replace(&mut round.has_begun, true) && round.to == To::Left {
            self.survivors.signalled.clear();
        }
        match self.survivors.reserve.step(&mut round.walk) {
            Ok(WalkStep::Over) => self.survivors.reserve.refill(),
            Ok(step) => {
                if let WalkStep::Found(descendant) = step
                    && (!round.is_old || descendant.is_still_there())
                {
                    self.send(descendant, round.number, round.to);
                }
                self.survivors.rounds.push_front(round);
            }
            Err(error) => self.signal_unseen(round.number, round.to, &error),
        }
        true
    }

    /// Sends it to this process, if it is a target.
    fn send(&mut self, descendant: Descendant, number: i32, to: To) {
        let (pid, group) = (descendant.pid, group_of(descendant.pid));
        let is_left = || {
            let ours = group.is_some_and(|group| self.groups.values().any(|known| *known == group));
            (descendant.is_direct() || ours) && !self.belongs(pid, group)
        };
        let is_meant = match to {
            // If the pid belongs to a new child, it is another group.
            To::Group(meant) => group == Some(meant) && !self.running.contains_key(&meant) && !self.exec_probes.contains(&meant),
            To::Left | To::Latecomers if number == libc::SIGKILL => true,
            To::Left => is_left(),
            To::Latecomers => is_left() && !self.survivors.signalled.contains(&pid),
        };
        if is_meant {
            // It may have ended since it was found.
            let _ = sys::send(pid, number);
            self.survivors.signalled.insert(pid);
            if number != libc::SIGKILL && !matches!(to, To::Group(_)) {
                let _ = sys::send(pid, libc::SIGCONT);
            }
        }
    }

    /// The same without a list of descendants: only the groups that were created here are known. If we are PID 1 of our own pid namespace,
    /// all processes in it are ours, so for KILL, or after the end of our own processes, `kill(-1)` is used.
    fn signal_unseen(&mut self, number: i32, to: To, error: &io::Error) {
        if matches!(to, To::Group(_)) {
            return;
        }
        let kills = number == libc::SIGKILL;
        let whole_namespace = sys::own_ids().0 == 1 && (kills || self.running.is_empty());
        if !std::mem::replace(&mut self.survivors.warned_unseen, true) {
            let missing = match error.kind() {
                io::ErrorKind::NotFound => "there is no /proc here; mount it".to_owned(),
                _ => format!("/proc cannot be read ({error}); raise the limit of open files"),
            };
            let who = if whole_namespace {
                "all processes in this pid namespace get"
            } else {
                "only the process groups that portcullis started get"
            };
            warn!("leftover processes cannot be listed: {missing}; {who} {}", signal_name(number));
        }
        if whole_namespace {
            // A signal that can be caught is sent only once, so that a process that cleans up is not interrupted again.
            if kills || self.survivors.signalled.insert(ALL) {
                sys::send_to_everybody(number);
            }
            return;
        }
        for group in self.groups.values().filter(|group| kills || !self.running.contains_key(group)) {
            let _ = sys::send(-group, number);
        }
    }

    /// The processes of the process' group, or without one all descendants, as far as a bounded listing shows; commands of probes are
    /// excluded.
    pub fn there(&mut self, id: Option<ProcessId>) -> There {
        let (began, mut walk) = (processor_time(), Walk::default());
        let are_all = loop {
            match self.survivors.reserve.step(&mut walk) {
                Ok(WalkStep::Over) => break true,
                Ok(WalkStep::Read | WalkStep::Found(_)) if processor_time().saturating_sub(began) < SHARE => {}
                Ok(WalkStep::Read | WalkStep::Found(_)) | Err(_) => break false,
            }
        };
        self.survivors.reserve.refill();
        let group = id.map(|id| self.groups.get(&id).copied());
        let is_meant = |pid: &i32| match group {
            Some(group) => group_of(*pid) == group && group.is_some(),
            None => !self.exec_probes.contains(pid) && !group_of(*pid).is_some_and(|group| self.exec_probes.contains(&group)),
        };
        let are_all = are_all && walk.found().nth(MOST_THERE).is_none();
        There { pids: walk.found().take(MOST_THERE).filter(is_meant).collect(), are_all }
    }
}
