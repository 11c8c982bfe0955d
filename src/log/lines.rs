//! The bounded queue between the code that logs and the thread that writes; lines that do not fit are counted and reported.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::channel::{Receiver, Sender, channel};
use super::screen::{Screen, is_shared};
use super::{Format, stream};
use crate::clock::Moment;
use crate::secret::scrub;
use crate::sys;

/// The number of lines that may wait for a slow reader; further ones are dropped and counted, except the newest.
const QUEUE: usize = 1024;

/// A message to the writing thread.
enum Message {
    Line(Vec<u8>),
    Live(Vec<String>),
    Flush(SyncSender<()>),
}

/// What no thread reads yet.
struct Unread {
    /// The rest of a line that was cut, or a line that was not accepted; written before the messages.
    first: Option<Message>,
    messages: Receiver<Message>,
}

/// Lines that did not fit into the queue: the number of lost ones, and the newest, which is kept because it may be the last.
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

/// The queue to the writing thread.
#[derive(Clone)]
pub(super) struct Queue {
    format: Format,
    sender: Sender<Message>,
    /// The messages for the thread; none once the thread has begun.
    unread: Arc<Mutex<Option<Unread>>>,
    overflow: Arc<Mutex<Overflow>>,
    /// Whether lines are written as they come; before that they are queued, so that a start has begun before its lines are written.
    open: Arc<AtomicBool>,
    /// The program is about to end: only the newest line is written, and the ones before it are counted.
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
        let (sender, receiver) = channel(length);
        Self {
            format,
            sender,
            unread: Arc::new(Mutex::new(Some(Unread { first: None, messages: receiver }))),
            overflow: Arc::default(),
            open: Arc::default(),
            hurry: Arc::default(),
        }
    }

    /// The queued lines, for tests of the code that formats them.
    #[cfg(test)]
    pub(super) fn taken(&self) -> Vec<String> {
        let text = |message| if let Message::Line(line) = message { String::from_utf8(line).unwrap() } else { String::new() };
        std::iter::from_fn(|| locked(&self.unread).as_ref().unwrap().messages.try_recv()).map(text).collect()
    }

    /// Shows these lines below the log until they are replaced.
    pub(super) fn live(&self, lines: Vec<String>) {
        let _ = self.sender.try_send(Message::Live(lines));
        self.write_if_open();
    }

    /// Writes the queue as far as that is possible without waiting for a reader; the thread writes the rest, and is then started. Returns
    /// whether everything is written. A log of few lines needs no thread, for which the end of the process would wait.
    pub(super) fn write(&self) -> bool {
        self.open.store(true, Ordering::Relaxed);
        // Held until the thread has the rest of a line that was cut: otherwise the next line of another thread could get in between.
        let mut unread = locked(&self.unread);
        if let Some(Unread { first, messages }) = unread.as_mut().filter(|_| !is_shared()) {
            *first = loop {
                match first.take().or_else(|| messages.try_recv()) {
                    Some(Message::Line(line)) => match sys::now::write(io::stderr().as_fd(), &line) {
                        Ok(count) if count < line.len() => break Some(Message::Line(line.get(count..).unwrap_or_default().to_vec())),
                        Ok(_) => {}
                        Err(_) => break Some(Message::Line(line)),
                    },
                    // There are none to remove: only the thread draws them.
                    Some(Message::Live(lines)) if lines.is_empty() => {}
                    Some(message) => break Some(message),
                    None => return true,
                }
            };
        }
        self.begin_with(&mut unread);
        false
    }

    /// What was just queued, by whichever thread: the loop may not turn again for a long time.
    fn write_if_open(&self) {
        if self.open.load(Ordering::Relaxed) {
            self.write();
        }
    }

    /// Starts the writing thread, once. If no thread can be created, the lines that standard error accepts at once are written here, and
    /// the thread is tried again the next time.
    fn begin(&self) {
        self.begin_with(&mut locked(&self.unread));
    }

    fn begin_with(&self, unread: &mut Option<Unread>) {
        let Some(all) = unread.take() else { return };
        let slot = Arc::new(Mutex::new(Some(all)));
        let (theirs, queue) = (Arc::clone(&slot), self.clone());
        let body = move || {
            let taken = locked(&theirs).take();
            if let Some(Unread { first, messages }) = taken {
                queue.write_from(first, &messages);
            }
        };
        if sys::start_thread("log", body).is_err() {
            let taken = locked(&slot).take();
            *unread = taken.map(|all| self.write_what_fits(io::stderr().as_fd(), all));
        }
    }

    /// Returns what was not accepted at once. Never waits, neither for a reader nor for the lock of standard error: the caller may be the
    /// thread that owns the signals.
    fn write_what_fits(&self, to: BorrowedFd<'_>, Unread { mut first, messages }: Unread) -> Unread {
        loop {
            match first.take().or_else(|| messages.try_recv()) {
                Some(Message::Line(mut line)) => {
                    let count = stream::write_some(to, &line);
                    line.drain(..count);
                    first = (!line.is_empty()).then_some(Message::Line(line));
                    if count == 0 {
                        return Unread { first, messages };
                    }
                }
                Some(Message::Live(_)) => {}
                Some(Message::Flush(done)) => match self.overflowed() {
                    Some(rest) => {
                        first = Some(Message::Line(rest));
                        let _ = self.sender.try_send(Message::Flush(done));
                    }
                    None => _ = done.try_send(()),
                },
                None => return Unread { first, messages },
            }
        }
    }

    /// Waits until everything logged so far is written, for at most `limit`. With `hurry` the second half of that time is only for the
    /// newest line: a live reader gets the last line, however many are queued before it.
    pub(super) fn flush(&self, limit: Duration, hurry: bool) {
        if self.write() {
            return;
        }
        let (done, written) = mpsc::sync_channel(1);
        let mut flush = Some(Message::Flush(done));
        let begun = Moment::now();
        loop {
            flush = flush.and_then(|flush| self.sender.try_send(flush).err());
            let passed = Moment::now().since(begun);
            if passed >= limit {
                return;
            }
            if hurry && passed >= limit / 2 {
                self.hurry.store(true, Ordering::Relaxed);
            }
            // Without the thread only this code writes.
            self.begin();
            let pause = if flush.is_some() { Duration::from_millis(1) } else { Duration::from_millis(10).min(limit / 2) };
            if written.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// The lines that report what did not fit.
    fn overflowed(&self) -> Option<Vec<u8>> {
        let Overflow { lost, newest } = std::mem::take(&mut *locked(&self.overflow));
        let mut bytes = if lost > 0 { gap(self.format, lost).into_bytes() } else { Vec::new() };
        bytes.extend(newest.unwrap_or_default());
        (!bytes.is_empty()).then_some(bytes)
    }

    fn write_from(&self, mut first: Option<Message>, messages: &Receiver<Message>) {
        let mut screen = Screen::default();
        // In a hurry: how many lines are left out, and the newest.
        let (mut left_out, mut newest) = (0, None);
        while let Some(message) = first.take().or_else(|| messages.recv()) {
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

impl Queue {
    /// Queues one whole line, scrubbed again as a last defence against secrets in the log. Never waits.
    pub(super) fn line(&self, line: &str) {
        let clean = scrub(line).into_bytes();
        let mut overflow = locked(&self.overflow);
        if let Some(newest) = overflow.newest.take() {
            let mut text = if overflow.lost > 0 { gap(self.format, overflow.lost).into_bytes() } else { Vec::new() };
            text.extend(newest);
            if self.sender.try_send(Message::Line(text)).is_err() {
                *overflow = Overflow { lost: overflow.lost + 1, newest: Some(clean) };
                return;
            }
            overflow.lost = 0;
        }
        drop(overflow);
        let sent = self.sender.try_send(Message::Line(clean)).or_else(|line| {
            // It is not read yet: a start may log more lines than the queue holds.
            self.begin();
            self.sender.try_send(line)
        });
        if let Err(Message::Line(clean)) = sent {
            locked(&self.overflow).keep(clean);
        }
        self.write_if_open();
    }
}

/// The line that reports lost lines.
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
    use std::io::Read;

    use super::*;

    #[test]
    fn what_was_dropped_is_reported_before_the_next_line_and_as_a_line_of_its_kind() {
        for format in [Format::Text, Format::Json] {
            let queue = Queue::of(format, 2);
            let receiver = locked(&queue.unread).take().unwrap().messages;
            for number in 1..=5 {
                queue.line(&format!("{{\"n\":{number}}}\n"));
            }
            let taken =
                || if let Message::Line(line) = receiver.recv().unwrap() { String::from_utf8(line).unwrap() } else { String::new() };
            assert_eq!(taken() + &taken(), "{\"n\":1}\n{\"n\":2}\n");
            // The third and the fourth are lost, the fifth was kept because it might have been the last.
            queue.line("{\"n\":6}\n");
            let text = taken() + &taken();
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[0].contains("2 log lines were dropped") && lines[1..] == ["{\"n\":5}", "{\"n\":6}"], "{text}");
            let json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert_eq!(lines.iter().all(json), format == Format::Json, "{text}");
            assert!(queue.overflowed().is_none());
        }
    }

    #[test]
    fn the_last_line_is_kept_where_the_queue_is_full_and_reported_with_what_is_lost() {
        let queue = Queue::of(Format::Text, 1);
        let _receiver = locked(&queue.unread).take().unwrap();
        for line in ["first\n", "second\n", "third\n", "last\n"] {
            queue.line(line);
        }
        let rest = String::from_utf8(queue.overflowed().unwrap()).unwrap();
        assert!(rest.contains("2 log lines were dropped") && rest.ends_with("\nlast\n"), "{rest}");
    }

    #[test]
    fn without_a_thread_a_line_that_does_not_fit_is_kept_and_continued() {
        let (mut reading, writing) = io::pipe().unwrap();
        let queue = Queue::of(Format::Text, 4);
        let long = "x".repeat(200 * 1024) + "\n";
        let _ = queue.sender.try_send(Message::Line(long.clone().into_bytes()));
        let _ = queue.sender.try_send(Message::Line(b"last\n".to_vec()));
        let (done, written) = mpsc::sync_channel(1);
        let _ = queue.sender.try_send(Message::Flush(done));
        locked(&queue.overflow).keep(b"newest\n".to_vec());
        let mut all = locked(&queue.unread).take().unwrap();
        let mut text = Vec::new();
        // Nobody reads while it writes: a write that waited would never return.
        while written.try_recv().is_err() {
            all = queue.write_what_fits(writing.as_fd(), all);
            let mut part = vec![0; 1 << 20];
            let count = reading.read(&mut part).unwrap();
            text.extend_from_slice(&part[..count]);
        }
        assert!(all.first.is_none());
        assert_eq!(String::from_utf8(text).unwrap(), long + "last\nnewest\n");
    }
}
