//! Recent responses, found by the exact text of the request: neither path nor query is parsed for it, and no other thread is involved. An
//! entry is valid as long as the rendered response.

use super::connections::Peer;
use super::response_cache::SharedResponse;
use crate::state::snapshot::{Look, Snapshot};

/// The maximum number of responses: a few for each kind of client.
const MOST: usize = 16;

/// The maximum size of a kept request in bytes.
const LONGEST: usize = 256;

/// The maximum size of a kept response in bytes; for a longer one, rendering and sending dominate the cost.
const LARGEST: usize = 64 * 1024;

/// Everything besides the snapshot that determines a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) accept: &'a str,
    pub(super) authorized: bool,
    /// All paths are answered over the unix socket, and only the enabled ones over TCP.
    pub(super) peer: Peer,
}

/// A response, and its labels in the metrics.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) answer: SharedResponse,
    pub(super) route: &'static str,
    pub(super) long: bool,
}

#[derive(Debug)]
struct Entry {
    path: Box<str>,
    query: Box<str>,
    accept: Box<str>,
    authorized: bool,
    peer: Peer,
    found: Found,
}

impl Entry {
    fn is_for(&self, words: Words<'_>) -> bool {
        *self.path == *words.path
            && *self.query == *words.query
            && *self.accept == *words.accept
            && (self.authorized, self.peer) == (words.authorized, words.peer)
    }
}

/// The responses, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Entry>);

impl Recent {
    /// The response to the same request, if it is still valid.
    pub(super) fn find(&self, words: Words<'_>, snapshot: &Snapshot, look: Look) -> Option<Found> {
        let entry = self.0.iter().find(|entry| entry.is_for(words))?;
        entry.found.answer.rendered.filter(|stamp| stamp.holds(snapshot, look)).map(|_| entry.found.clone())
    }

    /// Keeps a rendered response, and drops invalid ones.
    pub(super) fn keep(&mut self, words: Words<'_>, found: Found, snapshot: &Snapshot, look: Look) {
        let length = words.path.len() + words.query.len() + words.accept.len();
        self.0.retain(|entry| !entry.is_for(words) && entry.found.answer.rendered.is_some_and(|stamp| stamp.holds(snapshot, look)));
        if found.answer.rendered.is_none() || length > LONGEST || found.answer.text.bytes().len() > LARGEST {
            return;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        let Words { path, query, accept, authorized, peer } = words;
        self.0.push(Entry { path: path.into(), query: query.into(), accept: accept.into(), authorized, peer, found });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

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

    const READY: Words<'_> = Words { path: "/readyz", query: "", accept: "", authorized: false, peer: Peer::Network };

    fn rendered(snapshot: &Snapshot, look: Look, words: Words<'_>) -> Found {
        let request = Request { method: "GET", path: words.path, query: words.query, ..Request::default() };
        Found { answer: ResponseCache::default().answer(snapshot, look, &request), route: "/readyz", long: false }
    }

    #[test]
    fn the_same_words_find_the_answer_as_long_as_it_holds() {
        let ((mut snapshot, look), mut recent) = (run(), Recent::default());
        recent.keep(READY, rendered(&snapshot, look, READY), &snapshot, look);
        for (words, is_found) in [
            (READY, true),
            (Words { path: "/livez", ..READY }, false),
            (Words { query: "verbose", ..READY }, false),
            (Words { accept: "text/html", ..READY }, false),
            (Words { authorized: true, ..READY }, false),
            (Words { peer: Peer::Trusted, ..READY }, false),
            // It may be the response to a path that is disabled over TCP.
            (Words { peer: Peer::Local(Some(1000)), ..READY }, false),
        ] {
            assert_eq!(recent.find(words, &snapshot, look).is_some(), is_found, "{words:?}");
        }
        let later = |millis| Look::fresh(look.now.after(Duration::from_millis(millis)));
        assert!(recent.find(READY, &snapshot, later(999)).is_some());
        assert!(recent.find(READY, &snapshot, later(1000)).is_none(), "no age is older than a second");
        assert!(recent.find(READY, &snapshot, Look { given_up: true, ..look }).is_none());
        snapshot.sequence += 1;
        assert!(recent.find(READY, &snapshot, look).is_none(), "a new snapshot is rendered at once");
        recent.keep(Words { path: "/livez", ..READY }, rendered(&snapshot, look, READY), &snapshot, look);
        assert_eq!(recent.0.len(), 1, "what holds no longer goes");
    }

    #[test]
    fn whatever_is_requested_only_so_much_is_kept() {
        let ((snapshot, look), mut recent) = (run(), Recent::default());
        for number in 0..100 {
            let query = format!("x={number}");
            let words = Words { query: &query, ..READY };
            recent.keep(words, rendered(&snapshot, look, READY), &snapshot, look);
        }
        assert_eq!(recent.0.len(), MOST);
        let long = "x".repeat(LONGEST);
        recent.keep(Words { query: &long, ..READY }, rendered(&snapshot, look, READY), &snapshot, look);
        assert!(recent.find(Words { query: &long, ..READY }, &snapshot, look).is_none());
        let missing = Words { path: "/nowhere", ..READY };
        recent.keep(missing, rendered(&snapshot, look, missing), &snapshot, look);
        assert!(recent.find(missing, &snapshot, look).is_none(), "what is nowhere is not kept");
    }
}
