//! A snapshot as somebody's document: one path table, and what every answer has in common.
//!
//! A view is a pure function of the snapshot, the moment of the look and a few facts about the request. No view runs a check,
//! looks at a clock or takes a lock, so no two of them can disagree.

pub mod actuator;
pub mod article;
mod canonical;
pub mod configcat;
mod exposition;
pub mod figures;
pub mod kubernetes;
pub mod openapi;
pub mod own;
pub mod page;
pub mod prometheus;
pub mod ragflow;
mod summary;
pub mod terminal;
#[cfg(test)]
mod tests;
mod time;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::outcome::Class;
use crate::plan::Views;
use crate::state::check::Check;
use crate::state::snapshot::{Level, Look, Migration, Snapshot};
pub use canonical::{Canonical, is_long};
use figures::Figures;

/// The type of plain answers.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The type of JSON answers.
pub const JSON: &str = "application/json";

/// Bytes that the text of a Kubernetes endpoint may have before it lists failures first and counts the rest: the kubelet cuts at 10 KiB.
pub const LONGEST_BODY: usize = 8 * 1024;

/// What may be asked with; `HEAD` is answered as `GET`, and whoever sends the answer leaves the body out.
const ALLOW: (&str, &str) = ("allow", "GET, HEAD, OPTIONS");

/// The facts of a request that an answer may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// The query as it was sent, without the question mark.
    pub query: &'a str,
    /// The `Accept` header; it may change the syntax of an answer, never its meaning.
    pub accept: &'a str,
    /// Whether the asker may see private texts.
    pub authority: bool,
    /// What is answered at all.
    pub views: Views,
    /// What the server knows of itself; only `/metrics` tells it.
    pub figures: Option<&'a Figures>,
}

/// An answer, but for the headers that all answers share (`Cache-Control`, `X-Content-Type-Options`, `Content-Length`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body's type; empty when there is no body (204).
    pub content_type: &'static str,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body, also for `HEAD`.
    pub body: String,
}

impl Response {
    /// An answer without further headers.
    pub fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, headers: Vec::new(), body }
    }

    /// The answer where there is no such path.
    pub fn not_found() -> Self {
        Self::new(404, TEXT, "404 page not found\n".to_owned())
    }
}

/// Answers a request: the one table of all paths.
pub fn route(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Response {
    let found = find(snapshot, look, request).unwrap_or_else(Response::not_found);
    if found.status == 404 { found } else { instead(request.method).unwrap_or(found) }
}

/// What is told in place of a view that is there, for a method that does not ask for it.
pub fn instead(method: &str) -> Option<Response> {
    match method {
        "GET" | "HEAD" => None,
        "OPTIONS" => Some(Response { headers: vec![ALLOW], ..Response::new(204, "", String::new()) }),
        _ => Some(Response { headers: vec![ALLOW], ..Response::new(405, TEXT, "method not allowed\n".to_owned()) }),
    }
}

/// The view at the request's path, whatever its method; none where there is none.
pub fn find(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Option<Response> {
    let segments = segments(request.path)?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let Request { accept, query, authority, views, .. } = *request;
    match segments[..] {
        [""] if views.page => Some(page::render(snapshot, look, request)),
        ["healthz"] | ["v1", "system", "healthz"] | ["api", "v1", "system", "healthz"] if views.healthz => {
            Some(ragflow::render(snapshot, look, authority))
        }
        [endpoint @ ("livez" | "readyz" | "startupz")] if views.kubernetes => {
            Some(kubernetes::render(snapshot, look, endpoint, level_of(endpoint), query))
        }
        [endpoint @ ("livez" | "readyz" | "startupz"), check] if views.kubernetes => {
            kubernetes::render_one(snapshot, look, level_of(endpoint), check)
        }
        ["actuator", ref path @ ..] if views.actuator => actuator::render(snapshot, look, path, request),
        ["health"] if views.health => Some(article::render(snapshot, look)),
        ["status"] if views.status => Some(configcat::render(snapshot, look, query, authority)),
        ["metrics"] if views.metrics => Some(prometheus::render(snapshot, look, accept, request.figures)),
        _ => None,
    }
}

/// The decoded segments of a path, one slash at its end tolerated; none where they are not UTF-8.
fn segments(path: &str) -> Option<Vec<std::borrow::Cow<'_, str>>> {
    let path = path.strip_prefix('/').filter(|path| *path != "/")?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(|segment| percent_decode_str(segment).decode_utf8().ok()).collect()
}

/// The fixed word for a path, for counting: who asks for what nobody knows is counted as `other`.
pub fn route_of(path: &str) -> &'static str {
    let segments = segments(path).unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match segments[..] {
        [""] => "/",
        ["healthz"] => "/healthz",
        ["v1", "system", "healthz"] => "/v1/system/healthz",
        ["api", "v1", "system", "healthz"] => "/api/v1/system/healthz",
        ["livez", ..] => "/livez",
        ["readyz", ..] => "/readyz",
        ["startupz", ..] => "/startupz",
        ["actuator"] => "/actuator",
        ["actuator", "info"] => "/actuator/info",
        ["actuator", "health", ..] => "/actuator/health",
        ["health"] => "/health",
        ["status"] => "/status",
        ["metrics"] => "/metrics",
        _ => "other",
    }
}

fn level_of(endpoint: &str) -> Level {
    match endpoint {
        "livez" => Level::Live,
        "startupz" => Level::Started,
        _ => Level::Ready,
    }
}

/// The fixed public text for why something does not pass.
pub const fn reason(class: Class) -> &'static str {
    match class {
        // The last run passed, but not yet as often in a row as the check asks for.
        Class::Ok => "not passing long enough",
        class => class.public(),
    }
}

/// Why a check does not pass: the dependency's own words for those with authority, else the public text.
fn words(check: &Check, class: Class, authority: bool) -> &str {
    match check.last() {
        Some(last) if authority && last.class == class && !last.private.as_str().is_empty() => last.private.as_str(),
        _ => reason(class),
    }
}

/// Everything that keeps this replica from being up, in words that anybody may read; none when nothing does.
pub fn why(snapshot: &Snapshot, look: Look) -> Option<String> {
    let causes = summary::causes(snapshot, look, false);
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// The part of this replica in the migration: role and age for everybody, the holder, which the database names, with authority.
fn migration(snapshot: &Snapshot, look: Look, authority: bool) -> Option<Map<String, Value>> {
    let known = &snapshot.migration_lock;
    let since = match &snapshot.migration {
        Migration::Queued { since, .. } | Migration::Holder { since } => Some(*since),
        Migration::Idle | Migration::Done => None,
    };
    let mut told = Map::new();
    told.insert("role".to_owned(), Value::from(snapshot.migration_role()?));
    told.extend(known.kind.map(|kind| ("lock".to_owned(), Value::from(kind))));
    told.extend(since.map(|since| ("since_s".to_owned(), json!(look.now.since(since).as_secs()))));
    if known.attempts > 0 {
        told.insert("attempt".to_owned(), json!(known.attempts));
    }
    if let Some((holder, heard)) = known.holder.as_ref().filter(|_| authority && matches!(snapshot.migration, Migration::Queued { .. })) {
        let held = holder.held.map(|held| (held + look.now.since(*heard)).as_secs());
        let parts = json!({ "instance": holder.instance, "addr": holder.address, "held_s": held, "session": holder.words });
        told.insert("holder".to_owned(), parts);
    }
    Some(told)
}
