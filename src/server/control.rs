//! Orders over the unix socket: who may give them, and what whoever may not is told.

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

/// What every path of orders begins with.
const ROOT: &str = "/control/";

/// The answer that comes when the order is done.
type UnderWay = std::pin::Pin<Box<dyn Future<Output = (u16, String)> + Send>>;

/// How long an order waits for room: in a flood, those that are answered at once stand in each other's way for a moment.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// How many orders' ends are waited for at a time. Together far below [`MOST_CONNECTIONS`](super::MOST_CONNECTIONS), since such a
/// connection makes room for no other one; and apart, so that what others wait for can always be stopped or changed.
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

/// An order on its way.
pub(super) struct Ordered {
    kind: OrderKind,
    pub(super) under_way: UnderWay,
}

/// In which room an order is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderKind {
    /// It starts something, and may have to wait for as long as that takes.
    Start,
    /// It reads the configuration again.
    Reload,
    /// It stops something, which ends by KILL at the latest.
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

/// An order on its way, or why there is none; none for a question like any other. On the network there are no orders.
pub(super) fn ordered(request: &hyper::Request<Incoming>, peer: Peer, shared: &Shared) -> Option<Result<Ordered, (u16, String)>> {
    let controller = shared.controller.as_ref()?;
    if peer == Peer::Network {
        return None;
    }
    let target = request.uri().path_and_query()?.as_str().strip_prefix(ROOT)?;
    let refusal = |status, sentence: &str| Some(Err((status, ControlAnswer::text(None, sentence))));
    if let Peer::Local(uid) = peer {
        refuse(shared, &uid.map_or_else(|| "a user that the kernel does not name".to_owned(), |uid| format!("user {uid}")));
        return refusal(403, "orders are taken from root and from portcullis' own user");
    }
    // The cookie of a browser shows details, and gives no orders.
    if has_token(&shared.plan) && !bears_token(&shared.plan, request.headers()) {
        refuse(shared, "somebody without the token of [health]");
        return refusal(403, "orders need the token of [health]");
    }
    if request.method() != hyper::Method::POST {
        return refusal(405, "orders are given by POST");
    }
    Some(Ok(Ordered { kind: OrderKind::of(target), under_way: controller(target.to_owned()) }))
}

/// The answer where there is no [room](OrderLimits): nothing was ordered.
pub(super) fn too_many() -> Result<hyper::Response<Full<Bytes>>, hyper::http::Error> {
    let sentence = "too many orders are waited for already; nothing was ordered, try again once they are done";
    response(503, ControlAnswer::text(Some(Exit::Unavailable), sentence))
}

/// Says it in the log, once a second at most.
fn refuse(shared: &Shared, who: &str) {
    let second = Moment::now().mono.as_secs() + 1;
    if shared.refused.swap(second, Ordering::Relaxed) != second {
        warn!("refused an order of {who} on the unix socket");
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
