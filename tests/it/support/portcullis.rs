//! `Portcullis::new().config(…).env(…).start()`: one run of the binary.

use super::http::{HttpResponse, ask, ask_abstract};
use super::process::{self, MARK};
use super::terminal::Terminal;
use super::{Dir, Stopwatch, eventually, free_port, secs, unique, variable, wait};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The binary under test.
pub fn binary() -> PathBuf {
    variable("PORTCULLIS_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portcullis")), PathBuf::from)
}

/// Whether it was built for speed, as `scripts/test` does: then it is held to the times that are promised.
pub fn is_optimized() -> bool {
    !binary().components().any(|part| part.as_os_str() == "debug")
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// What one run is started with. Nothing of this process's environment but `PATH` is handed on.
#[must_use]
#[derive(Debug)]
pub struct Portcullis {
    dir: Dir,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    program: PathBuf,
    wrapper: Vec<String>,
    pid1: bool,
    port: u16,
    socket: String,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    terminal: Option<OwnedFd>,
}

impl Portcullis {
    /// `portcullis run` with a health port and an abstract socket of its own.
    pub fn new() -> Self {
        let (port, socket) = (free_port(), unique("portcullis-it"));
        let new = Self {
            dir: Dir::new(),
            args: vec!["run".into()],
            env: Vec::new(),
            program: binary(),
            wrapper: Vec::new(),
            pid1: false,
            port,
            socket: socket.clone(),
            stdout: None,
            stderr: None,
            terminal: None,
        };
        new.env("PORTCULLIS_HEALTH__LISTEN", format!("127.0.0.1:{port}"))
            .env("PORTCULLIS_HEALTH__SOCKET", format!("@{socket}"))
            .env("PATH", variable("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
    }

    /// The configuration file, found through `PORTCULLIS_CONFIG`.
    pub fn config(self, toml: &str) -> Self {
        let path = self.dir.file("portcullis.toml", toml);
        self.env("PORTCULLIS_CONFIG", path)
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Takes a variable away that was set before.
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(key, _)| key != name);
        self
    }

    /// The whole command line, in place of `run`.
    pub fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Another program in place of portcullis, e.g. one that changes the root before it execs.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// `run -- COMMAND`.
    pub fn command<I: IntoIterator<Item: Into<OsString>>>(self, command: I) -> Self {
        let head = ["run".into(), "--".into()];
        let all: Vec<OsString> = head.into_iter().chain(command.into_iter().map(Into::into)).collect();
        self.args(all)
    }

    /// `run -- bash -c SCRIPT`.
    pub fn sh(self, script: &str) -> Self {
        self.command(["bash", "-c", script])
    }

    /// PID 1 of a pid namespace of its own, as in a container.
    pub fn in_pid_namespace(mut self) -> Self {
        self.pid1 = true;
        self
    }

    /// Started through a program that changes something and execs, e.g. `env --block-signal=TERM`.
    pub fn through(mut self, words: &str) -> Self {
        self.wrapper = words.split(' ').map(str::to_owned).collect();
        self
    }

    /// Where its stdout goes, in place of the buffer.
    pub fn stdout_to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Where its stderr goes, in place of the buffer.
    pub fn stderr_to(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// With a terminal of its own for all three streams, as `docker run -it` gives it: portcullis leads the session.
    pub fn on_terminal(mut self) -> (Self, Terminal) {
        let (terminal, theirs) = Terminal::new();
        self.terminal = Some(theirs);
        // Whatever runs the tests may ignore ctrl-C, as a job in the background of a script does.
        (self.through("setsid --ctty env --default-signal=INT"), terminal)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes an executable script beside the configuration.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        self.dir.script(name, text)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.dir.file(name, text)
    }

    pub fn start(self) -> Running {
        process::adopt_orphans();
        let mark = unique("run");
        let mut words: Vec<OsString> = Vec::new();
        if self.pid1 {
            words.extend(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"].map(OsString::from));
            if !nix::unistd::geteuid().is_root() {
                words.push("--map-root-user".into());
            }
        }
        words.extend(self.wrapper.iter().map(OsString::from));
        words.push(self.program.into());
        words.extend(self.args);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.env).env(MARK, &mark).current_dir(self.dir.path());
        let stream = |or: Stdio| self.terminal.as_ref().map_or(or, |terminal| terminal.try_clone().expect("duplicate the terminal").into());
        command
            .stdin(stream(Stdio::null()))
            .stdout(self.stdout.unwrap_or_else(|| stream(Stdio::piped())))
            .stderr(self.stderr.unwrap_or_else(|| stream(Stdio::piped())));
        let since = Stopwatch::start();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().map_or_else(Buffer::ended, Buffer::filled_by);
        let stderr = child.stderr.take().map_or_else(Buffer::ended, Buffer::filled_by);
        let outer = i32::try_from(child.id()).expect("pid");
        let pid1 = self.pid1;
        Running {
            child,
            outer,
            pid1,
            mark,
            stdout,
            stderr,
            since,
            ended: None,
            signalled: Mutex::new(None),
            port: self.port,
            socket: self.socket,
            dir: self.dir,
        }
    }

    /// Starts, waits for the end and hands back everything it said.
    pub fn output(self) -> Output {
        let mut running = self.start();
        let exit = running.wait_exit(secs(60));
        let took = running.since.elapsed();
        let (stdout, stderr) = running.streams();
        Output { exit, stdout, stderr, took }
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Output {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Output {
    /// Fails with everything it said unless it ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, Exit::Code(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless stderr holds every one of the words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in:\n{}", self.stderr);
        }
        self
    }
}

/// What a stream said so far, and a bell that rings when it says more.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer(Arc<(Mutex<CapturedOutput>, Condvar)>);

/// The bytes, and whether the stream has ended.
type CapturedOutput = (Vec<u8>, bool);

impl Buffer {
    /// Of a stream that goes elsewhere.
    fn ended() -> Self {
        Self(Arc::new((Mutex::new((Vec::new(), true)), Condvar::new())))
    }

    pub(super) fn filled_by(mut from: impl Read + Send + 'static) -> Self {
        let buffer = Self::default();
        let shared = Arc::clone(&buffer.0);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut piece) {
                shared.0.lock().expect("buffer").0.extend_from_slice(&piece[..count]);
                shared.1.notify_all();
            }
            shared.0.lock().expect("buffer").1 = true;
            shared.1.notify_all();
        });
        buffer
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().expect("buffer").0).into_owned()
    }

    pub(super) fn until(&self, deadline: Duration, ended: bool, holds: impl Fn(&str) -> bool) -> bool {
        let state = self.0.0.lock().expect("buffer");
        let more = |state: &mut CapturedOutput| !(holds(&String::from_utf8_lossy(&state.0)) || ended && state.1);
        let (state, _) = self.0.1.wait_timeout_while(state, deadline, more).expect("buffer");
        holds(&String::from_utf8_lossy(&state.0))
    }
}

/// One run in progress. Dropped, it leaves no process behind.
#[derive(Debug)]
pub struct Running {
    child: Child,
    outer: i32,
    pid1: bool,
    mark: String,
    stdout: Buffer,
    stderr: Buffer,
    pub since: Stopwatch,
    ended: Option<Exit>,
    /// The last signal and since when.
    signalled: Mutex<Option<(i32, Stopwatch)>>,
    pub port: u16,
    pub socket: String,
    dir: Dir,
}

impl Running {
    /// portcullis' own pid, seen from here.
    pub fn pid(&self) -> i32 {
        eventually("portcullis runs as PID 1", secs(20), || self.inner())
    }

    /// portcullis' own pid where it runs now.
    fn inner(&self) -> Option<i32> {
        if !self.pid1 {
            return Some(self.outer);
        }
        let name = binary();
        let is_it = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.file_name() == name.file_name());
        process::children(self.outer).into_iter().find(is_it)
    }

    /// Asks it to stop, if it has not ended by itself, and waits for the end.
    pub fn stop(&mut self) -> Exit {
        if let Some(pid) = self.inner() {
            process::send(pid, 15);
        }
        self.wait_exit(secs(60))
    }

    /// Where it runs, with its configuration and scripts.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pid of the process that portcullis started, once its command line holds `words`.
    pub fn child_pid(&self, words: &str) -> i32 {
        let pid = self.pid();
        let wanted = |child: &i32| process::command_line(*child).contains(words);
        eventually(&format!("child {words:?}"), secs(30), || process::children(pid).into_iter().find(wanted))
    }

    /// Everything that lives of this run, portcullis and its wrapper left out.
    pub fn descendants(&self) -> Vec<i32> {
        let own = if self.ended.is_some() { self.outer } else { self.pid() };
        process::marked(&self.mark).into_iter().filter(|pid| *pid != own && *pid != self.outer && process::alive(*pid)).collect()
    }

    /// Fails when anything of this run still lives.
    #[track_caller]
    pub fn leaves_nothing(&self) {
        let left: Vec<_> = self.descendants().into_iter().map(process::command_line).collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.stderr.text());
    }

    /// Sends a signal; the same one again only after a while, because two requests to stop within 50 ms are one.
    pub fn signal(&self, number: i32) {
        let pid = self.pid();
        let mut last = self.signalled.lock().unwrap();
        if let Some((before, since)) = &*last
            && *before == number
        {
            wait::moment(Duration::from_millis(60).saturating_sub(since.elapsed()));
        }
        process::send(pid, number);
        *last = Some((number, Stopwatch::start()));
    }

    /// Sends a signal however soon it comes after another.
    pub fn signal_again(&self, number: i32) {
        process::send(self.pid(), number);
    }

    #[track_caller]
    pub fn until_stdout(&self, what: &str, deadline: Duration) {
        let found = self.stdout.until(deadline, false, |text| text.contains(what));
        assert!(found, "{what:?} not on stdout within {deadline:?}; stdout:\n{}\nstderr:\n{}", self.stdout.text(), self.stderr.text());
    }

    #[track_caller]
    pub fn until_stderr(&self, what: &str, deadline: Duration) {
        let found = self.stderr.until(deadline, false, |text| text.contains(what));
        assert!(found, "{what:?} not on stderr within {deadline:?}; stdout:\n{}\nstderr:\n{}", self.stdout.text(), self.stderr.text());
    }

    /// stdout and stderr so far; of a run that has ended, all of it.
    pub fn streams(&self) -> (String, String) {
        if self.ended.is_some() {
            for stream in [&self.stdout, &self.stderr] {
                stream.until(secs(2), true, |_| false);
            }
        }
        (self.stdout.text(), self.stderr.text())
    }

    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> Exit {
        if let Some(exit) = self.ended {
            return exit;
        }
        let watch = Stopwatch::start();
        let exit = loop {
            if let Some(status) = self.child.try_wait().expect("wait for portcullis") {
                break status.code().map_or_else(|| Exit::Signal(status.signal().expect("code or signal")), Exit::Code);
            }
            let (stdout, stderr) = (&self.stdout, &self.stderr);
            assert!(watch.elapsed() < deadline, "still runs after {deadline:?}; stdout:\n{}\nstderr:\n{}", stdout.text(), stderr.text());
            std::thread::park_timeout(Duration::from_millis(1));
        };
        self.ended = Some(exit);
        exit
    }

    /// Whether it ends within this time.
    pub fn ends_within(&mut self, deadline: Duration) -> bool {
        let watch = Stopwatch::start();
        while self.runs() && watch.elapsed() < deadline {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        !self.runs()
    }

    /// Waits for the end and fails with everything it said unless the code is `code`.
    #[track_caller]
    pub fn exits(&mut self, code: i32) {
        let exit = self.wait_exit(secs(60));
        let (stdout, stderr) = self.streams();
        assert_eq!(exit, Exit::Code(code), "\nstdout:\n{stdout}\nstderr:\n{stderr}");
    }

    pub fn runs(&mut self) -> bool {
        self.ended.is_none() && self.child.try_wait().expect("wait for portcullis").is_none()
    }

    /// Asks the health port, which must listen.
    #[track_caller]
    pub fn get(&self, path: &str) -> HttpResponse {
        self.ask("GET", path, "")
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, extra: &str) -> HttpResponse {
        ask(self.port, method, path, extra).unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.stderr.text()))
    }

    /// Asks over the abstract unix socket.
    #[track_caller]
    pub fn get_over_socket(&self, path: &str) -> HttpResponse {
        ask_abstract(&self.socket, path).unwrap_or_else(|error| panic!("{path} over @{}: {error}", self.socket))
    }

    #[track_caller]
    pub fn until_status(&self, path: &str, code: u16, deadline: Duration) -> HttpResponse {
        let watch = Stopwatch::start();
        loop {
            let answer = ask(self.port, "GET", path, "");
            match answer {
                Ok(answer) if answer.code == code => return answer,
                other => assert!(
                    watch.elapsed() < deadline,
                    "{path} is not {code} within {deadline:?} but {other:?}; stdout:\n{}\nstderr:\n{}",
                    self.stdout.text(),
                    self.stderr.text()
                ),
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Another command of the binary, with the endpoint of this run.
    pub fn beside<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        let socket = format!("@{}", self.socket);
        let other = Portcullis::new().args(args);
        let other = other.without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
        other.env("PORTCULLIS_HEALTH__LISTEN", format!("127.0.0.1:{}", self.port)).env("PORTCULLIS_HEALTH__SOCKET", socket).output()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        process::end_marked(&self.mark);
    }
}
