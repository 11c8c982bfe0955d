//! Runs a test command before anything is supervised: it ends within a limit, or it is killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::clock::Moment;

/// Why a program gave no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// This signal came, which ends the start.
    Stopped(i32),
    /// It could not be asked, or did not end in time.
    Because(String),
}

/// The longest pause between two checks of its end: the pauses grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Whether the command of these words, in an environment of these variables, ends with 0 within `limit`. It has nothing to read, and what
/// it writes to standard output is dropped. A TERM, INT, QUIT or HUP that arrives meanwhile ends it.
///
/// # Errors
/// Why it could not be run.
pub fn succeeds(words: &[&str], variables: &BTreeMap<OsString, OsString>, limit: Duration) -> Result<bool, Unanswered> {
    let Some((program, arguments)) = words.split_first() else { return Err(Unanswered::Because("it has no word".to_owned())) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unanswered::Because("it was not found; check the name, PATH and the image".to_owned()),
        _ => Unanswered::Because(format!("it cannot be started ({error}); check its mode")),
    })?;
    let answer = wait(&mut child, limit);
    if answer.is_err() {
        // The whole group, because its children would outlive it.
        let _ = super::send(i32::try_from(child.id()).unwrap_or(i32::MAX).saturating_neg(), libc::SIGKILL);
        let _ = child.wait();
    }
    answer
}

fn wait(child: &mut Child, limit: Duration) -> Result<bool, Unanswered> {
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP].into_iter().collect();
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).ok();
    let (until, mut pause) = (Moment::now().after(limit), Duration::from_millis(1));
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => {}
            Err(error) => return Err(Unanswered::Because(format!("its end was not seen ({error})"))),
        }
        if until.since(Moment::now()).is_zero() {
            return Err(Unanswered::Because(format!("it did not end within {}", humantime::format_duration(limit))));
        }
        let mut watched: Vec<PollFd<'_>> = signals.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let milliseconds = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
        let _ = poll(&mut watched, PollTimeout::from(milliseconds));
        if let Some(signal) = signals.as_ref().and_then(|signals| signals.read_signal().ok().flatten()) {
            return Err(Unanswered::Stopped(i32::try_from(signal.ssi_signo).unwrap_or(libc::SIGTERM)));
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_and_one_that_hangs_is_killed_with_its_children() {
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().chain([("ANSWER".into(), "0".into())]).collect();
        let ask = |script: &str, limit| succeeds(&["sh", "-c", script], &variables, Duration::from_millis(limit));
        assert_eq!(ask("exit $ANSWER", 10_000), Ok(true));
        assert_eq!(ask("exit 3", 10_000), Ok(false));
        assert_eq!(ask("kill -9 $$", 10_000), Ok(false));
        assert_eq!(ask("sleep 60", 50), Err(Unanswered::Because("it did not end within 50ms".to_owned())));
        let missing = succeeds(&["no-such-program-here"], &variables, Duration::from_secs(1));
        assert_eq!(missing, Err(Unanswered::Because("it was not found; check the name, PATH and the image".to_owned())));
    }
}
