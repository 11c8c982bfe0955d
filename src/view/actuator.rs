//! Spring Boot's Actuator: `/actuator`, `/actuator/health` with its groups, components and modules, and `/actuator/info`.

mod component;
mod report;

use schemars::JsonSchema;
use serde::Serialize;

use super::members::Members;
use super::{JSON, Response, accept};
use crate::state::snapshot::{Assessment, Level, ModuleState, Phase, Snapshot};
pub(super) use component::Component;
use component::{components, state};

const V3: &str = "application/vnd.spring-boot.actuator.v3+json";
const V2: &str = "application/vnd.spring-boot.actuator.v2+json";

/// The groups, which never show components.
pub(super) const GROUPS: [&str; 2] = ["liveness", "readiness"];

/// The one word of `Accept` that the answers depend on: the type that the asker understands best. One that accepts none of ours gets
/// JSON all the same, because 406 would be no answer.
pub(super) fn syntax(accept: &str) -> &'static str {
    let best = accept::best(accept, |range| match range.kind.as_str() {
        "*/*" | "application/*" | V3 => Some(V3),
        V2 => Some(V2),
        JSON => Some(JSON),
        _ => None,
    });
    best.unwrap_or(V3)
}

/// Answers the path below `/actuator`.
pub(super) fn render(assessment: &Assessment<'_>, path: &[&str], accept: &str, authority: bool) -> Option<Response> {
    let syntax = syntax(accept);
    let told = |component: &Component<'_>| Response::document(code(component.status), syntax, component);
    let all = || components(assessment, authority, syntax == V2);
    match path {
        [] => Some(Response::document(200, syntax, &index())),
        ["info"] => Some(Response::document(200, syntax, &info(assessment.snapshot))),
        ["health"] => {
            let health = ActuatorHealth { component: all(), groups: GROUPS };
            Some(Response::document(code(health.component.status), syntax, &health))
        }
        ["health", group] if GROUPS.contains(group) => {
            let level = if *group == "liveness" { Level::Live } else { Level::Ready };
            Some(told(&Component::leaf(state(level, assessment.passes(level)))))
        }
        ["health", names @ ..] => Some(match all().descend(names) {
            Some(component) => told(&component),
            // Spring's answer to an unknown component has no body.
            None => Response::new(404, syntax, String::new()),
        }),
        _ => None,
    }
}

/// DOWN, OUT_OF_SERVICE and also UNKNOWN are 503: who is still starting shall get no traffic.
const fn code(status: &str) -> u16 {
    if matches!(status.as_bytes(), b"UP") { 200 } else { 503 }
}

/// Spring's health as a whole.
#[derive(Serialize, JsonSchema)]
pub(super) struct ActuatorHealth<'a> {
    #[serde(flatten)]
    component: Component<'a>,
    groups: [&'static str; 2],
}

/// Spring's index. Links are relative, so that they are right behind any proxy.
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

/// Who this is, and Koupleless' list of modules.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActuatorInfo<'a> {
    app: App<'a>,
    build: Build,
    /// The main process (Koupleless' "base") first.
    ark_biz_info: Vec<Biz<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct App<'a> {
    name: &'a str,
    mode: Option<&'a str>,
}

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
        Phase::Init | Phase::Waiting | Phase::Migrating | Phase::Starting => ModuleState::Resolved,
        Phase::Running => ModuleState::Activated,
        Phase::Draining | Phase::Stopped => ModuleState::Deactivated,
        Phase::Failed => ModuleState::Broken,
    };
    let mut modules = vec![Biz { name: &service.name, version: "", state: base.word(), path: "/" }];
    modules.extend(snapshot.modules.iter().map(|module| Biz {
        name: &module.name,
        version: &module.version,
        state: module.state.word(),
        path: &module.web_path,
    }));
    ActuatorInfo {
        app: App { name: &service.name, mode: service.mode.as_deref() },
        build: Build { name: "portcullis", version: service.version },
        ark_biz_info: modules,
    }
}
