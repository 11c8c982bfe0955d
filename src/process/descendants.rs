//! Everything below this process in the process tree, read from `/proc`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
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

/// Whether there is a `/proc` to read, and it is that of our own pid namespace: in another's our numbers are strangers.
fn readable() -> bool {
    let own = sys::own_ids().0.to_string();
    std::fs::read_link("/proc/self").is_ok_and(|name| name == Path::new(&own))
}

/// Every descendant, parents before their children; none where they cannot be read. A process that ends meanwhile may be in it or not.
pub fn all() -> Vec<Descendant> {
    read().unwrap_or_default()
}

/// The same.
///
/// # Errors
/// There is no `/proc`, or no descriptor left to read it: who is below us is then not known.
pub fn read() -> io::Result<Vec<Descendant>> {
    if !readable() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (own, _) = sys::own_ids();
    let mut found: Vec<Descendant> = children(own)?.into_iter().map(|pid| Descendant { pid, direct: true }).collect();
    let mut seen: BTreeSet<i32> = found.iter().map(|descendant| descendant.pid).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|descendant| descendant.pid) {
        next += 1;
        let new = children(parent)?.into_iter().filter(|pid| seen.insert(*pid)).collect::<Vec<_>>();
        found.extend(new.into_iter().map(|pid| Descendant { pid, direct: false }));
    }
    Ok(found)
}

/// The children of `pid`. A kernel without CONFIG_PROC_CHILDREN lists none, and every process is asked for its parent instead.
fn children(pid: i32) -> io::Result<Vec<i32>> {
    if Path::new("/proc/thread-self/children").exists() { listed(pid) } else { by_parent(pid) }
}

/// The children of every thread of `pid` (`/proc/PID/task/TID/children`, proc(5)).
fn listed(pid: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    // The names first, so that one descriptor is enough.
    for thread in unless_gone(names(format!("/proc/{pid}/task")))?.unwrap_or_default() {
        let line = unless_gone(std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")))?.unwrap_or_default();
        found.extend(line.split_whitespace().filter_map(|word| word.parse::<i32>().ok()));
    }
    Ok(found)
}

/// Every process whose `/proc/PID/stat` names `pid` as its parent.
fn by_parent(pid: i32) -> io::Result<Vec<i32>> {
    let numbers = names("/proc".to_owned())?;
    Ok(numbers.into_iter().filter(|number| Stat::of(*number).is_some_and(|stat| stat.parent == pid)).collect())
}

/// The entries of a directory that are numbers.
fn names(directory: String) -> io::Result<Vec<i32>> {
    let numbers = std::fs::read_dir(directory)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// What of a process that has ended meanwhile cannot be read is nothing; that there is no descriptor left is an error.
fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A descriptor that is kept so that what is left behind can be read when all others are taken.
#[derive(Debug)]
pub struct Reserve(Option<File>);

impl Default for Reserve {
    fn default() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

impl Reserve {
    /// As [`read`], with the descriptor that is kept where there is no other.
    pub fn read(&mut self) -> io::Result<Vec<Descendant>> {
        match read() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                drop(self.0.take());
                let found = read();
                *self = Self::default();
                found
            }
            found => found,
        }
    }
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
        let found = by_parent(pid).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(Stat::of(found[0]).unwrap().parent, pid);
        if Path::new("/proc/thread-self/children").exists() {
            assert_eq!(found, listed(pid).unwrap());
        }
        shell.stdin.take().unwrap().flush().unwrap();
        shell.wait().unwrap();
    }
}
