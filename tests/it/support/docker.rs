//! The Docker engine of one test: in its own namespaces, so that nothing of it remains, however the test ends.

use super::portcullis::binary;
use super::process::Tool;
use super::{Dir, Stopwatch, eventually, left_out, root, secs, slow, unique, variable};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// dockerd with its containerd, shims, containers and mounts.
pub struct Engine {
    daemon: Option<Tool>,
    cgroup: String,
    dir: Dir,
}

/// One container of an engine.
pub struct Container<'a> {
    engine: &'a Engine,
    name: String,
    /// A directory that the container sees as `/flags`, where the files are that its checks look for.
    pub flags: PathBuf,
}

impl Engine {
    /// Without a network. None if the slow group was not requested or no engine can run here, which is reported.
    pub fn start(test: &str) -> Option<Self> {
        Self::with(test, &["--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"])
    }

    /// With networks as Docker makes them, that lead nowhere else, and room for large images.
    pub fn networked(test: &str) -> Option<Self> {
        Self::with(test, &[])
    }

    fn with(test: &str, options: &[&str]) -> Option<Self> {
        if !slow(test) || !root(test) {
            return None;
        }
        if variable("PORTCULLIS_BIN").is_none() {
            left_out(test, "an image of nothing else needs the static binary; scripts/test builds it");
            return None;
        }
        let dir = Dir::new();
        let cgroup = unique("portcullis-it");
        let mut command = Command::new("setpriv");
        // The namespaces end with their first process, and that one with the thread of the test.
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", "ip link set lo up; exec dockerd \"$@\" 2>\"$0\""]).arg(dir.path().join("log"));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid"), ("--config-file", "daemon.json")] {
            command.arg(flag).arg(dir.path().join(name));
        }
        dir.file("daemon.json", "{}");
        command.arg("--host").arg(host(&dir)).args([
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
            "--cgroup-parent",
            &format!("/{cgroup}"),
        ]);
        command.args(options);
        let mut engine = Self { daemon: Some(Tool::start(&mut command)), cgroup, dir };
        let up = eventually("dockerd answers or ends", secs(60), || {
            let answers = engine.docker(&["version"]).status.success();
            (answers || !engine.daemon.as_mut().is_some_and(Tool::runs)).then_some(answers)
        });
        if !up {
            left_out(test, &format!("dockerd does not run here: {}", engine.log().lines().next_back().unwrap_or("it says nothing")));
        }
        up.then_some(engine)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn docker(&self, args: &[&str]) -> Output {
        self.client("docker").args(args).output().unwrap_or_else(|error| panic!("docker: {error}"))
    }

    /// A program that talks to this engine and no other.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", self.dir.path().join("client")).env("DOCKER_HOST", host(&self.dir));
        command.stdin(Stdio::null());
        command
    }

    /// A directory that is gone with the engine.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the client prints; fails unless it succeeds.
    #[track_caller]
    pub fn succeeds(&self, args: &[&str]) -> String {
        let done = self.docker(args);
        assert!(done.status.success(), "docker {args:?}: {}\n{}", String::from_utf8_lossy(&done.stderr), self.log());
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Runs portcullis as PID 1 over `command` in an image that holds nothing but it, its configuration and busybox:
    /// no shell on the path, no network, nothing to write to, no user of any name.
    pub fn run(&self, toml: &str, healthcheck: &str, command: &[&str]) -> Container<'_> {
        self.run_with(toml, healthcheck, &["--read-only", "--user", "65534:65534", "--cap-drop", "ALL"], command)
    }

    /// The same image with other options of `docker run`.
    pub fn run_with(&self, toml: &str, healthcheck: &str, options: &[&str], command: &[&str]) -> Container<'_> {
        let name = unique("container");
        let (image, flags, tar) =
            (self.dir.path().join(&name), self.dir.path().join(format!("{name}.flags")), self.dir.path().join("image.tar"));
        for directory in [&image.join("etc"), &image.join("flags"), &flags] {
            fs::create_dir_all(directory).expect("create a directory of the image");
        }
        fs::copy(binary(), image.join("portcullis")).expect("copy portcullis");
        fs::copy("/bin/busybox", image.join("busybox")).expect("copy busybox (Debian's busybox-static)");
        fs::write(image.join("etc/portcullis.toml"), toml).expect("write the configuration");
        let packed = Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&tar).arg(".").status();
        assert!(packed.expect("run tar").success(), "tar");
        let healthcheck = format!("HEALTHCHECK {healthcheck}");
        let entrypoint = "ENTRYPOINT [\"/portcullis\",\"run\",\"--\"]";
        self.succeeds(&["import", "--change", entrypoint, "--change", &healthcheck, tar.to_str().expect("a path of ours"), &name]);
        let mount = format!("{}:/flags:ro", flags.display());
        let run = [&["run", "--detach", "--network", "none", "--name", &name, "--volume", &mount], options, &[&name], command].concat();
        self.succeeds(&run);
        Container { engine: self, name, flags }
    }

    /// An engine that another program started.
    pub fn container(&self, name: &str) -> Container<'_> {
        Container { engine: self, name: name.to_owned(), flags: PathBuf::new() }
    }

    /// Ends it with all it runs. Fails when a process, a mount or a control group is left.
    pub fn end(&mut self) {
        self.kill();
        eventually("the control groups of the engine are gone", secs(20), || {
            self.control_groups().iter().all(|group| remove(group)).then_some(())
        });
        let mine = self.dir.path().to_str().expect("a path of ours");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
        assert!(!mounts.contains(mine), "{mounts}");
        let left: Vec<_> = super::process::all().into_iter().map(super::process::command_line).filter(|line| line.contains(mine)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Kills the first process of the namespaces, and so all of them, and lets `unshare` reap it, because no other process would.
    fn kill(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let watch = Stopwatch::start();
        while daemon.runs() && watch.elapsed() < secs(10) {
            for first in super::process::children(daemon.pid()) {
                super::process::send(first, 9);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Where its control group may be: in the one tree, or in each of the trees of version 1.
    fn control_groups(&self) -> Vec<PathBuf> {
        let tree = Path::new("/sys/fs/cgroup");
        let trees = fs::read_dir(tree).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        trees.chain([tree.to_owned()]).map(|tree| tree.join(&self.cgroup)).filter(|group| group.is_dir()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_some() && !std::thread::panicking() {
            self.end();
        }
        self.kill();
        let watch = Stopwatch::start();
        while !self.control_groups().iter().all(|group| remove(group)) && watch.elapsed() < secs(10) {
            std::thread::yield_now();
        }
    }
}

fn host(dir: &Dir) -> String {
    format!("unix://{}", dir.path().join("socket").display())
}

/// Whether a control group with all below it is gone; it cannot go while a process is in it.
fn remove(group: &Path) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let empty = below.filter(|path| path.is_dir()).all(|path| remove(&path));
    empty && (fs::remove_dir(group).is_ok() || !group.exists())
}

impl Container<'_> {
    /// `docker COMMAND … CONTAINER`.
    pub fn docker(&self, args: &[&str]) -> String {
        self.engine.succeeds(&[args, &[&self.name]].concat())
    }

    /// `docker exec CONTAINER COMMAND …`.
    pub fn exec(&self, command: &[&str]) -> Output {
        self.engine.docker(&[&["exec", &self.name], command].concat())
    }

    pub fn raise(&self, flag: &str) {
        fs::write(self.flags.join(flag), "").expect("raise a flag");
    }

    pub fn lower(&self, flag: &str) {
        fs::remove_file(self.flags.join(flag)).expect("lower a flag");
    }

    /// What `docker inspect` shows under `State`.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.docker(&["inspect", "--format", "{{json .State}}"])).expect("json of docker")
    }

    /// Waits until dockerd itself calls it so, and hands back the newest run of its health check.
    #[track_caller]
    pub fn until_health(&self, status: &str) -> Value {
        let watch = Stopwatch::start();
        loop {
            let state = self.state();
            if state["Health"]["Status"] == status {
                return newest(&state);
            }
            assert!(watch.elapsed() < secs(90), "not {status}: {state}\n{}", self.logs());
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }

    /// Everything that portcullis and its child said.
    pub fn logs(&self) -> String {
        let done = self.engine.docker(&["logs", &self.name]);
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
    }
}

/// The newest run of the health check that dockerd keeps.
pub fn newest(state: &Value) -> Value {
    state["Health"]["Log"].as_array().and_then(|log| log.last()).cloned().unwrap_or_default()
}
