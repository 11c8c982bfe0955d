//! Asks a program whether something is so, before anything is supervised: it ends within a limit, or it is killed.

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

/// The longest pause between two looks at it: the pauses grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Whether the command of these words, in an environment of these variables, ends with 0 within `limit`. It has nothing to read, and what
/// it writes to standard output is dropped. A TERM, INT or QUIT that arrives meanwhile ends it, and stays for who handles signals.
///
/// # Errors
/// Why it could not be asked.
pub fn succeeds(words: &[&str], variables: &BTreeMap<OsString, OsString>, limit: Duration) -> Result<bool, String> {
    let Some((program, arguments)) = words.split_first() else { return Err("it has no word".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it was not found; check the name, PATH and the image".to_owned(),
        _ => format!("it cannot be started ({error}); check its mode"),
    })?;
    let answer = wait(&mut child, limit);
    if answer.is_err() {
        // The whole group: what it started would outlive it.
        let _ = super::send(i32::try_from(child.id()).unwrap_or(i32::MAX).saturating_neg(), libc::SIGKILL);
        let _ = child.wait();
    }
    answer
}

fn wait(child: &mut Child, limit: Duration) -> Result<bool, String> {
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).ok();
    let (until, mut pause) = (Moment::now().after(limit), Duration::from_millis(1));
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => {}
            Err(error) => return Err(format!("its end was not seen ({error})")),
        }
        if until.since(Moment::now()).is_zero() {
            return Err(format!("it did not end within {}", humantime::format_duration(limit)));
        }
        let mut watched: Vec<PollFd<'_>> = signals.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let milliseconds = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
        if poll(&mut watched, PollTimeout::from(milliseconds)).is_ok_and(|ready| ready > 0) {
            return Err("the start was stopped meanwhile".to_owned());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_asked_and_one_that_hangs_is_killed_with_what_it_started() {
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().chain([("ANSWER".into(), "0".into())]).collect();
        let ask = |script: &str, limit| succeeds(&["sh", "-c", script], &variables, Duration::from_millis(limit));
        assert_eq!(ask("exit $ANSWER", 10_000), Ok(true));
        assert_eq!(ask("exit 3", 10_000), Ok(false));
        assert_eq!(ask("kill -9 $$", 10_000), Ok(false));
        assert_eq!(ask("sleep 60", 50), Err("it did not end within 50ms".to_owned()));
        let missing = succeeds(&["no-such-program-here"], &variables, Duration::from_secs(1));
        assert_eq!(missing, Err("it was not found; check the name, PATH and the image".to_owned()));
    }
}
