//! `started`: how the end of a process' start is detected.

use crate::config::interpolate::Text;
use crate::config::reader::{Depth, Section};
use crate::config::started::{StartSection, Started};
use crate::config::target::TargetKeys;
use crate::config::values::Number;
use crate::plan::StartedPlan;
use crate::plan::argv::Word;
use crate::plan::process::StartSign;
use crate::plan::resolve::target;

/// The longest text to search for in the output, in bytes.
const LONGEST_LINE: usize = 1024;

/// The keys for a process that reports its readiness itself.
const SIGNS: [&str; 3] = ["notify", "notify_fd", "line"];

/// The startup check of `section`; none without one, or if it has errors.
pub(super) fn read(section: &Section<'_>, depth: Depth) -> Option<StartedPlan> {
    let mut section = section.table_at("started", depth)?;
    let started: Started = section.declared();
    section.note_with(&started, &started.start);
    let Started { start, target: keys } = started;
    let mut signs = SIGNS.into_iter().filter(|key| section.has(key) && (*key != "notify" || start.notify));
    if let Some(first) = signs.next() {
        let of_target = section.written::<TargetKeys>();
        for key in signs.chain(of_target).chain(section.has("timeout").then_some("timeout")) {
            section.problem(key, format!("excludes `{first}`; a startup check has only one of them"));
        }
    }
    let sign = match sign(&section, &start) {
        Some(sign) => sign,
        None if section.has("line") || section.has("notify_fd") => return None,
        None => StartSign::Answers { target: Box::new(target::read(&section, &keys)?), timeout: start.timeout.0 },
    };
    Some(StartedPlan { sign, within: start.within.0 })
}

/// How the process reports its readiness itself; none if it does not, or if that has errors.
fn sign(section: &Section<'_>, start: &StartSection) -> Option<StartSign> {
    let descriptor = start.notify_fd.and_then(Number::to).map(StartSign::Writes);
    let line = start.line.as_ref().and_then(|text| match fault(text) {
        Some(fault) => {
            section.problem("line", fault);
            None
        }
        None => Some(StartSign::Line(Word::of(text))),
    });
    descriptor.or(start.notify.then_some(StartSign::Notifies)).or(line)
}

/// Why a text cannot be found in a line of the output.
fn fault(text: &Text) -> Option<&'static str> {
    let value = text.value();
    match () {
        () if value.is_empty() => Some("is empty, and every output contains the empty text"),
        () if value.contains('\n') => Some("has more than one line; use a part of one line"),
        () if value.len() > LONGEST_LINE => Some("has more than 1024 bytes; use a part of the line"),
        () => None,
    }
}
