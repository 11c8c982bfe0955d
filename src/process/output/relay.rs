//! The thread of one of our two streams: it reads the pipes of all children in turn and writes their output, in whole lines if they are
//! labelled.

use std::fmt;
use std::io::{self, StderrLock};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::lines::{Lines, OutputBuffer};
use super::scan::Scan;
use crate::log;
use crate::sys;

/// The number of bytes that are read at once from one child.
const CHUNK: usize = 64 * 1024;

/// The maximum capacity of a pipe for unprivileged processes (`/proc/sys/fs/pipe-max-size`): the output before an end is never more than
/// this.
const MOST_IN_A_PIPE: usize = 1024 * 1024;

/// One of our own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error, which the log also uses.
    Stderr,
}

impl Stream {
    const fn descriptor(self) -> i32 {
        if matches!(self, Self::Stdout) { libc::STDOUT_FILENO } else { libc::STDERR_FILENO }
    }

    /// Whether the log, or the other thread, writes to the same file: then every write holds the lock of standard error.
    fn is_shared(self) -> bool {
        let place = |file: BorrowedFd<'_>| nix::sys::stat::fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino));
        self == Self::Stderr || place(io::stdout().as_fd()) == place(io::stderr().as_fd())
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Stdout { "standard output" } else { "standard error" })
    }
}

/// A message to the thread.
#[derive(Debug)]
enum Instruction {
    /// Read this pipe.
    Take(Source),
    /// This child has ended.
    Ended(i32),
    /// Pass on everything that was written so far, then reply.
    Finish(SyncSender<()>),
}

/// One child's pipe.
#[derive(Debug)]
struct Source {
    /// Its pid; none once it has ended and others hold the pipe.
    pid: Option<i32>,
    label: Option<String>,
    /// The search in it; none once the text was found.
    scan: Option<Scan>,
    reading: OwnedFd,
}

/// The queue to the thread; sending never blocks.
#[derive(Debug)]
pub(super) struct Relay {
    stream: Stream,
    instructions: Sender<Instruction>,
    bell: Arc<EventFd>,
    written: Arc<AtomicU64>,
}

impl Relay {
    /// Starts the thread.
    pub(super) fn start(stream: Stream) -> io::Result<Self> {
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (instructions, inbox) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let mut pump = Pump {
            stream,
            shared: stream.is_shared(),
            inbox,
            bell: Arc::clone(&bell),
            written: Arc::clone(&written),
            sources: Vec::new(),
            page: OutputBuffer::default(),
            chunk: vec![0; CHUNK],
            next: 0,
            gone: false,
        };
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        let turn = move || {
            // A panic in one turn must not close the pipes, because SIGPIPE would kill the children.
            while catch_unwind(AssertUnwindSafe(|| pump.turn())).unwrap_or(true) {}
        };
        sys::start_thread(name, turn)?;
        Ok(Self { stream, instructions, bell, written })
    }

    /// The stream that it writes.
    pub(super) const fn stream(&self) -> Stream {
        self.stream
    }

    /// Bytes that were written out.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, pid: i32, label: Option<&str>, scan: Option<Scan>, reading: OwnedFd) {
        self.instruct(Instruction::Take(Source { pid: Some(pid), label: label.map(str::to_owned), scan, reading }));
    }

    pub(super) fn ended(&self, pid: i32) {
        self.instruct(Instruction::Ended(pid));
    }

    /// Requests the end; the returned receiver is notified when it is done.
    pub(super) fn finish(&self) -> Receiver<()> {
        let (done, finished) = mpsc::sync_channel(1);
        self.instruct(Instruction::Finish(done));
        finished
    }

    fn instruct(&self, instruction: Instruction) {
        if self.instructions.send(instruction).is_ok() {
            let _ = self.bell.write(1);
        }
    }
}

/// The state of the thread.
struct Pump {
    stream: Stream,
    shared: bool,
    inbox: Receiver<Instruction>,
    bell: Arc<EventFd>,
    written: Arc<AtomicU64>,
    sources: Vec<(Source, Lines)>,
    page: OutputBuffer,
    chunk: Vec<u8>,
    next: u64,
    /// Whether our own stream has failed, which is logged once.
    gone: bool,
}

/// The result of one read of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// This many bytes were passed on.
    Bytes(usize),
    /// There is no more data now.
    Empty,
    /// No process can write to it any more.
    End,
}

impl Pump {
    /// Waits for an event and handles it; false if no more requests are possible.
    fn turn(&mut self) -> bool {
        let bell = self.bell.as_fd();
        let files = std::iter::once(bell).chain(self.sources.iter().map(|(source, _)| source.reading.as_fd()));
        let mut files: Vec<_> = files.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        if poll(&mut files, PollTimeout::NONE).is_err() {
            return true;
        }
        let ready: Vec<bool> = files.iter().map(|file| file.any().unwrap_or(true)).collect();
        let mut index = 0;
        for ready in ready.iter().skip(1) {
            // In turn, one piece at a time, so that a flood of one child does not delay others.
            if *ready && self.look(index) == Look::End {
                self.sources.remove(index);
            } else {
                index += 1;
            }
        }
        let _ = self.bell.read();
        loop {
            match self.inbox.try_recv() {
                Ok(instruction) => self.obey(instruction),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn obey(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Take(source) => {
                self.next += 1;
                let lines = Lines::new(self.next, source.label.as_deref());
                self.sources.push((source, lines));
            }
            Instruction::Ended(pid) => {
                if let Some(index) = self.sources.iter().position(|(source, _)| source.pid == Some(pid)) {
                    self.exhaust(index);
                }
            }
            Instruction::Finish(done) => {
                (0..self.sources.len()).rev().for_each(|index| self.exhaust(index));
                let _ = done.try_send(());
            }
        }
    }

    /// Reads the rest in the pipe of an ended child, and ends its last line; the pipe stays open for other processes that hold it.
    fn exhaust(&mut self, index: usize) {
        let mut left = MOST_IN_A_PIPE;
        let ended = loop {
            match self.look(index) {
                Look::Bytes(count) if count < left => left -= count,
                Look::End => break true,
                Look::Bytes(_) | Look::Empty => break false,
            }
        };
        if ended {
            self.sources.remove(index);
        } else if let Some((source, lines)) = self.sources.get_mut(index) {
            (source.pid, source.scan) = (None, None);
            let guard = guard(self.stream, self.shared, &mut self.page);
            self.page.complete(lines);
            self.write_out();
            drop(guard);
        }
    }

    /// Passes on one piece of a child's output.
    fn look(&mut self, index: usize) -> Look {
        let Some((source, lines)) = self.sources.get_mut(index) else { return Look::Empty };
        let read = loop {
            match nix::unistd::read(&source.reading, &mut self.chunk) {
                Err(Errno::EINTR) => {}
                read => break read,
            }
        };
        let look = match read {
            Ok(0) => Look::End,
            Ok(count) => Look::Bytes(count),
            Err(Errno::EAGAIN) => return Look::Empty,
            Err(_) => Look::End,
        };
        if let Look::Bytes(count) = look
            && source.scan.as_mut().is_some_and(|scan| scan.is_over(self.chunk.get(..count).unwrap_or_default()))
        {
            source.scan = None;
        }
        let guard = guard(self.stream, self.shared, &mut self.page);
        match look {
            Look::Bytes(count) => self.page.add(lines, self.chunk.get(..count).unwrap_or_default()),
            _ => self.page.complete(lines),
        }
        self.write_out();
        drop(guard);
        look
    }

    /// Writes the buffer, however long that takes. If our own stream fails, the data is dropped, so that the child can continue.
    fn write_out(&mut self) {
        let bytes = self.page.take();
        if bytes.is_empty() {
            return;
        }
        let taken = |count: usize| _ = self.written.fetch_add(count as u64, Ordering::Relaxed);
        let result = match self.stream {
            Stream::Stdout => log::stream::write_all(io::stdout().as_fd(), &bytes, taken),
            Stream::Stderr => log::stream::write_all(io::stderr().as_fd(), &bytes, taken),
        };
        if self.shared {
            log::leave_line_open(if self.page.is_open() { self.stream.descriptor() } else { 0 });
        }
        if let Err(error) = result
            && !std::mem::replace(&mut self.gone, true)
        {
            tracing::warn!("{} accepts no more output: {error}; all further output is lost", self.stream);
        }
    }
}

/// Prevents others from writing into the middle of our lines, and ends a line that others have left open.
fn guard(stream: Stream, shared: bool, page: &mut OutputBuffer) -> Option<StderrLock<'static>> {
    let guard = shared.then(|| io::stderr().lock())?;
    let open = log::open_line();
    if open != stream.descriptor() {
        page.was_ended(open != 0);
    }
    Some(guard)
}
