//! Standard error, written by a thread of its own: a reader that is slow or gone never holds portcullis up.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Moment;
use crate::secret::scrub;
use crate::sys;

/// Lines that may wait for a slow reader; what comes on top is counted and dropped.
const QUEUE: usize = 1024;

/// How long the end waits for a slow reader of standard error.
pub const LAST_WORDS: Duration = Duration::from_millis(250);

/// Columns of the narrowest terminal that live lines are made for.
const NARROWEST: usize = 80;

/// The target of the line that says why a run ends: it is written whatever `PORTCULLIS_LOG` leaves out.
pub const LAST_LINE: &str = "portcullis::last_line";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Short lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the writing thread is told.
enum Message {
    Line(Vec<u8>),
    Live(Vec<String>),
    Flush(SyncSender<()>),
}

/// The way to the writing thread.
struct Lines {
    sender: SyncSender<Message>,
    /// What the thread will read from; none once it was asked to start.
    unread: Mutex<Option<Receiver<Message>>>,
}

/// The descriptor of ours whose line stands last on standard error without its end; 0 for none. Changed under the lock of standard
/// error only.
static OPEN_LINE: AtomicI32 = AtomicI32::new(0);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Queues every event for standard error from now on, where [`write()`] or [`flush()`] brings it; `filter` is `PORTCULLIS_LOG`: a level, or `target=level` pairs.
///
/// # Errors
/// A sentence when the filter cannot be read; the log is then set up with the level `info`.
pub fn start(format: Format, filter: Option<&str>, colour: bool) -> Result<(), String> {
    let parsed = targets(filter.unwrap_or_default().trim());
    let complaint = parsed.as_ref().err().map(|why| format!("PORTCULLIS_LOG cannot be read: {why}; it is `info` now"));
    let targets = parsed.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let targets = targets.with_target(LAST_LINE, LevelFilter::INFO);
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let lines = LINES.get_or_init(|| Lines { sender, unread: Mutex::new(Some(receiver)) });
    let writer = Queue { format, dropped: Arc::new(AtomicU64::new(0)), sender: lines.sender.clone() };
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false).with_ansi(false);
    let done = match format {
        Format::Json => registry.with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init(),
        Format::Text => registry.with(layer.event_format(Line { colour })).try_init(),
    };
    match (complaint, done) {
        (Some(complaint), _) => Err(complaint),
        (None, Err(error)) => Err(format!("the log cannot be set up: {error}")),
        (None, Ok(())) => Ok(()),
    }
}

/// A level for everything, or levels for targets. A bare word that is no level would pass for a target's name, and silence all others.
fn targets(filter: &str) -> Result<Targets, String> {
    if filter.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    if let Some(word) = filter.split(',').map(str::trim).find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err()) {
        return Err(format!("`{word}` is none of error, warn, info, debug, trace, off"));
    }
    filter.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}

/// Whether lines may be coloured: a terminal, and `NO_COLOR` is not set.
pub fn may_colour(no_color: bool) -> bool {
    is_terminal() && !no_color
}

/// Whether standard error is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Shows these lines below the log until others take their place; nothing is shown for none.
pub fn live(lines: Vec<String>) {
    if let Some(queue) = LINES.get() {
        let _ = queue.sender.try_send(Message::Live(lines));
    }
}

/// Starts to write what is queued, once. Apart from [`start`] because a thread costs more than the few lines of a start that
/// waits for nothing, and those can be written while the process is starting.
pub fn write() {
    let Some(lines) = LINES.get() else { return };
    let Some(unread) = lines.unread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let slot = Arc::new(Mutex::new(Some(unread)));
    let take = |slot: &Mutex<Option<Receiver<Message>>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&slot);
    let body = move || {
        if let Some(messages) = take(&theirs) {
            write_all(&messages);
        }
    };
    if sys::start_thread("log", body).is_err()
        && let Some(messages) = take(&slot)
    {
        // Without a thread of its own a line is written where it is said: better late than never.
        for message in messages.try_iter() {
            if let Message::Line(line) = message {
                let _ = io::stderr().lock().write_all(&line);
            }
        }
    }
}

/// Waits until what was logged is written, `limit` at most.
pub fn flush(limit: Duration) {
    write();
    let Some(lines) = LINES.get() else { return };
    let (done, written) = mpsc::sync_channel(1);
    let mut flush = Message::Flush(done);
    let begun = Moment::now();
    while let Err(TrySendError::Full(back)) = lines.sender.try_send(flush) {
        if Moment::now().since(begun) >= limit {
            return;
        }
        flush = back;
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let _ = written.recv_timeout(limit.saturating_sub(Moment::now().since(begun)));
}

/// Says whose line stands last on standard error without its end, 0 for nobody's; the caller holds the lock of standard error.
pub fn leave_line_open(of: i32) {
    OPEN_LINE.store(of, Ordering::Relaxed);
}

/// Whose line that is; the caller holds the lock of standard error.
pub fn open_line() -> i32 {
    OPEN_LINE.load(Ordering::Relaxed)
}

fn write_all(messages: &Receiver<Message>) {
    let mut shown = 0;
    let mut lines: Vec<String> = Vec::new();
    while let Ok(message) = messages.recv() {
        let mut bytes = Vec::new();
        erase(&mut bytes, shown);
        match message {
            Message::Line(line) => bytes.extend_from_slice(&line),
            Message::Live(new) => lines = new,
            Message::Flush(done) => {
                let _ = done.try_send(());
                continue;
            }
        }
        for line in &lines {
            // A line that wraps could not be erased again.
            bytes.extend(line.chars().take(NARROWEST - 1).collect::<String>().into_bytes());
            bytes.push(b'\n');
        }
        shown = lines.len();
        // A reader that is gone is no reason to stop reading the queue, let alone to end.
        let mut stderr = io::stderr().lock();
        if !bytes.is_empty() && OPEN_LINE.swap(0, Ordering::Relaxed) != 0 {
            bytes.insert(0, b'\n');
        }
        let _ = stderr.write_all(&bytes);
    }
}

/// Moves the cursor up over what is shown and clears it (ECMA-48: CUU and ED).
fn erase(bytes: &mut Vec<u8>, shown: usize) {
    if shown > 0 {
        bytes.extend_from_slice(format!("\x1b[{shown}A\x1b[J").as_bytes());
    }
}

#[derive(Clone)]
struct Queue {
    format: Format,
    dropped: Arc<AtomicU64>,
    sender: SyncSender<Message>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Queue {
    /// Queues one whole line, scrubbed once more: the last line of defence against a secret in a log.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut clean = scrub(&String::from_utf8_lossy(line)).into_bytes();
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            clean.splice(..0, gap(self.format, dropped).into_bytes());
        }
        let sent = match self.sender.try_send(Message::Line(clean)) {
            // Nobody reads it yet: a start may have more to say than the queue holds.
            Err(TrySendError::Full(line)) => {
                write();
                self.sender.try_send(line)
            }
            sent => sent,
        };
        match sent {
            Err(TrySendError::Full(_)) => _ = self.dropped.fetch_add(dropped + 1, Ordering::Relaxed),
            Err(TrySendError::Disconnected(Message::Line(line))) => _ = io::stderr().lock().write_all(&line),
            _ => {}
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line that stands for those that were dropped.
fn gap(format: Format, dropped: u64) -> String {
    let when = UNIX_EPOCH + Moment::now().wall;
    let words = format!("{dropped} log lines were dropped: standard error was not read");
    match format {
        Format::Text => format!("{} portcullis warn {words}\n", humantime::format_rfc3339_millis(when)),
        Format::Json => {
            let when = humantime::format_rfc3339_micros(when).to_string();
            format!("{}\n", serde_json::json!({ "timestamp": when, "level": "WARN", "message": words }))
        }
    }
}

/// One short line: when, who, how bad, what. The name stands in it because the child writes to the same place.
struct Line {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warn", "33"),
            Level::INFO => ("info", "32"),
            Level::DEBUG => ("debug", "34"),
            Level::TRACE => ("trace", "35"),
        };
        let when = humantime::format_rfc3339_millis(UNIX_EPOCH + Moment::now().wall);
        if self.colour {
            write!(writer, "\x1b[2m{when}\x1b[0m portcullis \x1b[{colour}m{word}\x1b[0m ")?;
        } else {
            write!(writer, "{when} portcullis {word} ")?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_told_before_the_next_line_and_as_a_line_of_its_kind() {
        for format in [Format::Text, Format::Json] {
            let (sender, receiver) = mpsc::sync_channel(1);
            let mut queue = Queue { format, dropped: Arc::default(), sender };
            for line in ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"] {
                assert_eq!(queue.write(line.as_bytes()).unwrap(), line.len());
            }
            let taken =
                || if let Message::Line(line) = receiver.recv().unwrap() { String::from_utf8(line).unwrap() } else { String::new() };
            assert_eq!(taken(), "{\"n\":1}\n");
            queue.write_all(b"{\"n\":4}\n").unwrap();
            let told = taken();
            let lines: Vec<&str> = told.lines().collect();
            assert!(lines[0].contains("2 log lines were dropped") && lines[1] == "{\"n\":4}" && lines.len() == 2, "{told}");
            let json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert_eq!(lines.iter().all(json), format == Format::Json, "{told}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_a_complaint_and_not_silence() {
        for filter in ["", "info", "WARN", "off", "info,portcullis::prober=trace"] {
            assert!(targets(filter).is_ok(), "{filter}");
        }
        for filter in ["verbose", "warning", "info,loud", "portcullis=loud"] {
            assert!(targets(filter).is_err(), "{filter}");
        }
    }
}
