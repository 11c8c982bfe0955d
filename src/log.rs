//! The log on standard error, written by a separate thread, so that a slow or missing reader never blocks portcullis.

mod lines;
pub mod stream;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Moment;
use crate::visible;
use lines::Queue;

pub use lines::{leave_line_open, open_line};

/// The minimum time for a slow reader of standard error at the end; this much of a stop's budget is reserved for it.
pub const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long it waits without the limit of a stop.
pub const LONGEST_LAST_WORDS: Duration = Duration::from_secs(1);

/// The target of the line that says why a run ends: it is written regardless of `PORTCULLIS_LOG`.
pub const LAST_LINE: &str = "portcullis::last_line";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Short lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Queues all events from now on for standard error; [`write()`] or [`flush()`] writes them; `filter` is `PORTCULLIS_LOG`: a level, or
/// `target=level` pairs.
///
/// # Errors
/// A sentence if the filter is invalid; the log is then set up with the level `info`.
pub fn start(format: Format, filter: Option<&str>, colour: bool) -> Result<(), String> {
    let parsed = targets(filter.unwrap_or_default().trim());
    let complaint = parsed.as_ref().err().map(|why| format!("PORTCULLIS_LOG is invalid: {why}; using `info`"));
    let targets = parsed.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let targets = targets.with_target(LAST_LINE, LevelFilter::INFO);
    let writer = QUEUE.get_or_init(|| Queue::new(format)).clone();
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

/// A level for everything, or levels for targets. A single word that is not a level is refused: it would count as a target's name and
/// silence all others.
fn targets(filter: &str) -> Result<Targets, String> {
    if filter.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    if let Some(word) = filter.split(',').map(str::trim).find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err()) {
        return Err(format!("`{word}` is not one of error, warn, info, debug, trace, off"));
    }
    filter.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
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

/// Starts to write the queue. Separate from [`start`], because creating the thread takes longer than writing the few lines of a start
/// without waits, and those can be written while the process is starting.
pub fn write() {
    if let Some(queue) = QUEUE.get() {
        queue.begin();
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

/// One short line: time, name, level, message. It contains the name, because the child writes to the same stream.
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
        // Some lines contain texts of servers or processes; these must neither control the terminal nor forge lines.
        let mut words = String::new();
        context.field_format().format_fields(Writer::new(&mut words), event)?;
        writeln!(writer, "{}", visible::line(&words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_log_level_is_reported_and_does_not_silence_the_log() {
        for filter in ["", "info", "WARN", "off", "info,portcullis::prober=trace"] {
            assert!(targets(filter).is_ok(), "{filter}");
        }
        for filter in ["verbose", "warning", "info,loud", "portcullis=loud"] {
            assert!(targets(filter).is_err(), "{filter}");
        }
    }
}
