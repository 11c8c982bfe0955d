//! What `wait` says: a live line a target on a terminal, a line now and then elsewhere, one line each at the end, or JSON.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::Request;
use crate::log;
use crate::outcome::{Class, Failure};
use crate::plan::target::Target;
use crate::probe::dial::shown;

/// Says one line on standard error; a reader that is gone is no reason to stop waiting.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "portcullis: {line}");
}

/// One target and what is known of it.
#[derive(Debug)]
pub(super) struct Row {
    kind: &'static str,
    shown: String,
    ready: Option<Duration>,
    first: Option<Failure>,
    last: Option<Failure>,
}

impl Row {
    /// Why it was not ready when it was last asked; none before, and once it is ready.
    pub(super) fn class(&self) -> Option<Class> {
        self.last.as_ref().map(|failure| failure.class)
    }

    /// Why it is not ready: the last failure, and what the first one was where that was another.
    fn cause(&self) -> String {
        let Some(last) = &self.last else { return "no answer yet; check that the server answers".to_owned() };
        let details = if last.private.as_str().is_empty() { String::new() } else { format!(" ({})", last.private.as_str()) };
        let first = match &self.first {
            Some(first) if first.class != last.class => format!("; at first: {} ({})", first.class.public(), first.private.as_str()),
            _ => String::new(),
        };
        format!("{}{details}; {}{first}", last.class.public(), last.class.advice())
    }

    fn json(&self) -> Value {
        json!({
            "target": self.shown,
            "kind": self.kind,
            "ready": self.ready.is_some(),
            "ready_after_ms": self.ready.map(|after| after.as_millis() as u64),
            "class": if self.ready.is_some() { Some("ok") } else { self.class().map(Class::word) },
            "detail": self.last.as_ref().map(|failure| failure.private.as_str()),
            "first_class": self.first.as_ref().map(|failure| failure.class.word()),
            "first_detail": self.first.as_ref().map(|failure| failure.private.as_str()),
        })
    }
}

/// All targets, and how many lines of a terminal show them.
#[derive(Debug)]
pub(super) struct Board {
    rows: Vec<Row>,
    live: bool,
    drawn: usize,
}

impl Board {
    pub(super) fn new(targets: &[Target]) -> Self {
        let row = |target: &Target| Row { kind: target.kind(), shown: target.to_string(), ready: None, first: None, last: None };
        Self { rows: targets.iter().map(row).collect(), live: log::is_terminal(), drawn: 0 }
    }

    pub(super) const fn is_live(&self) -> bool {
        self.live
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn all_ready(&self) -> bool {
        self.rows.iter().all(|row| row.ready.is_some())
    }

    pub(super) fn ready(&mut self, index: usize, after: Duration) {
        if let Some(row) = self.rows.get_mut(index) {
            row.ready = Some(after);
            row.last = None;
        }
    }

    /// A refused login is said at once: it does not mend itself.
    pub(super) fn failed(&mut self, index: usize, failure: Failure, waited: Duration) {
        let Some(row) = self.rows.get_mut(index) else { return };
        let news = failure.class == Class::Auth && row.class() != Some(Class::Auth);
        row.first.get_or_insert_with(|| failure.clone());
        row.last = Some(failure);
        if news && !self.live {
            let line = format!("{} is not ready after {}: {}", row.shown, shown(waited), row.cause());
            say(&line);
        }
    }

    /// Draws the live lines anew, or says what is still waited for.
    pub(super) fn progress(&mut self, waited: Duration) {
        if !self.live {
            for row in self.rows.iter().filter(|row| row.ready.is_none()) {
                say(&format!("still waiting for {} after {}: {}", row.shown, shown(waited), row.cause()));
            }
            return;
        }
        let mut text = self.erased();
        for row in &self.rows {
            let state = match (row.ready, &row.last) {
                (Some(after), _) => format!("ready after {}", shown(after)),
                (None, Some(failure)) => failure.class.public().to_owned(),
                (None, None) => "asking".to_owned(),
            };
            // Cut, because a line that wraps would be drawn below itself the next time.
            let line: String = format!("{:>7} {}  {state}", format!("{:.1}s", waited.as_secs_f64()), row.shown).chars().take(79).collect();
            text.push_str(&line);
            text.push('\n');
        }
        self.drawn = self.rows.len();
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Takes the live lines away.
    pub(super) fn finish(&mut self) {
        if self.drawn == 0 {
            return;
        }
        let text = self.erased();
        self.drawn = 0;
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Moves the cursor up over what is drawn and clears it (ECMA-48: CUU and ED).
    fn erased(&self) -> String {
        if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() }
    }

    /// One line a target, or JSON.
    pub(super) fn conclude(&mut self, request: &Request, ready: bool) {
        self.finish();
        if request.json {
            let document = json!({ "ready": ready, "targets": self.rows.iter().map(Row::json).collect::<Vec<_>>() });
            let text = format!("{document}\n");
            // Standard output belongs to the command.
            let _ = if request.command.is_empty() {
                io::stdout().lock().write_all(text.as_bytes())
            } else {
                io::stderr().lock().write_all(text.as_bytes())
            };
            return;
        }
        let mut text = String::new();
        for row in &self.rows {
            let _ = match row.ready {
                Some(after) => writeln!(text, "portcullis: {} is ready after {}", row.shown, shown(after)),
                None if ready => writeln!(text, "portcullis: {} was not needed", row.shown),
                None => writeln!(text, "portcullis: {} is not ready: {}", row.shown, row.cause()),
            };
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}
