//! The canonical form of a request: everything that a response depends on, so that equal requests share one rendering.

use super::path::{Endpoint, View};
use super::{DetailAccess, Request, actuator, exposition, has_key, page};
use crate::plan::Views;

/// The longest path below `/actuator/health` that is cached; a longer one does not exist, or is rendered each time.
const LONGEST_PATH: usize = 128;

/// A request reduced to what its response depends on. Query and `Accept` become fixed words, so that a client cannot create variants; only
/// the path below `/actuator/health`, or to that of a module, is kept from the client.
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
    /// The canonical form of `request`; none if its response depends on other input of the client, or if there is no such path.
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

    /// The request of this form.
    pub fn request(&self) -> Request<'_> {
        let Self { path, query, accept, authorized, access, views } = self;
        Request { method: "GET", path, query, accept, authorized: *authorized, access: *access, views: *views, figures: None }
    }
}

/// Whether a segment is the same encoded and decoded.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}
