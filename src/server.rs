//! Serves the views over HTTP on TCP and on a unix socket, on a separate thread and runtime.
//!
//! A request is answered from the newest snapshot without a probe, a name lookup or disk access, so a response takes the same time whatever
//! hangs elsewhere. A client that sends nothing is disconnected after [`HEAD_TIMEOUT`], one that does not read after the same time, and
//! when [`MOST_CONNECTIONS`] are open a new one replaces the one whose last response is the oldest.
//!
//! A flood delays only its senders: a response is rendered once for all clients that may share it, long ones on a separate thread; each
//! connection gets one response per turn, a long one piece by piece; and all long ones together get half of this thread's time.

mod body;
mod connections;
mod control;
mod fair;
mod figures;
mod hosts;
mod listeners;
pub mod own;
mod renderer;
mod response_cache;
#[cfg(test)]
mod tests;
mod token;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::plan::{Details, HealthPlan};
use crate::published::Published;
use crate::view::{self, DetailAccess, Request};
use body::Pieces;
use connections::{Accept, Connections, Peer, Usage};
use control::OrderLimits;
use fair::{Budget, Impatient, Patience};
use renderer::{RenderRequest, Renderer};
use response_cache::{ResponseCache, SharedResponse};

pub use listeners::{BindError, Listeners};

/// How long a request's header may take, and how long a kept connection may be idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a request header; a longer one gets 431.
pub const LONGEST_HEAD: usize = 8 * 1024;

/// The maximum number of connections per listener, so that a flood on one does not block the other.
pub const MOST_CONNECTIONS: usize = 64;

/// Handles `POST /control/target` and returns an HTTP status and a JSON document, some time later.
pub type Controller = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = (u16, String)> + Send>> + Send + Sync>;

/// What every connection needs.
struct Shared {
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
    /// The slots for waiting control requests.
    rooms: OrderLimits,
    /// The second of the last logged refusal, to limit the log lines.
    refused: AtomicU64,
    /// The cached responses to probes, used only on this thread.
    response_cache: Mutex<ResponseCache>,
    renderer: Renderer,
    budget: Budget,
}

/// Serves health requests until the process ends, or until the runtime cannot be built.
///
/// It blocks its thread. After a panic the caller may call it again with a [clone](Listeners::try_clone) of the listeners that it kept.
pub fn serve(
    listeners: Listeners,
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let shared = Arc::new(Shared {
        plan,
        controller,
        rooms: OrderLimits::default(),
        refused: AtomicU64::new(0),
        response_cache: Mutex::default(),
        renderer: Renderer::new(Arc::clone(&published)),
        budget: Budget::default(),
        published,
    });
    runtime.block_on(async {
        let (tcp, unix) = listeners.into_tokio()?;
        let mut accepting = JoinSet::new();
        for listener in tcp {
            let shared = Arc::clone(&shared);
            accepting.spawn(async move { accept(listener, &shared).await });
        }
        if let Some(listener) = unix {
            accepting.spawn(async move { accept(listener, &shared).await });
        }
        // They end only by a panic, which the caller handles.
        while let Some(ended) = accepting.join_next().await {
            if let Err(fault) = ended
                && fault.is_panic()
            {
                std::panic::resume_unwind(fault.into_panic());
            }
        }
        std::future::pending().await
    })
}

async fn accept(listener: impl Accept, shared: &Arc<Shared>) {
    let mut connections = Connections::new(MOST_CONNECTIONS);
    loop {
        let (stream, peer) = connections.next(&listener).await;
        let usage = connections.usage();
        let task = tokio::spawn(converse(stream, peer, usage.clone(), Arc::clone(shared)));
        usage.is_of(task.abort_handle());
        connections.admit(usage, task.abort_handle()).await;
    }
}

/// One connection from its first byte to its last.
async fn converse(stream: impl AsyncRead + AsyncWrite + AsFd + Unpin, peer: Peer, usage: Usage, shared: Arc<Shared>) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        usage.touch();
        let (shared, usage) = (&shared, &usage);
        async move {
            // Other connections have their turn first, however many requests wait on this one.
            if usage.has_answered() {
                tokio::task::yield_now().await;
            }
            if token::is_for(&request, peer, shared) {
                return token::take(request, peer, shared).await.map(|answer| answer.map(Either::Left));
            }
            match control::ordered(&request, peer, shared) {
                None => answer(&request, peer, shared, usage).await.map(|answer| answer.map(Either::Right)),
                Some(Err(refusal)) => control::response(refusal.0, refusal.1).map(|answer| answer.map(Either::Left)),
                Some(Ok(order)) => {
                    let room = tokio::time::timeout(control::PATIENCE, shared.rooms.of(&order).acquire()).await;
                    let Ok(Ok(_one_of_few)) = room else { return control::too_many().map(|answer| answer.map(Either::Left)) };
                    usage.hold();
                    let (status, body) = order.under_way.await;
                    usage.touch();
                    control::response(status, body).map(|answer| answer.map(Either::Left))
                }
            }
        }
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LONGEST_HEAD);
    let mut conversation = pin!(protocol.serve_connection(TokioIo::new(Impatient::new(stream, Patience::default())), service));
    // A peer that aborts or sends nonsense has already got its error response, if possible.
    let _ = poll_fn(|context| {
        usage.turn();
        let began = Moment::now();
        let state = conversation.as_mut().poll(context);
        if usage.sends_long() {
            let now = Moment::now();
            shared.budget.use_up(now.since(began), now);
        }
        state
    })
    .await;
}

async fn answer(
    request: &hyper::Request<Incoming>,
    peer: Peer,
    shared: &Shared,
    usage: &Usage,
) -> Result<hyper::Response<Pieces>, hyper::http::Error> {
    let began = Moment::now();
    let headers = request.headers();
    let (method, path) = (request.method().as_str(), request.uri().path());
    let (route, long) = (view::route_of(path), view::is_long(path));
    usage.sending_long(long);
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    let rendered = if let Some((status, sentence)) = hosts::refusal(request, hosts) {
        SharedResponse::from(view::Response::new(status, view::TEXT, sentence.to_owned()))
    } else if let Some(refusal) = view::token_in_query(request.uri().query().unwrap_or_default()) {
        SharedResponse::from(refusal)
    } else {
        let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let question = Request {
            method,
            path,
            query: request.uri().query().unwrap_or_default(),
            accept: &accept.join(","),
            authorized: is_authorized(&shared.plan, peer == Peer::Trusted, headers),
            access: access(&shared.plan),
            views: if peer == Peer::Network { shared.plan.views } else { shared.plan.views.all() },
            figures: None,
        };
        let found = if long { shared.long(&question, peer == Peer::Trusted).await } else { shared.short(&question) };
        if found.status == 404 { found } else { view::instead(method).map_or(found, SharedResponse::from) }
    };
    figures::observe(route, method, rendered.status, Moment::now().since(began));
    let mut response = head(rendered.status, rendered.content_type, rendered.text.bytes().len());
    for (name, value) in rendered.headers {
        response = response.header(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let body = if request.method() == hyper::Method::HEAD { Pieces::default() } else { Pieces::new(rendered.text, usage.connection()) };
    response.body(body)
}

/// The headers that all responses share.
fn head(status: u16, content_type: &'static str, length: usize) -> hyper::http::response::Builder {
    let response = hyper::Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        // Pages of other sites must not embed anything here, and no CORS header allows them to read it.
        .header(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    // RFC 9110, 8.6: a 204 has no length; a HEAD has that of its GET.
    if status == 204 {
        return response;
    }
    response.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type)).header(header::CONTENT_LENGTH, HeaderValue::from(length))
}

impl Shared {
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

/// How a client without access to private texts can get it.
fn access(plan: &HealthPlan) -> DetailAccess {
    match plan.details {
        Details::Never => DetailAccess::Never,
        Details::WhenAuthorized if has_token(plan) => DetailAccess::Token,
        Details::WhenAuthorized | Details::Always => DetailAccess::Local,
    }
}

fn has_token(plan: &HealthPlan) -> bool {
    plan.token.as_ref().is_some_and(|token| !token.is_empty())
}

/// Whether the client may see private texts: a trusted peer, or one with the token or the page's cookie, unless it requests less (RFC
/// 7240).
fn is_authorized(plan: &HealthPlan, trusted: bool, headers: &hyper::HeaderMap) -> bool {
    if headers.get_all(HeaderName::from_static("prefer")).iter().any(|value| value == "return=minimal") {
        return false;
    }
    match plan.details {
        Details::Never => false,
        Details::Always => true,
        Details::WhenAuthorized => trusted || bears_token(plan, headers) || token::has_cookie(plan.token.as_ref(), headers),
    }
}

fn bears_token(plan: &HealthPlan, headers: &hyper::HeaderMap) -> bool {
    let Some(token) = plan.token.as_ref().filter(|token| !token.is_empty()) else { return false };
    let Some(sent) = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    let Some((scheme, sent)) = sent.split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && same(sent, token.expose().as_bytes())
}

/// Compares in constant time, also for different lengths.
fn same(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    std::hint::black_box(left.iter().zip(right.iter()).fold(0, |difference, (left, right)| difference | (left ^ right))) == 0
}
