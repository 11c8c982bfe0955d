//! Standard error: a reader that is slow or gone never holds portcullis up. What it takes at once is written at once, the rest by a
//! thread of its own.

mod lines;
mod screen;
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

pub use screen::{leave_line_open, open_line, share};

/// How long the end waits at least for a slow reader of standard error; so much of a stop's budget is for this.
pub const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long it waits where no stop's budget is in the way.
pub const LONGEST_LAST_WORDS: Duration = Duration::from_secs(1);

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

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Queues every event for standard error from now on, where [`write()`] or [`flush()`] brings it; `filter` is `PORTCULLIS_LOG`: a level, or `target=level` pairs.
///
/// # Errors
/// A sentence when the filter cannot be read; the log is then set up with the level `info`.
pub fn start(format: Format, filter: Option<&str>, colour: bool) -> Result<(), String> {
    let parsed = targets(filter.unwrap_or_default().trim());
    let complaint = parsed.as_ref().err().map(|why| format!("PORTCULLIS_LOG cannot be read: {why}; it is `info` now"));
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
    if let Some(queue) = QUEUE.get() {
        queue.live(lines);
    }
}

/// Writes what is queued, without waiting for a reader. Apart from the queueing, so that a start has begun before its lines are written.
pub fn write() {
    if let Some(queue) = QUEUE.get() {
        queue.write();
    }
}

/// Waits until what was logged is written, `limit` at most.
pub fn flush(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(limit, false);
    }
}

/// The same before the process ends: where there is too much for that time the last line is written, and how many are lost.
pub fn finish(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(limit, true);
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
        // What a server or a process said stands in some lines; it shall neither steer a terminal nor make lines of its own.
        let mut words = String::new();
        context.field_format().format_fields(Writer::new(&mut words), event)?;
        writeln!(writer, "{}", visible::line(&words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
