//! A snapshot as somebody's document: one path table, and what every answer has in common.
//!
//! A view is a pure function of the snapshot, the moment of the look and a few facts about the request. No view runs a check,
//! looks at a clock or takes a lock, so no two of them can disagree.

pub mod kubernetes;
pub mod prometheus;
pub mod ragflow;
#[cfg(test)]
mod tests;

use percent_encoding::percent_decode_str;

use crate::outcome::Class;
use crate::state::check::Check;
use crate::state::snapshot::{Level, Look, Snapshot};

/// The type of plain answers.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The type of JSON answers.
pub const JSON: &str = "application/json";

/// Bytes a body may have before it lists failures first and counts the rest: the kubelet cuts at 10 KiB.
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

    fn not_found() -> Self {
        Self::new(404, TEXT, "404 page not found\n".to_owned())
    }
}

/// Answers a request: the one table of all paths.
pub fn route(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Response {
    let Some(mut response) = find(snapshot, look, request) else { return Response::not_found() };
    match request.method {
        "GET" | "HEAD" => {}
        "OPTIONS" => response = Response { headers: vec![ALLOW], ..Response::new(204, "", String::new()) },
        _ => response = Response { headers: vec![ALLOW], ..Response::new(405, TEXT, "method not allowed\n".to_owned()) },
    }
    response
}

fn find(snapshot: &Snapshot, look: Look, request: &Request<'_>) -> Option<Response> {
    let path = request.path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let decode = |segment| percent_decode_str(segment).decode_utf8().ok();
    let segments = path.split('/').map(decode).collect::<Option<Vec<_>>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match segments[..] {
        ["healthz"] | ["v1", "system", "healthz"] | ["api", "v1", "system", "healthz"] => {
            Some(ragflow::render(snapshot, look, request.authority))
        }
        [endpoint @ ("livez" | "readyz" | "startupz")] => {
            Some(kubernetes::render(snapshot, look, endpoint, level_of(endpoint), request.query))
        }
        [endpoint @ ("livez" | "readyz" | "startupz"), check] => kubernetes::render_one(snapshot, look, level_of(endpoint), check),
        ["metrics"] => Some(prometheus::render(snapshot, look, request.accept)),
        _ => None,
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
