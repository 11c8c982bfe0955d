//! The summary for the page and the terminal: the state, its reasons, and the start.

mod headline;
mod instances;
mod start;

use super::{details, reason, time, words};
use crate::outcome::ErrorKind;
use crate::plan::Service;
use crate::state::check::history::Bucket;
use crate::state::check::{Check, State, Verdict};
use crate::state::snapshot::{Assessed, Assessment, Child, Healing, HealingStage, Level, Look, Module, ModuleState, Snapshot, Status};
pub(super) use headline::{Headline, headline};
use headline::{ended_with, now_doing};
pub(super) use instances::{instance, instances, instances_are_old};
pub(super) use start::{outcome, timeline};

/// The results for the probes of orchestrators.
pub(super) fn levels(assessment: &Assessment<'_>) -> [(&'static str, bool); 4] {
    let healthy = assessment.status() == Status::Up;
    let [live, started, ready] = [Level::Live, Level::Started, Level::Ready].map(|level| assessment.passes(level));
    [("live", live), ("started", started), ("ready", ready), ("healthy", healthy)]
}

/// The service with its version, if it has one.
pub(super) fn named(service: &Service) -> String {
    service.version.as_ref().map_or_else(|| service.name.clone(), |version| format!("{} {version}", service.name))
}

/// A shape for a check.
pub(super) const fn mark(state: State) -> &'static str {
    match state {
        State::Up => "\u{25cf}",
        State::Degraded => "\u{25b2}",
        State::Down => "\u{2715}",
        State::Unknown => "\u{25cc}",
    }
}

/// The checks by urgency: the worst first, those that do not count after all that count, and those that are up last.
pub(super) fn by_urgency<'b, 'a>(assessment: &'b Assessment<'a>) -> Vec<&'b Assessed<'a>> {
    let urgency = |assessed: &&Assessed<'_>| match assessed.state {
        State::Up => 4,
        _ if !assessed.counts => 3,
        State::Down => 0,
        State::Unknown => 1,
        State::Degraded => 2,
    };
    let mut checks: Vec<&Assessed<'a>> = assessment.checks.iter().collect();
    checks.sort_by_key(urgency);
    checks
}

/// All reasons why the status is not UP, each in a few words, the same on the page and in a terminal.
pub(super) fn causes(assessment: &Assessment<'_>, authorized: bool) -> Vec<String> {
    causes_but(assessment, authorized, &[])
}

fn causes_but(assessment: &Assessment<'_>, authorized: bool, known: &[&str]) -> Vec<String> {
    // Before the start is complete, a check that was not probed yet is not a cause.
    let failing = assessment.items(Level::Deep).into_iter();
    let failing = failing.filter(|item| !item.passes && (assessment.snapshot.started || item.kind != ErrorKind::Never));
    failing
        .filter(|item| item.check.is_some() || !known.contains(&item.name))
        .map(|item| match (item.name, item.check) {
            (name, Some(check)) => format!("{name}: {}", details(check, item.kind, authorized)),
            ("startup", _) => format!("start not complete: {}", now_doing(assessment, authorized)),
            ("shutdown", _) => "it is being stopped".to_owned(),
            ("supervisor", _) => "the start failed".to_owned(),
            ("scheduler", _) => "the checks do not run any more".to_owned(),
            (name, None) => format!("{name}: {}", reason(item.kind)),
        })
        .collect()
}

/// The same without the reasons in the headline.
pub(super) fn reasons(assessment: &Assessment<'_>, authorized: bool) -> Vec<String> {
    causes_but(assessment, authorized, &["startup", "shutdown", "supervisor"])
}

/// The text of a check beside its name.
pub(super) fn verdict(assessed: &Assessed<'_>, look: Look, authorized: bool) -> String {
    let Assessed { check, state, .. } = *assessed;
    let decided = match check.verdict {
        Verdict::Up => State::Up,
        Verdict::Down => State::Down,
        Verdict::Unknown => State::Unknown,
    };
    // A result that became stale has another beginning.
    let length = if state == decided && state != State::Unknown {
        format!(" for {}", time::rough(look.now.since(check.since)))
    } else {
        String::new()
    };
    match state {
        State::Up => format!("up{length}"),
        state => format!("{}{length}: {}", state.word(), words(assessed, authorized)),
    }
}

/// One bucket of a check's history in words.
pub(super) fn bucket(bucket: Bucket) -> (char, String) {
    let shape = match (bucket.passed, bucket.failed) {
        (0, 0) => '\u{b7}',
        (_, 0) => '\u{2582}',
        (0, _) => '\u{2588}',
        _ => '\u{2585}',
    };
    let class = match (bucket.passed, bucket.failed) {
        (0, 0) => return (shape, "no check ran".to_owned()),
        (_, 0) => "all ok",
        (0, _) => "all failed",
        _ => "some failed",
    };
    (shape, format!("{class}: {} ok, {} failed, slowest {}", bucket.passed, bucket.failed, time::length(bucket.slowest())))
}

/// The ends of a process within one bucket in words.
pub(super) fn ends(bucket: Bucket) -> (char, String) {
    let (all, failed) = (bucket.passed.saturating_add(bucket.failed), bucket.failed);
    let times = if all == 1 { "ended once".to_owned() } else { format!("ended {all} times") };
    let how = match (all, failed) {
        (0, _) => return ('\u{b7}', "it did not end".to_owned()),
        (_, 0) => "as intended".to_owned(),
        (all, failed) if all == failed => "unexpectedly".to_owned(),
        (_, failed) => format!("{failed} of them unexpectedly"),
    };
    (self::bucket(bucket).0, format!("{times}, {how}; up for {} at most", time::length(bucket.slowest())))
}

/// Whether a process ended within the last half hour, so that a strip of its ends is shown.
pub(super) fn has_ended(child: &Child, look: Look) -> bool {
    child.ends.seen(look.now).any(|(_, bucket)| !bucket.is_empty())
}

/// Whether the checks' thread has not been active recently, so that all results are old.
pub(super) fn checks_are_late(assessment: &Assessment<'_>) -> bool {
    assessment.items(Level::Ready).iter().any(|item| item.check.is_none() && item.name == "scheduler" && !item.passes)
}

/// The main process in a few words; its pid and its status text are details.
pub(super) fn process(snapshot: &Snapshot, authorized: bool) -> String {
    let child = &snapshot.child;
    let mut parts = vec![match child.pid {
        Some(pid) if authorized => format!("running, pid {pid}"),
        Some(_) => "running".to_owned(),
        None => "not running".to_owned(),
    }];
    parts.push(restarted(child.restarts).unwrap_or_else(|| "never restarted".to_owned()));
    parts.extend(child.last_exit.map(|ended| format!("last {}", ended_with(ended))));
    parts.extend(healing(child));
    parts.extend(child_status(child, authorized));
    parts.join(", ")
}

fn restarted(times: u32) -> Option<String> {
    match times {
        0 => None,
        1 => Some("restarted once".to_owned()),
        times => Some(format!("restarted {times} times")),
    }
}

/// Which check restarts the process, and the state of the restart.
fn healing(child: &Child) -> Option<String> {
    let Healing { check, stage } = child.healing.as_ref()?;
    Some(match stage {
        HealingStage::Waiting => format!("to be restarted because check {check} went down: waits for another replica's restart"),
        HealingStage::Restarting => format!("being restarted because check {check} went down"),
        HealingStage::Done => format!("last restarted because check {check} went down"),
        HealingStage::Spent => format!("not restarted although check {check} went down: `restart_limit` is used up"),
    })
}

fn child_status(child: &Child, authorized: bool) -> Option<String> {
    child.status.as_ref().filter(|says| authorized && !says.is_empty()).map(|says| format!("says: {says}"))
}

/// The state of a module; a stopped or never started one is not a problem.
pub(super) const fn module_mark(module: &Module) -> State {
    match module.state {
        ModuleState::Activated => State::Up,
        ModuleState::Broken => State::Down,
        _ if module.trouble.is_some() => State::Down,
        ModuleState::Resolved | ModuleState::Starting | ModuleState::Stopping | ModuleState::Deactivated => State::Unknown,
    }
}

/// The replica, and its host if that has another name.
pub(super) fn place(service: &Service) -> Option<String> {
    let Service { instance, host, .. } = service;
    let place = if host == instance || host.is_empty() { instance.clone() } else { format!("{instance} (host {host})") };
    (!place.is_empty()).then_some(place)
}

/// The phase, its duration, and the start of the run if it was earlier.
pub(super) fn phase(snapshot: &Snapshot, look: Look) -> String {
    let [phase, whole] = [snapshot.phase_since, snapshot.started_at].map(|since| time::rough(look.now.since(since)));
    let started = if phase == whole { String::new() } else { format!(", started {whole} ago") };
    format!("{} for {phase}{started}", snapshot.phase.word())
}

/// A module in a few words; its pid, its status text and its failure are details.
pub(super) fn module(module: &Module, authorized: bool) -> String {
    let mut parts = vec![module.state.words().to_owned()];
    parts.extend(module.child.pid.filter(|_| authorized).map(|pid| format!("pid {pid}")));
    parts.extend(restarted(module.child.restarts));
    parts.extend(healing(&module.child));
    match module.trouble.as_ref().filter(|_| authorized) {
        // It contains the same, and more.
        Some(trouble) => parts.push(trouble.clone()),
        None => parts.extend(module.child.last_exit.map(|ended| format!("last {}", ended_with(ended)))),
    }
    parts.extend(child_status(&module.child, authorized));
    parts.join(", ")
}

/// The heartbeat in a few words; none without one.
pub(super) fn heartbeat(snapshot: &Snapshot, look: Look) -> Option<String> {
    let heartbeat = &snapshot.heartbeat;
    if !heartbeat.configured {
        return None;
    }
    let written = match heartbeat.last_written {
        Some(at) => format!("written {} ago, {} in all", time::rough(look.now.since(at)), heartbeat.written),
        None => "not written yet".to_owned(),
    };
    let failed: u64 = heartbeat.failed.values().sum();
    Some(match heartbeat.trouble {
        Some(class) => format!("\u{2715} failing: {}; {written}, {failed} failed", class.public()),
        None if failed > 0 => format!("\u{25cf} {written}, {failed} failed before"),
        None if heartbeat.last_written.is_none() => format!("\u{25cc} {written}"),
        None => format!("\u{25cf} {written}"),
    })
}

/// When a check was last probed and how long that took; none for one that is set by events.
pub(super) fn last_try(check: &Check, look: Look) -> Option<String> {
    let last = check.last().filter(|_| check.stale_after.is_some())?;
    let (age, took) = (look.now.since(last.at), time::length(last.elapsed));
    Some(match age.as_secs() {
        0 => format!("last try just now took {took}"),
        _ => format!("last try {} ago took {took}", time::rough(age)),
    })
}
