//! The output of `wait`: on a terminal one live line per target, elsewhere a line from time to time, at the end one line each, or JSON.

use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::json;

use super::row::{Hold, Row};
use super::{Options, Reporting};
use crate::command::printing::print_last;
use crate::exit::Exit;
use crate::log::stream;
use crate::outcome::Failure;
use crate::plan::target::Target;
use crate::sys;
use crate::visible::{self, cut};

/// The default columns and rows of a terminal.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// From this many columns on there is space for the time and a sentence beside the target.
const WIDE: usize = 72;

/// Writes one line to standard error; the wait continues without a reader.
pub(super) fn say(line: &str) {
    let _ = writeln!(stream::stderr(), "portcullis: {}", visible::line(line));
}

/// A time in readable form: tenths of a millisecond below ten, then milliseconds, tenths of a second, seconds.
fn took(time: Duration) -> String {
    match time.as_millis() {
        ..10 => format!("{:.1}ms", (time.as_secs_f64() * 1000.0).max(0.1)),
        10..1000 => format!("{}ms", time.as_millis()),
        1000..60_000 => format!("{:.1}s", time.as_secs_f64()).replace(".0s", "s"),
        _ => humantime::format_duration(Duration::from_secs(time.as_secs())).to_string(),
    }
}

/// All targets, and the number of terminal lines that show them.
#[derive(Debug)]
pub(super) struct Board {
    rows: Vec<Row>,
    live: bool,
    /// Whether nothing is printed.
    quiet: bool,
    drawn: usize,
}

impl Board {
    pub(super) fn new(targets: &[Target], live: bool, output: Reporting) -> Self {
        let quiet = output == Reporting::Nothing;
        Self { rows: targets.iter().map(Row::new).collect(), live: live && !quiet, quiet, drawn: 0 }
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
            row.is_ready(after);
        }
    }

    /// It is ready, and has to stay ready for a while.
    pub(super) fn holding(&mut self, index: usize, hold: Hold, at: Duration) {
        if let Some(row) = self.rows.get_mut(index) {
            row.holds(hold, at);
        }
    }

    /// A refused login is printed at once, because waiting does not fix it, unless the wait ends with it.
    pub(super) fn failed(&mut self, index: usize, failure: Failure, waited: Duration, tell: bool) {
        let Some(row) = self.rows.get_mut(index) else { return };
        let news = failure.reason().is_refusal() && row.kind() != Some(failure.kind);
        row.fails(failure, waited);
        if tell && news && !self.live && !self.quiet {
            say(&format!("{} is not ready after {}: {}", row.shown, took(waited), row.cause()));
        }
    }

    /// Redraws the live lines, or prints what is still waited for.
    pub(super) fn progress(&mut self, waited: Duration) {
        if self.quiet {
            return;
        }
        if !self.live {
            for row in self.rows.iter().filter(|row| row.ready.is_none()) {
                say(&format!("still waiting for {} after {}: {}", row.shown, took(waited), row.cause()));
            }
            return;
        }
        let lines = self.lines(waited, sys::terminal_size(std::io::stderr().as_fd()).unwrap_or(USUAL_SIZE));
        let mut text = self.erased();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        let _ = stream::stderr().write_all(text.as_bytes());
    }

    /// The lines for a terminal of this many columns and rows: missing targets first if there is not enough space.
    fn lines(&self, waited: Duration, (columns, rows): (usize, usize)) -> Vec<String> {
        let (wide, room) = (columns >= WIDE, rows.saturating_sub(1).max(1));
        let mut shown: Vec<&Row> = self.rows.iter().collect();
        let hidden = if shown.len() > room { shown.len() - (room - 1) } else { 0 };
        if hidden > 0 {
            let (ready, waiting): (Vec<_>, Vec<_>) = shown.into_iter().partition(|row| row.ready.is_some());
            shown = waiting.into_iter().chain(ready).collect();
        }
        // Cut, because a line that wraps, or ends in the last column, could not be redrawn in place.
        let mut lines: Vec<String> =
            shown.iter().take(shown.len() - hidden).map(|row| cut(&row.live(waited, wide), columns.saturating_sub(1))).collect();
        if hidden > 0 {
            let ready = self.rows.iter().filter(|row| row.ready.is_some()).count();
            lines.push(cut(&format!("and {hidden} more; {ready} of {} are ready", self.rows.len()), columns.saturating_sub(1)));
        }
        lines
    }

    /// Removes the live lines.
    pub(super) fn finish(&mut self) {
        if self.drawn == 0 {
            return;
        }
        let text = self.erased();
        self.drawn = 0;
        let _ = stream::stderr().write_all(text.as_bytes());
    }

    /// Moves the cursor up over the live lines and clears them (ECMA-48: CUU and ED).
    fn erased(&self) -> String {
        if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() }
    }

    /// One line per target and, unless all are ready, one with the exit code; or JSON. Returns the exit code of a wait without a command.
    pub(super) fn conclude(&mut self, request: &Options, ready: bool, waited: Duration) -> u8 {
        let exit = if ready { Exit::Success } else { Exit::Unavailable };
        self.finish();
        self.rows.iter_mut().for_each(|row| row.conclude(waited));
        if request.output == Reporting::Json {
            let document = json!({ "ready": ready, "targets": self.rows.iter().map(Row::json).collect::<Vec<_>>() });
            let text = format!("{document}\n");
            // Standard output belongs to the command.
            if request.command.is_empty() {
                return print_last(&text, exit);
            }
            let _ = stream::stderr().write_all(text.as_bytes());
            return exit.code();
        }
        if self.quiet {
            return exit.code();
        }
        let mut text = String::new();
        for row in &self.rows {
            let _ = match row.ready {
                Some(after) => writeln!(text, "portcullis: {} is ready after {}", row.shown, took(after)),
                None if ready => writeln!(text, "portcullis: {} was not needed", row.shown),
                None => writeln!(text, "portcullis: {} is not ready: {}", row.shown, row.verdict()),
            };
        }
        if !ready {
            let (missing, all, waited) = (self.rows.iter().filter(|row| row.ready.is_none()).count(), self.rows.len(), took(waited));
            let code = exit.code();
            let _ = writeln!(text, "portcullis: gave up after {waited} with {missing} of {all} targets not ready; exit code {code}");
        }
        let _ = stream::stderr().write_all(text.as_bytes());
        exit.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ErrorKind;
    use crate::plan::target::Address;

    fn board(count: u16) -> Board {
        let address = |port| Address { host: "a-long-name.of.some.host.example.com".to_owned(), port };
        let targets: Vec<Target> = (1..=count).map(|port| Target::Tcp(address(port))).collect();
        let mut board = Board::new(&targets, true, Reporting::Text);
        board.ready(0, Duration::from_millis(1234));
        board.failed(1, Failure::new(ErrorKind::Dns, "no such name"), Duration::ZERO, false);
        board
    }

    #[test]
    fn a_time_has_the_digits_that_matter() {
        for (microseconds, words) in
            [(40, "0.1ms"), (412, "0.4ms"), (12_345, "12ms"), (3_412_000, "3.4s"), (5_001_000, "5s"), (61_700_000, "1m 1s")]
        {
            assert_eq!(took(Duration::from_micros(microseconds)), words);
        }
    }

    #[test]
    fn a_wide_terminal_shows_the_time_and_a_sentence() {
        let lines = board(3).lines(Duration::from_secs(61), (80, 24));
        assert_eq!(
            lines,
            [
                "   1.2s  ready                   tcp://a-long-name.of.some.host.example.com:1",
                "  61.0s  name resolution failed  tcp://a-long-name.of.some.host.example.com:2",
                "  61.0s  asking                  tcp://a-long-name.of.some.host.example.com:3"
            ]
        );
    }

    #[test]
    fn a_target_that_was_not_ready_long_enough_is_reported() {
        let mut board = board(2);
        board.holding(1, Hold { wanted: Duration::from_secs(5), lost: 0 }, Duration::ZERO);
        let line = &board.lines(Duration::from_secs(61), (80, 24))[1];
        assert_eq!(line, "  61.0s  ready, not long enough  tcp://a-long-name.of.some.host.example.com:2");
        assert_eq!(board.rows[1].cause(), "ready, but not yet for 5s without interruption");
        board.failed(1, Failure::new(ErrorKind::Refused, "refused"), Duration::ZERO, false);
        assert!(board.rows[1].cause().starts_with("connection refused"), "{}", board.rows[1].cause());
    }

    #[test]
    fn a_narrow_or_low_terminal_shows_what_is_missing_and_never_wraps() {
        let lines = board(9).lines(Duration::from_secs(1), (40, 5));
        assert_eq!(
            lines,
            [
                "dns         tcp://a-long-name.of.some.\u{2026}",
                "asking      tcp://a-long-name.of.some.\u{2026}",
                "asking      tcp://a-long-name.of.some.\u{2026}",
                "and 6 more; 1 of 9 are ready"
            ]
        );
        for size in [(1, 1), (2, 2), (9, 3)] {
            let lines = board(9).lines(Duration::from_secs(1), size);
            assert!(lines.len() <= size.1 && lines.iter().all(|line| line.chars().count() < size.0.max(2)), "{size:?} {lines:?}");
        }
    }
}
