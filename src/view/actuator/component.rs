//! The components of Actuator's health: each check, the start, and the two probe states.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::report::Report;
use crate::outcome::Volume;
use crate::state::check::State;
use crate::state::snapshot::{Assessed, Assessment, Level, Migration, StageState};
use crate::view::members::Members;
use crate::view::{MigrationPart, time, words};

/// One component of Spring's health; a composite has parts, under `details` in the syntax of version 2.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActuatorComponent")]
pub(in crate::view) struct Component<'a> {
    #[schemars(extend("enum" = ["UP", "DOWN", "UNKNOWN", "OUT_OF_SERVICE"]))]
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<Parts<'a>>,
    /// For authorized readers, except for the parts in the syntax of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

/// Sorted by name, as in Spring's `TreeMap`.
pub(super) type Parts<'a> = BTreeMap<Cow<'a, str>, Component<'a>>;

/// The parts, inserted one by one: `collect` would sort them first, with 4 kB of machine code for each kind of iterator.
pub(super) fn parts<'a>(all: impl IntoIterator<Item = (Cow<'a, str>, Component<'a>)>) -> Parts<'a> {
    let mut parts = Parts::new();
    parts.extend(all);
    parts
}

/// How a composite is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Its parts are its `details`.
    V2,
    /// Its parts are its `components`.
    V3,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(untagged)]
pub(super) enum Details<'a> {
    Parts(Parts<'a>),
    Check(Box<CheckDetails<'a>>),
    Start(Members<'a, StageDetails<'a>>),
    Module(ModuleDetails<'a>),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckDetails<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// Spring's default order would silently drop a warning, so degraded is a detail of UP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_time: Option<String>,
    #[serde(flatten)]
    volume: Option<DiskSpace>,
    #[serde(flatten)]
    report: Option<Report<'a>>,
}

// A file system, in bytes, like Spring's `diskSpace`. Not a doc comment, which would become that of the whole component.
#[derive(Serialize, JsonSchema)]
struct DiskSpace {
    total: u64,
    free: u64,
    threshold: u64,
    exists: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct StageDetails<'a> {
    status: &'static str,
    #[serde(flatten)]
    migration: Option<MigrationPart<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModuleDetails<'a> {
    pub(super) biz_state: &'static str,
    pub(super) startup_affects_health: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

impl<'a> Component<'a> {
    pub(super) const fn leaf(status: &'static str) -> Self {
        Self { status, components: None, details: None }
    }

    pub(super) const fn detailed(status: &'static str, details: Option<Details<'a>>) -> Self {
        Self { status, components: None, details }
    }

    pub(super) fn composite(status: &'static str, parts: Parts<'a>, syntax: Syntax) -> Self {
        match syntax {
            Syntax::V2 => Self { details: Some(Details::Parts(parts)), ..Self::leaf(status) },
            Syntax::V3 => Self { components: Some(parts), ..Self::leaf(status) },
        }
    }

    /// The component at the end of a path; none if there is none.
    pub(super) fn descend(self, path: &[&str]) -> Option<Self> {
        let [name, rest @ ..] = path else { return Some(self) };
        let (Self { components: Some(mut parts), .. } | Self { details: Some(Details::Parts(mut parts)), .. }) = self else { return None };
        parts.remove(*name)?.descend(rest)
    }
}

/// The status of a probe's group: a process that does not accept traffic is OUT_OF_SERVICE, not DOWN.
pub(super) const fn state(level: Level, holds: bool) -> &'static str {
    match (level, holds) {
        (_, true) => "UP",
        (Level::Live, false) => "DOWN",
        (_, false) => "OUT_OF_SERVICE",
    }
}

/// A check that counts.
pub(super) fn of_check<'a>(assessed: &Assessed<'a>, authorized: bool) -> Component<'a> {
    let Assessed { check, state, .. } = *assessed;
    let details = authorized.then(|| {
        let last = check.last();
        let milliseconds = |seconds: f64| format!("{:.1}", seconds * 1000.0).parse().unwrap_or_default();
        Details::Check(Box::new(CheckDetails {
            kind: check.kind,
            error: (state != State::Up).then(|| words(assessed, authorized)),
            degraded: state == State::Degraded,
            response_time_ms: last.map(|last| milliseconds(last.elapsed.as_secs_f64())),
            check_time: last.map(|last| time::iso(last.at)),
            volume: last.and_then(|last| last.volume).map(|Volume { total, free, threshold, exists }| DiskSpace {
                total,
                free,
                threshold,
                exists,
            }),
            report: last.filter(|last| !last.parts.is_empty() || check.is_report()).map(|last| Report::new(&check.name, last)),
        }))
    });
    Component { details, ..Component::leaf(word(state)) }
}

/// The state in Spring's terms.
pub(super) const fn word(state: State) -> &'static str {
    match state {
        State::Up | State::Degraded => "UP",
        State::Down => "DOWN",
        State::Unknown => "UNKNOWN",
    }
}

/// The state of a stage in Spring's terms.
pub(super) const fn step_word(step: StageState) -> &'static str {
    match step {
        StageState::Up => "UP",
        StageState::Unknown => "UNKNOWN",
        StageState::Down => "DOWN",
    }
}

/// The start with its steps.
pub(super) fn startup<'a>(assessment: &Assessment<'a>, authorized: bool) -> Component<'a> {
    let snapshot = assessment.snapshot;
    let migrates = matches!(snapshot.migration, Migration::Queued { .. } | Migration::Holder { .. });
    let stages = snapshot.stages.iter().map(|stage| {
        let migration = if migrates && stage.name == "migrate" { MigrationPart::new(assessment, authorized) } else { None };
        (stage.name.as_str(), StageDetails { status: step_word(stage.step), migration })
    });
    let details = (authorized && !snapshot.stages.is_empty()).then(|| Details::Start(Members(stages.collect())));
    Component { details, ..Component::leaf(step_word(snapshot.startup())) }
}
