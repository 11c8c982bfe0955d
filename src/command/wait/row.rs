//! The state of one target of `wait`: whether it is ready, why not, and which cause lasted longest.

use std::time::Duration;

use serde_json::{Value, json};

use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::Target;
use crate::probe::dial::shown;
use crate::visible;

/// The maximum number of distinct causes.
const MOST_CAUSES: usize = 16;

/// A target that is ready, but not yet for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// The required time without interruption.
    pub wanted: Duration,
    /// The number of lost sessions meanwhile.
    pub lost: u32,
}

/// One target and its state.
#[derive(Debug)]
pub(super) struct Row {
    kind: &'static str,
    pub(super) shown: String,
    pub(super) ready: Option<Duration>,
    holding: Option<Hold>,
    first: Option<Failure>,
    last: Option<Failure>,
    /// Since when the last failure has lasted.
    since: Duration,
    /// Each cause with its last failure and its total time, without the current one.
    stood: Vec<(Failure, Duration)>,
}

impl Row {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            kind: target.kind(),
            shown: visible::line(&target.to_string()).into_owned(),
            ready: None,
            holding: None,
            first: None,
            last: None,
            since: Duration::ZERO,
            stood: Vec::new(),
        }
    }

    /// It has been ready since `after`.
    pub(super) fn is_ready(&mut self, after: Duration) {
        (self.ready, self.last, self.holding) = (Some(after), None, None);
    }

    /// It is ready, and has to stay ready for a while.
    pub(super) fn holds(&mut self, hold: Hold, at: Duration) {
        self.note(at);
        (self.last, self.holding) = (None, Some(hold));
    }

    /// It is not ready.
    pub(super) fn fails(&mut self, failure: Failure, at: Duration) {
        if self.last.as_ref().map(Failure::reason) != Some(failure.reason()) {
            self.note(at);
        }
        self.first.get_or_insert_with(|| failure.clone());
        (self.last, self.holding) = (Some(failure), None);
    }

    /// Adds the time of the last failure to its cause; the next one begins now.
    fn note(&mut self, now: Duration) {
        let time = now.saturating_sub(std::mem::replace(&mut self.since, now));
        let Some(last) = &self.last else { return };
        if let Some((before, stood)) = self.stood.iter_mut().find(|(before, _)| before.reason() == last.reason()) {
            (*before, *stood) = (last.clone(), *stood + time);
        } else if self.stood.len() < MOST_CAUSES {
            self.stood.push((last.clone(), time));
        }
    }

    /// Ends the wait: from here on the cause that lasted longest is reported.
    pub(super) fn conclude(&mut self, at: Duration) {
        self.note(at);
    }

    /// Why it was not ready at the last probe; none before that, and once it is ready.
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        if self.holding.is_some() { Some(ErrorKind::NotReady) } else { self.last.as_ref().map(|failure| failure.kind) }
    }

    /// The text for a target that is not ready for long enough yet.
    fn hold(&self) -> Option<String> {
        self.holding.map(|Hold { wanted, lost }| {
            let lost = match lost {
                0 => String::new(),
                1 => "; its connection was lost once".to_owned(),
                times => format!("; its connection was lost {times} times"),
            };
            format!("ready, but not yet for {} without interruption{lost}", shown(wanted))
        })
    }

    /// Why it is not ready: the last failure, and the first one if it differs.
    pub(super) fn cause(&self) -> String {
        self.hold().unwrap_or_else(|| self.describe(self.last.as_ref()))
    }

    /// Why it was not ready: the cause that lasted longest, and the first and last ones if they differ.
    pub(super) fn verdict(&self) -> String {
        self.hold().unwrap_or_else(|| self.describe(self.longest()))
    }

    fn longest(&self) -> Option<&Failure> {
        let longest: Option<&(Failure, Duration)> = self.stood.iter().rev().max_by_key(|(_, stood)| *stood);
        longest.map(|(failure, _)| failure).or(self.last.as_ref())
    }

    fn describe(&self, main: Option<&Failure>) -> String {
        let Some(main) = main else { return "no response yet; check that the server responds".to_owned() };
        let other = |when: &str, other: Option<&Failure>| match other {
            Some(other) if other.kind != main.kind => format!("; {when}: {} ({})", other.reason().words(), other.private.as_str()),
            _ => String::new(),
        };
        let details = if main.private.as_str().is_empty() { String::new() } else { format!(" ({})", main.private.as_str()) };
        let (first, last) = (other("at first", self.first.as_ref()), other("at last", self.last.as_ref()));
        format!("{}{details}; {}{first}{last}", main.reason().words(), main.reason().advice())
    }

    /// The line on a terminal: the time, the state and the target.
    pub(super) fn live(&self, waited: Duration, wide: bool) -> String {
        let (word, sentence) = match (self.ready, &self.last) {
            (Some(_), _) => ("ready", "ready"),
            (None, _) if self.holding.is_some() => ("holding", "ready, not long enough"),
            (None, Some(last)) => (last.kind.word(), last.reason().words()),
            (None, None) => ("asking", "asking"),
        };
        if !wide {
            return format!("{word:<11} {}", self.shown);
        }
        let time = format!("{:.1}s", self.ready.unwrap_or(waited).as_secs_f64());
        format!("{time:>7}  {sentence:<22}  {}", self.shown)
    }

    pub(super) fn json(&self) -> Value {
        let main = if self.holding.is_some() { None } else { self.longest() };
        let kind = if self.holding.is_some() { Some(ErrorKind::NotReady) } else { main.map(|failure| failure.kind) };
        json!({
            "target": self.shown,
            "kind": self.kind,
            "ready": self.ready.is_some(),
            "ready_after_ms": self.ready.map(|after| after.as_millis() as u64),
            "class": if self.ready.is_some() { Some("ok") } else { kind.map(ErrorKind::word) },
            "detail": if self.ready.is_some() { None } else { self.hold().or_else(|| main.map(|failure| failure.private.as_str().to_owned())) },
            "first_class": self.first.as_ref().map(|failure| failure.kind.word()),
            "first_detail": self.first.as_ref().map(|failure| failure.private.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new(&Target::Dns("db".to_owned()))
    }

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_cause_that_lasted_longest_is_reported() {
        let mut row = row();
        row.fails(Failure::new(ErrorKind::Dns, "no such name"), at(10));
        row.fails(Failure::new(ErrorKind::Refused, "refused"), at(1_000));
        row.fails(Failure::new(ErrorKind::Refused, "refused again"), at(20_000));
        row.fails(Failure::new(ErrorKind::Timeout, "no answer within 17ms"), at(29_983));
        assert!(row.cause().starts_with("timed out"), "{}", row.cause());
        row.conclude(at(30_000));
        let verdict = row.verdict();
        assert!(verdict.starts_with("connection refused (refused again); "), "{verdict}");
        assert!(verdict.contains("; at first: name resolution failed (no such name)"), "{verdict}");
        assert!(verdict.ends_with("; at last: timed out (no answer within 17ms)"), "{verdict}");
        assert_eq!(row.json()["class"], "refused");
    }

    #[test]
    fn one_cause_is_reported_once() {
        let mut row = row();
        row.fails(Failure::new(ErrorKind::Refused, "refused"), at(10));
        row.conclude(at(30_000));
        assert_eq!(row.verdict(), format!("connection refused (refused); {}", ErrorKind::Refused.advice()));
    }

    #[test]
    fn lost_sessions_are_counted_where_it_has_to_stay_ready() {
        let mut row = row();
        for (lost, words) in [(0, ""), (1, "; its connection was lost once"), (2, "; its connection was lost 2 times")] {
            row.holds(Hold { wanted: at(5_000), lost }, at(1));
            assert_eq!(row.verdict(), format!("ready, but not yet for 5s without interruption{words}"));
        }
    }
}
