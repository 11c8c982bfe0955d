//! The verdicts that are derived from a snapshot at a given time: live, started, ready, deep, and the overall status.

use std::borrow::Cow;
use std::time::Duration;

use super::{HEARTBEAT, Migration, Module, Phase, Snapshot, Stage, StageState, Status};
#[cfg(doc)]
use crate::clock::Turns;
use crate::clock::{Moment, Pulse};
use crate::outcome::ErrorKind;
use crate::plan::ModuleId;
use crate::state::check::{Check, State};
use crate::state::event::Preparation;

/// The time of an assessment, and the last activity of the thread that runs the checks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The time of the assessment.
    pub now: Moment,
    /// The last activity of the checks' thread ([`Pulse::last`]).
    pub beat: Duration,
    /// Whether that thread hangs and its replacement did not help ([`Pulse::is_given_up`]).
    pub given_up: bool,
    /// Whether the loop that owns the signals is stuck ([`Turns::is_stuck`]).
    pub stuck: bool,
}

impl Look {
    /// An assessment at `now` with an active checks' thread.
    pub const fn fresh(now: Moment) -> Self {
        Self { now, beat: now.mono, given_up: false, stuck: false }
    }

    /// Whether the checks' thread is active enough for this level.
    ///
    /// Ready and deep depend on its results, so it must have been active recently: within five ticks plus five seconds. For live it only
    /// must not be given up: after a freeze, and while it is being replaced, live still passes.
    fn scheduler_passes(&self, level: Level) -> bool {
        let turned_lately = || self.now.mono.saturating_sub(self.beat) <= Pulse::TICK * 5 + Duration::from_secs(5);
        !self.given_up && (level == Level::Live || turned_lately())
    }
}

/// The level of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Does portcullis itself work? (`/livez`)
    Live,
    /// Is the start complete? (`/startupz`)
    Started,
    /// Does it accept traffic? (`/readyz`, the heartbeat)
    Ready,
    /// Is everything that counts up? (`/healthz`)
    Deep,
}

/// One line of a response.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it passes.
    pub passes: bool,
    /// Why not.
    pub kind: ErrorKind,
    /// The check of that name; none for a line about the run itself.
    pub check: Option<&'a Check>,
}

/// The assessment of a check, after thresholds and staleness.
#[derive(Clone, Copy, Debug)]
pub struct Assessed<'a> {
    /// The check with its records.
    pub check: &'a Check,
    /// Its current state.
    pub state: State,
    /// Why it is not simply up.
    pub kind: ErrorKind,
    /// Whether it counts for the status; every view lists those that do.
    pub counts: bool,
}

/// The assessment of a snapshot: every check is assessed once. The views only write it.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// Time and pulse of the assessment.
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

    /// All lines of a health check at this level.
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
        // Unknown is no reason to kill, but not up either.
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

    /// The items of a flat response: the configured dependencies that count, and everything else that prevents the status UP. Readers of
    /// such a response know the dependencies; modules, the process, a report and the run itself are added when they fail.
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

    /// The overall status: until the process runs, that of the phase, then that of the items that count.
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
    /// Assesses every check at this time.
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

    /// The overall status.
    pub fn overall(&self, look: Look) -> Status {
        self.assess(look).status()
    }

    /// Whether the replica is ready at `now`, as the heartbeat publishes it: without the check of the heartbeat itself.
    ///
    /// The same as the verdict of [`Level::Ready`] on [`Self::as_published`], without assessing every check.
    pub fn is_ready_but_for_heartbeat(&self, now: Moment) -> bool {
        self.started && self.phase == Phase::Running && self.checks.allow_ready(now)
    }

    /// Whether the replica is ready at `now`: the same as the verdict of [`Level::Ready`], without assessing every check.
    pub fn is_ready(&self, now: Moment) -> bool {
        self.is_ready_but_for_heartbeat(now) && self.checks.heartbeat_allows_ready(now)
    }

    /// The snapshot that the heartbeat publishes: without the check of the heartbeat itself. Otherwise a heartbeat that is written again
    /// would still report its own absence, and the record would say "not ready" until the next one.
    pub fn as_published(&self) -> Cow<'_, Self> {
        if self.check(HEARTBEAT).is_none() {
            return Cow::Borrowed(self);
        }
        let mut copy = self.clone();
        copy.checks.rebuild(|checks| checks.retain(|check| check.name != HEARTBEAT));
        Cow::Owned(copy)
    }

    /// The role of this replica in the migration: `waiter`, `settling`, `fencing`, `holder`, `done`; none before it has one.
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

    /// The start of the service itself, without its modules.
    pub fn base_start(&self) -> StageState {
        let steps = || self.stages.iter().filter(|stage| stage.counts && !stage.name.starts_with("module:")).map(|stage| stage.step);
        match () {
            () if self.phase == Phase::Failed || steps().any(|step| step == StageState::Down) => StageState::Down,
            () if steps().all(|step| step == StageState::Up) => StageState::Up,
            () => StageState::Unknown,
        }
    }

    /// The overall status of the start, from the stages that count, as in Koupleless: unknown has priority over down, except for a failed
    /// start of the service itself.
    pub fn startup(&self) -> StageState {
        let counted = || self.stages.iter().filter(|stage| stage.counts).map(|stage| stage.step);
        match () {
            () if self.base_start() == StageState::Down => StageState::Down,
            () if counted().all(|step| step == StageState::Up) => StageState::Up,
            () if counted().any(|step| step == StageState::Unknown) => StageState::Unknown,
            () => StageState::Down,
        }
    }

    /// The stage of the start with this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The module of this number.
    pub fn module(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(self.module_place(id)?)
    }

    /// The index of the module of this number; usually the same.
    pub fn module_place(&self, id: ModuleId) -> Option<usize> {
        self.modules.search(id.0 as usize, |module| module.id == id)
    }

    /// The stage of this module's start; none until the start is requested.
    pub fn start_of(&self, module: &Module) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name.strip_prefix("module:") == Some(&module.name))
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}
