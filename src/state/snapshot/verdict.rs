//! Every verdict that is derived from a snapshot at a look: live, started, ready, deep, and the status as a whole.

use std::borrow::Cow;
use std::time::Duration;

use super::{HEARTBEAT, Migration, Module, Phase, Snapshot, Stage, Status, Step};
#[cfg(doc)]
use crate::clock::Turns;
use crate::clock::{Moment, Pulse};
use crate::outcome::Class;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What is judged.
    pub name: &'a str,
    /// Whether it passes.
    pub passes: bool,
    /// Why not.
    pub class: Class,
}

impl Snapshot {
    /// Every line that a question of this level asks for.
    ///
    /// Ready contains live, and deep contains ready, so that neither can hold without the other.
    pub fn items(&self, level: Level, look: Look) -> Vec<Item<'_>> {
        let mut items = vec![Item { name: "ping", passes: true, class: Class::Ok }];
        if level == Level::Started {
            let counted = self.stages.iter().filter(|stage| stage.counts);
            items.extend(counted.map(|stage| Item {
                name: &stage.name,
                passes: stage.step == Step::Up || self.started,
                class: Class::NotReady,
            }));
            return items;
        }
        items.push(Item { name: "scheduler", passes: look.scheduler_passes(level), class: Class::Stale });
        let class = if look.stuck { Class::Stale } else { Class::Exited };
        items.push(Item { name: "supervisor", passes: self.phase != Phase::Failed && !look.stuck, class });
        for check in self.checks.iter().filter(|check| check.affects.liveness()) {
            let (state, class) = check.effective(look.now);
            // Unknown does not kill.
            items.push(Item { name: &check.name, passes: state != State::Down, class });
        }
        if level == Level::Live {
            return items;
        }
        let through = self.started && (self.phase == Phase::Running || self.phase.is_leaving());
        items.push(Item { name: "startup", passes: through, class: Class::NotReady });
        items.push(Item { name: "shutdown", passes: !self.phase.is_leaving(), class: Class::NotReady });
        let judged = |check: &Check| check.effective(look.now);
        for check in self.checks.iter().filter(|check| check.affects.readiness()) {
            let (state, class) = judged(check);
            // Unknown is not ready.
            items.push(Item { name: &check.name, passes: state.passes(), class });
        }
        if level == Level::Ready {
            return items;
        }
        if self.started {
            let counted = self.stages.iter().filter(|stage| stage.counts && stage.step != Step::Up);
            items.extend(counted.map(|stage| Item { name: &stage.name, passes: false, class: Class::NotReady }));
        }
        for check in self.checks.iter().filter(|check| check.affects.health() && !check.affects.readiness()) {
            let (state, class) = judged(check);
            match items.iter_mut().find(|item| item.name == check.name) {
                Some(item) => *item = Item { name: &check.name, passes: state.passes(), class },
                None => items.push(Item { name: &check.name, passes: state.passes(), class }),
            }
        }
        items
    }

    /// Whether every line of this level passes.
    pub fn verdict(&self, level: Level, look: Look) -> bool {
        self.items(level, look).iter().all(|item| item.passes)
    }

    /// What the heartbeat itself tells: all but whether it is written. A beat that told of its own absence would keep what it mends:
    /// the record would say "not ready" until the beat after the one that made it so.
    pub fn as_published(&self) -> Cow<'_, Self> {
        if self.check(HEARTBEAT).is_none() {
            return Cow::Borrowed(self);
        }
        let mut told = self.clone();
        told.checks.retain(|check| check.name != HEARTBEAT);
        Cow::Owned(told)
    }

    /// The status as a whole: the phase decides until the process runs, then what counts does.
    pub fn overall(&self, look: Look) -> Status {
        match self.phase {
            Phase::Failed | Phase::Stopped => Status::Down,
            Phase::Draining => Status::OutOfService,
            _ if !self.started => Status::Unknown,
            Phase::Running if self.stages.iter().any(|stage| stage.counts && stage.step == Step::Unknown) => Status::Unknown,
            _ if self.verdict(Level::Deep, look) => Status::Up,
            _ => Status::Down,
        }
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

    /// The start as a whole over the steps that count, as Koupleless sums it up: any unknown before any down.
    pub fn startup(&self) -> Step {
        let counted = || self.stages.iter().filter(|stage| stage.counts).map(|stage| stage.step);
        match () {
            () if counted().all(|step| step == Step::Up) => Step::Up,
            () if counted().any(|step| step == Step::Unknown) => Step::Unknown,
            () => Step::Down,
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

    /// The checks of this module: the process itself, and its own.
    pub fn checks_of(&self, module: &Module) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.module == Some(module.id) || check.name == module.name)
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}
