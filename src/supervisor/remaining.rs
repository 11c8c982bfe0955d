//! Logs which processes have not ended after their stop signal, and which are killed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use tracing::{info, warn};

use super::Supervisor;
use crate::clock::Moment;
use crate::process::children::There;
use crate::state::event::{ProcessId, ProcessTimer, Timer};

/// How long nothing is logged after a stop signal: most processes end within this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The maximum number of named processes; further ones are counted.
const MOST_NAMED: usize = 5;

/// The state of the log lines about remaining processes.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    mention: Option<Duration>,
    /// When KILL follows.
    end: Option<Duration>,
    killed: BTreeSet<i32>,
}

impl Remaining {
    /// Records the deadline of processes with a stop signal.
    pub(super) fn armed(&mut self, timer: Timer, now: Moment, after: Duration) {
        if matches!(timer, Timer::Grace | Timer::Overlap | Timer::Process(ProcessId::Migration, ProcessTimer::Grace)) {
            self.end = Some(now.mono.saturating_add(after));
            self.stop_requested(now);
        }
    }

    /// Records that a stop signal was sent now.
    pub(super) fn stop_requested(&mut self, now: Moment) {
        self.mention = Some(now.mono + PATIENCE);
    }

    /// Time until the next log line; none if there is none.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.mention.map(|at| at.saturating_sub(now.mono))
    }
}

impl Supervisor {
    /// Logs what ended and which processes are still running, after a while.
    pub(super) fn mention_left(&mut self, now: Moment) {
        if self.remaining.next(now) != Some(Duration::ZERO) {
            return;
        }
        self.remaining.mention = None;
        let snapshot = self.lifecycle.snapshot();
        let ends = snapshot.phase.is_leaving() || self.lifecycle.ending().is_some() || snapshot.child.pid.is_none();
        let there = self.children.there(None);
        if !ends || there.pids.is_empty() {
            return;
        }
        let ended = self.lifecycle.ending().map(|ending| format!("{}; ", ending.sentence)).unwrap_or_default();
        let left = self.remaining.end.map(|end| end.saturating_sub(now.mono).as_secs() + 1);
        let end = left.map(|seconds| format!(", {seconds}s at most")).unwrap_or_default();
        info!("{ended}still waiting for {}{end}", named(&there));
    }

    /// Logs the processes that are about to be killed, each once.
    pub(super) fn report_killed(&mut self, number: i32, id: Option<ProcessId>) {
        if number != libc::SIGKILL {
            return;
        }
        let mut who = self.children.there(id);
        who.pids.retain(|pid| self.remaining.killed.insert(*pid));
        if !who.pids.is_empty() {
            warn!("killing {}: still there at the end of its time", named(&who));
        }
    }
}

/// The processes by pid and name, as many as fit into a line.
fn named(There { pids, are_all }: &There) -> String {
    let mut text = String::new();
    for pid in pids.iter().take(MOST_NAMED) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name: String = name.trim_end().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = if name.is_empty() { write!(text, "{separator}pid {pid}") } else { write!(text, "{separator}pid {pid} ({name})") };
    }
    match pids.len().saturating_sub(MOST_NAMED) {
        0 => text,
        more if *are_all => format!("{text} and {more} more"),
        more => format!("{text} and at least {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_as_many_as_fit() {
        let own = i32::try_from(std::process::id()).unwrap();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let named = |pids: &[i32], are_all| named(&There { pids: pids.to_vec(), are_all });
        assert_eq!(named(&[own, i32::MAX], true), format!("pid {own} ({}), pid {}", name.trim_end(), i32::MAX));
        assert!(named(&[i32::MAX; 8], true).ends_with(" and 3 more"));
        assert!(named(&[i32::MAX; 8], false).ends_with(" and at least 3 more"));
    }

    #[test]
    fn nothing_is_logged_before_it_has_taken_a_while() {
        let (mut left, now) = (Remaining::default(), Moment::default());
        assert_eq!(left.next(now), None);
        left.armed(Timer::Process(ProcessId::Main, ProcessTimer::Watchdog), now, Duration::from_secs(5));
        assert_eq!(left.next(now), None);
        left.armed(Timer::Grace, now, Duration::from_secs(5));
        assert_eq!(left.next(now), Some(PATIENCE));
    }
}
