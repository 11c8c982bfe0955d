//! Serves the views over HTTP on TCP and on a unix socket, on a separate thread and runtime.
//!
//! A request is answered from the newest snapshot without a probe, a name lookup or disk access, so a response takes the same time whatever
//! hangs elsewhere. A client that sends nothing is disconnected after [`HEAD_TIMEOUT`], one that does not read after the same time, and
//! when as many as allowed are open a new one replaces the one whose last response is the oldest.
//!
//! A flood delays only its senders: a response is rendered once for all clients that may share it, long ones on a separate thread; each
//! connection gets one response per turn, and a long one piece by piece.

mod body;
mod connections;
mod control;
mod fair;
mod figures;
mod handler;
mod hosts;
mod listeners;
pub mod open_files;
pub mod own;
mod plain;
mod recent;
mod renderer;
mod reply;
mod response_cache;
#[cfg(test)]
mod tests;
mod token;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Either;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split};
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::plan::{Details, HealthPlan};
use crate::published::Published;
use crate::view::DetailAccess;
use body::Pieces;
use connections::{Accept, Connections, Peer, Usage};
use control::OrderLimits;
use fair::{Impatient, Patience};
use handler::{Answer, answer};
use recent::Recent;
use renderer::Renderer;
use response_cache::ResponseCache;

pub use listeners::{BindError, Listeners};

/// How long a request's header may take, and how long a kept connection may be idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a request header; a longer one gets 431.
pub const LONGEST_HEAD: usize = 8 * 1024;

/// The maximum number of connections on the unix socket. Each TCP listener has its own, so that a flood on one does not block the others.
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
    /// The recent responses of this thread and of that for long ones; only this thread uses them.
    recent: Mutex<Recent>,
    renderer: Renderer,
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    let most = open_files::allowed(&plan);
    let shared = Arc::new(Shared {
        controller,
        rooms: OrderLimits::default(),
        refused: AtomicU64::new(0),
        response_cache: Mutex::default(),
        recent: Mutex::default(),
        // One request of each connection, and of some that have just been closed.
        renderer: Renderer::new(Arc::clone(&published), most * plan.listen.len() + 3 * MOST_CONNECTIONS),
        published,
        plan,
    });
    runtime.block_on(async {
        let (tcp, unix) = listeners.into_tokio()?;
        let mut accepting = JoinSet::new();
        for listener in tcp {
            let shared = Arc::clone(&shared);
            accepting.spawn(async move { accept(listener, most, &shared).await });
        }
        if let Some(listener) = unix {
            accepting.spawn(async move { accept(listener, MOST_CONNECTIONS, &shared).await });
        }
        // Each of them ends only by a panic, which the caller handles.
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

async fn accept(listener: impl Accept, most: usize, shared: &Arc<Shared>) {
    let mut connections = Connections::new(most);
    loop {
        let (stream, peer) = connections.next(&listener).await;
        let usage = connections.usage();
        let task = tokio::spawn(converse(stream, peer, usage.clone(), Arc::clone(shared)));
        usage.is_of(task.abort_handle());
        connections.admit(usage, task.abort_handle()).await;
    }
}

/// One connection from its first byte to its last.
async fn converse(stream: impl AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static, peer: Peer, usage: Usage, shared: Arc<Shared>) {
    let mut stream = Impatient::new(stream, Patience::default());
    let mut conversation = pin!(async {
        if let Some(first) = plain::converse(&mut stream, peer, &usage, &shared).await {
            let (reading, writing) = split(stream);
            let (reading, writing) = (Box::new(Cursor::new(first).chain(reading)), Box::new(writing));
            // Only the few connections that need it have the memory of hyper.
            Box::pin(converse_by_hyper(reading, writing, peer, &usage, &shared)).await;
        }
    });
    poll_fn(|context| {
        usage.turn();
        conversation.as_mut().poll(context)
    })
    .await;
}

/// The rest of a connection, with any requests. A copy of hyper for each kind of stream would be 20 kB more.
async fn converse_by_hyper(
    reading: Box<dyn AsyncRead + Unpin + Send>,
    writing: Box<dyn AsyncWrite + Unpin + Send>,
    peer: Peer,
    usage: &Usage,
    shared: &Shared,
) {
    let service = service_fn(|request: hyper::Request<Incoming>| async move {
        usage.touch();
        // However many requests wait on this connection, the others have their turn first.
        if usage.has_answered() {
            tokio::task::yield_now().await;
        }
        usage.answers();
        if token::is_for(&request, peer, shared) {
            return token::take(request, peer, shared).await.map(|answer| answer.map(Either::Left));
        }
        match control::ordered(&request, peer, shared) {
            None => any_answer(&request.map(drop), peer, shared, usage).await.map(|answer| answer.map(Either::Right)),
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
    });
    let mut protocol = http1::Builder::new();
    // A client that has finished sending still waits for its response, e.g. `nc`. On the unix socket it means that the client of a control
    // request is gone, and another one can wait instead.
    protocol.half_close(peer == Peer::Network).timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LONGEST_HEAD);
    // A peer that disconnects or sends nonsense has already got an error, if that was possible.
    let _ = protocol.serve_connection(TokioIo::new(join(reading, writing)), service).await;
}

/// The response to any request that is no control request.
async fn any_answer(
    request: &hyper::Request<()>,
    peer: Peer,
    shared: &Shared,
    usage: &Usage,
) -> Result<hyper::Response<Pieces>, hyper::http::Error> {
    let began = Moment::now();
    let Answer { response: answer, route } = answer(request, peer, shared).await;
    figures::observe(route, request.method().as_str(), answer.status, Moment::now().since(began));
    let body =
        if request.method() == hyper::Method::HEAD { Pieces::default() } else { Pieces::new(Arc::clone(&answer.text), usage.connection()) };
    response(answer.status, HeaderMap::clone(&answer.head), body)
}

/// The whole response.
fn response<B>(status: u16, head: HeaderMap, body: B) -> Result<hyper::Response<B>, hyper::http::Error> {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status)?;
    *response.headers_mut() = head;
    Ok(response)
}

/// The headers that all responses share.
fn head(status: u16, content_type: &'static str, length: usize) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(8);
    let mut put = |name, value| _ = head.insert(name, HeaderValue::from_static(value));
    put(header::CACHE_CONTROL, "no-store");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Pages of other sites must not embed anything here, and no CORS header allows them to read it.
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    // RFC 9110, 8.6: a 204 has no length; a HEAD has that of its GET.
    if status != 204 {
        put(header::CONTENT_TYPE, content_type);
        head.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    head
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
fn is_authorized(plan: &HealthPlan, trusted: bool, headers: &HeaderMap) -> bool {
    if headers.get_all(HeaderName::from_static("prefer")).iter().any(|value| value == "return=minimal") {
        return false;
    }
    match plan.details {
        Details::Never => false,
        Details::Always => true,
        Details::WhenAuthorized => trusted || bears_token(plan, headers) || token::has_cookie(plan.token.as_ref(), headers),
    }
}

fn bears_token(plan: &HealthPlan, headers: &HeaderMap) -> bool {
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
