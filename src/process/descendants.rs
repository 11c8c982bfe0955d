//! The descendants of this process, read from `/proc` step by step.
#![warn(clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::lineage::Stat;
use crate::sys;

/// The number of bytes of a list of children that one step reads: about a hundred children.
const CHUNK: usize = 4096;

/// The marker of a reaped process: it is not returned, and its children are not read.
const NOBODY: i32 = 0;

/// One descendant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// Its pid.
    pub pid: i32,
    /// Its parent when it was found.
    parent: i32,
}

impl Descendant {
    /// Whether we are its parent: a child, or an adopted orphan.
    pub fn is_direct(self) -> bool {
        self.parent == sys::own_ids().0
    }

    /// Whether the pid still belongs to the process that was found. That of our child does until it is reaped; any other pid may be reused
    /// once its parent has reaped it.
    pub fn is_still_there(self) -> bool {
        let own = sys::own_ids().0;
        self.parent == own || Stat::of(self.pid).is_some_and(|stat| stat.parent == self.parent || stat.parent == own)
    }
}

/// The result of one step of a [`Walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkStep {
    /// Something was read, but no descendant yet.
    Read,
    /// A descendant, whose own children have been read.
    Found(Descendant),
    /// There are no more.
    Over,
}

/// A walk from this process downwards, parents before their children. Each step is bounded, so a large pool of workers takes several turns.
/// Processes that end meanwhile may or may not be found.
#[derive(Debug, Default)]
pub struct Walk {
    /// How children are found; unknown before the first step.
    way: Option<Way>,
    found: Vec<Descendant>,
    seen: BTreeSet<i32>,
    /// How many of those found were returned.
    returned: usize,
    /// The processes whose children are read: first this one, then each that was found.
    searched: usize,
    parent: i32,
    /// Threads of that parent whose lists are still to be read.
    threads: Vec<i32>,
    /// The list that is being read, and the digits at the end of the last block.
    list: Option<(File, Vec<u8>)>,
}

#[derive(Debug)]
enum Way {
    /// `/proc/PID/task/TID/children` (proc(5)).
    Lists,
    /// A kernel without CONFIG_PROC_CHILDREN: the parent of every process is read. The remaining processes, and the children by parent.
    Parents(Vec<i32>, BTreeMap<i32, Vec<i32>>),
}

impl Walk {
    /// Goes one step further.
    ///
    /// # Errors
    /// There is no `/proc`, or no free descriptor to read it: then the descendants are unknown. The same step can be tried again.
    pub fn step(&mut self) -> io::Result<WalkStep> {
        let way = match &mut self.way {
            Some(way) => way,
            None => {
                let way = way()?;
                self.way.insert(way)
            }
        };
        if let Way::Parents(unasked, children) = way
            && let Some(pid) = unasked.pop()
        {
            if let Some(stat) = Stat::of(pid) {
                children.entry(stat.parent).or_default().push(pid);
            }
            return Ok(WalkStep::Read);
        }
        if self.list.is_some() {
            self.read_on();
            return Ok(WalkStep::Read);
        }
        if let Some(thread) = self.threads.last() {
            let list = unless_gone(File::open(format!("/proc/{}/task/{thread}/children", self.parent)))?;
            self.threads.pop();
            self.list = list.map(|file| (file, Vec::new()));
            return Ok(WalkStep::Read);
        }
        // The first one is this process.
        if self.returned < self.searched.saturating_sub(1)
            && let Some(descendant) = self.found.get(self.returned)
        {
            self.returned = self.returned.saturating_add(1);
            return Ok(if descendant.pid == NOBODY { WalkStep::Read } else { WalkStep::Found(*descendant) });
        }
        let parent = match self.searched.checked_sub(1) {
            None => sys::own_ids().0,
            Some(next) => match self.found.get(next) {
                Some(descendant) => descendant.pid,
                None => return Ok(WalkStep::Over),
            },
        };
        let children = match self.way.as_mut() {
            _ if parent == NOBODY => Vec::new(),
            Some(Way::Parents(_, children)) => children.remove(&parent).unwrap_or_default(),
            _ => {
                // The names are read first, so that one descriptor is enough.
                self.threads = unless_gone(names(format!("/proc/{parent}/task")))?.unwrap_or_default();
                // The first thread comes first, because it adopts orphans.
                self.threads.reverse();
                Vec::new()
            }
        };
        (self.parent, self.searched) = (parent, self.searched.saturating_add(1));
        for pid in children {
            self.find(pid);
        }
        Ok(WalkStep::Read)
    }

    /// All processes found so far, some of them not returned yet.
    pub fn found(&self) -> impl Iterator<Item = i32> {
        self.found.iter().map(|descendant| descendant.pid).filter(|pid| *pid != NOBODY)
    }

    /// Marks the process of this pid as reaped.
    pub fn forget(&mut self, pid: i32) {
        if self.seen.remove(&pid) {
            let returned = self.returned;
            if let Some(descendant) = self.found.iter_mut().skip(returned).find(|descendant| descendant.pid == pid) {
                descendant.pid = NOBODY;
            }
        }
    }

    fn find(&mut self, pid: i32) {
        if self.seen.insert(pid) {
            self.found.push(Descendant { pid, parent: self.parent });
        }
    }

    /// Reads the next block of the open list.
    fn read_on(&mut self) {
        let Some((mut file, mut digits)) = self.list.take() else { return };
        let mut chunk = [0; CHUNK];
        let count = file.read(&mut chunk).unwrap_or_default();
        for byte in chunk.get(..count).unwrap_or_default() {
            if byte.is_ascii_digit() {
                digits.push(*byte);
            } else if let Some(pid) = std::str::from_utf8(&std::mem::take(&mut digits)).ok().and_then(|digits| digits.parse().ok()) {
                self.find(pid);
            }
        }
        // The kernel ends each number with a space.
        self.list = (count > 0).then_some((file, digits));
    }
}

/// How children can be found here, if `/proc` belongs to our own pid namespace: in another one our pids mean other processes.
fn way() -> io::Result<Way> {
    let own = sys::own_ids().0.to_string();
    if !std::fs::read_link("/proc/self").is_ok_and(|name| name == Path::new(&own)) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if Path::new("/proc/thread-self/children").exists() { Ok(Way::Lists) } else { by_parents() }
}

/// Whether our descendants can be listed.
pub fn are_known() -> bool {
    way().is_ok()
}

fn by_parents() -> io::Result<Way> {
    Ok(Way::Parents(names("/proc".to_owned())?, BTreeMap::new()))
}

/// The entries of a directory that are numbers.
fn names(directory: String) -> io::Result<Vec<i32>> {
    let numbers = std::fs::read_dir(directory)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// Ignores read errors of a process that has ended; no free descriptor is an error.
fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A reserved descriptor for reading the descendants when all others are in use.
#[derive(Debug)]
pub struct Reserve(Option<File>);

impl Default for Reserve {
    fn default() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

impl Reserve {
    /// Like [`Walk::step`], with the reserved descriptor if no other is free.
    ///
    /// # Errors
    /// Like [`Walk::step`].
    pub fn step(&mut self, walk: &mut Walk) -> io::Result<WalkStep> {
        match walk.step() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && self.0.take().is_some() => walk.step(),
            stepped => stepped,
        }
    }

    /// Reserves a descriptor again after a walk has used it.
    pub fn refill(&mut self) {
        if self.0.is_none() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    fn walked(mut walk: Walk) -> Vec<Descendant> {
        let mut all = Vec::new();
        loop {
            match walk.step().unwrap() {
                WalkStep::Read => {}
                WalkStep::Found(descendant) => all.push(descendant),
                WalkStep::Over => return all,
            }
        }
    }

    #[test]
    fn without_lists_of_children_the_parents_give_the_same() {
        let script = "sleep 60 & echo ready; read line; kill $!";
        let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let mut ways = vec![by_parents().unwrap()];
        if Path::new("/proc/thread-self/children").exists() {
            ways.push(Way::Lists);
        }
        for way in ways {
            // Other tests have children, too.
            let all = walked(Walk { way: Some(way), ..Walk::default() });
            let at = all.iter().position(|descendant| descendant.pid == pid).unwrap();
            assert!(all[at].is_direct() && all[at].is_still_there());
            let below: Vec<_> = all.iter().enumerate().filter(|(_, descendant)| descendant.parent == pid).collect();
            let [(behind, sleeper)] = below[..] else { panic!("{below:?}") };
            assert!(behind > at && !sleeper.is_direct() && sleeper.is_still_there());
            assert!(!Descendant { parent: 1, ..*sleeper }.is_still_there(), "another process has this number");
        }
        shell.stdin.take().unwrap().flush().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn processes_that_were_reaped_meanwhile_are_not_listed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut walk = Walk::default();
        while !walk.seen.contains(&pid) {
            assert_eq!(walk.step().unwrap(), WalkStep::Read);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        walk.forget(pid);
        assert!(walked(walk).iter().all(|descendant| descendant.pid != pid));
    }
}
