//! The headline: what the replica does right now, and what is down or wrong, by name.

use std::fmt;

use crate::exit::{Ended, signal_name};
use crate::state::check::State;
use crate::state::snapshot::{APP, Assessment, HealingStage, Level, Migration, Phase, Shutdown, Snapshot, Stage, StageState, Status};
use crate::view::time;

/// The maximum number of names in a headline; further ones are counted.
const MOST_NAMES: usize = 3;

/// The urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) enum Tone {
    /// It accepts traffic, and nothing is down.
    Up,
    /// It accepts traffic, and something is down.
    Degraded,
    /// It does not accept traffic.
    Down,
    /// Not yet.
    Starting,
    /// Intentionally no longer.
    Shutdown,
}

impl Tone {
    /// A shape for it, readable without colour.
    pub(in crate::view) const fn shape(self) -> char {
        match self {
            Self::Up => '\u{25cf}',
            Self::Degraded => '\u{25b2}',
            Self::Down => '\u{2715}',
            Self::Starting => '\u{25cc}',
            Self::Shutdown => '\u{25d1}',
        }
    }

    /// The class in the page's style.
    pub(in crate::view) const fn class(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Starting => "unknown",
            Self::Shutdown => "leaving",
        }
    }
}

/// `SERVING, degraded: redis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::view) struct Headline {
    pub(in crate::view) tone: Tone,
    /// `SERVING`.
    pub(in crate::view) word: &'static str,
    /// `, degraded: redis`; empty if there is nothing to add.
    pub(in crate::view) rest: String,
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.word, self.rest)
    }
}

/// The headline. The name of another migrating replica is a detail.
pub(in crate::view) fn headline(assessment: &Assessment<'_>, authorized: bool) -> Headline {
    let snapshot = assessment.snapshot;
    let of = |tone, word, rest: String| Headline { tone, word, rest };
    let because = |tone, word, why: &str| of(tone, word, if why.is_empty() { String::new() } else { format!(": {why}") });
    match snapshot.phase {
        Phase::Failed if snapshot.shutdown == Some(Shutdown::Held) => {
            because(Tone::Down, "DOWN", "the start failed, and is held for inspection")
        }
        Phase::Failed => because(Tone::Down, "DOWN", "the start failed"),
        Phase::Draining | Phase::Stopped => {
            let (word, why) = shutdown(snapshot);
            because(Tone::Shutdown, word, &why)
        }
        _ if !assessment.passes(Level::Live) => because(Tone::Down, "DOWN", &failing(assessment, Level::Live)),
        _ if !snapshot.started && assessment.status() == Status::Down => because(Tone::Down, "DOWN", "the start failed"),
        _ if !snapshot.started => because(Tone::Starting, "STARTING", &now_doing(assessment, authorized)),
        _ if !assessment.passes(Level::Ready) => match process_down(assessment) {
            Some(why) => because(Tone::Down, "DOWN", &why),
            None => because(Tone::Down, "NOT READY", &failing(assessment, Level::Ready)),
        },
        _ => {
            let (away, starting) = away(assessment);
            let mut rest = String::new();
            for (what, names) in [("degraded", &away), ("starting", &starting)] {
                if !names.is_empty() {
                    rest = format!("{rest}, {what}: {}", listed(names));
                }
            }
            of(if rest.is_empty() { Tone::Up } else { Tone::Degraded }, "SERVING", rest)
        }
    }
}

/// The names of what counts and is down, and of what is still starting.
fn away(assessment: &Assessment<'_>) -> (Vec<String>, Vec<String>) {
    let snapshot = assessment.snapshot;
    let mut away: Vec<String> = Vec::new();
    let failing = assessment.items(Level::Deep).into_iter().filter(|item| !item.passes && item.check.is_some()).map(|item| item.name);
    let degraded = assessment.counted().filter(|check| check.state == State::Degraded).map(|check| check.check.name.as_str());
    let counted = || snapshot.stages.iter().filter(|stage| stage.counts);
    let failed = counted().filter(|stage| stage.step == StageState::Down).map(|stage| bare(&stage.name));
    for name in failing.chain(degraded).chain(failed) {
        if !away.iter().any(|other| other == name) {
            away.push(name.to_owned());
        }
    }
    let starting = counted().filter(|stage| stage.step == StageState::Unknown).map(|stage| bare(&stage.name).to_owned());
    let starting: Vec<String> = starting.collect();
    // A starting module has a check that never ran.
    away.retain(|name| !starting.contains(name));
    (away, starting)
}

/// The names of what fails at this level. As long as the start itself fails it, only what it is doing: the rest follows from that.
fn failing(assessment: &Assessment<'_>, level: Level) -> String {
    let failing: Vec<_> = assessment.items(level).into_iter().filter(|item| !item.passes).collect();
    if failing.iter().any(|item| item.check.is_none() && item.name == "startup") {
        return now_doing(assessment, false);
    }
    let name = |name: &str| match name {
        "scheduler" => "the checks do not run any more".to_owned(),
        "supervisor" => "portcullis itself hangs".to_owned(),
        name => name.to_owned(),
    };
    let names: Vec<String> = failing.iter().map(|item| if item.check.is_some() { item.name.to_owned() } else { name(item.name) }).collect();
    listed(&names)
}

/// Why a process that was up is down; none if it runs.
fn process_down(assessment: &Assessment<'_>) -> Option<String> {
    let Assessment { snapshot, .. } = *assessment;
    let is_up = || assessment.checks.iter().any(|check| check.check.name == APP && check.state.passes());
    if snapshot.child.pid.is_some() || is_up() {
        return None;
    }
    let healing = snapshot.child.healing.as_ref().filter(|healing| healing.stage == HealingStage::Restarting);
    Some(match (healing, snapshot.child.last_exit) {
        (Some(healing), _) => format!("the process is being restarted, because check {} went down", healing.check),
        (None, Some(ended)) => format!("the process {} and is being started again", ended_with(ended)),
        (None, None) => "the process does not run".to_owned(),
    })
}

/// `ended with status 1`.
pub(in crate::view) fn ended_with(ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("ended with status {code}"),
        Ended::Signal(number) => format!("ended by {}", signal_name(i32::from(number))),
    }
}

/// The state of the shutdown, and what remains.
fn shutdown(snapshot: &Snapshot) -> (&'static str, String) {
    let main = snapshot.child.pid.map(|_| "the process".to_owned());
    let modules = snapshot.modules.iter().filter(|module| module.child.pid.is_some());
    let left: Vec<String> = main.into_iter().chain(modules.map(|module| format!("module {}", module.name))).collect();
    let names = listed(&left);
    match snapshot.shutdown {
        None if snapshot.phase == Phase::Stopped => ("STOPPED", String::new()),
        None => ("DRAINING", String::new()),
        Some(Shutdown::Withdrawing(_) | Shutdown::Draining(_)) if left.is_empty() => ("DRAINING", String::new()),
        Some(Shutdown::Withdrawing(_) | Shutdown::Draining(_)) => {
            ("DRAINING", format!("requests go elsewhere, then {names} will be stopped"))
        }
        Some(Shutdown::Held | Shutdown::Exited) => ("STOPPED", String::new()),
        Some(Shutdown::Killing(_)) => {
            ("STOPPING", format!("reaping {} after KILL", if left.is_empty() { "all processes" } else { &names }))
        }
        Some(_) if !left.is_empty() => ("STOPPING", format!("waiting for {names} to end")),
        Some(_) if snapshot.phase == Phase::Stopped => ("STOPPED", "ending leftover processes".to_owned()),
        Some(_) => ("STOPPING", "ending leftover processes".to_owned()),
    }
}

/// What the start is doing now; the name of another migrating replica is a detail.
pub(super) fn now_doing(assessment: &Assessment<'_>, authorized: bool) -> String {
    let Assessment { snapshot, look, .. } = *assessment;
    let of = |kind: &str| -> Vec<String> { open(snapshot).filter_map(|stage| stage.name.strip_prefix(kind)).map(str::to_owned).collect() };
    let (steps, waits) = (of("step:"), of("wait:"));
    if !steps.is_empty() {
        return format!("step {}", listed(&steps));
    }
    if !waits.is_empty() {
        return format!("waiting for {}", listed(&waits));
    }
    let since = match snapshot.migration {
        Migration::Queued { since, .. } | Migration::Holder { since } => time::rough(look.now.since(since)),
        Migration::Idle | Migration::Done => return starting(snapshot),
    };
    let holder = snapshot.migration_lock.holder.as_ref().filter(|_| authorized);
    let holder = holder.map(|(holder, _)| format!(" ({})", holder.words)).unwrap_or_default();
    match snapshot.migration_role() {
        Some("waiter") => format!("another replica migrates{holder}, queueing for {since}"),
        Some(role @ ("settling" | "fencing")) => format!("{role} before the migration, for {since}"),
        _ => format!("migrating for {since}"),
    }
}

fn starting(snapshot: &Snapshot) -> String {
    if snapshot.phase != Phase::Starting {
        return snapshot.phase.word().to_owned();
    }
    let is_open = |name: &str| open(snapshot).any(|stage| stage.name.strip_prefix(name) == Some(APP));
    match () {
        () if is_open("started:") => "waiting for the process to pass its startup check".to_owned(),
        () if is_open("spawn:") || snapshot.child.pid.is_none() => "starting the process".to_owned(),
        () => "waiting for the process to be ready".to_owned(),
    }
}

fn open(snapshot: &Snapshot) -> impl Iterator<Item = &Stage> {
    snapshot.stages.iter().filter(|stage: &&Stage| stage.began.is_some() && stage.ended.is_none())
}

/// The name of the subject of a stage.
fn bare(stage: &str) -> &str {
    stage.split_once(':').map_or(stage, |(_, name)| name)
}

/// `db, redis and search`, or `db, redis, search and 4 more`.
fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
    match (shown, more.len()) {
        ([first @ .., last], 0) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        (_, 0) => shown.concat(),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
