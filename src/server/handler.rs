//! From a question to its answer: from what was answered last, from this thread, or from the one that renders long answers.

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

/// The answer to a question: what was told last, where it still holds, else what is rendered.
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
    let trusted = peer == Peer::Trusted;
    let accept = if let [only] = *accept { Cow::Borrowed(only) } else { Cow::Owned(accept.join(",")) };
    let authorized = is_authorized(&shared.plan, trusted, headers);
    let words = Words { path: request.uri().path(), query, accept: &accept, authorized, trusted };
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    let Found { answer, route, long } = if let Some((status, sentence)) = hosts::refusal(request, hosts) {
        unkept(words.path, view::Response::new(status, view::TEXT, sentence.to_owned()))
    } else if let Some(refusal) = view::token_in_query(query) {
        unkept(words.path, refusal)
    } else {
        match shared.told_last(words) {
            Some(found) => found,
            None => shared.rendered(words, peer, usage).await,
        }
    };
    // What is not there is not there by any method.
    let answer = if answer.status == 404 { answer } else { view::instead(method).map_or(answer, SharedResponse::from) };
    usage.sending_long(long);
    figures::observe(route, method, answer.status, Moment::now().since(began));
    let body =
        if request.method() == hyper::Method::HEAD { Pieces::default() } else { Pieces::new(Arc::clone(&answer.text), usage.connection()) };
    response(answer.status, HeaderMap::clone(&answer.head), body)
}

/// An answer that depends on the question alone.
fn unkept(path: &str, response: view::Response) -> Found {
    Found { answer: SharedResponse::from(response), route: view::route_of(path), long: view::is_long(path) }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to the same question, where it may be told at once.
    fn told_last(&self, words: Words<'_>) -> Option<Found> {
        let (snapshot, look) = self.published.look();
        let found = self.recent().find(words, &snapshot, look);
        found.filter(|found| words.trusted || !found.long || self.budget.is_paid(look.now))
    }

    /// The answer, rendered where that has to be, and kept for the next one who asks the same.
    async fn rendered(&self, words: Words<'_>, peer: Peer, usage: &Usage) -> Found {
        let (route, long) = (view::route_of(words.path), view::is_long(words.path));
        usage.sending_long(long);
        let question = Request {
            // By which other method it was asked is looked at later.
            method: "GET",
            path: words.path,
            query: words.query,
            accept: words.accept,
            authorized: words.authorized,
            access: access(&self.plan),
            views: if peer == Peer::Network { self.plan.views } else { self.plan.views.all() },
            figures: None,
        };
        let answer = if long { self.long(&question, words.trusted).await } else { self.short(&question) };
        let found = Found { answer, route, long };
        let (snapshot, look) = self.published.look();
        self.recent().keep(words, found.clone(), &snapshot, look);
        found
    }

    /// A probe's answer, at once.
    fn short(&self, question: &Request<'_>) -> SharedResponse {
        let (snapshot, look) = self.published.look();
        self.response_cache.lock().unwrap_or_else(PoisonError::into_inner).answer(&snapshot, look, question)
    }

    /// A long answer, rendered on the thread for those, when it is the turn of one.
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
        let sentence = "too many ask for this; probes are answered all the same\n";
        let too_many = || SharedResponse::from(view::Response::new(503, view::TEXT, sentence.to_owned()));
        self.renderer.render(question, trusted).await.unwrap_or_else(too_many)
    }
}
