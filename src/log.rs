//! Standard error: a slow or missing reader never delays portcullis. What the reader accepts at once is written at once, the rest by a
//! separate thread.

mod channel;
mod event;
mod filter;
mod lines;
mod screen;
pub mod stream;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use event::Recorder;
use filter::Filter;
use lines::Queue;

pub use screen::{leave_line_open, open_line, share};

/// The minimum time for a slow reader of standard error at the end; this much of a stop's budget is reserved for it.
pub const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long it waits without the limit of a stop.
pub const LONGEST_LAST_WORDS: Duration = Duration::from_secs(1);

/// The target of the line that says why a run ends: it is written regardless of `PORTCULLIS_LOG`.
pub const LAST_LINE: &str = "portcullis::last_line";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Short lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Queues all events from now on for standard error; [`write()`] or [`flush()`] writes them; `filter` is `PORTCULLIS_LOG`: a level, or
/// `target=level` pairs.
///
/// # Errors
/// A sentence if the filter is invalid; the log is then set up with the level `info`.
pub fn start(format: Format, filter: Option<&str>, colour: bool) -> Result<(), String> {
    let parsed = Filter::parse(filter.unwrap_or_default().trim());
    let complaint = parsed.as_ref().err().map(|why| format!("PORTCULLIS_LOG is invalid: {why}; using `info`"));
    let filter = parsed.unwrap_or_else(|_| Filter::usual()).with(LAST_LINE, LevelFilter::INFO);
    let queue = QUEUE.get_or_init(|| Queue::new(format)).clone();
    let done = tracing::subscriber::set_global_default(Recorder { filter, queue, format, colour });
    match (complaint, done) {
        (Some(complaint), _) => Err(complaint),
        (None, Err(error)) => Err(format!("the log cannot be set up: {error}")),
        (None, Ok(())) => Ok(()),
    }
}

/// Whether lines may be coloured: standard error is a terminal, and `NO_COLOR` is not set.
pub fn may_colour(no_color: bool) -> bool {
    is_terminal() && !no_color
}

/// Whether standard error is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Shows these lines below the log until they are replaced; an empty list removes them.
pub fn live(lines: Vec<String>) {
    if let Some(queue) = QUEUE.get() {
        queue.live(lines);
    }
}

/// Writes the queued lines without waiting for a reader. Separate from queueing, so that a start has begun before its lines are written.
pub fn write() {
    if let Some(queue) = QUEUE.get() {
        queue.write();
    }
}

/// Waits until everything logged so far is written, for at most `limit`.
pub fn flush(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(limit, false);
    }
}

/// The same before the process ends: if there is too much for that time, the last line and the number of lost lines are written.
pub fn finish(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(limit, true);
    }
}
