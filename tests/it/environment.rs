//! What the processes find in their environment, and what of it comes from the machine.

use crate::support::{Dir, Portcullis, left_out, root, unique};
use std::path::{Path, PathBuf};

/// A cgroup that grants a part of the processors, gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// None where this machine lets nobody make one.
    fn granting(microseconds: u32) -> Option<Self> {
        let (one, two) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let name = unique("portcullis-it");
        let made = |at: &Path| std::fs::create_dir(at.join(&name)).is_ok().then(|| Self(at.join(&name)));
        let limited = |cgroup: &Self, file: &str, text: String| std::fs::write(cgroup.0.join(file), text).is_ok();
        made(one)
            .filter(|cgroup| limited(cgroup, "cpu.cfs_quota_us", microseconds.to_string()))
            .or_else(|| made(two).filter(|cgroup| limited(cgroup, "cpu.max", format!("{microseconds} 100000"))))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn the_processors_are_those_that_the_cgroup_grants() {
    let test = "the_processors_are_those_that_the_cgroup_grants";
    if !root(test) {
        return;
    }
    let config = "[modes.api]\ncommand = ['echo', '${@cpus} of ${@nproc}']\n";
    let count = std::thread::available_parallelism().unwrap();
    let Some(outer) = Cgroup::granting(50_000) else {
        return left_out(test, "no cgroup with a limit of its processors can be made here");
    };
    // Nested, as a container in a pod: what lies above bounds it.
    let inner = Cgroup(outer.0.join("inner"));
    std::fs::create_dir(&inner.0).unwrap();
    for cgroup in [&inner, &outer] {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.0.display());
        let dir = Dir::new();
        let enter = dir.script("enter", &enter).display().to_string();
        let said = Portcullis::new().config(config).through(&enter).output().exits(0).stdout;
        assert!(said.starts_with("1 of "), "{said}");
    }
    drop(inner);
    let said = Portcullis::new().config(config).output().exits(0).stdout;
    assert!(said.starts_with(&format!("{count} of ")), "{said}");
}
