//! Data about processes from `/proc`, and the end of everything that a test started.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// The variable by which all descendants of a test are found, wherever they were reparented to.
pub const MARK: &str = "IT_RUN";

/// Makes this process adopt the orphans of its tests, so that a dead supervisor's children can be found and reaped.
pub fn adopt_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| nix::sys::prctl::set_child_subreaper(true).expect("become the subreaper"));
}

/// A program that helps a test, with all that it starts itself; gone when dropped.
#[derive(Debug)]
pub struct Tool {
    child: Child,
    mark: String,
}

impl Tool {
    pub fn start(command: &mut Command) -> Self {
        adopt_orphans();
        let mark = super::unique("tool");
        command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, mark }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("wait for the tool").is_none()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pid")
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        end_marked(&self.mark);
    }
}

/// Every process, as numbers of this namespace.
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("read /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Processes whose environment carries the mark.
pub fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let holds = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
    };
    all().into_iter().filter(holds).collect()
}

/// Direct children, zombies included.
pub fn children(parent: i32) -> Vec<i32> {
    all().into_iter().filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// The state letter (`R S D Z T …`) and the parent.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The arguments, joined by blanks.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// A field of `/proc/PID/status`, blanks around it left out.
pub fn status(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

/// Whether the process stands still after a stop signal.
pub fn stands_still(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'T')
}

/// Whether the process runs: a zombie does not.
pub fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Sends any number, also those for which nix has no name.
pub fn send(pid: i32, signal: i32) {
    if let Ok(named) = Signal::try_from(signal) {
        let _ = kill(Pid::from_raw(pid), named);
    } else {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(status.expect("run sh").success(), "kill -{signal} {pid}");
    }
}

/// KILLs whatever carries the mark until nothing does, and reaps those who became ours.
pub fn end_marked(mark: &str) {
    for _ in 0..400 {
        let found = marked(mark);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
