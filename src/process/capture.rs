//! Runs a command for its output, before the supervisor exists; the command is reaped here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;

use super::notify::NotifyWays;
use super::spawn::{self, InheritedEnvironment, SpawnError};
use crate::clock::Moment;
use crate::config::source::CommandRunner;
use crate::exit::Ended;
use crate::plan::CommandPlan;
use crate::plan::argv::{Argv, Word};
use crate::sys;
use crate::sys::start::Birth;

/// The maximum length of the output in bytes.
const MOST: usize = 64 * 1024;

/// Milliseconds between two checks of a command that has closed its output, or writes nothing.
const LOOK: u8 = 5;

/// The signals that end a run which has not begun.
const STOPS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Runs commands on the calling thread, one after another. No other code may wait for children meanwhile.
#[derive(Debug, Default)]
pub struct CommandCapture {
    stopped: AtomicI32,
}

impl CommandCapture {
    /// The signal that arrived while a command ran and ends the run.
    pub fn stopped_by(&self) -> Option<i32> {
        Some(self.stopped.load(Ordering::Acquire)).filter(|number| *number > 0)
    }
}

/// A running command; it is killed with its group and reaped in any case. The thread that started it lives as long, because the child has a
/// parent death signal.
struct Running {
    birth: Arc<Birth>,
    reaped: bool,
    _until: mpsc::Sender<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(pid) = self.birth.pid() else { return };
        // Leftovers in its group are killed with it.
        let _ = sys::send(pid.saturating_neg(), libc::SIGKILL);
        if !self.reaped {
            let _ = sys::reap_one(pid, true);
        }
    }
}

impl CommandRunner for CommandCapture {
    fn output(&self, argv: &[String], variables: &BTreeMap<OsString, OsString>, within: Duration) -> Result<String, String> {
        if self.stopped_by().is_some() {
            return Err("was not run: portcullis is stopping".to_owned());
        }
        let words = argv.iter().map(Word::plain).collect();
        let plan = CommandPlan::new(Argv::new(words).ok_or("contains no program")?).aside();
        let room = |error: nix::Error| format!("cannot be run: its pipe cannot be created ({error}); check the limits");
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC).map_err(room)?;
        nix::fcntl::fcntl(&reading, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(room)?;
        let stops = SignalFd::with_flags(&of(&STOPS), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(room)?;
        let ways = NotifyWays { pass: vec![(writing.as_raw_fd(), libc::STDOUT_FILENO)], ..NotifyWays::default() };
        let inherited = InheritedEnvironment {
            environment: variables.clone(),
            directory: std::env::current_dir().ok(),
            ..InheritedEnvironment::default()
        };
        let prepared = spawn::prepare(&plan, &inherited, &ways).map_err(|error| format!("fails: {}", error.sentence))?;
        let (birth, (until, lives), (started, starting)) = (Arc::new(Birth::default()), mpsc::channel::<()>(), mpsc::channel());
        let theirs = Arc::clone(&birth);
        let body = move || {
            let _ = started.send(prepared.start(&theirs));
            // Its reader also waits for the end of the channel.
            drop(started);
            drop(writing);
            let _ = lives.recv();
        };
        sys::start_thread("start", body).map_err(|error| format!("cannot be run: {error}; check the limits"))?;
        let running = Running { birth, reaped: false, _until: until };
        self.collect(running, File::from(reading), &stops, &starting, within)
    }
}

impl CommandCapture {
    fn collect(
        &self,
        mut running: Running,
        mut output: File,
        stops: &SignalFd,
        starting: &mpsc::Receiver<Result<(), SpawnError>>,
        within: Duration,
    ) -> Result<String, String> {
        let (begun, mut output_bytes, mut open) = (Moment::now(), Vec::new(), true);
        loop {
            if let Ok(Err(error)) = starting.try_recv() {
                return Err(format!("fails: {}", error.sentence));
            }
            // Checked before the last reading, so that its final output is read.
            let ended = running.birth.pid().and_then(|pid| sys::reap_one(pid, false));
            running.reaped = ended.is_some();
            open = open && read(&mut output, &mut output_bytes)?;
            if let Some(ended) = ended {
                return text(output_bytes, ended, starting);
            }
            if Moment::now().since(begun) >= within {
                return Err(format!("did not end within {}; it was killed", humantime::format_duration(within)));
            }
            let mut files = vec![PollFd::new(stops.as_fd(), PollFlags::POLLIN)];
            if open {
                files.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
            }
            let _ = poll(&mut files, PollTimeout::from(LOOK));
            if let Ok(Some(signal)) = stops.read_signal() {
                self.stopped.store(i32::try_from(signal.ssi_signo).unwrap_or(libc::SIGTERM), Ordering::Release);
                return Err("was ended: portcullis is stopping".to_owned());
            }
        }
    }
}

/// Reads the available output; returns whether more may come.
fn read(output: &mut File, output_bytes: &mut Vec<u8>) -> Result<bool, String> {
    let mut piece = [0; 4096];
    loop {
        match output.read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(count) => output_bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        if output_bytes.len() > MOST {
            return Err(format!("writes more than {} KiB", MOST / 1024));
        }
    }
}

/// The output of a successful command, without the newline at its end.
fn text(output_bytes: Vec<u8>, ended: Ended, starting: &mpsc::Receiver<Result<(), SpawnError>>) -> Result<String, String> {
    // A command that could not be executed has ended, too.
    if let Ok(Err(error)) = starting.recv_timeout(Duration::from_secs(1)) {
        return Err(format!("fails: {}", error.sentence));
    }
    if ended != Ended::Code(0) {
        return Err(format!("ended with {ended}; see its output"));
    }
    let mut text = String::from_utf8(output_bytes).map_err(|_| "writes output that is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A set of these signals.
fn of(numbers: &[i32]) -> nix::sys::signal::SigSet {
    numbers.iter().filter_map(|number| nix::sys::signal::Signal::try_from(*number).ok()).collect()
}
