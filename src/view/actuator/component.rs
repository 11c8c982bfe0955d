//! The components of Actuator's health: each check, the start, the two probe states, and the modules.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::report::Report;
use crate::state::check::State;
use crate::state::snapshot::{Assessed, Assessment, Level, Migration, Module, ModuleState, Step};
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
    /// For those with authority, but for the parts in the syntax of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

/// Sorted by name, as Spring's `TreeMap` has them.
type Parts<'a> = BTreeMap<&'a str, Component<'a>>;

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(untagged)]
enum Details<'a> {
    Parts(Parts<'a>),
    Check(Box<CheckDetails<'a>>),
    Start(Members<'a, StageDetails<'a>>),
    Module(ModuleDetails<'a>),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CheckDetails<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// Spring's default order would drop a warning without a word, so degraded is a detail of UP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_time: Option<String>,
    #[serde(flatten)]
    report: Option<Report<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct StageDetails<'a> {
    status: &'static str,
    #[serde(flatten)]
    migration: Option<MigrationPart<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ModuleDetails<'a> {
    biz_state: &'static str,
    startup_affects_health: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Component<'a> {
    pub(super) const fn leaf(status: &'static str) -> Self {
        Self { status, components: None, details: None }
    }

    fn composite(status: &'static str, parts: Parts<'a>, is_v2: bool) -> Self {
        if is_v2 {
            Self { details: Some(Details::Parts(parts)), ..Self::leaf(status) }
        } else {
            Self { components: Some(parts), ..Self::leaf(status) }
        }
    }

    /// The component at the end of a path; none when there is none.
    pub(super) fn descend(self, path: &[&str]) -> Option<Self> {
        let [name, rest @ ..] = path else { return Some(self) };
        let (Self { components: Some(mut parts), .. } | Self { details: Some(Details::Parts(mut parts)), .. }) = self else { return None };
        parts.remove(*name)?.descend(rest)
    }
}

/// The status of a probe's group: a process that does not take traffic is OUT_OF_SERVICE, not broken.
pub(super) const fn state(level: Level, holds: bool) -> &'static str {
    match (level, holds) {
        (_, true) => "UP",
        (Level::Live, false) => "DOWN",
        (_, false) => "OUT_OF_SERVICE",
    }
}

/// The whole, and every component in it.
pub(super) fn components<'a>(assessment: &Assessment<'a>, authority: bool, is_v2: bool) -> Component<'a> {
    let mut parts: Parts<'a> = assessment.counted().map(|assessed| (assessed.check.name.as_str(), of_check(assessed, authority))).collect();
    parts.insert("startup", startup(assessment, authority));
    for (name, level) in [("livenessState", Level::Live), ("readinessState", Level::Ready)] {
        parts.insert(name, Component::leaf(state(level, assessment.passes(level))));
    }
    if !assessment.snapshot.modules.is_empty() {
        parts.insert("modules", modules(assessment, authority, is_v2));
    }
    Component::composite(assessment.status().word(), parts, is_v2)
}

fn of_check<'a>(assessed: &Assessed<'a>, authority: bool) -> Component<'a> {
    let Assessed { check, state, .. } = *assessed;
    let details = authority.then(|| {
        let last = check.last();
        let milliseconds = |seconds: f64| format!("{:.1}", seconds * 1000.0).parse().unwrap_or_default();
        Details::Check(Box::new(CheckDetails {
            kind: check.kind,
            error: (state != State::Up).then(|| words(assessed, authority)),
            degraded: state == State::Degraded,
            response_time_ms: last.map(|last| milliseconds(last.elapsed.as_secs_f64())),
            check_time: last.map(|last| time::iso(last.at)),
            report: last.filter(|last| !last.parts.is_empty() || check.is_report()).map(|last| Report::new(&check.name, last)),
        }))
    });
    Component { details, ..Component::leaf(word(state)) }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Up | State::Degraded => "UP",
        State::Down => "DOWN",
        State::Unknown => "UNKNOWN",
    }
}

const fn step_word(step: Step) -> &'static str {
    match step {
        Step::Up => "UP",
        Step::Unknown => "UNKNOWN",
        Step::Down => "DOWN",
    }
}

fn startup<'a>(assessment: &Assessment<'a>, authority: bool) -> Component<'a> {
    let snapshot = assessment.snapshot;
    let migrates = matches!(snapshot.migration, Migration::Queued { .. } | Migration::Holder { .. });
    let stages = snapshot.stages.iter().map(|stage| {
        let migration = if migrates && stage.name == "migrate" { MigrationPart::new(assessment, authority) } else { None };
        (stage.name.as_str(), StageDetails { status: step_word(stage.step), migration })
    });
    let details = (authority && !snapshot.stages.is_empty()).then(|| Details::Start(Members(stages.collect())));
    Component { details, ..Component::leaf(step_word(snapshot.startup())) }
}

/// Koupleless' composite: UP while the failure of a module that does not count stands below it.
fn modules<'a>(assessment: &Assessment<'a>, authority: bool, is_v2: bool) -> Component<'a> {
    let all = &assessment.snapshot.modules;
    let counted = all.iter().filter(|module| module.counts);
    let starts: Vec<Step> = counted.filter_map(|module| assessment.snapshot.start_of(module)).map(|stage| stage.step).collect();
    let checks = all.iter().flat_map(|module| assessment.checks_of(module)).filter(|assessed| assessed.counts);
    let runtime: Vec<&str> = checks.map(|assessed| word(assessed.state)).collect();
    let status = match () {
        () if starts.contains(&Step::Unknown) => "UNKNOWN",
        () if starts.contains(&Step::Down) || runtime.contains(&"DOWN") => "DOWN",
        () if runtime.contains(&"UNKNOWN") => "UNKNOWN",
        () => "UP",
    };
    let parts = all.iter().map(|module| (module.name.as_str(), of_module(assessment, module, authority)));
    Component::composite(status, parts.collect(), is_v2)
}

/// One module: where it stands, and while it runs the worst of its checks.
fn of_module<'a>(assessment: &Assessment<'a>, module: &'a Module, authority: bool) -> Component<'a> {
    let checks = || assessment.checks_of(module);
    let worst = [State::Down, State::Unknown].into_iter().find(|bad| checks().any(|assessed| assessed.state == *bad));
    let status = match module.state {
        ModuleState::Activated => worst.map_or("UP", word),
        // What was stopped on purpose is not broken.
        ModuleState::Stopping | ModuleState::Deactivated => "OUT_OF_SERVICE",
        state => step_word(state.step()),
    };
    let failing = || checks().find(|assessed| assessed.state != State::Up).map(|assessed| words(assessed, authority));
    let details = authority.then(|| {
        Details::Module(ModuleDetails {
            biz_state: module.state.word(),
            startup_affects_health: module.counts,
            restarts: Some(module.child.restarts).filter(|restarts| *restarts > 0),
            error: module.trouble.as_deref().or_else(failing),
        })
    });
    Component { details, ..Component::leaf(status) }
}
