//! How many processors the cgroups of this process grant: version 1, version 2 or both, each including all parent cgroups.

use std::fs::read_to_string;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// A cgroup hierarchy that limits processor time.
struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    /// The cgroup that is mounted there: not the topmost in a container without a cgroup namespace.
    root: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The number of processors that the cgroups below `root` (`/` except in tests) grant, rounded up: at least 1, and never more than `allowed`, which
/// is what affinity and cpuset allow (sched_getaffinity(2)).
pub(super) fn granted(root: &Path, allowed: usize) -> usize {
    let read = |path: &str| read_to_string(root.join(path)).unwrap_or_default();
    let (mounts, own) = (read("proc/self/mountinfo"), read("proc/self/cgroup"));
    let quotas = mounts.lines().filter_map(hierarchy).filter_map(|hierarchy| least(root, &hierarchy, &own));
    quotas.fold(allowed, usize::min).max(1)
}

/// The hierarchy that a line of mountinfo describes (proc_pid_mountinfo(5)); none for any other line.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let version = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => Version::Two,
        ("cgroup", options) if options.split(',').any(|option| option == "cpu") => Version::One,
        _ => return None,
    };
    let mut fields = mount.split(' ').skip(3);
    Some(Hierarchy { root: unescaped(fields.next()?), mount: unescaped(fields.next()?), version })
}

/// A path as mountinfo writes it, with `\040` for a blank.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[3..]);
            }
            None => bytes.extend([b"\\", part.as_bytes()].concat()),
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The lowest limit of our cgroup in this hierarchy and its parents; none if none of them has a limit.
fn least(root: &Path, hierarchy: &Hierarchy, own: &str) -> Option<usize> {
    let path = own.lines().find_map(|line| {
        // The number of the hierarchy, its controllers, and our cgroup in it (cgroups(7)).
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match hierarchy.version {
            Version::Two => number == "0" && controllers.is_empty(),
            Version::One => controllers.split(',').any(|controller| controller == "cpu"),
        };
        is_it.then_some(path)
    })?;
    // In another namespace it may be `/..`, or not be mounted here: then the topmost visible cgroup is the limit.
    let below = Path::new(path).strip_prefix(&hierarchy.root).unwrap_or(Path::new(""));
    let below = if below.components().all(|part| matches!(part, Component::Normal(_))) { below } else { Path::new("") };
    let mount = root.join(hierarchy.mount.strip_prefix("/").unwrap_or(&hierarchy.mount));
    below.ancestors().filter_map(|cgroup| quota(&mount.join(cgroup), hierarchy.version)).min()
}

/// The processors that one cgroup grants, rounded up; none without a limit.
fn quota(cgroup: &Path, version: Version) -> Option<usize> {
    let read = |name: &str| read_to_string(cgroup.join(name)).ok();
    let (quota, period) = match version {
        Version::Two => {
            let limit = read("cpu.max")?;
            let (quota, period) = limit.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        Version::One => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    // `max` and -1 are no limit.
    let [quota, period] = [quota, period].map(|number| number.trim().parse::<u64>().ok().filter(|number| *number > 0));
    usize::try_from(quota?.div_ceil(period?)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A temporary root directory, removed on drop.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("portcullis-cpus-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2: &str =
        "35 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    const V1: &str = "\
32 31 0:29 / /sys/fs/cgroup/systemd rw,relatime shared:10 - cgroup cgroup rw,xattr,name=systemd\n\
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
37 31 0:34 / /sys/fs/cgroup/cpuset rw,relatime shared:15 - cgroup cgroup rw,cpuset\n";

    const DOCKER_V1: &str = "\
1263 1262 0:29 /docker/4f5e /sys/fs/cgroup/systemd ro,relatime master:10 - cgroup cgroup rw,xattr,name=systemd\n\
1266 1262 0:33 /docker/4f5e /sys/fs/cgroup/cpu,cpuacct ro,relatime master:14 - cgroup cgroup rw,cpu,cpuacct\n";
    const HYBRID: &str = "\
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
42 31 0:41 / /sys/fs/cgroup/unified rw,relatime shared:20 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// The case, its files, and how many of eight processors it grants.
    type Layout = (&'static str, &'static [(&'static str, &'static str)], usize);

    const LAYOUTS: &[Layout] = &[
        ("nothing at all", &[], 8),
        (
            "v2, a container with a namespace of its own",
            &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "150000 100000\n")],
            2,
        ),
        (
            "v2 without a limit",
            &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "max 100000\n")],
            8,
        ),
        (
            "v2, more than there is",
            &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "6400000 100000\n")],
            8,
        ),
        (
            "v2, a tenth of one",
            &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "10000 100000\n")],
            1,
        ),
        (
            "v2, a host whose topmost cgroup has no such file",
            &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/user.slice/u.scope\n")],
            8,
        ),
        (
            "v2, nested: a slice above grants less than the cgroup itself",
            &[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/kubepods.slice/pod1.slice/c1.scope\n"),
                ("sys/fs/cgroup/kubepods.slice/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/kubepods.slice/pod1.slice/cpu.max", "300000 100000\n"),
                ("sys/fs/cgroup/kubepods.slice/pod1.slice/c1.scope/cpu.max", "400000 100000\n"),
            ],
            3,
        ),
        (
            "v2, moved out of its namespace",
            &[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/../other\n"),
                ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
                ("sys/fs/other/cpu.max", "100000 100000\n"),
            ],
            2,
        ),
        (
            "v2, a container of the host's namespace: its cgroup is the root of the mount",
            &[
                ("proc/self/mountinfo", "700 690 0:30 /docker/4f5e /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw\n"),
                ("proc/self/cgroup", "0::/docker/4f5e\n"),
                ("sys/fs/cgroup/cpu.max", "250000 100000\n"),
            ],
            3,
        ),
        (
            "v1, docker",
            &[
                ("proc/self/mountinfo", DOCKER_V1),
                ("proc/self/cgroup", "11:cpuset:/docker/4f5e\n4:cpu,cpuacct:/docker/4f5e\n1:name=systemd:/docker/4f5e\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "120000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n"),
            ],
            3,
        ),
        (
            "v1 without a limit, on a host",
            &[
                ("proc/self/mountinfo", V1),
                ("proc/self/cgroup", "4:cpu,cpuacct:/system.slice/x.service\n"),
                ("sys/fs/cgroup/cpu,cpuacct/system.slice/x.service/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/system.slice/x.service/cpu.cfs_period_us", "100000\n"),
            ],
            8,
        ),
        (
            "v1, nested",
            &[
                ("proc/self/mountinfo", V1),
                ("proc/self/cgroup", "4:cpu,cpuacct:/pod/c\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "200000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pod/c/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pod/c/cpu.cfs_period_us", "100000\n"),
            ],
            2,
        ),
        (
            "both: version 1 has the controller",
            &[
                ("proc/self/mountinfo", HYBRID),
                ("proc/self/cgroup", "12:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/a\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/unified/a/cgroup.procs", "1\n"),
            ],
            4,
        ),
        (
            "a mount point with a blank and a backslash in it",
            &[
                ("proc/self/mountinfo", "35 25 0:30 / /sys/c\\040g\\134 rw - cgroup2 cgroup2 rw\n"),
                ("proc/self/cgroup", "0::/\n"),
                ("sys/c g\\/cpu.max", "100000 100000\n"),
            ],
            1,
        ),
        ("nonsense", &[("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "100000 0\n")], 8),
    ];

    #[test]
    fn recorded_layouts_grant_what_they_say() {
        for (index, (name, files, expected)) in LAYOUTS.iter().enumerate() {
            let root = Root::new(&index.to_string(), files);
            assert_eq!(granted(&root.0, 8), *expected, "{name}");
        }
        assert_eq!(granted(Path::new("/no/such/root"), 0), 1);
    }

    #[test]
    fn here_at_least_one_is_granted() {
        assert!((1..=8).contains(&granted(Path::new("/"), 8)));
    }
}
