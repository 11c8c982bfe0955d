//! Responses that are rendered once and shared, within bounded memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::task::AbortHandle;

use crate::state::snapshot::{Look, Snapshot};
use crate::view::{self, Canonical, Request, Response};

/// How long a cached response may be used again while the snapshot is the same.
const LONGEST_AGE: Duration = Duration::from_secs(1);

/// The maximum number of cached responses.
const MOST_KEPT: usize = 32;

/// Their maximum total size in bytes.
const MOST_KEPT_BYTES: usize = 5 << 19;

/// The maximum size of all responses that are cached or still being sent.
const MOST_BYTES: usize = 5 << 20;

/// One rendered text, shared by all connections that read it.
#[derive(Debug, Default)]
pub(super) struct SharedText {
    text: Box<str>,
    readers: Mutex<Vec<(u64, AbortHandle)>>,
}

impl SharedText {
    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Registers a connection that reads this text, until it [leaves](Self::leave) with the returned number.
    pub(super) fn join(&self, connection: AbortHandle) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.readers().push((number, connection));
        number
    }

    pub(super) fn leave(&self, number: u64) {
        self.readers().retain(|(other, _)| *other != number);
    }

    /// Closes every connection that still reads it.
    fn cut(&self) {
        self.readers().drain(..).for_each(|(_, connection)| connection.abort());
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<(u64, AbortHandle)>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a response was rendered, and from which snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    sequence: u64,
    given_up: bool,
    at: Duration,
}

impl Stamp {
    fn new(snapshot: &Snapshot, look: Look) -> Self {
        Self { sequence: snapshot.sequence, given_up: look.given_up, at: look.now.mono }
    }

    /// Whether the response may be sent again.
    pub(super) fn holds(&self, snapshot: &Snapshot, look: Look) -> bool {
        self.is_young(look) && self.sequence == snapshot.sequence && self.given_up == look.given_up
    }

    fn is_young(&self, look: Look) -> bool {
        look.now.mono.saturating_sub(self.at) < LONGEST_AGE
    }
}

/// A response, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SharedResponse {
    pub(super) status: u16,
    /// Made once, because a table of headers costs as much as the rest of a short response.
    pub(super) head: Arc<HeaderMap>,
    pub(super) text: Arc<SharedText>,
    /// None for a response that depends on no snapshot.
    pub(super) rendered: Option<Stamp>,
}

impl From<Response> for SharedResponse {
    fn from(response: Response) -> Self {
        let Response { status, content_type, headers, body } = response;
        let mut head = super::head(status, content_type, body.len());
        for (name, value) in headers {
            head.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let text = SharedText { text: body.into_boxed_str(), readers: Mutex::default() };
        Self { status, head: Arc::new(head), text: Arc::new(text), rendered: None }
    }
}

/// Cached responses, the oldest first.
#[derive(Debug, Default)]
pub(super) struct ResponseCache {
    kept: Vec<Kept>,
    /// All long texts that may still be read.
    living: Vec<Weak<SharedText>>,
}

#[derive(Debug)]
struct Kept {
    key: Canonical,
    stamp: Stamp,
    answer: SharedResponse,
}

impl ResponseCache {
    /// The response to `request`, rendered at most once for a snapshot and a canonical form, and again after [`LONGEST_AGE`].
    pub(super) fn answer(&mut self, snapshot: &Snapshot, look: Look, request: &Request<'_>) -> SharedResponse {
        let key = Canonical::of(request);
        let found = key.as_ref().and_then(|key| self.kept.iter().find(|kept| kept.key == *key));
        if let Some(kept) = found
            // If slow readers use up the memory, a new text has to wait; no response is older than a second.
            && (kept.stamp.holds(snapshot, look) || (kept.stamp.is_young(look) && self.is_crowded(kept.answer.text.bytes().len())))
        {
            return kept.answer.clone();
        }
        // The canonical form is rendered, so that a response cannot depend on anything outside its key.
        let get = key.as_ref().map_or(*request, |key| Request { figures: request.figures, ..key.request() });
        let rendered = catch_unwind(AssertUnwindSafe(|| view::find(snapshot, look, &get)));
        let failed = || Response::new(500, view::TEXT, "the response could not be composed; see the log\n".to_owned());
        let mut answer = SharedResponse::from(rendered.map_or_else(|_| failed(), |found| found.unwrap_or_else(Response::not_found)));
        if let Some(key) = key.filter(|_| answer.status != 404) {
            self.kept.retain(|kept| kept.key != key);
            let stamp = Stamp::new(snapshot, look);
            answer.rendered = Some(stamp);
            self.kept.push(Kept { key, stamp, answer: answer.clone() });
            self.forget();
        }
        self.living.push(Arc::downgrade(&answer.text));
        self.make_room();
        answer
    }

    fn forget(&mut self) {
        let mut bytes: usize = self.kept.iter().map(|kept| kept.answer.text.bytes().len()).sum();
        let mut too_many = self.kept.len().saturating_sub(MOST_KEPT);
        self.kept.retain(|kept| {
            let goes = too_many > 0 || bytes > MOST_KEPT_BYTES;
            if goes {
                bytes -= kept.answer.text.bytes().len();
                too_many = too_many.saturating_sub(1);
            }
            !goes
        });
    }

    /// Whether a further text of this length would close other connections.
    fn is_crowded(&self, length: usize) -> bool {
        let living: usize = self.living.iter().filter_map(Weak::upgrade).map(|text| text.bytes().len()).sum();
        living + length > MOST_BYTES
    }

    /// Closes the connections that still read the oldest responses, to make space for the cached ones.
    fn make_room(&mut self) {
        self.living.retain(|text| text.strong_count() > 0);
        let living: Vec<Arc<SharedText>> = self.living.iter().filter_map(Weak::upgrade).collect();
        let mut bytes: usize = living.iter().map(|text| text.bytes().len()).sum();
        for text in living {
            if bytes <= MOST_BYTES {
                break;
            }
            if !self.kept.iter().any(|kept| Arc::ptr_eq(&kept.answer.text, &text)) {
                bytes -= text.bytes().len();
                text.cut();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::plan::{Plan, Service};
    use crate::state::lifecycle::Lifecycle;

    fn get(path: &str, authorized: bool) -> Request<'_> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Request { method: "GET", path, query, accept: "", authorized, ..Request::default() }
    }

    fn run() -> (Snapshot, Look) {
        let service =
            Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0" };
        let now = Moment::default().after(Duration::from_secs(99));
        (Lifecycle::new(Arc::new(Plan::of(service)), now).snapshot().clone(), Look::fresh(now))
    }

    #[test]
    fn a_snapshot_is_rendered_once_for_each_view_query_and_authorization() {
        let (mut snapshot, look) = run();
        let mut answers = ResponseCache::default();
        let first = answers.answer(&snapshot, look, &get("/status?verbose", false)).text;
        for (path, authorized, same) in [
            ("/status?verbose", false, true),
            ("/status?x=1&verbose=2&y", false, true),
            ("/%73tatus/?verbose", false, true),
            ("/status", false, false),
            ("/status?verbose", true, false),
            ("/?verbose", false, false),
        ] {
            let text = answers.answer(&snapshot, look, &get(path, authorized)).text;
            assert_eq!(Arc::ptr_eq(&first, &text), same, "{path} {authorized}");
        }
        snapshot.sequence += 1;
        let second = answers.answer(&snapshot, look, &get("/status?verbose", false)).text;
        assert!(!Arc::ptr_eq(&first, &second), "a new snapshot is rendered at once");
        let mut after = |time| {
            let look = Look::fresh(look.now.after(time));
            Arc::ptr_eq(&second, &answers.answer(&snapshot, look, &get("/status?verbose", false)).text)
        };
        assert!(after(LONGEST_AGE / 10 * 9) && !after(LONGEST_AGE), "no age is older than a second");
    }

    #[test]
    fn whatever_is_requested_only_so_much_is_kept() {
        let (snapshot, look) = run();
        let mut answers = ResponseCache::default();
        for number in 0..1000 {
            answers.answer(&snapshot, look, &get(&format!("/actuator/health/nobody-{number}"), false));
            answers.answer(&snapshot, look, &get(&format!("/readyz?exclude=x{number}"), false));
            answers.answer(&snapshot, look, &get(&format!("/nowhere/{number}"), false));
            answers.answer(&snapshot, look, &get(&format!("/status?x={number}"), number % 2 == 0));
        }
        assert_eq!(answers.kept.len(), 2);
        assert!(answers.living.len() <= 3, "{}", answers.living.len());
    }

    #[tokio::test]
    async fn who_still_reads_an_old_long_answer_makes_room_for_a_new_one() {
        let (mut snapshot, look) = run();
        let mut answers = ResponseCache::default();
        snapshot.service.name = "x".repeat(MOST_BYTES / 4);
        let mut readers = Vec::new();
        for second in 0..8 {
            // Rendered again although there is no space: the cached one is a second old.
            let look = Look::fresh(look.now.after(LONGEST_AGE * second));
            let text = answers.answer(&snapshot, look, &get("/status?verbose", false)).text;
            let reader = Arc::clone(&text);
            let task = tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(reader);
            });
            text.join(task.abort_handle());
            readers.push(task);
            tokio::task::yield_now().await;
        }
        let cut: Vec<bool> = readers.iter().map(tokio::task::JoinHandle::is_finished).collect();
        assert_eq!(cut, [true, true, true, true, true, false, false, false]);
    }
}
