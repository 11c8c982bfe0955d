//! Answers a request: with a recent response, on this thread, or on the one that renders long responses.

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard, PoisonError};

use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header;

use super::body::Pieces;
use super::connections::{Peer, Usage};
use super::recent::{Found, Recent, Words};
use super::renderer::RenderRequest;
use super::response_cache::SharedResponse;
use super::{Shared, access, figures, hosts, is_authorized, response};
use crate::clock::Moment;
use crate::view::{self, Request};

/// The response to a request: a recent one if it is still valid, else a rendered one.
pub(super) async fn answer(
    request: &hyper::Request<Incoming>,
    peer: Peer,
    shared: &Shared,
    usage: &Usage,
) -> Result<hyper::Response<Pieces>, hyper::http::Error> {
    let began = Moment::now();
    let headers = request.headers();
    let (method, query) = (request.method().as_str(), request.uri().query().unwrap_or_default());
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = if let [only] = *accept { Cow::Borrowed(only) } else { Cow::Owned(accept.join(",")) };
    let authorized = is_authorized(&shared.plan, peer == Peer::Trusted, headers);
    let words = Words { path: request.uri().path(), query, accept: &accept, authorized, peer };
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    let Found { answer, route, long } = if let Some((status, sentence)) = hosts::refusal(request, hosts) {
        unkept(words.path, view::Response::new(status, view::TEXT, sentence.to_owned()))
    } else if let Some(refusal) = view::token_in_query(query) {
        unkept(words.path, refusal)
    } else {
        match shared.last_served(words) {
            Some(found) => found,
            None => shared.rendered(words, usage).await,
        }
    };
    // A missing path is missing with any method.
    let answer = if answer.status == 404 { answer } else { view::instead(method).map_or(answer, SharedResponse::from) };
    usage.sending_long(long);
    figures::observe(route, method, answer.status, Moment::now().since(began));
    let body =
        if request.method() == hyper::Method::HEAD { Pieces::default() } else { Pieces::new(Arc::clone(&answer.text), usage.connection()) };
    response(answer.status, HeaderMap::clone(&answer.head), body)
}

/// A response that depends only on the request.
fn unkept(path: &str, response: view::Response) -> Found {
    Found { answer: SharedResponse::from(response), route: view::route_of(path), long: view::is_long(path) }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response to the same request, if it may be sent at once.
    fn last_served(&self, words: Words<'_>) -> Option<Found> {
        let (snapshot, look) = self.published.look();
        let found = self.recent().find(words, &snapshot, look);
        found.filter(|found| words.peer == Peer::Trusted || !found.long || self.budget.is_paid(look.now))
    }

    /// The response, rendered if necessary, and kept for the next equal request.
    async fn rendered(&self, words: Words<'_>, usage: &Usage) -> Found {
        let (route, long) = (view::route_of(words.path), view::is_long(words.path));
        usage.sending_long(long);
        let question = Request {
            // Other methods are handled later.
            method: "GET",
            path: words.path,
            query: words.query,
            accept: words.accept,
            authorized: words.authorized,
            access: access(&self.plan),
            views: if words.peer == Peer::Network { self.plan.views } else { self.plan.views.all() },
            figures: None,
        };
        let answer = if long { self.long(&question, words.peer == Peer::Trusted).await } else { self.short(&question) };
        let found = Found { answer, route, long };
        let (snapshot, look) = self.published.look();
        self.recent().keep(words, found.clone(), &snapshot, look);
        found
    }

    /// The response to a probe, at once.
    fn short(&self, question: &Request<'_>) -> SharedResponse {
        let (snapshot, look) = self.published.look();
        self.response_cache.lock().unwrap_or_else(PoisonError::into_inner).answer(&snapshot, look, question)
    }

    /// A long response, rendered on the separate thread, when it is its turn.
    async fn long(&self, question: &Request<'_>, trusted: bool) -> SharedResponse {
        let wait = self.budget.wait(Moment::now());
        if !trusted && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
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
