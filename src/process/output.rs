//! Passes on the output of children through pipes, with their names as prefix, or unchanged if a line of it is awaited. Separate threads
//! read the pipes.
//!
//! The supervising thread hands over the pipes and waits for them only at the very end, for a limited time. Standard output and standard
//! error are handled separately, so a reader that stops reading blocks only that stream. The child then blocks in its write, because any
//! other behaviour would lose output.

mod lines;
mod relay;
mod scan;

use std::io::{self, IsTerminal};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Gid, Uid, fchown, pipe2};

use crate::clock::Moment;
use crate::log;
use crate::log::{LAST_WORDS, LONGEST_LAST_WORDS};
use crate::plan::OUTPUT_LIMIT;
use crate::sys::start::Credentials;
use relay::{Relay, Stream};
pub use scan::{Scan, Seen};

/// At the end: how long there may be no progress before the rest is dropped.
const STALLED: Duration = Duration::from_secs(1);

/// At the end: how long passing on the rest may take in total.
const LONGEST_END: Duration = Duration::from_secs(5);

/// The resulting stream if children of these names, by index, write these pieces and end.
#[cfg(fuzzing)]
pub(crate) fn passed_on(names: &[&str], pieces: &[(usize, &[u8])]) -> Vec<u8> {
    let mut page = lines::OutputBuffer::default();
    let mut children: Vec<_> = names.iter().zip(1..).map(|(name, key)| lines::Lines::new(key, Some(name))).collect();
    for (whose, bytes) in pieces {
        if let Some(child) = children.get_mut(*whose) {
            page.add(child, bytes);
        }
    }
    for child in &mut children {
        page.complete(child);
    }
    page.take()
}

/// A requested stop and its budget.
#[derive(Clone, Copy, Debug)]
pub struct StopDeadline {
    /// When it was requested.
    pub since: Moment,
    /// [`Plan::stop_budget`](crate::plan::Plan::stop_budget).
    pub budget: Duration,
}

/// Until when the rest may be passed on: within the budget, using the part that is reserved for it.
fn end(now: Moment, stop: Option<StopDeadline>) -> Moment {
    let longest = now.after(LONGEST_END);
    let Some(StopDeadline { since, budget }) = stop else { return longest };
    let own = OUTPUT_LIMIT.saturating_sub(LAST_WORDS);
    let left = budget.saturating_sub(LAST_WORDS).saturating_sub(now.since(since));
    if left.max(own) < LONGEST_END { now.after(left.max(own)) } else { longest }
}

/// How long a slow reader may take for our own last line: within the budget, and at least the part that is reserved for it.
pub fn last_words(now: Moment, stop: Option<StopDeadline>) -> Duration {
    let Some(StopDeadline { since, budget }) = stop else { return LONGEST_LAST_WORDS };
    budget.saturating_sub(now.since(since)).clamp(LAST_WORDS, LONGEST_LAST_WORDS)
}

/// The two threads that pass on output; each is started when a child first needs it.
#[derive(Debug, Default)]
pub struct OutputRelays {
    stdout: Option<Relay>,
    stderr: Option<Relay>,
    /// Whether it was logged that a process has a pipe instead of our terminal.
    mentioned: bool,
}

/// One stream of one child: the reading end here and the writing end for the child.
#[derive(Debug)]
struct Pipe {
    reading: OwnedFd,
    writing: OwnedFd,
}

/// The pipes of a child before its start.
#[derive(Debug)]
pub struct Pipes {
    stdout: Pipe,
    stderr: Pipe,
}

impl Pipes {
    /// The descriptors for the child: our number, its number.
    pub fn pass(&self) -> [(i32, i32); 2] {
        [(self.stdout.writing.as_raw_fd(), libc::STDOUT_FILENO), (self.stderr.writing.as_raw_fd(), libc::STDERR_FILENO)]
    }
}

impl OutputRelays {
    /// Creates the pipes for a child of this user, and starts the threads for the first one.
    ///
    /// # Errors
    /// The kernel cannot create another thread or the files.
    pub fn open(&mut self, user: Option<&Credentials>) -> io::Result<Pipes> {
        log::share();
        for (relay, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            if relay.is_none() {
                *relay = Some(Relay::start(stream)?);
            }
        }
        Ok(Pipes { stdout: pipe(user)?, stderr: pipe(user)? })
    }

    /// Logs once that a process has a pipe instead of the terminal.
    pub fn mention_terminal(&mut self) {
        let is_terminal = io::stdout().is_terminal() || io::stderr().is_terminal();
        if is_terminal && !std::mem::replace(&mut self.mentioned, true) {
            tracing::info!("the output of the process goes to pipes instead of the terminal, because a line of it is awaited");
        }
    }

    /// Passes on the output of this child from now on, byte for byte without a label, and searches it with `scan`. Closes our copies of the
    /// child's writing ends.
    pub fn take(&self, pid: i32, label: Option<&str>, scan: Option<&Scan>, pipes: Pipes) {
        for (relay, pipe) in [(&self.stdout, pipes.stdout), (&self.stderr, pipes.stderr)] {
            drop(pipe.writing);
            if let Some(relay) = relay {
                relay.take(pid, label, scan.cloned(), pipe.reading);
            }
        }
    }

    /// Reports that the child has ended: its output is passed on to the last byte, even if another process holds the pipe.
    pub fn ended(&self, pid: i32) {
        self.relays().for_each(|relay| relay.ended(pid));
    }

    /// Waits until all output is passed on, as long as there is progress, and five seconds at most; after a requested `stop` only within
    /// its budget.
    pub fn finish(&self, stop: Option<StopDeadline>) {
        let end = end(Moment::now(), stop);
        let mut waiting: Vec<_> = self.relays().map(|relay| (relay, relay.finish(), relay.written())).collect();
        while !waiting.is_empty() {
            let now = Moment::now();
            let look = now.after(end.since(now).min(STALLED));
            waiting.retain_mut(|(relay, done, before)| {
                if done.recv_timeout(look.since(Moment::now())) != Err(RecvTimeoutError::Timeout) {
                    return false;
                }
                let written = relay.written();
                let gets_on = std::mem::replace(before, written) != written && !end.since(Moment::now()).is_zero();
                if !gets_on {
                    tracing::warn!("{} was not read; the last lines of the output are lost", relay.stream());
                }
                gets_on
            });
        }
    }

    fn relays(&self) -> impl Iterator<Item = &Relay> {
        self.stdout.iter().chain(&self.stderr)
    }
}

/// A pipe that blocks only the writer. It belongs to the child's user, which otherwise could not open `/dev/stdout`.
fn pipe(user: Option<&Credentials>) -> io::Result<Pipe> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reading, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if let Some(user) = user {
        // Without the right to change owners, the child cannot have changed its user either.
        let _ = fchown(&writing, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
    }
    Ok(Pipe { reading, writing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_output_keeps_within_the_budget_of_a_stop() {
        let begin = Moment::default();
        // With `output = "prefix"` the budget contains half a second for the last lines, including the log.
        let budget = Duration::from_millis(8_500);
        let left = |passed: u64| {
            let now = begin.after(Duration::from_millis(passed));
            end(now, Some(StopDeadline { since: begin, budget })).since(now).as_millis()
        };
        assert_eq!(end(begin, None).since(begin), LONGEST_END, "without a stop request the end does not wait");
        for (passed, millis) in [(0, 5_000), (3_000, 5_000), (5_000, 3_250), (8_000, 250), (9_000, 250)] {
            assert_eq!(left(passed), millis, "after {passed} ms");
        }
        for (passed, millis) in [(0, 1_000), (8_000, 500), (8_400, 250), (60_000, 250)] {
            let words = last_words(begin.after(Duration::from_millis(passed)), Some(StopDeadline { since: begin, budget }));
            assert_eq!(words.as_millis(), millis, "after {passed} ms");
        }
        assert_eq!(last_words(begin, None), LONGEST_LAST_WORDS);
    }
}
