//! `started`: how the start of a process is known to be through.

use std::time::Duration;

use crate::config::reader::{Depth, Keys, Section};
use crate::plan::StartedPlan;
use crate::plan::process::StartSign;
use crate::plan::resolve::{YEAR, target};

const KNOWN: [&str; 31] = Keys::joined(&[&target::KEYS, &["within", "timeout", "notify", "notify_fd"]]);
pub(super) const KEYS: Keys = Keys { known: &KNOWN };

/// The startup check below `section`; none without one, or when it is wrong.
pub(super) fn read(section: &Section<'_>, depth: Depth) -> Option<StartedPlan> {
    let started = section.table_at("started", Some(KEYS), depth)?;
    let within = started.duration("within", Duration::from_millis(100)..=YEAR);
    let timeout = started.duration("timeout", Duration::from_millis(10)..=Duration::from_secs(600));
    let notify = started.boolean("notify").unwrap_or_default();
    let descriptor = started.integer("notify_fd", 3..=255).and_then(|number| i32::try_from(number).ok());
    if notify && descriptor.is_some() {
        started.problem("notify_fd", "stands beside `notify`; the process tells its start in one way");
    }
    let sign = match descriptor.map(StartSign::Writes).or(notify.then_some(StartSign::Notifies)) {
        Some(sign) => {
            for key in ["url", "kind"].into_iter().filter(|key| started.has(key)) {
                started.problem(key, "stands beside a notification; the start is known in one way");
            }
            sign
        }
        None => StartSign::Answers { target: Box::new(target::read(&started)?), timeout: timeout.unwrap_or(Duration::from_secs(2)) },
    };
    Some(StartedPlan { sign, within: within.unwrap_or(Duration::from_secs(120)) })
}
