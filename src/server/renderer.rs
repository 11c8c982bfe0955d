//! The thread that renders long responses, so that no probe waits for one; it works at most a quarter of the time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use tracing::warn;

use super::response_cache::{ResponseCache, SharedResponse};
use crate::clock::Moment;
use crate::plan::Views;
use crate::published::Published;
use crate::sys;
use crate::view::figures::Figures;
use crate::view::{DetailAccess, Request};

/// How long it rests in relation to its work; requests meanwhile share the next rendering.
const REST: u32 = 3;

/// The longest rest, and the shortest one that is not skipped.
const RESTS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// A request for a long response.
pub(super) struct RenderRequest {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) accept: String,
    pub(super) authorized: bool,
    pub(super) access: DetailAccess,
    pub(super) views: Views,
    pub(super) figures: Option<Figures>,
}

/// The handle of the thread, which starts with the first request and ends when this is dropped.
pub(super) struct Renderer {
    desk: Arc<RenderQueue>,
    published: Arc<Published>,
    most_waiting: usize,
}

#[derive(Default)]
struct RenderQueue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Default)]
struct Waiting {
    trusted: VecDeque<(RenderRequest, oneshot::Sender<SharedResponse>)>,
    others: VecDeque<(RenderRequest, oneshot::Sender<SharedResponse>)>,
    open: bool,
    closed: bool,
}

impl Renderer {
    /// At most `most_waiting` requests of trusted peers are queued, and as many of all others.
    pub(super) fn new(published: Arc<Published>, most_waiting: usize) -> Self {
        Self { desk: Arc::default(), published, most_waiting }
    }

    /// The response; none if too many requests are queued, or without a thread.
    pub(super) async fn render(&self, question: RenderRequest, trusted: bool) -> Option<SharedResponse> {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.desk.waiting();
            if !waiting.open {
                waiting.open = self.open();
            }
            let open = waiting.open;
            let queue = if trusted { &mut waiting.trusted } else { &mut waiting.others };
            if queue.len() >= self.most_waiting {
                queue.retain(|(_, reply)| !reply.is_closed());
            }
            if !open || queue.len() >= self.most_waiting {
                return None;
            }
            queue.push_back((question, reply));
        }
        self.desk.bell.notify_one();
        answer.await.ok()
    }

    fn open(&self) -> bool {
        let (desk, published) = (Arc::clone(&self.desk), Arc::clone(&self.published));
        let started = sys::start_thread("pages", move || {
            let closing = Closing(desk);
            work(&closing.0, &published);
        });
        started.inspect_err(|error| warn!("cannot start a thread for long answers: {error}; check the limit of processes")).is_ok()
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        self.desk.waiting().closed = true;
        self.desk.bell.notify_one();
    }
}

/// When the thread ends, all waiting requests fail, and the next request starts another thread.
struct Closing(Arc<RenderQueue>);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.open = false;
        waiting.trusted.clear();
        waiting.others.clear();
    }
}

impl RenderQueue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request: of a trusted peer at once, any other one after the rest. None at the end.
    fn next(&self, rested: Duration) -> Option<(RenderRequest, oneshot::Sender<SharedResponse>)> {
        let mut waiting = self.waiting();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(next) = waiting.trusted.pop_front() {
                return Some(next);
            }
            let rest = rested.saturating_sub(Moment::now().mono);
            if rest <= RESTS.0
                && let Some(next) = waiting.others.pop_front()
            {
                return Some(next);
            }
            waiting = if waiting.others.is_empty() {
                self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.bell.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

fn work(desk: &RenderQueue, published: &Published) {
    let mut answers = ResponseCache::default();
    let mut rested = Duration::ZERO;
    while let Some((question, reply)) = desk.next(rested) {
        if reply.is_closed() {
            continue;
        }
        let before = processor_time();
        let RenderRequest { path, query, accept, authorized, access, views, figures } = &question;
        let request = Request {
            method: "GET",
            path,
            query,
            accept,
            authorized: *authorized,
            access: *access,
            views: *views,
            figures: figures.as_ref(),
        };
        let (snapshot, look) = published.look();
        let _ = reply.send(answers.answer(&snapshot, look, &request));
        let now = Moment::now().mono;
        rested = (rested.max(now) + processor_time().saturating_sub(before) * REST).min(now + RESTS.1);
    }
}

/// The processor time of this thread; zero if unknown.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
