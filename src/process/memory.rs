//! Whether the kernel killed something in our cgroup for want of memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroup file systems are mounted (cgroups(7)).
const ROOT: &str = "/sys/fs/cgroup";

/// The count of out-of-memory kills in our cgroup, read when it is asked for.
#[derive(Debug)]
pub struct OutOfMemory {
    file: Option<PathBuf>,
    seen: u64,
}

impl OutOfMemory {
    /// Notes the count so far.
    pub fn new() -> Self {
        let file = file(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
        let seen = file.as_deref().and_then(count).unwrap_or_default();
        Self { file, seen }
    }

    /// Whether there were kills since this was last asked.
    pub fn happened(&mut self) -> bool {
        let now = self.file.as_deref().and_then(count).unwrap_or_default();
        std::mem::replace(&mut self.seen, now) < now
    }
}

impl Default for OutOfMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// The file that counts for the cgroup named in `/proc/self/cgroup`: `memory.events` of version 2, `memory.oom_control` of 1.
///
/// In a container without a cgroup namespace that path is the host's, and the cgroup itself is mounted at the root.
fn file(own: &str) -> Option<PathBuf> {
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
    candidates.into_iter().find(|path| count(path).is_some())
}

/// The number behind `oom_kill`.
fn count(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_both_versions_of_the_file() {
        let path = std::env::temp_dir().join(format!("portcullis-memory-{}", std::process::id()));
        for (text, expected) in [
            ("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", Some(2)),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", Some(7)),
            ("nothing", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(count(&path), expected);
        }
        fs::write(&path, "oom_kill 1\n").unwrap();
        let mut memory = OutOfMemory { file: Some(path.clone()), seen: 1 };
        assert!(!memory.happened());
        fs::write(&path, "oom_kill 2\n").unwrap();
        assert!(memory.happened());
        assert!(!memory.happened());
        fs::remove_file(path).unwrap();
    }
}
