//! HTTP by URL and by parts, what its answer has to be, and several endpoints under one name.

use super::Written;
use crate::config::interpolate::looks_secret;
use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::resolve::address;
use crate::plan::target::{Expect, HttpTarget, SeveralTarget, Target};
use crate::secret::Secret;

pub(in crate::plan::resolve) const EXPECT: Keys = Keys { known: &["status", "body", "json"] };

/// The keys of one of several endpoints.
pub(in crate::plan::resolve) const MEMBER: Keys = Keys {
    known: &[
        "name",
        "url",
        "kind",
        "host",
        "port",
        "user",
        "username",
        "password",
        "path",
        "tls",
        "ca",
        "client_certificate",
        "client_key",
        "insecure",
        "headers",
        "method",
        "expect",
        "bearer",
    ],
};

/// How many endpoints are asked at a time when nobody says another number.
const AT_ONCE: usize = 8;

/// `[[checks.NAME.targets]]`: endpoints that are asked in parallel and make one result.
pub(super) fn several(section: &Section<'_>) -> Option<Target> {
    for key in ["url", "kind", "host", "headers", "method", "expect", "bearer"].iter().filter(|key| section.has(key)) {
        section.problem(key, "and `targets` exclude each other; write it with each target");
    }
    let at_once = section.integer("parallel", 1..=64).and_then(|number| usize::try_from(number).ok()).unwrap_or(AT_ONCE);
    let context = section.context();
    let mut members: Vec<(String, HttpTarget)> = Vec::new();
    for (index, node) in section.list("targets")?.iter().enumerate() {
        let path = format!("{}.{}", section.below("targets"), index + 1);
        let Some(member) = context.open(node, &path, Some(MEMBER), section.depth()) else { continue };
        let name = member.nonempty("name").map(|text| text.value());
        let target = super::read(&member);
        if section.depth() == Depth::Form {
            continue;
        }
        match target {
            Some(Target::Http(http)) => {
                let name = name.unwrap_or_else(|| (index + 1).to_string());
                if members.iter().any(|(other, _)| *other == name) {
                    member.problem("name", format!("is `{name}`, as that of another target"));
                }
                members.push((name, http));
            }
            Some(other) => member.problem("url", format!("is of kind {}; several targets have to be of kind http", other.kind())),
            None => {}
        }
    }
    if section.depth() == Depth::Form {
        return None;
    }
    if members.is_empty() {
        section.problem("targets", "names no target");
        return None;
    }
    Some(Target::Several(SeveralTarget { members, at_once }))
}

impl Written<'_, '_> {
    pub(super) fn http(self, options: HttpOptions) -> Option<Target> {
        let secure = self.address.scheme == "https";
        let tls = self.tls.chosen(self.section, secure);
        let (scheme, default_port) = if tls.is_some() { ("https", 443) } else { ("http", 80) };
        let place = self.place(Some(default_port))?;
        let raw_path = match &self.path {
            Some(path) if !path.value().starts_with('/') => {
                self.section.problem("path", "does not begin with `/`");
                return None;
            }
            Some(path) => path.value(),
            None => self.address.query.as_ref().map_or_else(|| self.address.path.clone(), |query| format!("{}?{query}", self.address.path)),
        };
        let login = match (self.user(), self.password()) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", address::encode_user(&user.unwrap_or_default())),
            (user, Some(password)) => {
                format!("{}:{}@", address::encode_user(&user.unwrap_or_default()), address::encode_user(password.expose()))
            }
        };
        let Ok(url) = url::Url::parse(&format!("{scheme}://{login}{place}{raw_path}")) else {
            self.section.problem(self.key("host"), "gives no valid URL");
            return None;
        };
        let mut shown = url.clone();
        // Neither can fail for a URL that has a host.
        let _ = (shown.set_username(""), shown.set_password(None));
        shown.set_query(None);
        let shown = crate::secret::scrub(shown.as_str());
        let HttpOptions { method, headers, expect } = options;
        Some(Target::Http(HttpTarget {
            url: Secret::unlisted(url.as_str()),
            shown,
            method,
            headers,
            expect,
            tls: tls.unwrap_or_default(),
            redirects: None,
            environment_proxy: false,
        }))
    }
}

/// What only an HTTP target has.
pub(super) struct HttpOptions {
    method: String,
    headers: Vec<(String, Secret)>,
    expect: Expect,
}

pub(super) fn options(section: &Section<'_>) -> HttpOptions {
    let method = section.nonempty("method").map_or_else(|| "GET".to_owned(), |text| text.value());
    if !method.chars().all(|c| c.is_ascii_uppercase()) {
        section.problem("method", format!("is `{method}`, not a method as `GET` or `HEAD`"));
    }
    let mut headers = Vec::new();
    if let Some(table) = section.table("headers", None) {
        for name in table.entries().map(|entry| entry.key.as_str()) {
            let Some(value) = table.text(name).map(|text| text.value()) else { continue };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
                table.problem(name, "cannot be sent as a header");
            }
            let secret = looks_secret(name, &value) || ["authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str());
            headers.push((name.to_owned(), if secret { Secret::new(value) } else { Secret::unlisted(value) }));
        }
    }
    if let Some(token) = section.nonempty("bearer") {
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            section.problem("bearer", "and the header `Authorization` exclude each other");
        }
        let token = Secret::new(token.value());
        if token.expose().chars().any(|c| c.is_control() || !c.is_ascii()) {
            section.problem("bearer", "cannot be sent in a header");
        }
        headers.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.expose()))));
    }
    HttpOptions { method, headers, expect: section.table("expect", Some(EXPECT)).map(|section| expectation(&section)).unwrap_or_default() }
}

fn expectation(section: &Section<'_>) -> Expect {
    let status = match section.node("status") {
        Some(Node { value: Value::List(items), .. }) => items.iter().filter_map(|item| status(section, item)).collect(),
        Some(Node { value: Value::Integer(_), .. }) => section.node("status").and_then(|node| status(section, node)).into_iter().collect(),
        Some(Node { value: Value::String(_), .. }) if section.origin("status").is_some_and(crate::config::node::Origin::verbatim) => {
            section.integer("status", 100..=599).and_then(|status| u16::try_from(status).ok()).into_iter().collect()
        }
        Some(_) => {
            section.problem("status", "wants a status as `200`, or a list of them");
            Vec::new()
        }
        None => Vec::new(),
    };
    let mut json = Vec::new();
    if let Some(table) = section.table("json", None) {
        for entry in table.entries() {
            if !entry.key.is_empty() && !entry.key.starts_with('/') {
                table.problem(&entry.key, "is not a JSON pointer: it has to begin with `/`");
            }
            let accepted = match &entry.node.value {
                Value::List(items) => items.iter().filter_map(|item| json_value(section, item)).collect(),
                _ => json_value(section, &entry.node).into_iter().collect(),
            };
            json.push((entry.key.clone(), accepted));
        }
    }
    Expect { status, body: section.nonempty("body").map(|text| text.value()), json }
}

fn status(section: &Section<'_>, node: &Node) -> Option<u16> {
    let status = if let Value::Integer(number) = node.value {
        u16::try_from(number).ok().filter(|number| (100..=599).contains(number))
    } else {
        None
    };
    if status.is_none() {
        let problem = format!("{} holds something that is not a status from 100 to 599", section.what("status"));
        section.context().problem(Problem::at(&node.origin, problem));
    }
    status
}

fn json_value(section: &Section<'_>, node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.value {
        Value::String(_) => Json::String(section.context().text(node, &section.what("json"), section.depth())?.value()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::List(items) => Json::Array(items.iter().filter_map(|item| json_value(section, item)).collect()),
        Value::Table(table) => {
            let member = |entry: &crate::config::node::Entry| json_value(section, &entry.node).map(|value| (entry.key.clone(), value));
            Json::Object(table.iter().filter_map(member).collect())
        }
        Value::Datetime | Value::Hole => {
            section.context().problem(Problem::at(&node.origin, format!("{} holds a date, which JSON has not", section.what("json"))));
            return None;
        }
    })
}
