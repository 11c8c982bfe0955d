//! The kubelet's prober, written after its source (pkg/kubelet/prober/worker.go, pkg/probe/http): one request per period, verdicts by
//! thresholds.

use super::Stopwatch;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How a probe is written in a manifest.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: String,
    /// The words of an exec probe, none where it asks over HTTP.
    pub command: Vec<String>,
    /// Seconds.
    pub period: u64,
    /// Seconds.
    pub timeout: u64,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

/// What a manifest says of one pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub startup: Settings,
    pub liveness: Settings,
    pub readiness: Settings,
    /// Seconds from the stop signal to KILL.
    pub grace: u64,
    pub env: Vec<(String, String)>,
}

/// What the kubelet thinks of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    pub started: bool,
    pub ready: bool,
    /// Whether it would be killed and started again.
    pub killed: bool,
}

/// The pod of `docker/example/kubernetes.yaml` whose object has this name. Its flow-style lines are read as they are written there.
pub fn manifest(name: &str) -> Pod {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/example/kubernetes.yaml");
    let all = fs::read_to_string(path).expect("docker/example/kubernetes.yaml");
    let is_it = |object: &&str| object.contains(&format!("\nmetadata: {{ name: {name} }}\n")) && object.contains("containers:");
    let object = all.split("\n---\n").find(is_it).unwrap_or_else(|| panic!("no {name} in the manifest"));
    let grace = number(object, "terminationGracePeriodSeconds").expect("its grace");
    let variables = object.lines().filter_map(|line| line.trim().strip_prefix("- { name: ")?.strip_suffix(" }")?.split_once(", value: "));
    let env = variables.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect();
    let probe = |name: &str| settings(object.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_default());
    Pod { startup: probe("startupProbe:"), liveness: probe("livenessProbe:"), readiness: probe("readinessProbe:"), grace, env }
}

fn settings(line: &str) -> Settings {
    let path = line.split_once("path: ").and_then(|(_, rest)| rest.split(',').next()).unwrap_or_default();
    let command = line.split_once("command: [").and_then(|(_, rest)| rest.split(']').next()).unwrap_or_default();
    Settings {
        path: path.to_owned(),
        command: command.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        period: number(line, "periodSeconds").unwrap_or(10),
        timeout: number(line, "timeoutSeconds").unwrap_or(1),
        success_threshold: number(line, "successThreshold").unwrap_or(1) as u32,
        failure_threshold: number(line, "failureThreshold").unwrap_or(3) as u32,
    }
}

fn number(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.split_once(&format!("{key}: "))?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// One probe of one container.
#[derive(Debug)]
pub struct Probe {
    settings: Settings,
    passed: Option<bool>,
    same: u32,
    runs: u32,
    due: Duration,
    /// What it means for the container: nothing before a threshold is met.
    outcome: Option<bool>,
}

impl Probe {
    fn new(settings: Settings) -> Self {
        Self { settings, passed: None, same: 0, runs: 0, due: Duration::ZERO, outcome: None }
    }

    /// Failures in a row, up to now.
    pub fn failures(&self) -> u32 {
        if self.passed == Some(false) { self.same } else { 0 }
    }

    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Asks when it is time to, and counts; `doProbe` of worker.go from its call of the prober on.
    fn turn(&mut self, port: u16, now: Duration, second: Duration) {
        if now < self.due {
            return;
        }
        self.due = now + second * self.settings.period as u32;
        let passes = ask(port, &self.settings.path, second * self.settings.timeout as u32);
        self.runs += 1;
        self.same = if self.passed == Some(passes) { self.same + 1 } else { 1 };
        self.passed = Some(passes);
        let threshold = if passes { self.settings.success_threshold } else { self.settings.failure_threshold };
        if self.same >= threshold {
            self.outcome = Some(passes);
        }
    }
}

/// A kubelet with the three probes of one container.
#[derive(Debug)]
pub struct Kubelet {
    port: u16,
    second: Duration,
    since: Stopwatch,
    terminating: bool,
    pub startup: Probe,
    pub liveness: Probe,
    pub readiness: Probe,
}

impl Kubelet {
    /// One whose seconds last `second` ms.
    pub fn new(port: u16, pod: &Pod, second: u64) -> Self {
        let [startup, liveness, readiness] = [&pod.startup, &pod.liveness, &pod.readiness].map(|settings| Probe::new(settings.clone()));
        Self { port, second: Duration::from_millis(second), since: Stopwatch::start(), terminating: false, startup, liveness, readiness }
    }

    /// The pod is deleted: startup and liveness are no longer probed, readiness is.
    pub fn terminate(&mut self) {
        self.terminating = true;
    }

    pub fn verdict(&self) -> ContainerStatus {
        let started = self.startup.outcome == Some(true);
        ContainerStatus {
            started,
            ready: started && self.readiness.outcome == Some(true),
            killed: !self.terminating && (self.startup.outcome == Some(false) || self.liveness.outcome == Some(false)),
        }
    }

    /// Probes as time passes until `holds`, and hands back the verdict then.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> ContainerStatus {
        let watch = Stopwatch::start();
        while !holds(self) {
            assert!(watch.elapsed() < Duration::from_secs(60), "not {what} within a minute: {self:?}");
            self.turn();
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.verdict()
    }

    fn turn(&mut self) {
        let now = self.since.elapsed();
        if self.startup.outcome.is_none() && !self.terminating {
            self.startup.turn(self.port, now, self.second);
        }
        if self.startup.outcome == Some(true) {
            if !self.terminating {
                self.liveness.turn(self.port, now, self.second);
            }
            self.readiness.turn(self.port, now, self.second);
        }
    }
}

/// One request of pkg/probe/http: a new connection, no keeping of it, no compression; the body is read up to 10 KiB.
/// Passes with 200 to 399; an answer that breaks off or keeps it waiting fails.
fn ask(port: u16, path: &str, timeout: Duration) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    // The scale is not the machine's: what is a second there must not be less than a machine of two busy cores takes.
    let timeout = timeout.max(Duration::from_secs(1));
    let mut bytes = Vec::new();
    let whole = TcpStream::connect_timeout(&address, timeout).and_then(|mut stream| {
        stream.set_read_timeout(Some(timeout))?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kube-probe/1.37\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.take(10 * 1024).read_to_end(&mut bytes)
    });
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if whole.is_err() {
        return false;
    }
    let head = head.to_lowercase();
    assert!(head.contains("\r\nconnection: close") && head.contains(&format!("\r\ncontent-length: {}", body.len())), "{text}");
    let code: u16 = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (200..400).contains(&code)
}
