//! Everything below this process in the process tree, read from `/proc`.

use std::collections::BTreeSet;
use std::path::Path;

use super::lineage::Stat;
use crate::sys;

/// One process below us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descendant {
    /// Its pid.
    pub pid: i32,
    /// Whether we are its parent: spawned by us, or an orphan that the kernel gave us.
    pub direct: bool,
}

/// Whether there is a `/proc` to read.
pub fn readable() -> bool {
    Path::new("/proc/self").exists()
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

/// The children of `pid`. A kernel without CONFIG_PROC_CHILDREN lists none, and every process is asked for its parent instead.
fn children(pid: i32) -> Vec<i32> {
    if Path::new("/proc/thread-self/children").exists() { listed(pid) } else { by_parent(pid) }
}

/// The children of every thread of `pid` (`/proc/PID/task/TID/children`, proc(5)).
fn listed(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Every process whose `/proc/PID/stat` names `pid` as its parent.
fn by_parent(pid: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| Stat::of(*number).is_some_and(|stat| stat.parent == pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn without_lists_of_children_the_parents_tell_the_same() {
        let script = "sleep 60 & echo ready; read line; kill $!";
        let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let found = by_parent(pid);
        assert_eq!(found.len(), 1);
        assert_eq!(Stat::of(found[0]).unwrap().parent, pid);
        if Path::new("/proc/thread-self/children").exists() {
            assert_eq!(found, listed(pid));
        }
        shell.stdin.take().unwrap().flush().unwrap();
        shell.wait().unwrap();
    }
}
