//! The start as bars: how long each of its stages took, and how much of that was waiting for the lock.

use std::time::Duration;

use crate::clock::Moment;
use crate::state::snapshot::{Look, Snapshot, StageState};
use crate::view::time;

/// One bar of the start.
pub(in crate::view) struct Bar<'a> {
    pub(in crate::view) name: &'a str,
    pub(in crate::view) step: StageState,
    /// From the beginning of the run to the beginning of this stage; none before it.
    pub(in crate::view) from: Option<Duration>,
    /// How long it took, or has taken so far.
    pub(in crate::view) length: Duration,
    /// How much of that it waited for another replica.
    pub(in crate::view) queued: Duration,
    /// What is to be said of how it ended: a detail.
    pub(in crate::view) note: Option<&'a str>,
}

/// The start as bars, and their total time. They end with the start, whatever modules do later.
pub(in crate::view) fn timeline(snapshot: &Snapshot, look: Look) -> (Vec<Bar<'_>>, Duration) {
    let over = snapshot.start_over;
    let is_part = |at: Moment| over.is_none_or(|over| at.mono <= over.mono);
    let bars: Vec<Bar<'_>> = snapshot
        .stages
        .iter()
        .filter(|stage| stage.began.map_or(over.is_none(), is_part))
        .map(|stage| {
            let ended = stage.ended.unwrap_or(look.now);
            let ended = over.filter(|_| !is_part(ended)).unwrap_or(ended);
            let length = stage.began.map(|began| ended.since(began)).unwrap_or_default();
            let held = snapshot.migration_lock.held_at.or(stage.ended.is_none().then_some(look.now));
            let queued = stage.began.zip(held).filter(|_| stage.name == "migrate").map(|(began, held)| held.since(began));
            let from = stage.began.map(|began| began.since(snapshot.started_at));
            let queued = queued.unwrap_or_default().min(length);
            Bar { name: &stage.name, step: stage.step, from, length, queued, note: stage.note.as_deref().filter(|note| !note.is_empty()) }
        })
        .collect();
    let span = bars.iter().filter_map(|bar| bar.from.map(|from| from + bar.length)).max().unwrap_or_default();
    (bars, span)
}

/// How a bar ended, in words.
pub(in crate::view) fn outcome(bar: &Bar<'_>) -> String {
    match (bar.from, bar.step) {
        (None, StageState::Up) => "done".to_owned(),
        (None, _) => "not yet".to_owned(),
        (Some(_), StageState::Up) => time::length(bar.length),
        (Some(_), StageState::Down) => format!("failed after {}", time::length(bar.length)),
        (Some(_), StageState::Unknown) => format!("{} so far", time::length(bar.length)),
    }
}
