//! Recent responses, found by the exact bytes of the request: nothing is parsed for it, and no other thread is involved. An entry is valid
//! as long as the rendered response.

use super::connections::Peer;
use super::reply::Reply;
use crate::state::snapshot::{Look, Snapshot};

/// The maximum number of responses: a few for each kind of client.
const MOST: usize = 16;

/// The maximum size of a kept request in bytes.
const LONGEST: usize = 1024;

/// The maximum size of a kept response in bytes; for a longer one, rendering and sending dominate the cost.
const LARGEST: usize = 64 * 1024;

#[derive(Debug)]
struct Entry {
    /// The whole head, to its empty line.
    request: Box<[u8]>,
    /// All paths are answered over the unix socket, and only the enabled ones over TCP.
    peer: Peer,
    reply: Reply,
}

impl Entry {
    fn is_valid(&self, snapshot: &Snapshot, look: Look) -> bool {
        self.reply.rendered.is_some_and(|stamp| stamp.holds(snapshot, look))
    }
}

/// The responses, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Entry>);

impl Recent {
    /// The length of the first request in `sent`, and the response to the same one, if it is still valid.
    pub(super) fn find(&self, sent: &[u8], peer: Peer, snapshot: &Snapshot, look: Look) -> Option<(usize, Reply)> {
        let entry = self.0.iter().find(|entry| entry.peer == peer && sent.starts_with(&entry.request))?;
        entry.is_valid(snapshot, look).then(|| (entry.request.len(), entry.reply.clone()))
    }

    /// Keeps a rendered response, and drops invalid ones. The request must not contain a secret.
    pub(super) fn keep(&mut self, request: &[u8], peer: Peer, reply: &Reply, snapshot: &Snapshot, look: Look) {
        self.0.retain(|entry| (&*entry.request, entry.peer) != (request, peer) && entry.is_valid(snapshot, look));
        if reply.rendered.is_none() || request.len() > LONGEST || reply.length() > LARGEST {
            return;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Entry { request: request.into(), peer, reply: reply.clone() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hyper::Method;

    use super::super::handler::Answer;
    use super::super::response_cache::ResponseCache;
    use super::*;
    use crate::clock::Moment;
    use crate::plan::{Plan, Service};
    use crate::state::lifecycle::Lifecycle;
    use crate::view::Request;

    fn run() -> (Snapshot, Look) {
        let now = Moment::default().after(Duration::from_secs(99));
        let service = Service { name: "api".to_owned(), instance: "one".to_owned(), ..Service::default() };
        (Lifecycle::new(Arc::new(Plan::of(service)), now).snapshot().clone(), Look::fresh(now))
    }

    const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";

    fn rendered(snapshot: &Snapshot, look: Look, path: &str) -> Reply {
        let request = Request { method: "GET", path, ..Request::default() };
        let answer = Answer { response: ResponseCache::default().answer(snapshot, look, &request), route: "/readyz" };
        Reply::new(&answer, &Method::GET, look.now)
    }

    #[test]
    fn the_same_request_finds_the_answer_as_long_as_it_holds() {
        let ((mut snapshot, look), mut recent) = (run(), Recent::default());
        recent.keep(READY, Peer::Network, &rendered(&snapshot, look, "/readyz"), &snapshot, look);
        for (sent, peer, is_found) in [
            (READY, Peer::Network, true),
            (&[READY, b"GET /livez"].concat()[..], Peer::Network, true),
            (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r", Peer::Network, false),
            (b"HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n", Peer::Network, false),
            (b"GET /readyz HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n", Peer::Network, false),
            (READY, Peer::Trusted, false),
            // It may be the response to a path that is disabled over TCP.
            (READY, Peer::Local(Some(1000)), false),
        ] {
            let found = recent.find(sent, peer, &snapshot, look);
            assert_eq!(found.map(|(length, _)| length), is_found.then_some(READY.len()), "{sent:?} {peer:?}");
        }
        let find = |snapshot: &Snapshot, look| recent.find(READY, Peer::Network, snapshot, look).is_some();
        let later = |millis| Look::fresh(look.now.after(Duration::from_millis(millis)));
        assert!(find(&snapshot, later(999)));
        assert!(!find(&snapshot, later(1000)), "no age is older than a second");
        assert!(!find(&snapshot, Look { given_up: true, ..look }));
        snapshot.sequence += 1;
        assert!(!find(&snapshot, look), "a new snapshot is rendered at once");
        recent.keep(b"GET /livez", Peer::Network, &rendered(&snapshot, look, "/livez"), &snapshot, look);
        assert_eq!(recent.0.len(), 1, "what holds no longer goes");
    }

    #[test]
    fn whatever_is_requested_only_so_much_is_kept() {
        let ((snapshot, look), mut recent) = (run(), Recent::default());
        let ready = rendered(&snapshot, look, "/readyz");
        for number in 0..100 {
            recent.keep(format!("GET /readyz?x={number}").as_bytes(), Peer::Network, &ready, &snapshot, look);
        }
        assert_eq!(recent.0.len(), MOST);
        let mut is_kept = |request: &[u8], reply: &Reply| {
            recent.keep(request, Peer::Network, reply, &snapshot, look);
            recent.find(request, Peer::Network, &snapshot, look).is_some()
        };
        assert!(is_kept(READY, &ready));
        assert!(!is_kept(&[b'x'; LONGEST + 1], &ready));
        assert!(!is_kept(b"GET /nowhere", &rendered(&snapshot, look, "/nowhere")), "what is nowhere is not kept");
    }
}
