//! `started`: how the start of a process is known to be through.

use crate::config::interpolate::Text;
use crate::config::reader::{Depth, Section};
use crate::config::started::{StartSection, Started};
use crate::config::values::Number;
use crate::plan::StartedPlan;
use crate::plan::argv::Word;
use crate::plan::process::StartSign;
use crate::plan::resolve::target;

/// The longest text that is looked for in the output, in bytes.
const LONGEST_LINE: usize = 1024;

/// The keys by which a process says itself that it is ready.
const SIGNS: [&str; 3] = ["notify", "notify_fd", "line"];

/// The startup check below `section`; none without one, or when it is wrong.
pub(super) fn read(section: &Section<'_>, depth: Depth) -> Option<StartedPlan> {
    let mut section = section.table_at("started", depth)?;
    let started: Started = section.declared();
    section.note_with(&started, &started.start);
    let Started { start, target: keys } = started;
    let mut signs = SIGNS.into_iter().filter(|key| section.has(key) && (*key != "notify" || start.notify));
    if let Some(first) = signs.next() {
        for key in signs.chain(["url", "kind"]).filter(|key| section.has(key)) {
            section.problem(key, format!("stands beside `{first}`; the start is known in one way"));
        }
    }
    let sign = match sign(&section, &start) {
        Some(sign) => sign,
        None if section.has("line") || section.has("notify_fd") => return None,
        None => StartSign::Answers { target: Box::new(target::read(&section, &keys)?), timeout: start.timeout.0 },
    };
    Some(StartedPlan { sign, within: start.within.0 })
}

/// How the process says itself that it is ready; none where it does not, or where that is wrong.
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

/// What keeps a text from being found in a line of the output.
fn fault(text: &Text) -> Option<&'static str> {
    let value = text.value();
    match () {
        () if value.is_empty() => Some("is empty, which every output contains"),
        () if value.contains('\n') => Some("has more than one line; name a part of one line"),
        () if value.len() > LONGEST_LINE => Some("has more than 1024 bytes; a part of the line is enough"),
        () => None,
    }
}
