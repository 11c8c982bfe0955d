//! Koupleless' modules in Actuator's health: their running state, their starts, and each under its own path.

use std::borrow::Cow;

use super::component::{Component, Details, ModuleDetails, Parts, Syntax, of_check, parts, step_word, word};
use crate::plan::ComponentNames;
use crate::state::check::State;
use crate::state::snapshot::{Assessed, Assessment, Module, ModuleState, Snapshot, StageState};
use crate::view::words;

/// The name of a module's process among its checks: Spring's `ping`.
const PROCESS: &str = "ping";

/// The names of the two components, in the document and currently upstream.
pub(super) const fn names(wanted: ComponentNames) -> [&'static str; 2] {
    match wanted {
        ComponentNames::Document => ["arkBizAggregate", "masterBizStartUp"],
        ComponentNames::Current => ["compositeAllBiz", "baseStartUp"],
    }
}

/// `arkBizAggregate`: the modules that have started, each with its checks; of those that count, DOWN before UNKNOWN before UP.
pub(super) fn running<'a>(assessment: &Assessment<'a>, authorized: bool) -> Component<'a> {
    let snapshot = assessment.snapshot;
    let is_there = |module: &&Module| {
        let through = snapshot.start_of(module).is_some_and(|stage| stage.step == StageState::Up);
        through && assessment.checks_of(module).next().is_some()
    };
    let there = || snapshot.modules.iter().filter(is_there);
    let counted = there().flat_map(|module| assessment.checks_of(module)).filter(|assessed| assessed.counts);
    let status = word(worst(counted));
    let owned = there().map(|module| {
        let status = word(worst(assessment.checks_of(module)));
        let own = Component::composite(status, checks(assessment, module, authorized), Syntax::V2);
        (full_name(&module.name, &module.version), own)
    });
    Component::composite(status, parts(owned), Syntax::V2)
}

/// `masterBizStartUp`: the starts of the service itself and of each requested module.
pub(super) fn start(snapshot: &Snapshot) -> Component<'_> {
    let started = snapshot.modules.iter().filter_map(|module| Some((module, snapshot.start_of(module)?)));
    let mut parts =
        parts(started.map(|(module, stage)| (full_name(&module.name, &module.version), Component::leaf(step_word(stage.step)))));
    let (service, version) = (&snapshot.service, snapshot.service.version.as_deref().unwrap_or_default());
    let base = full_name(&service.name, version);
    // A module may have the same name as the service.
    let base = if parts.contains_key(&base) { full_name("main", version) } else { base };
    parts.insert(base, Component::leaf(step_word(snapshot.base_start())));
    Component::composite(step_word(snapshot.startup()), parts, Syntax::V2)
}

/// `name:version`; only the name without a version.
fn full_name<'a>(name: &'a str, version: &str) -> Cow<'a, str> {
    if version.is_empty() { name.into() } else { format!("{name}:{version}").into() }
}

/// The checks of a module, by their names within it.
fn checks<'a>(assessment: &Assessment<'a>, module: &'a Module, authorized: bool) -> Parts<'a> {
    let within = |name: &'a str| name.strip_prefix(&*module.name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(PROCESS);
    parts(assessment.checks_of(module).map(|assessed| (within(&assessed.check.name).into(), of_check(assessed, authorized))))
}

fn worst<'b, 'a: 'b>(checks: impl Iterator<Item = &'b Assessed<'a>>) -> State {
    let rank = |state: &State| match state {
        State::Down => 2,
        State::Unknown => 1,
        State::Up | State::Degraded => 0,
    };
    checks.map(|assessed| assessed.state).max_by_key(rank).unwrap_or(State::Up)
}

/// The module with this web path, like its own Actuator: `/{web_path}/actuator/health`. Koupleless' document uses `/info` for the same.
pub(super) fn own<'a>(assessment: &Assessment<'a>, web_path: &[&str], authorized: bool, syntax: Syntax) -> Option<Component<'a>> {
    let is_meant = |module: &&Module| {
        let path = module.web_path.trim_matches('/');
        !path.is_empty() && path.split('/').eq(web_path.iter().copied())
    };
    let module = assessment.snapshot.modules.iter().find(is_meant)?;
    Some(Component::composite(status(assessment, module), checks(assessment, module, authorized), syntax))
}

/// All modules by name, with their states: `/actuator/health/modules`.
pub(super) fn all<'a>(assessment: &Assessment<'a>, authorized: bool, syntax: Syntax) -> Component<'a> {
    let all = &assessment.snapshot.modules;
    let counted = all.iter().filter(|module| module.counts);
    let starts: Vec<StageState> = counted.filter_map(|module| assessment.snapshot.start_of(module)).map(|stage| stage.step).collect();
    let runtime = worst(all.iter().flat_map(|module| assessment.checks_of(module)).filter(|assessed| assessed.counts));
    let status = match () {
        () if starts.contains(&StageState::Unknown) => "UNKNOWN",
        () if starts.contains(&StageState::Down) => "DOWN",
        () => word(runtime),
    };
    let each = all.iter().map(|module| (module.name.as_str().into(), of_module(assessment, module, authorized)));
    Component::composite(status, parts(each), syntax)
}

/// The state of a module, and while it runs the worst of its checks.
fn status(assessment: &Assessment<'_>, module: &Module) -> &'static str {
    match module.state {
        ModuleState::Activated => word(worst(assessment.checks_of(module))),
        // A module that was stopped intentionally is not broken.
        ModuleState::Stopping | ModuleState::Deactivated => "OUT_OF_SERVICE",
        state => step_word(state.step()),
    }
}

fn of_module<'a>(assessment: &Assessment<'a>, module: &'a Module, authorized: bool) -> Component<'a> {
    let failing = || assessment.checks_of(module).find(|assessed| assessed.state != State::Up).map(|assessed| words(assessed, authorized));
    let details = authorized.then(|| {
        Details::Module(ModuleDetails {
            biz_state: module.state.word(),
            startup_affects_health: module.counts,
            restarts: Some(module.child.restarts).filter(|restarts| *restarts > 0),
            error: module.trouble.as_deref().or_else(failing),
        })
    });
    Component::detailed(status(assessment, module), details)
}
