//! The input of one turn of the loop: signals and ended processes first, then a bounded number of everything that other processes can send.
//!
//! A flood on one input is handled over several turns; other inputs do not wait for it, and nothing accumulates here: while events are
//! queued, only standard signals and ended processes are read.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{debug, error, warn};

use super::Supervisor;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::mailbox::Inbox;
use crate::process::children::News;
use crate::process::notify::Reports;
use crate::process::signals::Signals;
use crate::state::event::{Event, ProcessId};

/// Datagrams of all processes together.
const MOST_DATAGRAMS: usize = 32;

/// Datagrams of one process that has ended, or whose watchdog has expired: more than a socket holds (`net.unix.max_dgram_qlen`, 10 by
/// default).
pub(super) const LAST_DATAGRAMS: usize = 64;

/// Messages of the subsystems.
const MOST_MESSAGES: usize = 64;

/// Commands of probes to start; each takes a fraction of a millisecond.
const MOST_REQUESTS: usize = 8;

/// Which inputs can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readable {
    messages: bool,
    standard: bool,
    realtime: bool,
}

impl Supervisor {
    /// Time until the next own task: zero if the last turn left something; none if there is none.
    pub(super) fn next_turn(&self, now: Moment) -> Option<Duration> {
        if self.unreaped || !self.queue.is_empty() || self.children.has_signals_to_send() {
            return Some(Duration::ZERO);
        }
        let progress = self.event_log.next(self.lifecycle.snapshot(), now);
        let next = [self.timers.next(now), progress, self.systemd.next(now), self.background.next(now)];
        let next = next.into_iter().chain([self.memory.next(now), self.remaining.next(now)]);
        next.flatten().min()
    }

    /// Blocks until a signal or a message arrives or `next` is over; returns what arrived.
    pub(super) fn wait(&mut self, signals: &Signals, inbox: &Inbox, next: Option<Duration>) -> Readable {
        let timeout = match next {
            // Rounded up: waking a fraction of a millisecond early would mean waking twice.
            Some(duration) => PollTimeout::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let own = std::iter::once(inbox.bell().as_fd()).chain(signals.files());
        let mut files: Vec<_> =
            own.chain(self.open_reports().flat_map(Reports::files)).map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        let hint = self.memory.hint();
        files.extend(hint.map(|(file, event)| PollFd::new(file, event)));
        let failed = poll(&mut files, timeout).err().filter(|errno| *errno != Errno::EINTR);
        if let Some(errno) = failed {
            error!("cannot wait for signals: {errno}; continuing");
        }
        let is_readable = |index| failed.is_some() || files.get(index).and_then(PollFd::any).unwrap_or(true);
        let readable = Readable { messages: is_readable(0), standard: is_readable(1), realtime: is_readable(2) };
        if hint.is_some() && files.last().and_then(PollFd::any).unwrap_or(false) {
            self.memory.hinted(Moment::now());
        }
        readable
    }

    /// Logs that the kernel killed a process that is not a child.
    pub(super) fn look_at_memory(&mut self, now: Moment) {
        let children = &self.children;
        let who = match self.memory.look(now, || children.some_is_dying()) {
            0 => return,
            1 => "a process of this container".to_owned(),
            count => format!("{count} processes of this container"),
        };
        warn!("the kernel killed {who} because memory ran out, and not one that portcullis started; check the container's memory limit");
    }

    /// Turns what happened meanwhile into events.
    pub(super) fn collect(&mut self, signals: &Signals, inbox: &Inbox, readable: Readable) {
        let is_behind = !self.queue.is_empty();
        let mut numbers = if readable.standard { signals.take() } else { Vec::new() };
        let has_ended = numbers.contains(&libc::SIGCHLD);
        numbers.retain(|number| *number != libc::SIGCHLD);
        if has_ended || self.unreaped {
            self.harvest();
        }
        let signalled = numbers.into_iter().map(Event::Signalled);
        if is_behind {
            // A TERM must not wait behind a flood of other input.
            signalled.rev().for_each(|event| self.queue.push_front(event));
            return;
        }
        self.queue.extend(signalled);
        self.take_reports();
        if readable.messages {
            self.queue.extend(inbox.take(MOST_MESSAGES));
            for request in inbox.requests(MOST_REQUESTS) {
                self.exec_probes.take(request, self.lifecycle.plan(), &mut self.children);
            }
            self.exec_probes.look(&self.children);
            for news in self.children.news() {
                self.handle_news(news);
            }
        }
        if readable.realtime {
            self.queue.extend(signals.take_realtime().into_iter().map(Event::Signalled));
        }
    }

    /// The notifications that may be read now. A process may send one before its exec is known here; it would be ignored.
    fn open_reports(&self) -> impl Iterator<Item = &Reports> {
        self.reports.iter().filter(|(id, _)| self.children.runs(**id)).map(|(_, reports)| reports)
    }

    /// Each process has its share of the datagrams, so that none of them blocks the others.
    fn take_reports(&mut self) {
        let share = MOST_DATAGRAMS.checked_div(self.reports.len()).unwrap_or_default().max(1);
        let children = &mut self.children;
        for (id, reports) in &mut self.reports {
            if !children.runs(*id) {
                continue;
            }
            let notices = reports.take(share, |pid| children.is_ours(pid));
            self.queue.extend(notices.into_iter().map(|notice| Event::Notified(*id, notice)));
        }
        self.reports.retain(|_, reports| reports.is_open());
    }

    /// Reads the last notifications of an ended process. After its end no process can send any in its name.
    fn take_last_words(&mut self, id: ProcessId) {
        if let Some(mut reports) = self.reports.remove(&id) {
            let notices = reports.take(LAST_DATAGRAMS, |pid| self.children.is_ours(pid));
            self.queue.extend(notices.into_iter().map(|notice| Event::Notified(id, notice)));
        }
    }

    fn has_ended(&mut self, id: ProcessId, ended: Ended) {
        self.take_last_words(id);
        if ended == Ended::Signal(libc::SIGKILL as u8) && !self.children.was_killed(id) && self.memory.claim() {
            self.queue.push_back(Event::OutOfMemory(id));
        }
        self.queue.push_back(Event::Exited(id, ended));
    }

    fn handle_news(&mut self, news: News) {
        match news {
            News::Executes(id, pid) => self.queue.push_back(Event::Spawned(id, pid)),
            News::Failed(id, error) => {
                self.reports.remove(&id);
                self.queue.push_back(Event::SpawnFailed(id, error.code, error.sentence));
            }
            News::Ended(id, ended) => self.has_ended(id, ended),
            News::ExecProbeFailed(pid, sentence) => self.exec_probes.failed(pid, sentence),
            News::ExecProbeEnded(pid, ended) => self.exec_probes.ended(pid, ended),
        }
    }

    pub(super) fn harvest(&mut self) {
        let harvest = self.children.reap();
        self.unreaped = harvest.unfinished;
        if harvest.orphans > 0 {
            debug!("reaped {} orphans", harvest.orphans);
        }
        harvest.exec_probes.into_iter().for_each(|(pid, ended)| self.exec_probes.ended(pid, ended));
        self.queue.extend(harvest.stopped.into_iter().map(|(id, number)| Event::Stopped(id, number)));
        harvest.ended.into_iter().for_each(|(id, ended)| self.has_ended(id, ended));
        if harvest.none_left {
            self.queue.push_back(Event::NoneLeft);
        }
        self.look_for_group();
    }

    /// Members of a group that outlive its leader are reaped by us, so all their ends are seen here.
    pub(super) fn look_for_group(&mut self) {
        let (children, queue) = (&self.children, &mut self.queue);
        self.awaited_groups.retain(|id| {
            let lives = children.group_lives(*id);
            if !lives {
                queue.push_back(Event::GroupGone(*id));
            }
            lives
        });
    }
}
