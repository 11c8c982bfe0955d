//! Logs the steps: begin, end, duration and progress.

use tracing::{info, warn};

use super::took;
use crate::clock::Moment;
use crate::state::snapshot::{CurrentStep, Doing, Snapshot, Stage, StageState};

/// The name of a step, from its stage.
fn name(stage: &str) -> &str {
    stage.trim_start_matches("step:")
}

/// Logs what is different in `after`.
pub(super) fn record(before: &Snapshot, after: &Snapshot) {
    for (new, old) in after.stages.changed(&before.stages, |old, new| old.name == new.name) {
        if !new.name.starts_with("step:") {
            continue;
        }
        if old.began.is_none() && new.began.is_some() {
            info!("the step `{}` begins", name(&new.name));
        }
        if old.step != new.step {
            record_end(new);
        } else if let (StageState::Unknown, Some(why)) = (new.step, new.note.as_ref().filter(|_| new.note != old.note)) {
            warn!("the step `{}` goes on with its next command: it {why}", name(&new.name));
        }
    }
    let doing = |snapshot: &Snapshot| snapshot.step.as_ref().map(|step| (step.stage.clone(), step.doing));
    if doing(before) == doing(after) {
        return;
    }
    match &after.step {
        Some(CurrentStep { stage, doing: Doing::Pausing(failures), .. }) => {
            warn!("the step `{}` failed, {failures} so far; retrying", name(stage));
        }
        Some(CurrentStep { stage, doing: Doing::Queueing, .. }) => info!("the step `{}` waits for the lock", name(stage)),
        _ => {}
    }
}

fn record_end(stage: &Stage) {
    let (name, took) = (name(&stage.name), took(stage.began, stage.ended));
    match (stage.step, &stage.note) {
        (StageState::Up, Some(note)) if !note.is_empty() => info!("the step `{name}` is done after {took}: {note}"),
        (StageState::Up, _) => info!("the step `{name}` is done after {took}"),
        (StageState::Down, Some(why)) if !stage.counts => warn!("the step `{name}` failed after {took}: it {why}; the start continues"),
        (StageState::Down, _) => warn!("the step `{name}` failed after {took}"),
        (StageState::Unknown, _) => {}
    }
}

/// What the current step is doing.
pub(super) fn line(step: &CurrentStep, snapshot: &Snapshot, now: Moment) -> String {
    let (name, time) = (name(&step.stage), format!("{}s", now.since(step.since).as_secs()));
    let progress = step.progress.as_ref().map(|words| format!("; {words}")).unwrap_or_default();
    match step.doing {
        Doing::Queueing => {
            let holder = snapshot.migration_lock.holder.as_ref().map(|(holder, _)| format!(", which {} holds", holder.words));
            format!("the step `{name}` has been waiting for the lock{} for {time}", holder.unwrap_or_default())
        }
        Doing::Preparing => format!("the step `{name}` has been running for {time}{progress}"),
        Doing::Checking => format!("the check of the step `{name}` has run for {time}"),
        Doing::Running(_, 1) => format!("the step `{name}` has run for {time}"),
        Doing::Running(number, count) => format!("command {number} of {count} of the step `{name}` has run for {time}"),
        Doing::Pausing(_) => format!("the step `{name}` will be retried shortly"),
    }
}
