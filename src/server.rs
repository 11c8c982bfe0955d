//! Serves the views over HTTP on TCP and on a unix socket, from a thread and a runtime of its own.
//!
//! A request is answered from the newest snapshot without a check, a look-up, a disk or a lock, so an answer takes the same time
//! whatever hangs elsewhere. Whoever connects and says nothing is cut after [`HEAD_TIMEOUT`], and when [`MOST_CONNECTIONS`] are open
//! the newest one takes the place of the one that was answered the longest ago.

mod connections;
mod control;
mod figures;
mod listeners;
pub mod own;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::Moment;
use crate::plan::{Details, HealthPlan, Views};
use crate::published::Published;
use crate::view::{self, Request};
use connections::{Accept, Connections, Peer, Usage};
use control::Rooms;

pub use listeners::{BindError, Listeners};

/// How long a request's head may take, and how long a kept connection may idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest head that is read; a longer one is answered 431.
pub const LONGEST_HEAD: usize = 8 * 1024;

/// Open connections a listener, so that a flood on one does not shut out the other.
pub const MOST_CONNECTIONS: usize = 64;

/// Does what `POST /control/target` asks for and answers with an HTTP status and a JSON document, some time later.
pub type Controller = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = (u16, String)> + Send>> + Send + Sync>;

/// What every connection needs.
struct Shared {
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
    /// For the orders whose end is waited for.
    rooms: Rooms,
    /// The second in which somebody was last refused, so that a flood of them is no flood of lines.
    refused: AtomicU64,
}

/// Answers health questions until the process ends, or until the runtime cannot be built.
///
/// It blocks its thread. After a panic the caller may call it again with a [clone](Listeners::try_clone) of the listeners that it kept.
pub fn serve(
    listeners: Listeners,
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let shared = Arc::new(Shared { plan, published, controller, rooms: Rooms::default(), refused: AtomicU64::new(0) });
    runtime.block_on(async {
        let (tcp, unix) = listeners.into_tokio()?;
        // A listener that is not there never has anything to accept.
        tokio::join!(accept(tcp, &shared), accept(unix, &shared));
        std::future::pending().await
    })
}

async fn accept<L: Accept>(listener: Option<L>, shared: &Arc<Shared>) {
    let Some(listener) = listener else { return };
    let mut connections = Connections::new(MOST_CONNECTIONS);
    loop {
        let (stream, peer) = connections.next(&listener).await;
        let usage = connections.usage();
        let task = tokio::spawn(converse(stream, peer, usage.clone(), Arc::clone(shared)));
        connections.admit(usage, task.abort_handle()).await;
    }
}

/// One connection from its first byte to its last.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, usage: Usage, shared: Arc<Shared>) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        usage.touch();
        let (shared, usage) = (&shared, &usage);
        async move {
            match control::ordered(&request, peer, shared) {
                None => answer(&request, peer, shared),
                Some(Err(refusal)) => control::response(refusal.0, refusal.1),
                Some(Ok(order)) => {
                    let room = tokio::time::timeout(control::PATIENCE, shared.rooms.of(&order).acquire()).await;
                    let Ok(Ok(_one_of_few)) = room else { return control::too_many() };
                    usage.hold();
                    let (status, body) = order.under_way.await;
                    usage.touch();
                    control::response(status, body)
                }
            }
        }
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LONGEST_HEAD);
    // A peer that breaks off or talks nonsense has been told so already, where that was possible.
    let _ = protocol.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &hyper::Request<Incoming>, peer: Peer, shared: &Shared) -> Result<hyper::Response<Full<Bytes>>, hyper::http::Error> {
    let began = Moment::now();
    let (snapshot, look) = shared.published.look();
    let headers = request.headers();
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let (method, path) = (request.method().as_str(), request.uri().path());
    let route = view::route_of(path);
    let figures = (route == "/metrics").then(figures::figures);
    let question = Request {
        method,
        path,
        query: request.uri().query().unwrap_or_default(),
        accept: &accept.join(","),
        authority: authority(&shared.plan, peer == Peer::Trusted, headers),
        views: if peer == Peer::Network { shared.plan.views } else { Views::default() },
        figures: figures.as_ref(),
    };
    let told = view::route(&snapshot, look, &question);
    figures::observe(route, method, told.status, Moment::now().since(began));
    let mut response = hyper::Response::builder()
        .status(told.status)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in told.headers {
        response = response.header(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // RFC 9110, 8.6: a 204 has no length; a HEAD has that of its GET.
    if told.status == 204 {
        return response.body(Full::default());
    }
    response = response
        .header(header::CONTENT_TYPE, HeaderValue::from_static(told.content_type))
        .header(header::CONTENT_LENGTH, HeaderValue::from(told.body.len()));
    let body = if request.method() == hyper::Method::HEAD { Full::default() } else { Full::from(told.body) };
    response.body(body)
}

/// Whether the asker may see private texts: a trusted peer or the token's bearer, unless it asks for less (RFC 7240).
fn authority(plan: &HealthPlan, trusted: bool, headers: &hyper::HeaderMap) -> bool {
    if headers.get_all(HeaderName::from_static("prefer")).iter().any(|value| value == "return=minimal") {
        return false;
    }
    match plan.details {
        Details::Never => false,
        Details::Always => true,
        Details::WhenAuthorized => trusted || bears_token(plan, headers),
    }
}

fn bears_token(plan: &HealthPlan, headers: &hyper::HeaderMap) -> bool {
    let Some(token) = plan.token.as_ref().filter(|token| !token.is_empty()) else { return false };
    let Some(sent) = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    let Some((scheme, sent)) = sent.split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && same(sent, token.expose().as_bytes())
}

/// Compares without telling by the time it takes where two texts differ, or whether their lengths do.
fn same(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    std::hint::black_box(left.iter().zip(right.iter()).fold(0, |difference, (left, right)| difference | (left ^ right))) == 0
}
