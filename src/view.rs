//! The views of a snapshot: the dispatch by path, and what all responses have in common.
//!
//! A view is a pure function of the snapshot, the time and a few facts about the request. No view runs a check, reads a clock or takes a
//! lock, so views cannot contradict each other.

mod accept;
mod actuator;
mod article;
mod canonical;
mod configcat;
pub mod control;
mod exposition;
pub mod figures;
mod fit;
mod kubernetes;
mod members;
pub mod own;
mod page;
mod path;
mod prometheus;
mod ragflow;
mod summary;
mod terminal;
#[cfg(test)]
mod tests;
mod time;

use schemars::JsonSchema;
use serde::Serialize;

use crate::outcome::ErrorKind;
use crate::plan::Views;
use crate::state::check::Check;
use crate::state::snapshot::{Assessed, Assessment, Look, Migration, Snapshot};
pub use canonical::Canonical;
use figures::Figures;
use path::{Endpoint, View};
pub use path::{is_long, route_of};

/// The content type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The content type of JSON.
pub const JSON: &str = "application/json";

/// The size of a Kubernetes endpoint's text in bytes from which it lists failures first and counts the rest: the kubelet cuts at 10 KiB.
pub const LONGEST_BODY: usize = 8 * 1024;

/// The allowed methods; `HEAD` is handled like `GET`, and the server omits the body.
const ALLOW: (&str, &str) = ("allow", "GET, HEAD, OPTIONS");

/// How a client without details can get them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetailAccess {
    /// Only over the unix socket, as root or portcullis' own user: there is no token.
    #[default]
    Local,
    /// By the token, too: as `Authorization: Bearer`, or by the page's form.
    Token,
    /// Not at all.
    Never,
}

/// The facts of a request that a response may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// The query as it was sent, without the question mark.
    pub query: &'a str,
    /// The `Accept` header; it may change the syntax of a response, never its meaning.
    pub accept: &'a str,
    /// Whether the client may see private texts.
    pub authorized: bool,
    /// How it can get access otherwise; only the page shows this.
    pub access: DetailAccess,
    /// The enabled views.
    pub views: Views,
    /// The metrics of the server itself; only `/metrics` shows them.
    pub figures: Option<&'a Figures>,
}

/// A response, without the headers that all responses share (`Cache-Control`, `X-Content-Type-Options`, `Content-Length`).
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
    /// A response without further headers.
    pub fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, headers: Vec::new(), body }
    }

    /// A response with a JSON document.
    pub fn document(status: u16, content_type: &'static str, document: &impl Serialize) -> Self {
        match serde_json::to_string(document) {
            Ok(body) => Self::new(status, content_type, body),
            // Every key of a view's document is a string, so this would be an internal error.
            Err(_) => Self::new(500, TEXT, "the response could not be composed\n".to_owned()),
        }
    }

    /// The response for an unknown path.
    pub fn not_found() -> Self {
        Self::new(404, TEXT, "404 page not found\n".to_owned())
    }
}

/// Handles a request: the dispatch of all paths.
pub fn route(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Response {
    let found = find(snapshot, look, request).unwrap_or_else(Response::not_found);
    if found.status == 404 { found } else { instead(request.method).unwrap_or(found) }
}

/// The response instead of an existing view, for methods other than GET and HEAD.
pub fn instead(method: &str) -> Option<Response> {
    match method {
        "GET" | "HEAD" => None,
        "OPTIONS" => Some(Response { headers: vec![ALLOW], ..Response::new(204, "", String::new()) }),
        _ => Some(Response { headers: vec![ALLOW], ..Response::new(405, TEXT, "method not allowed\n".to_owned()) }),
    }
}

/// The view at the request's path, whatever its method; none if there is none.
pub fn find(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Option<Response> {
    let Request { accept, query, authorized, views, .. } = *request;
    let endpoint = Endpoint::of(request.path).filter(|endpoint| views.has(endpoint.switch()))?;
    let assessment = &snapshot.assess(look);
    match (endpoint.view, &endpoint.names()[..]) {
        (View::Page, _) => Some(page::render(assessment, request)),
        (View::Ragflow, _) => Some(ragflow::render(assessment, authorized)),
        (View::Kubernetes(level), [check]) => kubernetes::render_one(assessment, level, check),
        (View::Kubernetes(level), _) => Some(kubernetes::render(assessment, endpoint.segments.first()?, level, query)),
        (View::Actuator, path) => actuator::render(assessment, path, accept, authorized, views.names),
        (View::Module, path) => actuator::render_own(assessment, path, accept, authorized),
        (View::Article, _) => Some(article::render(assessment)),
        (View::Status, _) => Some(configcat::render(assessment, query, authorized)),
        (View::Metrics, _) => Some(prometheus::render(assessment, accept, request.figures)),
    }
}

/// The response instead of any view if the token is in the query.
pub fn token_in_query(query: &str) -> Option<Response> {
    let sentence = "the token must not be in the URL, which histories, logs and proxies store; change it if it is the real one, \
                    and send it as `Authorization: Bearer` or by the form of the page at `/`\n";
    has_key(query, "token").then(|| Response::new(400, TEXT, sentence.to_owned()))
}

/// Whether the query has this key, with whatever value.
fn has_key(query: &str, wanted: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == wanted)
}

/// The fixed public reason for a failure.
pub const fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        // The last run passed, but not yet often enough in a row.
        ErrorKind::Ok => "not passing long enough",
        kind => kind.public(),
    }
}

/// Why a check does not pass: the dependency's text for authorized readers, else the public text.
fn words<'a>(assessed: &Assessed<'a>, authorized: bool) -> &'a str {
    details(assessed.check, assessed.kind, authorized)
}

fn details(check: &Check, kind: ErrorKind, authorized: bool) -> &str {
    match check.last() {
        Some(last) if authorized && last.kind == kind && !last.private.as_str().is_empty() => last.private.as_str(),
        _ => reason(kind),
    }
}

/// All public reasons why this replica is not up; none if it is up.
pub fn why(snapshot: &Snapshot, look: Look) -> Option<String> {
    let causes = summary::causes(&snapshot.assess(look), false);
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// The role of this replica in the migration: role and age for all readers; the holder for authorized readers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Migration")]
struct MigrationPart<'a> {
    #[schemars(extend("enum" = ["waiter", "settling", "fencing", "holder", "done"]))]
    role: &'static str,
    #[schemars(extend("enum" = ["postgres", "table", "mysql", "file", "redis"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_s: Option<u64>,
    /// How often the command was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HolderPart<'a>>,
}

/// The holder of the lock.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct HolderPart<'a> {
    instance: Option<&'a str>,
    addr: Option<&'a str>,
    held_s: Option<u64>,
    session: &'a str,
}

impl<'a> MigrationPart<'a> {
    /// None if this replica has no role yet.
    fn new(assessment: &Assessment<'a>, authorized: bool) -> Option<Self> {
        let Assessment { snapshot, look, .. } = *assessment;
        let known = &snapshot.migration_lock;
        let since = match &snapshot.migration {
            Migration::Queued { since, .. } | Migration::Holder { since } => Some(*since),
            Migration::Idle | Migration::Done => None,
        };
        let holder = known.holder.as_ref().filter(|_| authorized && matches!(snapshot.migration, Migration::Queued { .. }));
        Some(Self {
            role: snapshot.migration_role()?,
            lock: known.kind,
            since_s: since.map(|since| look.now.since(since).as_secs()),
            attempt: Some(known.attempts).filter(|attempts| *attempts > 0),
            holder: holder.map(|(holder, seen_at)| HolderPart {
                instance: holder.instance.as_deref(),
                addr: holder.address.as_deref(),
                held_s: holder.held.map(|held| (held + look.now.since(*seen_at)).as_secs()),
                session: &holder.words,
            }),
        })
    }
}
