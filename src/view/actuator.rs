//! Spring Boot's Actuator: `/actuator`, `/actuator/health` with its groups, components and modules, and `/actuator/info`.

mod component;
mod report;

use serde_json::{Map, Value, json};

use super::{Request, Response};
use crate::state::snapshot::{Level, Look, Snapshot};
use component::{Component, components};

const V3: &str = "application/vnd.spring-boot.actuator.v3+json";
const V2: &str = "application/vnd.spring-boot.actuator.v2+json";

/// The groups, which never show components.
pub(super) const GROUPS: [&str; 2] = ["liveness", "readiness"];

/// The one word of `Accept` that the answers depend on.
pub(super) fn syntax(accept: &str) -> &'static str {
    Syntax::preferred(accept).content_type
}

/// Answers the path below `/actuator`.
pub fn render(snapshot: &Snapshot, look: Look, path: &[&str], request: &Request<'_>) -> Option<Response> {
    let syntax = Syntax::preferred(request.accept);
    match path {
        [] => Some(syntax.answer(200, &index())),
        ["info"] => Some(syntax.answer(200, &info(snapshot))),
        ["health"] => Some(syntax.health(snapshot, look, request.authority)),
        ["health", group] if GROUPS.contains(group) => {
            let level = if *group == "liveness" { Level::Live } else { Level::Ready };
            let status = component::state(level, snapshot.verdict(level, look));
            Some(syntax.answer(code(status), &json!({ "status": status })))
        }
        ["health", name, rest @ ..] => {
            let component = components(snapshot, look, request.authority).into_iter().find(|(other, _)| other == name);
            let component = component.and_then(|(_, component)| component.descend(rest));
            Some(match component {
                Some(component) => syntax.answer(code(component.status), &syntax.tell(component)),
                // Spring's answer to an unknown component has no body.
                None => Response::new(404, syntax.content_type, String::new()),
            })
        }
        _ => None,
    }
}

/// DOWN, OUT_OF_SERVICE and also UNKNOWN are 503: who is still starting shall get no traffic.
const fn code(status: &str) -> u16 {
    if matches!(status.as_bytes(), b"UP") { 200 } else { 503 }
}

/// Links are relative, so that they are right behind any proxy.
fn index() -> Value {
    let link = |href: &str| json!({ "href": href, "templated": href.contains('{') });
    json!({ "_links": {
        "self": link("/actuator"),
        "health": link("/actuator/health"),
        "health-path": link("/actuator/health/{*path}"),
        "info": link("/actuator/info"),
    } })
}

/// Who this is, and Koupleless' list of modules, the main process (its "base") first.
fn info(snapshot: &Snapshot) -> Value {
    let base_state = component::base_state(snapshot).word();
    let mut modules = vec![json!({ "bizName": snapshot.service.name, "bizVersion": "", "bizState": base_state, "webContextPath": "/" })];
    modules.extend(snapshot.modules.iter().map(|module| {
        json!({
            "bizName": module.name, "bizVersion": module.version, "bizState": module.state.word(), "webContextPath": module.web_path,
        })
    }));
    json!({
        "app": { "name": snapshot.service.name, "mode": snapshot.service.mode },
        "build": { "name": "portcullis", "version": snapshot.service.version },
        "arkBizInfo": modules,
    })
}

/// The syntax that the asker understands.
#[derive(Clone, Copy)]
struct Syntax {
    content_type: &'static str,
    /// The key of a composite's parts.
    parts: &'static str,
}

impl Syntax {
    /// The best match of `Accept`; an asker that accepts none of ours gets JSON all the same, because 406 would be no answer.
    fn preferred(accept: &str) -> Self {
        let mut best = (0.0, Self { content_type: V3, parts: "components" });
        for part in accept.split(',') {
            let mut fields = part.split(';').map(str::trim);
            let found = match fields.next().unwrap_or_default() {
                "*/*" | "application/*" | V3 => Self { content_type: V3, parts: "components" },
                V2 => Self { content_type: V2, parts: "details" },
                super::JSON => Self { content_type: super::JSON, parts: "components" },
                _ => continue,
            };
            let quality = fields.find_map(|field| field.strip_prefix("q=")).map_or(1.0, |value| value.parse().unwrap_or(0.0));
            if quality > best.0 {
                best = (quality, found);
            }
        }
        best.1
    }

    fn answer(self, status: u16, body: &Value) -> Response {
        Response::new(status, self.content_type, body.to_string())
    }

    /// The whole: components sorted by name, as Spring's `TreeMap` has them.
    fn health(self, snapshot: &Snapshot, look: Look, authority: bool) -> Response {
        let status = snapshot.overall(look).word();
        let parts = components(snapshot, look, authority);
        let parts = Component { status, parts: Some(parts), details: Map::new() };
        let Value::Object(mut body) = self.tell(parts) else { return Response::not_found() };
        body.insert("groups".to_owned(), json!(GROUPS));
        self.answer(code(status), &Value::Object(body))
    }

    /// A component and its parts.
    fn tell(self, component: Component) -> Value {
        let mut body = Map::new();
        body.insert("status".to_owned(), Value::from(component.status));
        if let Some(parts) = component.parts {
            let mut parts: Map<String, Value> = parts.into_iter().map(|(name, part)| (name, self.tell(part))).collect();
            parts.sort_keys();
            body.insert(self.parts.to_owned(), Value::Object(parts));
        }
        if !component.details.is_empty() {
            body.insert("details".to_owned(), Value::Object(component.details));
        }
        Value::Object(body)
    }
}
