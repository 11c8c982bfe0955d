//! Writes the readiness to Redis: one atomic script per heartbeat, changes at once, and every record expires.
#![warn(clippy::arithmetic_side_effects)]

mod beat;
mod identity;
pub(crate) mod instances;
pub mod lease;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::mailbox::Mailbox;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::{HeartbeatPlan, WITHDRAW_LIMIT};
use crate::published::Published;
use crate::state::event::{Event, Readiness};
use crate::state::snapshot::{Level, Look, Snapshot};
use beat::HeartbeatWriter;

pub use identity::InstanceIdentity;

/// The pauses after consecutive failed heartbeats, before jitter of minus 30 % at most; the last one repeats.
///
/// A heartbeat has to be written within 5 s after Redis accepts writes again (`docs/decisions.md`, 3), and a running attempt may spend
/// [`beat::ANSWER`] on a dead server before the pause begins.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

const _: () = assert!(beat::ANSWER.as_secs() + RETRIES[RETRIES.len() - 1].as_secs() < 5);

/// How often a lasting failure is logged again.
const REMINDER: Duration = Duration::from_secs(60);

/// The pause after a refused login or permission: an operator has to fix it (`docs/decisions.md`, 4).
const RETRY_REFUSED: Duration = Duration::from_secs(30);

/// The pause after a heartbeat that withdrew the readiness because the results of the checks were too old.
const RETRY_STALE: Duration = Duration::from_secs(1);

/// The input of a heartbeat, at its start and after an internal error.
#[derive(Clone, Debug)]
pub struct HeartbeatContext {
    /// The Redis, the interval and the key.
    pub plan: HeartbeatPlan,
    /// The snapshots of the run.
    pub published: Arc<Published>,
    /// The readiness to write.
    pub readiness: watch::Receiver<Readiness>,
    /// The mailbox for its events.
    pub mailbox: Mailbox,
    /// The identity under which it is written.
    pub identity: InstanceIdentity,
}

impl HeartbeatContext {
    fn writer(&self) -> HeartbeatWriter {
        let (snapshot, _) = self.published.look();
        HeartbeatWriter::new(self.plan.clone(), self.identity.clone(), &snapshot)
    }
}

/// Writes heartbeats until the stop; then removes this instance and sends [`Event::Withdrawn`], also if that failed.
///
/// It also returns if the sender of the readiness is dropped; the records then expire.
pub async fn run(context: HeartbeatContext) {
    let mut writer = context.writer();
    let HeartbeatContext { plan, published, mut readiness, mailbox, identity } = context;
    let mut trouble = Trouble::default();
    loop {
        let wanted = *readiness.borrow_and_update();
        if wanted == Readiness::Stopped {
            break;
        }
        let (snapshot, look) = published.look();
        let snapshot = snapshot.as_published();
        let state = believable(wanted, &snapshot, look);
        let written = tokio::select! {
            // A newer state cancels a heartbeat that is being written: the next one has the newer state and a higher number.
            changed = readiness.changed() => if changed.is_ok() { continue } else { return },
            written = writer.write(state, Some((&snapshot, look))) => written,
        };
        let pause = match &written {
            Ok(()) if state != wanted => RETRY_STALE,
            Ok(()) => interval(plan.every, fastrand::f64()),
            Err(failure) => retry(trouble.in_a_row, failure.kind, fastrand::f64()),
        };
        let mut next = after(pause);
        trouble.note(&written, &plan);
        mailbox.send(Event::Beaten(written.map_err(|failure| failure.kind)));
        tokio::select! {
            changed = readiness.changed() => if changed.is_ok() { continue } else { return },
            around = writer.look_around() => if let Some(instances) = around { mailbox.send(Event::Counted(Arc::new(instances))) },
        }
        loop {
            tokio::select! {
                changed = readiness.changed() => if changed.is_err() { return } else { break },
                () = sleep_until(next) => break,
                // A restarted server may have lost the records, so they are written again at once.
                () = writer.lost() => next = next.min(after(retry(0, ErrorKind::Unreachable, fastrand::f64()))),
            }
        }
    }
    let (snapshot, look) = published.look();
    let snapshot = snapshot.as_published();
    let stopped = in_time(writer.write(Readiness::Stopped, Some((&snapshot, look))));
    let (written, _) = tokio::join!(stopped, timeout(WITHDRAW_LIMIT, lease::give_back(&plan, &identity)));
    trouble.note(&written, &plan);
    mailbox.send(Event::Beaten(written.map_err(|failure| failure.kind)));
    mailbox.send(Event::Withdrawn);
}

/// After an internal error in [`run`]: withdraws the readiness, or removes this instance if it stops, with a heartbeat that does not depend
/// on the run.
pub async fn withdraw(context: HeartbeatContext, state: Readiness) {
    let state = if state == Readiness::Stopped { state } else { Readiness::NotReady };
    let fault = if let Err(failure) = in_time(context.writer().write(state, None)).await {
        let (key, ttl) = (&context.plan.key, humantime::format_duration(context.plan.ttl));
        tracing::warn!("the heartbeat {key} is not withdrawn and expires within {ttl}: {}", failure.private.as_str());
        failure.kind
    } else {
        ErrorKind::Internal
    };
    context.mailbox.send(Event::Beaten(Err(fault)));
}

/// The result of a withdrawal within [`WITHDRAW_LIMIT`].
async fn in_time(written: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    timeout(WITHDRAW_LIMIT, written)
        .await
        .unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, "no response in time for the withdrawal")))
}

/// The readiness that may be written: ready only if the current snapshot says so, so that a process that was frozen, or whose checks hang,
/// does not report an old state.
fn believable(wanted: Readiness, snapshot: &Snapshot, look: Look) -> Readiness {
    match wanted {
        Readiness::Ready if !snapshot.verdict(Level::Ready, look) => Readiness::NotReady,
        wanted => wanted,
    }
}

/// The moment after this pause, which is at most a day.
fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

/// The pause after a written heartbeat: `every`, shortened a little, so that replicas do not write at the same time.
fn interval(every: Duration, chance: f64) -> Duration {
    every.mul_f64(1.0 - 0.1 * chance)
}

/// The pause after failure number `in_a_row`, counted from 0.
fn retry(in_a_row: usize, kind: ErrorKind, chance: f64) -> Duration {
    let [first, later] = RETRIES;
    let pause = match (kind, in_a_row) {
        (ErrorKind::Auth, _) => RETRY_REFUSED,
        (_, 0) => first,
        _ => later,
    };
    pause.mul_f64(1.0 - 0.3 * chance)
}

/// The failures since the last written heartbeat.
#[derive(Debug, Default)]
struct Trouble {
    in_a_row: usize,
    kind: Option<ErrorKind>,
    last_warning: Option<Instant>,
    ever_written: bool,
}

impl Trouble {
    /// Logs a change once, and a lasting failure every [`REMINDER`].
    fn note(&mut self, written: &Result<(), Failure>, plan: &HeartbeatPlan) {
        let now = written.as_ref().err().map(|failure| failure.kind);
        match written {
            Ok(()) if self.kind.is_some() => {
                let again = if self.ever_written { " again" } else { " now" };
                tracing::info!("the heartbeat {} is written{again}", plan.key);
            }
            Err(failure) if self.kind != now || self.last_warning.is_none_or(|last_warning| last_warning.elapsed() >= REMINDER) => {
                self.last_warning = Some(Instant::now());
                let (why, words) = (failure.reason(), failure.private.as_str());
                let so = if plan.required { ", and without it this replica is not ready" } else { "" };
                let words_of_failure = format!("{} [{}] at {} ({words}); {}", why.words(), why.kind.word(), plan.target, why.advice());
                if self.ever_written {
                    let after = humantime::format_duration(plan.ttl);
                    tracing::warn!("the heartbeat {} is not written and expires within {after}{so}: {words_of_failure}", plan.key);
                } else {
                    tracing::info!("the heartbeat {} is not written yet{so}: {words_of_failure}", plan.key);
                }
            }
            _ => {}
        }
        self.ever_written |= now.is_none();
        self.in_a_row = if now.is_some() { self.in_a_row.saturating_add(1) } else { 0 };
        self.kind = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::exit::Ended;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::{Plan, ProcessPlan, Service};
    use crate::state::event::ProcessId;
    use crate::state::lifecycle::Lifecycle;

    #[test]
    fn a_heartbeat_is_never_late_and_failures_back_off() {
        let every = Duration::from_secs(20);
        assert_eq!(interval(every, 0.0), every);
        assert_eq!(interval(every, 1.0), Duration::from_secs(18));
        for (in_a_row, kind, chance, ms) in [
            (0, ErrorKind::Refused, 0.0, 1_000),
            (1, ErrorKind::Timeout, 0.0, 2_000),
            (2, ErrorKind::NotReady, 0.0, 2_000),
            (1_000, ErrorKind::Dns, 1.0, 1_400),
            (0, ErrorKind::Auth, 0.0, 30_000),
        ] {
            assert_eq!(retry(in_a_row, kind, chance), Duration::from_millis(ms), "{in_a_row} {kind:?} {chance}");
        }
    }

    #[test]
    fn readiness_is_published_only_while_the_snapshot_is_ready_too() {
        let process = ProcessPlan::new(Argv::new(vec![Word::plain("app")]).unwrap());
        let service =
            Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0" };
        let plan = Plan { main: Some(process), ..Plan::of(service) };
        let now = Moment::default();
        let mut lifecycle = Lifecycle::new(Arc::new(plan), now);
        lifecycle.apply(now, Event::Begin);
        assert_eq!(believable(Readiness::Ready, lifecycle.snapshot(), Look::fresh(now)), Readiness::NotReady);
        lifecycle.apply(now, Event::Spawned(ProcessId::Main, 7));
        assert_eq!(believable(Readiness::Ready, lifecycle.snapshot(), Look::fresh(now)), Readiness::Ready);
        let thawed = Look { now: now.after(Duration::from_secs(120)), ..Look::fresh(now) };
        assert_eq!(believable(Readiness::Ready, lifecycle.snapshot(), thawed), Readiness::NotReady);
        assert_eq!(believable(Readiness::Stopped, lifecycle.snapshot(), thawed), Readiness::Stopped);
        lifecycle.apply(now, Event::Exited(ProcessId::Main, Ended::Code(0)));
        assert_eq!(believable(Readiness::Ready, lifecycle.snapshot(), Look::fresh(now)), Readiness::NotReady);
    }
}
