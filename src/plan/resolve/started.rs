//! `started`: how the start of a process is known to be through.

use crate::config::reader::{Depth, Section};
use crate::config::started::Started;
use crate::config::values::Number;
use crate::plan::StartedPlan;
use crate::plan::process::StartSign;
use crate::plan::resolve::target;

/// The startup check below `section`; none without one, or when it is wrong.
pub(super) fn read(section: &Section<'_>, depth: Depth) -> Option<StartedPlan> {
    let mut section = section.table_at("started", depth)?;
    let started: Started = section.declared();
    section.note_with(&started, &started.start);
    let Started { start, target: keys } = started;
    let descriptor = start.notify_fd.and_then(Number::to);
    if start.notify && descriptor.is_some() {
        section.problem("notify_fd", "stands beside `notify`; the process tells its start in one way");
    }
    let sign = match descriptor.map(StartSign::Writes).or(start.notify.then_some(StartSign::Notifies)) {
        Some(sign) => {
            for key in ["url", "kind"].into_iter().filter(|key| section.has(key)) {
                section.problem(key, "stands beside a notification; the start is known in one way");
            }
            sign
        }
        None => StartSign::Answers { target: Box::new(target::read(&section, &keys)?), timeout: start.timeout.0 },
    };
    Some(StartedPlan { sign, within: start.within.0 })
}
