//! Control requests over the unix socket: who may send them, and the responses to all others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use tokio::sync::Semaphore;
use tracing::warn;

use super::connections::Peer;
use super::{Shared, bears_token, has_token, head};
use crate::clock::Moment;
use crate::exit::Exit;
use crate::view::JSON;
use crate::view::control::ControlAnswer;

/// The prefix of all control paths.
pub(super) const ROOT: &str = "/control/";

/// The response when the request is done.
type UnderWay = std::pin::Pin<Box<dyn Future<Output = (u16, String)> + Send>>;

/// How long a request waits for a free slot: in a flood, requests that are answered at once block each other for a moment.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// How many requests can wait for their results at a time. Together far below [`MOST_CONNECTIONS`](super::MOST_CONNECTIONS), because such a
/// connection is not replaced; and separate for each kind, so that a stop or a reload is always possible.
pub(super) struct OrderLimits {
    starts: Semaphore,
    reloads: Semaphore,
    stops: Semaphore,
}

impl Default for OrderLimits {
    fn default() -> Self {
        Self { starts: Semaphore::new(16), reloads: Semaphore::new(4), stops: Semaphore::new(8) }
    }
}

impl OrderLimits {
    pub(super) const fn of(&self, order: &Ordered) -> &Semaphore {
        match order.kind {
            OrderKind::Start => &self.starts,
            OrderKind::Reload => &self.reloads,
            OrderKind::Stop => &self.stops,
        }
    }
}

/// A pending control request.
pub(super) struct Ordered {
    kind: OrderKind,
    pub(super) under_way: UnderWay,
}

/// The kind of slot of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderKind {
    /// It starts a module, and may wait for a long time.
    Start,
    /// It reads the configuration again.
    Reload,
    /// It stops a module, which takes until KILL at most.
    Stop,
}

impl OrderKind {
    fn of(target: &str) -> Self {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        match path.rsplit('/').next() {
            Some("stop") => Self::Stop,
            Some("reload") => Self::Reload,
            _ => Self::Start,
        }
    }
}

/// A pending control request, or the error response; none for any other request. Over TCP there are no control requests.
pub(super) fn ordered(request: &hyper::Request<Incoming>, peer: Peer, shared: &Shared) -> Option<Result<Ordered, (u16, String)>> {
    let controller = shared.controller.as_ref()?;
    if peer == Peer::Network {
        return None;
    }
    let target = request.uri().path_and_query()?.as_str().strip_prefix(ROOT)?;
    let refusal = |status, sentence: &str| Some(Err((status, ControlAnswer::text(None, sentence))));
    if let Peer::Local(uid) = peer {
        refuse(shared, &uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}")));
        return refusal(403, "control requests are accepted only from root and portcullis' own user");
    }
    // The cookie of a browser shows details, but does not allow control requests.
    if has_token(&shared.plan) && !bears_token(&shared.plan, request.headers()) {
        refuse(shared, "a client without the token of [health]");
        return refusal(403, "control requests need the token of [health]");
    }
    if request.method() != hyper::Method::POST {
        return refusal(405, "control requests use POST");
    }
    Some(Ok(Ordered { kind: OrderKind::of(target), under_way: controller(target.to_owned()) }))
}

/// The response if there is no free [slot](OrderLimits): nothing was done.
pub(super) fn too_many() -> Result<hyper::Response<Full<Bytes>>, hyper::http::Error> {
    let sentence = "too many requests are already waited for; nothing was done, try again later";
    response(503, ControlAnswer::text(Some(Exit::Unavailable), sentence))
}

/// Logs it, at most once a second.
fn refuse(shared: &Shared, who: &str) {
    let second = Moment::now().mono.as_secs() + 1;
    if shared.refused.swap(second, Ordering::Relaxed) != second {
        warn!("refused a control request of {who} on the unix socket");
    }
}

/// A JSON document with this status.
pub(super) fn response(status: u16, body: String) -> Result<hyper::Response<Full<Bytes>>, hyper::http::Error> {
    let mut head = head(status, JSON, body.len());
    if status == 405 {
        head.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    super::response(status, head, Full::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_a_reload_have_rooms_of_their_own() {
        for (target, kind) in [
            ("modules/slow/start?wait_ms=1", OrderKind::Start),
            ("modules/slow/restart", OrderKind::Start),
            ("modules/stop/start", OrderKind::Start),
            ("modules/reload/stop?x=/start", OrderKind::Stop),
            ("reload?wait_ms=1", OrderKind::Reload),
            ("nonsense", OrderKind::Start),
        ] {
            assert_eq!(OrderKind::of(target), kind, "{target}");
        }
    }
}
