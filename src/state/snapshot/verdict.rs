//! Every verdict that is derived from a snapshot at a look: live, started, ready, deep, and the status as a whole.

use std::borrow::Cow;
use std::time::Duration;

use super::{HEARTBEAT, Migration, Module, Phase, Snapshot, Stage, StageState, Status};
#[cfg(doc)]
use crate::clock::Turns;
use crate::clock::{Moment, Pulse};
use crate::outcome::ErrorKind;
use crate::state::check::{Check, State};
use crate::state::event::Preparation;

/// When a snapshot is looked at, and when the thread that feeds it last turned.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The time of the look.
    pub now: Moment,
    /// The last turn of the checks' thread ([`Pulse::last`]).
    pub beat: Duration,
    /// Whether that thread hangs and another one in its place did not help ([`Pulse::is_given_up`]).
    pub given_up: bool,
    /// Whether the loop that owns the signals is stuck ([`Turns::is_stuck`]).
    pub stuck: bool,
}

impl Look {
    /// Looks at `now` with the checks' thread known to be turning.
    pub const fn fresh(now: Moment) -> Self {
        Self { now, beat: now.mono, given_up: false, stuck: false }
    }

    /// Whether the checks' thread is as this level wants it.
    ///
    /// Ready and deep rest on what it found, so that it has to have turned lately: five ticks and five seconds are its limit. For
    /// live it only has to be worth waiting for: after a freeze it is, and while another one takes its place.
    fn scheduler_passes(&self, level: Level) -> bool {
        let turned_lately = || self.now.mono.saturating_sub(self.beat) <= Pulse::TICK * 5 + Duration::from_secs(5);
        !self.given_up && (level == Level::Live || turned_lately())
    }
}

/// How deep a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Does portcullis itself turn? (`/livez`)
    Live,
    /// Is the start through? (`/startupz`)
    Started,
    /// May traffic come? (`/readyz`, the heartbeat)
    Ready,
    /// Is everything that counts up? (`/healthz`)
    Deep,
}

/// One line of an answer.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// What is judged.
    pub name: &'a str,
    /// Whether it passes.
    pub passes: bool,
    /// Why not.
    pub kind: ErrorKind,
    /// The check of that name; none for a line about the run itself.
    pub check: Option<&'a Check>,
}

/// A check as a look finds it: after thresholds and staleness.
#[derive(Clone, Copy, Debug)]
pub struct Assessed<'a> {
    /// The check with its records.
    pub check: &'a Check,
    /// What it is now.
    pub state: State,
    /// Why it is not simply up.
    pub kind: ErrorKind,
    /// Whether it counts for the status; every document lists those that do.
    pub counts: bool,
}

/// A snapshot at a look, with every check judged once. The views write it and decide nothing.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// What is looked at.
    pub snapshot: &'a Snapshot,
    /// The circumstances of the look.
    pub look: Look,
    /// Every check in the order of the snapshot.
    pub checks: Vec<Assessed<'a>>,
}

impl<'a> Assessment<'a> {
    /// The checks that count for the status.
    pub fn counted(&self) -> impl Iterator<Item = &Assessed<'a>> {
        self.checks.iter().filter(|check| check.counts)
    }

    /// The checks of this module: the process itself, and its own.
    pub fn checks_of(&self, module: &Module) -> impl Iterator<Item = &Assessed<'a>> {
        self.checks.iter().filter(|Assessed { check, .. }| check.module == Some(module.id) || check.name == module.name)
    }

    /// Every line that a question of this level asks for.
    ///
    /// Ready contains live, and deep contains ready, so that neither can hold without the other.
    pub fn items(&self, level: Level) -> Vec<Item<'a>> {
        let Self { snapshot, look, .. } = *self;
        let own = |name, passes, kind| Item { name, passes, kind, check: None };
        let stages =
            || snapshot.stages.iter().filter(|stage| stage.counts).map(|stage| (stage.name.as_str(), stage.step == StageState::Up));
        let mut items = vec![own("ping", true, ErrorKind::Ok)];
        if level == Level::Started {
            items.extend(stages().map(|(name, is_up)| own(name, is_up || snapshot.started, ErrorKind::NotReady)));
            return items;
        }
        items.push(own("scheduler", look.scheduler_passes(level), ErrorKind::Stale));
        let kind = if look.stuck { ErrorKind::Stale } else { ErrorKind::Exited };
        items.push(own("supervisor", snapshot.phase != Phase::Failed && !look.stuck, kind));
        let of = |Assessed { check, kind, .. }: &Assessed<'a>, passes| Item { name: &check.name, passes, kind: *kind, check: Some(*check) };
        let of_all = |counts_for: fn(&Assessed<'a>) -> bool, passes: fn(State) -> bool| {
            self.checks.iter().filter(move |check| counts_for(check)).map(move |check| of(check, passes(check.state)))
        };
        // Unknown does not kill, but it is not well.
        let passes = if level == Level::Deep { State::passes } else { |state| state != State::Down };
        items.extend(of_all(|one| one.check.affects.liveness(), passes));
        if level == Level::Live {
            return items;
        }
        let through = snapshot.started && (snapshot.phase == Phase::Running || snapshot.phase.is_leaving());
        items.push(own("startup", through, ErrorKind::NotReady));
        items.push(own("shutdown", !snapshot.phase.is_leaving(), ErrorKind::NotReady));
        // Unknown is not ready.
        items.extend(of_all(|one| one.check.affects.readiness(), State::passes));
        if level == Level::Ready {
            return items;
        }
        if snapshot.started {
            items.extend(stages().filter(|(_, is_up)| !is_up).map(|(name, _)| own(name, false, ErrorKind::NotReady)));
        }
        items.extend(of_all(|one| one.counts && !one.check.affects.readiness() && !one.check.affects.liveness(), State::passes));
        items
    }

    /// What a flat answer names: the configured dependencies that count, and whatever else keeps the status from being UP. Who reads
    /// such an answer knows the dependencies; modules, the process, a report and the run itself join them when they fail.
    pub fn named(&self) -> Vec<Item<'a>> {
        let of = |one: &Assessed<'a>| Item { name: &one.check.name, passes: one.state.passes(), kind: one.kind, check: Some(one.check) };
        let of_checks = |dependencies: bool| self.counted().filter(move |one| one.check.is_dependency() == dependencies).map(of);
        let mut named: Vec<Item<'a>> = of_checks(true).collect();
        named.extend(of_checks(false).filter(|item| !item.passes));
        named.extend(self.items(Level::Deep).into_iter().filter(|item| !item.passes && item.check.is_none()));
        named
    }

    /// Whether every line of this level passes.
    pub fn passes(&self, level: Level) -> bool {
        self.items(level).iter().all(|item| item.passes)
    }

    /// The status as a whole: the phase decides until the process runs, then what counts does.
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot;
        match snapshot.phase {
            Phase::Failed | Phase::Stopped => Status::Down,
            Phase::Draining => Status::OutOfService,
            _ if !snapshot.started && snapshot.base_start() == StageState::Down => Status::Down,
            _ if !snapshot.started => Status::Unknown,
            Phase::Running if snapshot.stages.iter().any(|stage| stage.counts && stage.step == StageState::Unknown) => Status::Unknown,
            _ if self.passes(Level::Deep) => Status::Up,
            _ => Status::Down,
        }
    }
}

impl Snapshot {
    /// Judges every check at this look.
    pub fn assess(&self, look: Look) -> Assessment<'_> {
        let judged = |check| {
            let (state, kind) = Check::effective(check, look.now);
            Assessed { check, state, kind, counts: check.affects.health() }
        };
        Assessment { snapshot: self, look, checks: self.checks.iter().map(judged).collect() }
    }

    /// Whether every line of this level passes.
    pub fn verdict(&self, level: Level, look: Look) -> bool {
        self.assess(look).passes(level)
    }

    /// The status as a whole.
    pub fn overall(&self, look: Look) -> Status {
        self.assess(look).status()
    }

    /// What the heartbeat itself tells: all but whether it is written. A beat that told of its own absence would keep what it mends:
    /// the record would say "not ready" until the beat after the one that made it so.
    pub fn as_published(&self) -> Cow<'_, Self> {
        if self.check(HEARTBEAT).is_none() {
            return Cow::Borrowed(self);
        }
        let mut copy = self.clone();
        copy.checks.retain(|check| check.name != HEARTBEAT);
        Cow::Owned(copy)
    }

    /// The part of this replica in the migration: `waiter`, `settling`, `fencing`, `holder`, `done`; none before it has one.
    pub fn migration_role(&self) -> Option<&'static str> {
        match (&self.migration, self.migration_lock.preparing) {
            (Migration::Idle, _) => None,
            (Migration::Done, _) => Some("done"),
            (_, Some(Preparation::Settling)) => Some("settling"),
            (_, Some(Preparation::Fencing(_))) => Some("fencing"),
            (Migration::Queued { .. }, None) => Some("waiter"),
            (Migration::Holder { .. }, None) => Some("holder"),
        }
    }

    /// The start of the service itself, without that of its modules.
    pub fn base_start(&self) -> StageState {
        let steps = || self.stages.iter().filter(|stage| stage.counts && !stage.name.starts_with("module:")).map(|stage| stage.step);
        match () {
            () if self.phase == Phase::Failed || steps().any(|step| step == StageState::Down) => StageState::Down,
            () if steps().all(|step| step == StageState::Up) => StageState::Up,
            () => StageState::Unknown,
        }
    }

    /// The start as a whole over the steps that count, as Koupleless sums it up: any unknown before any down, but for a start of the
    /// service itself that has failed.
    pub fn startup(&self) -> StageState {
        let counted = || self.stages.iter().filter(|stage| stage.counts).map(|stage| stage.step);
        match () {
            () if self.base_start() == StageState::Down => StageState::Down,
            () if counted().all(|step| step == StageState::Up) => StageState::Up,
            () if counted().any(|step| step == StageState::Unknown) => StageState::Unknown,
            () => StageState::Down,
        }
    }

    /// The step of the start of this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The step that is this module's start; none while nobody has asked for it.
    pub fn start_of(&self, module: &Module) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name.strip_prefix("module:") == Some(&module.name))
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}
