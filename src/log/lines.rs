//! The lines between whoever says something and the thread that writes them: bounded, and what does not fit is counted and told.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use nix::poll::PollTimeout;
use tracing_subscriber::fmt::MakeWriter;

use super::{Format, stream};
use crate::clock::Moment;
use crate::secret::scrub;
use crate::sys;

/// Lines that may wait for a slow reader; what comes on top is counted and dropped, but for the newest.
const QUEUE: usize = 1024;

/// Columns of the narrowest terminal that live lines are made for.
const NARROWEST: usize = 80;

/// The descriptor of ours whose line stands last on standard error without its end; 0 for none. Changed under the lock of standard
/// error only.
static OPEN_LINE: AtomicI32 = AtomicI32::new(0);

/// Says whose line stands last on standard error without its end, 0 for nobody's; the caller holds the lock of standard error.
pub fn leave_line_open(of: i32) {
    OPEN_LINE.store(of, Ordering::Relaxed);
}

/// Whose line that is; the caller holds the lock of standard error.
pub fn open_line() -> i32 {
    OPEN_LINE.load(Ordering::Relaxed)
}

/// What the writing thread is told.
enum Message {
    Line(Vec<u8>),
    Live(Vec<String>),
    Flush(SyncSender<()>),
}

/// What did not fit into the queue: how many lines are lost, and the newest, which is kept because it may be the last.
#[derive(Default)]
struct Overflow {
    lost: u64,
    newest: Option<Vec<u8>>,
}

impl Overflow {
    /// Keeps this line as the newest; the one before it is lost.
    fn keep(&mut self, line: Vec<u8>) {
        self.lost += u64::from(self.newest.replace(line).is_some());
    }
}

/// The way to the writing thread.
#[derive(Clone)]
pub(super) struct Queue {
    format: Format,
    sender: SyncSender<Message>,
    /// What the thread reads from; none once it has begun.
    unread: Arc<Mutex<Option<Receiver<Message>>>>,
    overflow: Arc<Mutex<Overflow>>,
    /// The end is near: only the newest line is written, and what stands before it is counted.
    hurry: Arc<AtomicBool>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub(super) fn new(format: Format) -> Self {
        Self::of(format, QUEUE)
    }

    fn of(format: Format, length: usize) -> Self {
        let (sender, receiver) = mpsc::sync_channel(length);
        Self { format, sender, unread: Arc::new(Mutex::new(Some(receiver))), overflow: Arc::default(), hurry: Arc::default() }
    }

    /// Shows these lines below the log until others take their place.
    pub(super) fn live(&self, lines: Vec<String>) {
        let _ = self.sender.try_send(Message::Live(lines));
    }

    /// Starts the writing thread, once. Where there is no room for a thread, what fits into standard error at once is written
    /// here, and the thread is tried again the next time.
    pub(super) fn begin(&self) {
        let Some(unread) = locked(&self.unread).take() else { return };
        let slot = Arc::new(Mutex::new(Some(unread)));
        let (theirs, queue) = (Arc::clone(&slot), self.clone());
        let body = move || {
            let unread = locked(&theirs).take();
            if let Some(messages) = unread {
                queue.write_from(&messages);
            }
        };
        if sys::start_thread("log", body).is_err() {
            let unread = locked(&slot).take();
            if let Some(messages) = &unread {
                self.write_what_fits(messages);
            }
            *locked(&self.unread) = unread;
        }
    }

    /// Without waiting: the caller may be the thread that owns the signals.
    fn write_what_fits(&self, messages: &Receiver<Message>) {
        while stream::has_room(io::stderr().as_fd(), PollTimeout::ZERO) {
            match messages.try_recv() {
                Ok(Message::Line(line)) => _ = stream::stderr().write(&line),
                Ok(Message::Live(_)) => {}
                Ok(Message::Flush(done)) => {
                    if let Some(rest) = self.overflowed() {
                        let _ = stream::stderr().write(&rest);
                    }
                    let _ = done.try_send(());
                }
                Err(_) => return,
            }
        }
    }

    /// Waits until what was said so far is written, `limit` at most. With `hurry` the second half of that time is for the newest
    /// line alone: a reader that lives gets the last line, however much stands before it.
    pub(super) fn flush(&self, limit: Duration, hurry: bool) {
        self.begin();
        let (done, written) = mpsc::sync_channel(1);
        let mut flush = Some(Message::Flush(done));
        let begun = Moment::now();
        loop {
            flush = match flush.take().map(|flush| self.sender.try_send(flush)) {
                Some(Err(TrySendError::Full(back))) => Some(back),
                _ => None,
            };
            let passed = Moment::now().since(begun);
            if passed >= limit {
                return;
            }
            if hurry && passed >= limit / 2 {
                self.hurry.store(true, Ordering::Relaxed);
            }
            // Without a thread of its own nobody else writes.
            self.begin();
            let pause = if flush.is_some() { Duration::from_millis(1) } else { Duration::from_millis(10).min(limit / 2) };
            if written.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// What did not fit, as the lines that tell it.
    fn overflowed(&self) -> Option<Vec<u8>> {
        let Overflow { lost, newest } = std::mem::take(&mut *locked(&self.overflow));
        let mut bytes = if lost > 0 { gap(self.format, lost).into_bytes() } else { Vec::new() };
        bytes.extend(newest.unwrap_or_default());
        (!bytes.is_empty()).then_some(bytes)
    }

    fn write_from(&self, messages: &Receiver<Message>) {
        let mut screen = Screen::default();
        // In a hurry: how many lines are left out, and the newest.
        let (mut left_out, mut newest) = (0, None);
        while let Ok(message) = messages.recv() {
            match message {
                Message::Line(line) if self.hurry.load(Ordering::Relaxed) => left_out += u64::from(newest.replace(line).is_some()),
                Message::Line(line) => screen.show(&line),
                Message::Live(lines) => screen.live(lines),
                Message::Flush(done) => {
                    let mut rest = if left_out > 0 { gap(self.format, left_out).into_bytes() } else { Vec::new() };
                    left_out = 0;
                    rest.extend(newest.take().into_iter().chain(self.overflowed()).flatten());
                    if !rest.is_empty() {
                        screen.show(&rest);
                    }
                    let _ = done.try_send(());
                }
            }
        }
    }
}

/// What stands at the end of standard error.
#[derive(Default)]
struct Screen {
    shown: usize,
    lines: Vec<String>,
}

impl Screen {
    fn live(&mut self, lines: Vec<String>) {
        self.lines = lines;
        self.show(b"");
    }

    /// Writes below what was said before, and the live lines below that.
    fn show(&mut self, line: &[u8]) {
        let mut bytes = Vec::new();
        if self.shown > 0 {
            // Moves the cursor up over what is shown and clears it (ECMA-48: CUU and ED).
            bytes.extend_from_slice(format!("\x1b[{}A\x1b[J", self.shown).as_bytes());
        }
        bytes.extend_from_slice(line);
        for line in &self.lines {
            // A line that wraps could not be erased again.
            bytes.extend(line.chars().take(NARROWEST - 1).collect::<String>().into_bytes());
            bytes.push(b'\n');
        }
        self.shown = self.lines.len();
        let stderr = io::stderr().lock();
        if !bytes.is_empty() && OPEN_LINE.swap(0, Ordering::Relaxed) != 0 {
            bytes.insert(0, b'\n');
        }
        // A reader that is gone is no reason to stop reading the queue, let alone to end.
        let _ = stream::write_all(stderr.as_fd(), &bytes, |_| {});
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Queue {
    /// Queues one whole line, scrubbed once more: the last line of defence against a secret in a log. Never waits.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let clean = scrub(&String::from_utf8_lossy(line)).into_bytes();
        let mut overflow = locked(&self.overflow);
        if let Some(newest) = overflow.newest.take() {
            let mut text = if overflow.lost > 0 { gap(self.format, overflow.lost).into_bytes() } else { Vec::new() };
            text.extend(newest);
            if self.sender.try_send(Message::Line(text)).is_err() {
                *overflow = Overflow { lost: overflow.lost + 1, newest: Some(clean) };
                return Ok(line.len());
            }
            overflow.lost = 0;
        }
        drop(overflow);
        let sent = match self.sender.try_send(Message::Line(clean)) {
            // Nobody reads it yet: a start may have more to say than the queue holds.
            Err(TrySendError::Full(line)) => {
                self.begin();
                self.sender.try_send(line)
            }
            sent => sent,
        };
        if let Err(TrySendError::Full(Message::Line(clean)) | TrySendError::Disconnected(Message::Line(clean))) = sent {
            locked(&self.overflow).keep(clean);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line that stands for those that were lost.
fn gap(format: Format, lost: u64) -> String {
    let when = UNIX_EPOCH + Moment::now().wall;
    let words = format!("{lost} log lines were dropped: standard error was not read");
    match format {
        Format::Text => format!("{} portcullis warn {words}\n", humantime::format_rfc3339_millis(when)),
        Format::Json => {
            let when = humantime::format_rfc3339_micros(when).to_string();
            format!("{}\n", serde_json::json!({ "timestamp": when, "level": "WARN", "message": words }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_told_before_the_next_line_and_as_a_line_of_its_kind() {
        for format in [Format::Text, Format::Json] {
            let mut queue = Queue::of(format, 2);
            let receiver = locked(&queue.unread).take().unwrap();
            for number in 1..=5 {
                queue.write_all(format!("{{\"n\":{number}}}\n").as_bytes()).unwrap();
            }
            let taken =
                || if let Message::Line(line) = receiver.recv().unwrap() { String::from_utf8(line).unwrap() } else { String::new() };
            assert_eq!(taken() + &taken(), "{\"n\":1}\n{\"n\":2}\n");
            // The third and the fourth are lost, the fifth was kept because it might have been the last.
            queue.write_all(b"{\"n\":6}\n").unwrap();
            let text = taken() + &taken();
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[0].contains("2 log lines were dropped") && lines[1..] == ["{\"n\":5}", "{\"n\":6}"], "{text}");
            let json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert_eq!(lines.iter().all(json), format == Format::Json, "{text}");
            assert!(queue.overflowed().is_none());
        }
    }

    #[test]
    fn the_last_line_is_kept_where_the_queue_is_full_and_told_with_what_is_lost() {
        let mut queue = Queue::of(Format::Text, 1);
        let _receiver = locked(&queue.unread).take().unwrap();
        for line in ["first\n", "second\n", "third\n", "last\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        let rest = String::from_utf8(queue.overflowed().unwrap()).unwrap();
        assert!(rest.contains("2 log lines were dropped") && rest.ends_with("\nlast\n"), "{rest}");
    }
}
