//! Whether a process is a descendant of this one: reads only its ancestors, and caches the result.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use crate::sys;

/// The maximum number of cached results; with more, all are dropped. A large pool of workers fits in many times.
const MOST_KNOWN: usize = 1024;

/// The maximum number of ancestors that are read; no real tree is as deep.
const DEEPEST: usize = 128;

/// The data of a process in `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The pid of its parent; 0: none in this pid namespace.
    pub(super) parent: i32,
    /// Its start in clock ticks since boot. Together with the pid it identifies one process.
    started: u64,
}

impl Stat {
    /// The data of this process; none if it does not exist, or without `/proc`.
    pub(super) fn of(pid: i32) -> Option<Self> {
        // One read is enough: only fields that are not needed may be cut off.
        let mut line = [0; 512];
        let count = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        Self::parse(line.get(..count)?)
    }

    /// Fields 4 and 22. Field 2, the name in parentheses, may contain anything.
    fn parse(line: &[u8]) -> Option<Self> {
        let behind_name = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(behind_name.checked_add(1)?..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self { parent: fields.nth(1)?.parse().ok()?, started: fields.nth(17)?.parse().ok()? })
    }
}

/// Cached results of whether processes descend from this one.
#[derive(Debug, Default)]
pub(super) struct Lineage(BTreeMap<i32, (u64, bool)>);

impl Lineage {
    /// Whether this process is our descendant; none if it has ended, or without `/proc`.
    ///
    /// A result stays valid while the process lives, because orphans below us are always adopted by us.
    pub(super) fn is_below(&mut self, pid: i32) -> Option<bool> {
        let stat = Stat::of(pid)?;
        if let Some((started, is_below)) = self.0.get(&pid)
            && *started == stat.started
        {
            return Some(*is_below);
        }
        // An ancestor that ends changes the parent of its children, so the walk starts again.
        let is_below = (0..3).find_map(|_| descends(Stat::of(pid)?))?;
        if self.0.len() >= MOST_KNOWN {
            self.0.clear();
        }
        self.0.insert(pid, (stat.started, is_below));
        Some(is_below)
    }
}

/// Walks up from here; none if an ancestor ended meanwhile.
fn descends(from: Stat) -> Option<bool> {
    let (own, _) = sys::own_ids();
    let mut parent = from.parent;
    for _ in 0..DEEPEST {
        match parent {
            _ if parent == own => return Some(true),
            ..=1 => return Some(false),
            _ => parent = Stat::of(parent)?.parent,
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let line = b"7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1000 10 x\n";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 3, started: 12345 }));
        assert_eq!(Stat::parse(b"7 (a) S"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn children_are_below_and_their_parent_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut lineage = Lineage::default();
        for _ in 0..2 {
            assert_eq!(lineage.is_below(pid), Some(true), "examined and remembered");
        }
        assert_eq!(lineage.is_below(nix::unistd::getppid().as_raw()), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(lineage.is_below(pid), None, "the pid of no process is not the remembered one");
    }

    #[test]
    fn the_cache_is_bounded_and_identifies_processes_not_numbers() {
        let (own, _) = sys::own_ids();
        let mut lineage = Lineage((0..MOST_KNOWN as i32).map(|pid| (-pid - 2, (0, true))).collect());
        lineage.0.insert(own, (0, true));
        assert_eq!(lineage.is_below(own), Some(false), "another process had this number");
        assert!(lineage.0.len() <= MOST_KNOWN);
    }
}
