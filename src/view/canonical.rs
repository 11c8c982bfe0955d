//! What an answer depends on: requests that differ in nothing else are told the same, so one rendering serves them all.

use super::{Request, actuator, exposition, page, segments};
use crate::plan::Views;

/// The longest path below `/actuator/health` that is kept; a longer one names nothing that there is, or is rendered each time.
const LONGEST_PATH: usize = 128;

/// A request without everything that its answer does not depend on. Query and `Accept` are fixed words, so that whoever asks cannot
/// make two of one; only the path below `/actuator/health` is the asker's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    path: String,
    query: &'static str,
    accept: &'static str,
    authority: bool,
    views: Views,
}

impl Canonical {
    /// What `request` comes down to; none where its answer depends on words of the asker's own, or where there is no such path.
    pub fn of(request: &Request<'_>) -> Option<Self> {
        let Request { query, accept, authority, views, .. } = *request;
        let segments = segments(request.path)?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let has = |wanted: &str| keys(query).any(|key| key == wanted);
        let word = |wanted: &'static str| if has(wanted) { wanted } else { "" };
        let (query, accept, authority) = match segments[..] {
            [""] => (word("hold"), page::syntax(accept), authority),
            ["healthz"] | ["v1", "system", "healthz"] | ["api", "v1", "system", "healthz"] => ("", "", authority),
            ["livez" | "readyz" | "startupz"] if !has("exclude") => (word("verbose"), "", false),
            ["health"] => ("", "", false),
            ["status"] => (word("verbose"), "", authority),
            ["metrics"] => ("", exposition::syntax(accept), false),
            ["actuator"] | ["actuator", "info" | "health"] => ("", actuator::syntax(accept), authority),
            ["actuator", "health", ref names @ ..] if names.iter().all(|name| is_plain(name)) => ("", actuator::syntax(accept), authority),
            _ => return None,
        };
        let path = format!("/{}", segments.join("/"));
        (path.len() <= LONGEST_PATH).then_some(Self { path, query, accept, authority, views })
    }

    /// The request that this stands for.
    pub fn request(&self) -> Request<'_> {
        let Self { path, query, accept, authority, views } = self;
        Request { method: "GET", path, query, accept, authority: *authority, views: *views, figures: None }
    }
}

/// Whether the answer may be long and takes its time to compose: such answers must not stand in the way of a probe.
pub fn is_long(path: &str) -> bool {
    let segments = segments(path).unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match segments[..] {
        ["actuator", "health", name] => !actuator::GROUPS.contains(&name),
        ["" | "status" | "metrics"] | ["actuator", "health", ..] => true,
        _ => false,
    }
}

fn keys(query: &str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    url::form_urlencoded::parse(query.as_bytes()).map(|(key, _)| key)
}

/// Whether a segment reads the same encoded and decoded.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}
