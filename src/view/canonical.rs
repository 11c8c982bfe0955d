//! What an answer depends on: requests that differ in nothing else are told the same, so one rendering serves them all.

use super::path::{Endpoint, View};
use super::{DetailAccess, Request, actuator, exposition, has_key, page};
use crate::plan::Views;

/// The longest path below `/actuator/health` that is kept; a longer one names nothing that there is, or is rendered each time.
const LONGEST_PATH: usize = 128;

/// A request without everything that its answer does not depend on. Query and `Accept` are fixed words, so that whoever asks cannot
/// make two of one; only the path below `/actuator/health`, or to that of a module, is the asker's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    path: String,
    query: &'static str,
    accept: &'static str,
    authorized: bool,
    access: DetailAccess,
    views: Views,
}

impl Canonical {
    /// What `request` comes down to; none where its answer depends on words of the asker's own, or where there is no such path.
    pub fn of(request: &Request<'_>) -> Option<Self> {
        let Request { query, accept, authorized, views, .. } = *request;
        let endpoint = Endpoint::of(request.path)?;
        let word = |wanted: &'static str| if has_key(query, wanted) { wanted } else { "" };
        let (query, accept, authorized) = match (endpoint.view, &endpoint.names()[..]) {
            (View::Page, _) => (word("hold"), page::syntax(accept), authorized),
            (View::Ragflow, _) => ("", "", authorized),
            (View::Kubernetes(_), []) if !has_key(query, "exclude") => (word("verbose"), "", false),
            (View::Article, _) => ("", "", false),
            (View::Status, _) => (word("verbose"), "", authorized),
            (View::Metrics, _) => ("", exposition::syntax(accept), false),
            (View::Actuator | View::Module, names) if names.iter().all(|name| is_plain(name)) => ("", actuator::syntax(accept), authorized),
            _ => return None,
        };
        let access = if endpoint.view == View::Page { request.access } else { DetailAccess::default() };
        let path = format!("/{}", endpoint.segments.join("/"));
        (path.len() <= LONGEST_PATH).then_some(Self { path, query, accept, authorized, access, views })
    }

    /// The request that this stands for.
    pub fn request(&self) -> Request<'_> {
        let Self { path, query, accept, authorized, access, views } = self;
        Request { method: "GET", path, query, accept, authorized: *authorized, access: *access, views: *views, figures: None }
    }
}

/// Whether a segment reads the same encoded and decoded.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}
