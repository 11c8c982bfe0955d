//! The components of Actuator's health: each check, the start, the two probe states, and the modules.

use serde_json::{Map, Value, json};

use super::report::report;
use crate::outcome::Class;
use crate::state::check::{Check, State};
use crate::state::snapshot::{Level, Look, Migration, Module, ModuleState, Phase, Snapshot, Step};
use crate::view::{migration, time, words};

/// One component; a composite has parts.
pub(super) struct Component {
    pub(super) status: &'static str,
    pub(super) parts: Option<Vec<(String, Self)>>,
    /// For those with authority; empty for all others.
    pub(super) details: Map<String, Value>,
}

impl Component {
    fn leaf(status: &'static str) -> Self {
        Self { status, parts: None, details: Map::new() }
    }

    fn with(mut self, details: Map<String, Value>, authority: bool) -> Self {
        if authority {
            self.details = details;
        }
        self
    }

    /// The component at the end of a path; none when there is none.
    pub(super) fn descend(self, path: &[&str]) -> Option<Self> {
        match path {
            [] => Some(self),
            [name, rest @ ..] => self.parts?.into_iter().find(|(other, _)| other == name)?.1.descend(rest),
        }
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

/// Every component.
pub(super) fn components(snapshot: &Snapshot, look: Look, authority: bool) -> Vec<(String, Component)> {
    let counted = snapshot.checks.iter().filter(|check| check.affects.health());
    let mut all: Vec<(String, Component)> = counted.map(|check| (check.name.clone(), of_check(check, look, authority))).collect();
    all.push(("startup".to_owned(), startup(snapshot, look, authority)));
    for (name, level) in [("livenessState", Level::Live), ("readinessState", Level::Ready)] {
        all.push((name.to_owned(), Component::leaf(state(level, snapshot.verdict(level, look)))));
    }
    if !snapshot.modules.is_empty() {
        all.push(("modules".to_owned(), modules(snapshot, look, authority)));
    }
    all
}

fn of_check(check: &Check, look: Look, authority: bool) -> Component {
    let (state, class) = check.effective(look.now);
    let mut details = Map::new();
    details.insert("kind".to_owned(), Value::from(check.kind));
    if state != State::Up {
        details.insert("error".to_owned(), Value::from(words(check, class, authority)));
    }
    if state == State::Degraded {
        details.insert("degraded".to_owned(), Value::from(true));
    }
    if let Some(last) = check.last() {
        let milliseconds = format!("{:.1}", last.elapsed.as_secs_f64() * 1000.0);
        details.insert("responseTimeMs".to_owned(), Value::from(milliseconds.parse::<f64>().unwrap_or_default()));
        details.insert("checkTime".to_owned(), Value::from(time::iso(last.at)));
        if !last.parts.is_empty() {
            details.extend(report(&check.name, last));
        }
    }
    Component::leaf(word(state)).with(details, authority)
}

/// Spring's default order would drop a warning without a word, so degraded is a detail of UP.
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

fn startup(snapshot: &Snapshot, look: Look, authority: bool) -> Component {
    let stages = snapshot.stages.iter().map(|stage| {
        let mut told = Map::new();
        told.insert("status".to_owned(), Value::from(step_word(stage.step)));
        let migrates = matches!(snapshot.migration, Migration::Queued { .. } | Migration::Holder { .. });
        if stage.name == "migrate" && migrates {
            told.extend(migration(snapshot, look, authority).unwrap_or_default());
        }
        (stage.name.clone(), Value::Object(told))
    });
    Component::leaf(step_word(snapshot.startup())).with(stages.collect(), authority)
}

/// Koupleless' composite: UP while the failure of a module that does not count stands below it.
fn modules(snapshot: &Snapshot, look: Look, authority: bool) -> Component {
    let counted = snapshot.modules.iter().filter(|module| module.counts);
    let starts: Vec<Step> = counted.filter_map(|module| snapshot.start_of(module)).map(|stage| stage.step).collect();
    let checks = snapshot.modules.iter().flat_map(|module| snapshot.checks_of(module)).filter(|check| check.affects.health());
    let runtime: Vec<&str> = checks.map(|check| word(check.effective(look.now).0)).collect();
    let status = match () {
        () if starts.contains(&Step::Unknown) => "UNKNOWN",
        () if starts.contains(&Step::Down) || runtime.contains(&"DOWN") => "DOWN",
        () if runtime.contains(&"UNKNOWN") => "UNKNOWN",
        () => "UP",
    };
    let parts = snapshot.modules.iter().map(|module| (module.name.clone(), of_module(snapshot, module, look, authority)));
    Component { status, parts: Some(parts.collect()), details: Map::new() }
}

/// One module: where it stands, and while it runs the worst of its checks.
fn of_module(snapshot: &Snapshot, module: &Module, look: Look, authority: bool) -> Component {
    let checks: Vec<(&Check, State, Class)> = snapshot
        .checks_of(module)
        .map(|check| {
            let (state, class) = check.effective(look.now);
            (check, state, class)
        })
        .collect();
    let worst = [State::Down, State::Unknown].into_iter().find_map(|bad| checks.iter().find(|(_, state, _)| *state == bad));
    let status = match module.state {
        ModuleState::Activated => worst.map_or("UP", |(_, state, _)| word(*state)),
        // What was stopped on purpose is not broken.
        ModuleState::Stopping | ModuleState::Deactivated => "OUT_OF_SERVICE",
        state => step_word(state.step()),
    };
    let mut details = Map::new();
    details.insert("bizState".to_owned(), Value::from(module.state.word()));
    details.insert("startupAffectsHealth".to_owned(), Value::from(module.counts));
    if module.child.restarts > 0 {
        details.insert("restarts".to_owned(), Value::from(module.child.restarts));
    }
    if let Some((check, _, class)) = checks.iter().find(|(_, state, _)| *state != State::Up) {
        details.insert("error".to_owned(), json!(words(check, *class, authority)));
    }
    if let Some(trouble) = &module.trouble {
        details.insert("error".to_owned(), json!(trouble));
    }
    Component::leaf(status).with(details, authority)
}

/// The main process in the words for modules.
pub(super) const fn base_state(snapshot: &Snapshot) -> ModuleState {
    match snapshot.phase {
        Phase::Init | Phase::Waiting | Phase::Migrating | Phase::Starting => ModuleState::Resolved,
        Phase::Running => ModuleState::Activated,
        Phase::Draining | Phase::Stopped => ModuleState::Deactivated,
        Phase::Failed => ModuleState::Broken,
    }
}
