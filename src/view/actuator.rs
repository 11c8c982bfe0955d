//! Spring Boot's Actuator: `/actuator`, `/actuator/health` with its groups, components and modules, and `/actuator/info`.

mod component;
mod modules;
mod report;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use super::members::Members;
use super::{JSON, Response, accept};
use crate::plan::ComponentNames;
use crate::state::snapshot::{Assessment, Level, ModuleState, Phase, Snapshot, StageState};
pub(super) use component::Component;
use component::{Syntax, of_check, parts, startup, state};

const V3: &str = "application/vnd.spring-boot.actuator.v3+json";
const V2: &str = "application/vnd.spring-boot.actuator.v2+json";

/// The groups, which never show components.
pub(super) const GROUPS: [&str; 2] = ["liveness", "readiness"];

/// The negotiated content type. A client that accepts none of ours gets JSON anyway, instead of 406.
pub(super) fn syntax(accept: &str) -> &'static str {
    let best = accept::best(accept, |range| match range.kind.as_str() {
        "*/*" | "application/*" | V3 => Some(V3),
        V2 => Some(V2),
        JSON => Some(JSON),
        _ => None,
    });
    best.unwrap_or(V3)
}

/// Handles a path below `/actuator`.
pub(super) fn render(
    assessment: &Assessment<'_>,
    path: &[&str],
    accept: &str,
    authorized: bool,
    names: ComponentNames,
) -> Option<Response> {
    let kind = syntax(accept);
    let document = |component: &Component<'_>| Response::document(code(component.status), kind, component);
    let written = if kind == V2 { Syntax::V2 } else { Syntax::V3 };
    let all = || components(assessment, authorized, names, written);
    match path {
        [] => Some(Response::document(200, kind, &index())),
        ["info"] => Some(Response::document(200, kind, &info(assessment.snapshot))),
        ["health"] => {
            let health = ActuatorHealth { component: all(), groups: GROUPS };
            Some(Response::document(code(health.component.status), kind, &health))
        }
        ["health", group] if GROUPS.contains(group) => {
            let level = if *group == "liveness" { Level::Live } else { Level::Ready };
            Some(document(&Component::leaf(state(level, assessment.passes(level)))))
        }
        ["health", names @ ..] => {
            let has_modules = !assessment.snapshot.modules.is_empty();
            let found = match names {
                ["modules", names @ ..] if has_modules => modules::all(assessment, authorized, written).descend(names),
                [name] => all().descend(names).or_else(|| {
                    let of_module = assessment.counted().find(|assessed| assessed.check.name == *name)?;
                    Some(of_check(of_module, authorized))
                }),
                names => all().descend(names),
            };
            // Spring's response for an unknown component has no body.
            Some(found.map_or_else(|| Response::new(404, kind, String::new()), |component| document(&component)))
        }
        _ => None,
    }
}

/// Handles a path below the web path of a module: its health, and a component of it.
pub(super) fn render_own(assessment: &Assessment<'_>, path: &[&str], accept: &str, authorized: bool) -> Option<Response> {
    let kind = syntax(accept);
    let (web_path, below) = path.split_at(path.iter().rposition(|segment| *segment == "actuator")?);
    let written = if kind == V2 { Syntax::V2 } else { Syntax::V3 };
    let module = modules::own(assessment, web_path, authorized, written)?;
    let component = match below {
        ["actuator", "health" | "info"] => module,
        ["actuator", "health", names @ ..] => module.descend(names)?,
        _ => return None,
    };
    Some(Response::document(code(component.status), kind, &component))
}

/// The overall health with all components.
fn components<'a>(assessment: &Assessment<'a>, authorized: bool, names: ComponentNames, syntax: Syntax) -> Component<'a> {
    // The checks of a module are below it.
    let own = assessment.counted().filter(|assessed| assessed.check.module.is_none());
    let of_checks = own.map(|assessed| (assessed.check.name.as_str().into(), of_check(assessed, authorized)));
    let mut parts = parts(of_checks);
    parts.insert("startup".into(), startup(assessment, authorized));
    for (name, level) in [("livenessState", Level::Live), ("readinessState", Level::Ready)] {
        parts.insert(name.into(), Component::leaf(state(level, assessment.passes(level))));
    }
    if !assessment.snapshot.modules.is_empty() {
        let both = [modules::running(assessment, authorized), modules::start(assessment.snapshot)];
        parts.extend(modules::names(names).map(Cow::from).into_iter().zip(both));
    }
    Component::composite(assessment.status().word(), parts, syntax)
}

/// DOWN, OUT_OF_SERVICE and also UNKNOWN are 503: a starting replica must get no traffic.
const fn code(status: &str) -> u16 {
    if matches!(status.as_bytes(), b"UP") { 200 } else { 503 }
}

/// Spring's overall health.
#[derive(Serialize, JsonSchema)]
pub(super) struct ActuatorHealth<'a> {
    #[serde(flatten)]
    component: Component<'a>,
    groups: [&'static str; 2],
}

/// Spring's index. Links are relative, so that they work behind any proxy.
#[derive(Serialize, JsonSchema)]
pub(super) struct ActuatorIndex {
    #[serde(rename = "_links")]
    links: Members<'static, Link>,
}

#[derive(Serialize, JsonSchema)]
struct Link {
    href: &'static str,
    templated: bool,
}

fn index() -> ActuatorIndex {
    let names = ["self", "health", "health-path", "info"];
    let links = names.into_iter().zip(["/actuator", "/actuator/health", "/actuator/health/{*path}", "/actuator/info"]);
    ActuatorIndex { links: Members(links.map(|(name, href)| (name, Link { href, templated: href.contains('{') })).collect()) }
}

/// The application's name and version, and Koupleless' list of modules.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActuatorInfo<'a> {
    app: App<'a>,
    build: Build,
    /// The main process (Koupleless' "base") first.
    ark_biz_info: Vec<Biz<'a>>,
    /// Always empty; clients expect the list.
    #[schemars(length(max = 0))]
    ark_plugin_info: Vec<&'static str>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct App<'a> {
    name: &'a str,
    mode: Option<&'a str>,
    /// From the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

/// portcullis itself.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Build {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Biz<'a> {
    #[serde(rename = "bizName")]
    name: &'a str,
    #[serde(rename = "bizVersion")]
    version: &'a str,
    #[serde(rename = "bizState")]
    #[schemars(extend("enum" = ["RESOLVED", "ACTIVATED", "DEACTIVATED", "BROKEN"]))]
    state: &'static str,
    #[serde(rename = "webContextPath")]
    path: &'a str,
}

fn info(snapshot: &Snapshot) -> ActuatorInfo<'_> {
    let service = &snapshot.service;
    let base = match snapshot.phase {
        _ if !snapshot.started && snapshot.base_start() == StageState::Down => ModuleState::Broken,
        Phase::Init | Phase::Waiting | Phase::Migrating | Phase::Starting => ModuleState::Resolved,
        Phase::Running => ModuleState::Activated,
        Phase::Draining | Phase::Stopped => ModuleState::Deactivated,
        Phase::Failed => ModuleState::Broken,
    };
    let version = service.version.as_deref().unwrap_or_default();
    let mut modules = vec![Biz { name: &service.name, version, state: base.word(), path: "/" }];
    modules.extend(snapshot.modules.iter().map(|module| Biz {
        name: &module.name,
        version: &module.version,
        state: module.state.word(),
        path: &module.web_path,
    }));
    ActuatorInfo {
        app: App { name: &service.name, mode: service.mode.as_deref(), version: service.version.as_deref() },
        build: Build { name: "portcullis", version: service.build },
        ark_biz_info: modules,
        ark_plugin_info: Vec::new(),
    }
}
