//! Everything below this process in the process tree, read from `/proc`.

use std::collections::BTreeSet;

use crate::sys;

/// One process below us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descendant {
    /// Its pid.
    pub pid: i32,
    /// Whether we are its parent: spawned by us, or an orphan that the kernel gave us.
    pub direct: bool,
}

/// Every descendant, parents before their children. A process that ends meanwhile may be in it or not.
pub fn all() -> Vec<Descendant> {
    let (own, _) = sys::own_ids();
    let mut found: Vec<Descendant> = children(own).into_iter().map(|pid| Descendant { pid, direct: true }).collect();
    let mut seen: BTreeSet<i32> = found.iter().map(|descendant| descendant.pid).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|descendant| descendant.pid) {
        next += 1;
        let new = children(parent).into_iter().filter(|pid| seen.insert(*pid)).collect::<Vec<_>>();
        found.extend(new.into_iter().map(|pid| Descendant { pid, direct: false }));
    }
    found
}

/// The children of every thread of `pid` (`/proc/PID/task/TID/children`, proc(5)).
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}
