//! Formats an event as a line: time, name, level, text.

use std::fmt::{self, Write};
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::Format;
use super::filter::Filter;
use super::lines::Queue;
use crate::clock::Moment;
use crate::visible;

/// The name of the field with the sentence of an event.
const MESSAGE: &str = "message";

/// Makes a line of every event that the filter accepts. We use no spans, and those of libraries are ignored.
pub(super) struct Recorder {
    pub(super) filter: Filter,
    pub(super) queue: Queue,
    pub(super) format: Format,
    pub(super) colour: bool,
}

impl Subscriber for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.filter.lets_through(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.most())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.queue.line(&match self.format {
            Format::Text => text(event, self.colour),
            Format::Json => json(event),
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One short line. It contains the name because the child writes to the same stream.
fn text(event: &Event<'_>, colour: bool) -> String {
    let (word, number) = match *event.metadata().level() {
        Level::ERROR => ("error", "31"),
        Level::WARN => ("warn", "33"),
        Level::INFO => ("info", "32"),
        Level::DEBUG => ("debug", "34"),
        Level::TRACE => ("trace", "35"),
    };
    let when = humantime::format_rfc3339_millis(UNIX_EPOCH + Moment::now().wall);
    // Some lines contain the text of a server or a process, which must neither control a terminal nor forge lines.
    let mut words = Words::default();
    event.record(&mut words);
    let words = visible::line(&words.0);
    if colour {
        format!("\x1b[2m{when}\x1b[0m portcullis \x1b[{number}m{word}\x1b[0m {words}\n")
    } else {
        format!("{when} portcullis {word} {words}\n")
    }
}

/// One JSON object.
fn json(event: &Event<'_>) -> String {
    let when = humantime::format_rfc3339_micros(UNIX_EPOCH + Moment::now().wall).to_string();
    let mut members = Members(Map::new());
    members.put("timestamp", when);
    members.put("level", event.metadata().level().as_str());
    event.record(&mut members);
    format!("{}\n", Value::from(members.0))
}

/// The sentence, and the other fields of a library's event.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE { self.0.push_str(value) } else { self.record_debug(field, &value) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ =
            if field.name() == MESSAGE { write!(self.0, "{space}{value:?}") } else { write!(self.0, "{space}{}={value:?}", field.name()) };
    }
}

struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these events, without the time at their beginning.
    fn lines(format: Format, colour: bool, filter: &str, say: impl FnOnce()) -> Vec<String> {
        let queue = Queue::new(format);
        let recorder = Recorder { filter: Filter::parse(filter).unwrap(), queue: queue.clone(), format, colour };
        tracing::subscriber::with_default(recorder, say);
        queue
            .taken()
            .into_iter()
            .map(|line| line.split_once(if format == Format::Text { "Z" } else { "\"," }).unwrap().1.to_owned())
            .collect()
    }

    fn some() {
        tracing::info!("the process {} is up", 7);
        tracing::warn!(count = 3, name = "x", odd = ?Some(1), "a\r\nb \u{1b}[2J");
        tracing::debug!("not at this level");
        tracing::info_span!("span").in_scope(|| tracing::error!(target: "elsewhere", "password=hunter2 is scrubbed"));
    }

    #[test]
    fn an_event_is_one_short_line_for_people() {
        let plain = lines(Format::Text, false, "info,elsewhere=warn", some);
        assert_eq!(
            plain,
            [
                " portcullis info the process 7 is up\n",
                " portcullis warn a\\r\\nb \\u001b[2J count=3 name=\"x\" odd=Some(1)\n",
                " portcullis error password=*** is scrubbed\n",
            ]
        );
        let coloured = lines(Format::Text, true, "warn,elsewhere=off", some);
        assert_eq!(coloured.len(), 1);
        assert!(coloured[0].starts_with("\x1b[0m portcullis \x1b[33mwarn\x1b[0m a\\r"), "{coloured:?}");
    }

    #[test]
    fn an_event_is_one_object_for_programs() {
        let objects = lines(Format::Json, false, "info", some);
        assert_eq!(
            objects,
            [
                "\"level\":\"INFO\",\"message\":\"the process 7 is up\"}\n",
                "\"level\":\"WARN\",\"message\":\"a\\r\\nb \\u001b[2J\",\"count\":3,\"name\":\"x\",\"odd\":\"Some(1)\"}\n",
                "\"level\":\"ERROR\",\"message\":\"password=*** is scrubbed\"}\n",
            ]
        );
    }
}
