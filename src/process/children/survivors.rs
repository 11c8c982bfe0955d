//! Signals to what is left below us: everybody gets theirs, a bounded number of them in each turn of the loop.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::time::Duration;

use tracing::warn;

use super::{Children, Harvest, group_of};
use crate::clock::processor_time;
use crate::exit::signal_name;
use crate::process::descendants::{Descendant, Reserve, Walk, WalkStep};
use crate::state::event::ProcessId;
use crate::sys;

/// Processor time that one turn spends on the signals, and on telling who is there: some dozens of processes' worth.
const SHARE: Duration = Duration::from_micros(500);

/// Signals that wait at most; the 64 there are, for those who are left and for some groups.
const MOST_ROUNDS: usize = 256;

/// Who is looked at when it is told who is there.
const MOST_THERE: usize = 1000;

/// Stands for everybody in [`SurvivorSignals::signalled`]; no process has this number.
const ALL: i32 = -1;

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// Everybody who is left.
    Left,
    /// Those of them who were sent nothing yet.
    Latecomers,
    /// The members of a group whose leader is gone.
    Group(i32),
}

/// One signal on its way.
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

/// Which signals are on their way, and who was sent one.
#[derive(Debug, Default)]
pub(super) struct SurvivorSignals {
    /// One after the other.
    rounds: VecDeque<Round>,
    /// Who was left behind and was sent a signal for it.
    signalled: HashSet<i32>,
    /// The signal by which everybody is seen off, once that has begun.
    number: Option<i32>,
    /// Whether an orphan ended since it was last looked who is left.
    orphaned: bool,
    killing: bool,
    reserve: Reserve,
    /// Whether it was said that what is left behind cannot be told.
    warned_unseen: bool,
}

impl SurvivorSignals {
    /// A round that waits and has not begun stands for the same one asked for again, as with pending signals.
    fn push(&mut self, number: i32, to: To) {
        let same = |round: &Round| !round.has_begun && (round.number, round.to) == (number, to);
        if !self.rounds.iter().any(same) && self.rounds.len() < MOST_ROUNDS {
            self.rounds.push_back(Round::new(number, to));
        }
    }

    /// Sends who is left of a group whose leader is gone a signal. The number may be a stranger's by now: only who is below us can be meant.
    pub(super) fn signal_group(&mut self, group: i32, number: i32) {
        self.push(number, To::Group(group));
    }

    /// From now on this number means nobody: its process was reaped.
    pub(super) fn forget(&mut self, pid: i32) {
        self.signalled.remove(&pid);
        for round in &mut self.rounds {
            round.walk.forget(pid);
        }
    }
}

/// Who is there.
#[derive(Debug)]
pub struct There {
    /// Their pids.
    pub pids: Vec<i32>,
    /// Whether that is everybody; the look may have ended before.
    pub are_all: bool,
}

impl Children {
    /// Sends what is left below us a signal: adopted orphans and members of groups whose leader has ended, and for KILL everything.
    /// [`send_signals`](Self::send_signals) does it.
    ///
    /// Never `kill(-1)`: with the host's pid namespace that would reach the host's processes.
    pub fn signal_survivors(&mut self, number: i32) {
        self.survivors.number = Some(number);
        if number == libc::SIGKILL {
            self.survivors.killing = true;
            self.killed.extend(self.running.values());
            // Nobody needs another signal beside it.
            self.survivors.rounds.retain(|round| (round.number, round.to) == (libc::SIGKILL, To::Left));
        }
        self.survivors.push(number, To::Left);
    }

    /// The same for those who were sent nothing yet.
    pub fn signal_latecomers(&mut self, number: i32) {
        self.survivors.push(number, To::Latecomers);
    }

    /// After a turn of reaping: who came to be ours by it is met once those that are dead are out of the way.
    pub(super) fn signal_new_survivors(&mut self, harvest: &Harvest) {
        self.survivors.orphaned |= harvest.orphans > 0;
        if harvest.none_left || harvest.unfinished {
            return;
        }
        if self.survivors.killing {
            // Killing a parent makes its children ours.
            self.signal_survivors(libc::SIGKILL);
        } else if let Some(number) = self.survivors.number.filter(|_| self.survivors.orphaned) {
            self.survivors.orphaned = false;
            // What was left behind may have left somebody behind in turn, who is ours now.
            self.signal_latecomers(number);
        }
    }

    /// Whether signals are on their way to what is left below us.
    pub fn has_signals_to_send(&self) -> bool {
        !self.survivors.rounds.is_empty()
    }

    /// Sends as many of them as fit a turn of the loop.
    pub fn send_signals(&mut self) {
        let began = processor_time();
        while self.send_next() && processor_time().saturating_sub(began) < SHARE {}
        if let Some(round) = self.survivors.rounds.front_mut() {
            round.is_old = true;
        }
    }

    /// Sends all of them, because no further turn comes.
    pub fn send_all_signals(&mut self) {
        while self.send_next() {}
    }

    /// Goes one step further; false when all signals are sent.
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

    /// Sends it to this one, if it is meant.
    fn send(&mut self, descendant: Descendant, number: i32, to: To) {
        let (pid, group) = (descendant.pid, group_of(descendant.pid));
        let is_left = || {
            let ours = group.is_some_and(|group| self.groups.values().any(|known| *known == group));
            (descendant.is_direct() || ours) && !self.belongs(pid, group)
        };
        let is_meant = match to {
            // A number that is one of ours again is another group's.
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

    /// The same where nobody can say who is below us: the groups that were made here are known; and as the first process of a pid
    /// namespace of our own everybody in it is, which KILL or the end of our own processes makes a matter of `kill(-1)`.
    fn signal_unseen(&mut self, number: i32, to: To, error: &io::Error) {
        if matches!(to, To::Group(_)) {
            return;
        }
        let kills = number == libc::SIGKILL;
        let everybody = sys::own_ids().0 == 1 && (kills || self.running.is_empty());
        if !std::mem::replace(&mut self.survivors.warned_unseen, true) {
            let missing = match error.kind() {
                io::ErrorKind::NotFound => "there is no /proc here; mount it".to_owned(),
                _ => format!("/proc cannot be read ({error}); raise the limit of open files"),
            };
            let who = if everybody { "everybody in this pid namespace gets" } else { "only the groups that were started here get" };
            warn!("what the process left behind cannot be told: {missing}; {who} {}", signal_name(number));
        }
        if everybody {
            // Only once by a signal that may be caught: who cleans up shall not be interrupted by the end of each neighbour.
            if kills || self.survivors.signalled.insert(ALL) {
                sys::send_to_everybody(number);
            }
            return;
        }
        for group in self.groups.values().filter(|group| kills || !self.running.contains_key(group)) {
            let _ = sys::send(-group, number);
        }
    }

    /// Who of the process' group is there, and of everything below us without one, as far as a bounded look tells; commands of probes are
    /// left out.
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
