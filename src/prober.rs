//! Schedules the probes of all checks: with back-off while waiting, at a fixed interval while running.

mod alarm;
mod last_results;
mod pace;
mod processes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::clock::patience::SLACK;
use crate::mailbox::Mailbox;
use crate::outcome::{Detail, ErrorKind, Outcome};
use crate::plan::target::Target;
use crate::plan::{CheckId, CheckPlan, Plan};
use crate::probe::Probe;
use crate::state::event::{Event, ProcessId};
pub use alarm::Alarm;
pub use last_results::LastResults;
pub use pace::{Pace, delay};
pub use processes::ProcessWatch;

/// The supervisor's requests to the prober.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Whether the checks that were not waited for run, too.
    pub all: bool,
    /// Whether even the awaited checks do not run yet, because the start still prepares what they may need: files, steps, modules.
    pub held: bool,
    /// Grows when the awaited checks have to be probed at once, before a restart of the process.
    pub again: u64,
    /// The plan of the last reload.
    pub plan: Option<Arc<Plan>>,
    /// The probes of each process.
    pub processes: BTreeMap<ProcessId, Arc<ProcessWatch>>,
    /// The last results of rate-limited peers, shared with the next prober task.
    pub answers: Arc<LastResults>,
}

/// Probes all checks of the plan until the requests end, and sends the results.
///
/// Each check has its own task with one probe at a time, so that a hanging one delays no other. Dropping the future ends all probes and
/// closes all connections.
pub async fn run(plan: Arc<Plan>, mut orders: watch::Receiver<Orders>, mailbox: Mailbox) {
    let mut tasks = JoinSet::new();
    let mut tasks_of_checks = BTreeMap::new();
    let mut of_processes = processes::Processes::default();
    let watcher = Watcher { orders: orders.clone(), mailbox: mailbox.clone() };
    loop {
        let Orders { all, held, plan: newer, .. } = orders.borrow_and_update().clone();
        let is_due = |check: &CheckPlan| all || (!held && !check.wait.is_zero());
        watcher.follow(newer.as_ref().unwrap_or(&plan), is_due, &mut tasks_of_checks, &mut tasks);
        of_processes.follow(&orders, &mut tasks, &mailbox);
        if orders.changed().await.is_err() {
            return;
        }
    }
}

/// The input of the task of a check.
struct Watcher {
    orders: watch::Receiver<Orders>,
    mailbox: Mailbox,
}

impl Watcher {
    /// Ends the tasks of removed checks, and starts one for each check of the service that should run and has none.
    fn follow(
        &self,
        plan: &Plan,
        is_due: impl Fn(&CheckPlan) -> bool,
        watched: &mut BTreeMap<CheckId, AbortHandle>,
        tasks: &mut JoinSet<()>,
    ) {
        watched.retain(|id, task| {
            let stays = !plan.retired.checks.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        let own = plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id) && !plan.retired.checks.contains(id));
        let until_up = plan.own_command;
        for (id, check) in own.filter(|(_, check)| is_due(check)) {
            watched.entry(id).or_insert_with(|| {
                let mailbox = self.mailbox.clone();
                let probe = Guarded::new(check.target.clone(), Some(self.mailbox.clone()));
                let tell = move |event| mailbox.send(event);
                let (check, orders) = (check.clone(), self.orders.clone());
                tasks.spawn(watch_check(id, check, probe, orders, until_up, Alarm::new, tell))
            });
        }
    }
}

/// Probes one check forever, or until it is up. While it is waited for, it pauses by an alarm.
async fn watch_check(
    id: CheckId,
    check: CheckPlan,
    mut probe: impl Probing,
    mut orders: watch::Receiver<Orders>,
    until_up: bool,
    new_alarm: impl Fn() -> Alarm,
    tell: impl Fn(Event),
) {
    let (mut again, answers) = {
        let orders = orders.borrow_and_update();
        (orders.again, Arc::clone(&orders.answers))
    };
    let mut began = Instant::now();
    let mut passes = 0;
    // From then on a missing database is a failure.
    let mut seen = !check.creates_database;
    // A check that is not waited for has its interval from the start.
    let mut in_step = check.wait.is_zero();
    let mut alarm = None;
    loop {
        let next = match answers.not_yet(&check) {
            Some(last) => {
                if let Some((at, outcome)) = last.outcome {
                    tell(Event::Recalled(id, at, outcome));
                }
                last.due
            }
            None => {
                let mut outcome = probe_once(&check, &mut probe, &answers).await;
                seen = seen || outcome.result.is_ok();
                if !seen && outcome.reason().detail == Detail::NoDatabase {
                    if passes == 0 {
                        tracing::info!(
                            "{}: the database does not exist yet, which counts as ready because the migration creates it",
                            check.name
                        );
                    }
                    outcome.result = Ok(());
                }
                let kind = outcome.kind();
                passes = if kind == ErrorKind::Ok { passes + 1 } else { 0 };
                in_step = in_step || passes >= check.success_threshold;
                tell(Event::Probed(id, outcome));
                if until_up && in_step {
                    return;
                }
                let held = in_step || (check.rate_limited && probe.reached());
                let pace = if held { Pace::InStep(check.interval) } else { Pace::Waiting { waited: began.elapsed(), kind } };
                Instant::now() + delay(pace, fastrand::f64())
            }
        };
        alarm = (!in_step).then(|| alarm.unwrap_or_else(&new_alarm));
        let pause = async {
            match &mut alarm {
                Some(alarm) => alarm.sleep(next.saturating_duration_since(Instant::now())).await,
                None => sleep_until(next).await,
            }
        };
        tokio::select! {
            () = pause => {}
            () = ordered_again(&mut orders, again), if !check.wait.is_zero() => {
                again = orders.borrow().again;
                (began, passes, in_step) = (Instant::now(), 0, false);
            }
        }
    }
}

/// Probes once, and records it if the peer may have received the request.
async fn probe_once(check: &CheckPlan, probe: &mut impl Probing, answers: &LastResults) -> Outcome {
    let mut unanswered = Unanswered { check, answers, open: true };
    let outcome = patiently(probe, check.timeout).await;
    unanswered.open = false;
    if probe.reached() {
        answers.note(check, Some(&outcome));
    }
    outcome
}

/// Probes, and repeats it if the failure means nothing because this process did not run for a part of the time.
async fn patiently(probe: &mut impl Probing, within: Duration) -> Outcome {
    let began = Instant::now();
    let outcome = probe.probe(within).await;
    if outcome.result.is_err() && began.elapsed() > within.saturating_add(SLACK) { probe.probe(within).await } else { outcome }
}

/// A running probe; if it is dropped early, the peer may have received the request.
struct Unanswered<'a> {
    check: &'a CheckPlan,
    answers: &'a LastResults,
    open: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.open {
            self.answers.note(self.check, None);
        }
    }
}

/// Returns when the checks have to be probed at once; never if no more requests are possible.
async fn ordered_again(orders: &mut watch::Receiver<Orders>, known: u64) {
    if orders.wait_for(|orders| orders.again != known).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Probes a startup check until it passes.
async fn watch_target(target: Target, timeout: Duration, mailbox: Mailbox, tell: impl Fn(Outcome)) {
    let mut probe = Guarded::new(target, Some(mailbox));
    let mut alarm = Alarm::new();
    let began = Instant::now();
    loop {
        let outcome = patiently(&mut probe, timeout).await;
        let kind = outcome.kind();
        tell(outcome);
        if kind == ErrorKind::Ok {
            return;
        }
        alarm.sleep(delay(Pace::Waiting { waited: began.elapsed(), kind }, fastrand::f64())).await;
    }
}

/// Something that can be probed.
trait Probing: Send + 'static {
    fn probe(&mut self, within: Duration) -> impl Future<Output = Outcome> + Send;

    /// Whether a peer may have received the last request.
    fn reached(&self) -> bool;
}

/// A probe whose panics become outcomes; the next one starts with a new probe.
#[derive(Debug)]
pub struct Guarded {
    target: Target,
    supervisor: Option<Mailbox>,
    probe: Probe,
}

impl Guarded {
    /// A probe of `target` without a connection yet; see [`Probe::under`].
    pub fn new(target: Target, supervisor: Option<Mailbox>) -> Self {
        Self { probe: Probe::under(&target, supervisor.as_ref()), target, supervisor }
    }

    /// Probes once; see [`Probe::probe`].
    pub async fn once(&mut self, within: Duration) -> Outcome {
        let began = Instant::now();
        let Some(outcome) = guarded(self.probe.probe(within)).await else {
            self.probe = Probe::under(&self.target, self.supervisor.as_ref());
            return Outcome::failed(ErrorKind::Internal, "the probe panicked", began.elapsed());
        };
        outcome
    }

    /// See [`Probe::lost_session`].
    pub const fn lost_session(&self) -> bool {
        self.probe.lost_session()
    }

    /// Closes the session; see [`Probe::close`].
    pub async fn close(&mut self) {
        self.probe.close().await;
    }
}

impl Probing for Guarded {
    async fn probe(&mut self, within: Duration) -> Outcome {
        self.once(within).await
    }

    fn reached(&self) -> bool {
        self.probe.reached()
    }
}

/// The future's output; none if it panicked.
async fn guarded<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
