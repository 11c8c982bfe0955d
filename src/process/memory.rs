//! Detects out-of-memory kills in our cgroup, and which process they ended.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::clock::Moment;

/// Where cgroup file systems are mounted (cgroups(7)).
const ROOT: &str = "/sys/fs/cgroup";

/// The pause between a hint of the kernel and reading the count, and between two readings: a killed process takes a moment to end.
const SETTLE: Duration = Duration::from_millis(250);

/// How long after a hint the count is read: version 1 sends the hint before the kill.
const HINTED: Duration = Duration::from_secs(2);

/// How often the count is read without hints of the kernel, because the cgroups are mounted read-only.
const UNHINTED: Duration = Duration::from_secs(10);

/// The maximum size of the file with the count.
const LONGEST: usize = 1024;

/// The count of out-of-memory kills in our cgroup, and how many of them were reported.
#[derive(Debug)]
pub struct OutOfMemory {
    file: Option<File>,
    hints: Hints,
    /// Kills whose victim is known, or that were reported without one.
    reported: u64,
    /// When the count is read next, and until when if there is no kill.
    look: Option<Duration>,
    until: Duration,
}

/// The source of hints that the count may have changed.
#[derive(Debug)]
enum Hints {
    None,
    /// Version 2: the file itself can be polled.
    File,
    /// Version 1: an eventfd that was registered for it.
    Event(EventFd),
}

impl OutOfMemory {
    /// Records the count so far.
    pub fn new(now: Moment) -> Self {
        Self::of(file(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()), now)
    }

    fn of(found: Option<(PathBuf, File)>, now: Moment) -> Self {
        let hints = match &found {
            Some((path, _)) if path.ends_with("memory.events") => Hints::File,
            Some((path, file)) => registered(path, file).map_or(Hints::None, Hints::Event),
            None => Hints::None,
        };
        let file = found.map(|(_, file)| file);
        let reported = file.as_ref().and_then(count).unwrap_or_default();
        let look = (file.is_some() && matches!(hints, Hints::None)).then_some(now.mono + UNHINTED);
        Self { file, hints, reported, look, until: Duration::ZERO }
    }

    /// What to poll for a hint, and for which events; none while the count is read anyway.
    pub fn hint(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.hints {
            _ if self.look.is_some() => None,
            Hints::None => None,
            Hints::File => self.file.as_ref().map(|file| (file.as_fd(), PollFlags::POLLPRI)),
            Hints::Event(event) => Some((event.as_fd(), PollFlags::POLLIN)),
        }
    }

    /// Takes a hint in.
    pub fn hinted(&mut self, now: Moment) {
        if let Hints::Event(event) = &self.hints {
            let _ = event.read();
        }
        self.look = Some(now.mono + SETTLE);
        self.until = now.mono + HINTED;
    }

    /// When it is due: how many kills did not end a child. `dying`: whether a child is being killed, to which the kills may belong.
    pub fn look(&mut self, now: Moment, dying: impl FnOnce() -> bool) -> u64 {
        if self.look.is_none_or(|at| now.mono < at) {
            return 0;
        }
        let unknown = self.unknown();
        let others = if unknown > 0 && !dying() { unknown } else { 0 };
        self.reported += others;
        let again = unknown > others || (unknown == 0 && now.mono < self.until);
        let unhinted = matches!(self.hints, Hints::None).then_some(UNHINTED);
        self.look = if again { Some(SETTLE) } else { unhinted }.map(|pause| now.mono + pause);
        others
    }

    /// Time until the next reading; none if the kernel sends hints.
    pub fn next(&self, now: Moment) -> Option<Duration> {
        self.look.map(|at| at.saturating_sub(now.mono))
    }

    /// Whether a child that ended by KILL, which portcullis did not send, was killed because memory ran out.
    pub fn claim(&mut self) -> bool {
        let is_one = self.unknown() > 0;
        self.reported += u64::from(is_one);
        is_one
    }

    fn unknown(&self) -> u64 {
        self.file.as_ref().and_then(count).unwrap_or(self.reported).saturating_sub(self.reported)
    }
}

/// Whether a KILL is pending for the process, or it is already ending (`/proc/PID/status` and the flags of `/proc/PID/stat`, proc(5)).
pub fn is_dying(pid: i32) -> bool {
    /// The kernel's `PF_EXITING`.
    const EXITING: u64 = 4;
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (status, stat) = (read("status"), read("stat"));
    let pending = |line: &str| {
        let (name, mask) = line.split_once(':').unwrap_or_default();
        matches!(name, "SigPnd" | "ShdPnd") && u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & KILL != 0)
    };
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let state = fields.next().unwrap_or_default();
    let flags = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    matches!(state, "" | "Z" | "X") || flags & EXITING != 0 || status.lines().any(pending)
}

/// An eventfd that the kernel writes to before it kills (cgroup v1, `memory.rst`: "OOM Control").
fn registered(path: &Path, file: &File) -> Option<EventFd> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
    let mut control = fs::OpenOptions::new().write(true).open(path.with_file_name("cgroup.event_control")).ok()?;
    control.write_all(format!("{} {}", event.as_fd().as_raw_fd(), file.as_raw_fd()).as_bytes()).ok()?;
    Some(event)
}

/// The file that counts, opened, for the cgroup named in `/proc/self/cgroup`: `memory.events` of version 2, `memory.oom_control` of 1.
///
/// In a container without a cgroup namespace that path is the host's, and the cgroup itself is mounted at the root.
fn file(own: &str) -> Option<(PathBuf, File)> {
    let candidates = own.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().trim_start_matches('/'));
        let (mount, name) = if controllers.is_empty() { ("", "memory.events") } else { ("memory", "memory.oom_control") };
        let counts = controllers.is_empty() || controllers.split(',').any(|controller| controller == "memory");
        [path, ""]
            .into_iter()
            .filter(move |_| counts)
            .map(move |path| Path::new(ROOT).join(mount).join(path).join(name))
            .collect::<Vec<_>>()
    });
    candidates.into_iter().find_map(|path| {
        let file = File::open(&path).ok()?;
        count(&file).map(|_| (path, file))
    })
}

/// The number after `oom_kill`, read again from the beginning of the file.
fn count(file: &File) -> Option<u64> {
    let mut bytes = [0; LONGEST];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(PathBuf);

    impl Counter {
        fn new(name: &str) -> Self {
            let counter = Self(std::env::temp_dir().join(format!("portcullis-memory-{name}-{}", std::process::id())));
            counter.set("oom_kill 1\n");
            counter
        }

        fn set(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }

        fn memory(&self) -> OutOfMemory {
            OutOfMemory {
                hints: Hints::File,
                look: None,
                ..OutOfMemory::of(File::open(&self.0).ok().map(|file| (self.0.clone(), file)), at(0))
            }
        }
    }

    impl Drop for Counter {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    #[test]
    fn the_count_is_read_from_both_versions_of_the_file() {
        let counter = Counter::new("count");
        for (text, expected) in [
            ("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", Some(2)),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", Some(7)),
            ("nothing", None),
        ] {
            counter.set(text);
            assert_eq!(count(&File::open(&counter.0).unwrap()), expected);
        }
    }

    #[test]
    fn a_kill_belongs_to_one_death_alone() {
        let counter = Counter::new("claim");
        let mut memory = counter.memory();
        assert!(!memory.claim());
        counter.set("oom_kill 2\n");
        assert!(memory.claim());
        assert!(!memory.claim());
    }

    #[test]
    fn a_worker_s_death_is_reported_when_it_happens_and_is_nobody_else_s_later() {
        let counter = Counter::new("worker");
        let mut memory = counter.memory();
        memory.hinted(at(0));
        assert_eq!(memory.look(at(100), || false), 0, "it is not time yet");
        // Version 1 says so before it kills.
        assert_eq!(memory.look(at(250), || false), 0);
        counter.set("oom_kill 3\n");
        assert_eq!(memory.look(at(500), || false), 2);
        assert_eq!(memory.next(at(500)), None);
        assert!(!memory.claim(), "the worker's death is already counted");
    }

    #[test]
    fn a_kill_waits_for_the_death_of_a_child_that_is_dying() {
        let counter = Counter::new("dying");
        let mut memory = counter.memory();
        counter.set("oom_kill 2\n");
        memory.hinted(at(0));
        for millis in [250, 500, 5_000] {
            assert_eq!(memory.look(at(millis), || true), 0);
        }
        assert!(memory.claim());
        assert_eq!(memory.look(at(5_250), || false), 0);
        assert_eq!(memory.next(at(5_250)), None);
    }

    #[test]
    fn a_hint_without_a_kill_is_forgotten() {
        let counter = Counter::new("hint");
        let mut memory = counter.memory();
        memory.hinted(at(0));
        let mut now = 0;
        while let Some(next) = memory.next(at(now)) {
            now += u64::try_from(next.as_millis()).unwrap();
            assert_eq!(memory.look(at(now), || false), 0);
        }
        assert_eq!(now, 2_000);
    }

    #[test]
    fn who_lives_is_not_dying() {
        assert!(!is_dying(i32::try_from(std::process::id()).unwrap()));
        assert!(is_dying(i32::MAX));
    }
}
