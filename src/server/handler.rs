//! The response to a request, rendered on this thread, or on the one that renders long responses.

use std::borrow::Cow;
use std::sync::PoisonError;

use hyper::header;

use super::connections::Peer;
use super::renderer::RenderRequest;
use super::response_cache::SharedResponse;
use super::{Shared, access, figures, hosts, is_authorized};
use crate::view::{self, Request};

/// A response, and its route in the metrics.
pub(super) struct Answer {
    pub(super) response: SharedResponse,
    pub(super) route: &'static str,
}

/// The response to a request, whatever its body was.
pub(super) async fn answer(request: &hyper::Request<()>, peer: Peer, shared: &Shared) -> Answer {
    let headers = request.headers();
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = if let [only] = *accept { Cow::Borrowed(only) } else { Cow::Owned(accept.join(",")) };
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    let response = if let Some((status, sentence)) = hosts::refusal(request, hosts) {
        SharedResponse::from(view::Response::new(status, view::TEXT, sentence.to_owned()))
    } else if let Some(refusal) = view::token_in_query(query) {
        SharedResponse::from(refusal)
    } else {
        let question = Request {
            // Other methods are handled below.
            method: "GET",
            path,
            query,
            accept: &accept,
            authorized: is_authorized(&shared.plan, peer == Peer::Trusted, headers),
            access: access(&shared.plan),
            views: if peer == Peer::Network { shared.plan.views } else { shared.plan.views.all() },
            figures: None,
        };
        if view::is_long(path) { shared.long(&question, peer == Peer::Trusted).await } else { shared.short(&question) }
    };
    // A missing path is missing with any method.
    let response =
        if response.status == 404 { response } else { view::instead(request.method().as_str()).map_or(response, SharedResponse::from) };
    Answer { response, route: view::route_of(path) }
}

impl Shared {
    /// The response to a probe, at once.
    fn short(&self, question: &Request<'_>) -> SharedResponse {
        let (snapshot, look) = self.published.look();
        self.response_cache.lock().unwrap_or_else(PoisonError::into_inner).answer(&snapshot, look, question)
    }

    /// A long response, rendered on the separate thread, when it is its turn.
    async fn long(&self, question: &Request<'_>, trusted: bool) -> SharedResponse {
        let question = RenderRequest {
            path: question.path.to_owned(),
            query: question.query.to_owned(),
            accept: question.accept.to_owned(),
            authorized: question.authorized,
            access: question.access,
            views: question.views,
            figures: (view::route_of(question.path) == "/metrics").then(|| figures::figures(self.published.turns.longest())),
        };
        let sentence = "too many requests for this; probes are still served\n";
        let too_many = || SharedResponse::from(view::Response::new(503, view::TEXT, sentence.to_owned()));
        self.renderer.render(question, trusted).await.unwrap_or_else(too_many)
    }
}
