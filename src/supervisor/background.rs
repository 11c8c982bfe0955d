//! The subsystems, each restarted if it fails: checks, migration lock and heartbeat on one thread, the health endpoint on another. If the
//! first thread hangs, it is replaced.

mod keep;
mod serving;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::stall_detector::{Stall, StallDetector};
use crate::clock::{Moment, Pulse};
use crate::heartbeat::{self, HeartbeatContext, InstanceIdentity};
use crate::mailbox::{Mailbox, Term};
use crate::migration::{self, LockOrder};
use crate::plan::{HealthPlan, KeeperPlan, Plan};
use crate::prober::{self, Orders, ProcessWatch};
use crate::published::Published;
use crate::server::{self, Controller, Listeners};
use crate::state::event::{ProcessId, Readiness};
use crate::sys;
use keep::{during, keep, keep_heartbeat, keep_lock};
pub use serving::serve;

/// The pause before a failed subsystem is restarted, doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The maximum number of hanging, replaced threads: /livez fails before they are a burden.
const MOST_LEFT_HANGING: usize = 3;

/// A running subsystem.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves health requests on these listeners, and control requests if there is a controller.
pub type Serve = fn(Listeners, Arc<HealthPlan>, Arc<Published>, Option<Controller>) -> io::Result<Infallible>;

/// The start functions of the subsystems, as parameters so that tests can use failing ones.
#[derive(Clone, Copy, Debug)]
pub struct Subsystems {
    /// Runs the checks.
    pub prober: fn(Arc<Plan>, watch::Receiver<Orders>, Mailbox) -> Work,
    /// Writes the readiness to Redis.
    pub heartbeat: fn(HeartbeatContext) -> Work,
    /// Holds the migration lock.
    pub lock: fn(KeeperPlan, String, mpsc::UnboundedReceiver<LockOrder>, Mailbox) -> Work,
    /// Serves health requests; blocks its thread.
    pub health: Serve,
}

impl Default for Subsystems {
    fn default() -> Self {
        Self {
            prober: |plan, orders, mailbox| Box::pin(prober::run(plan, orders, mailbox)),
            heartbeat: |context| Box::pin(heartbeat::run(context)),
            lock: |plan, instance, orders, mailbox| Box::pin(migration::run(plan, instance, orders, mailbox)),
            health: server::serve,
        }
    }
}

/// The channels to the subsystems; sending never blocks and never fails.
#[derive(Debug)]
pub struct Background {
    orders: watch::Sender<Orders>,
    locks: mpsc::UnboundedSender<LockOrder>,
    readiness: watch::Sender<Readiness>,
    /// For how long the restart lease is requested; none: not requested.
    lease: watch::Sender<Option<Duration>>,
    /// The generation of the current thread.
    generation: watch::Sender<u64>,
    watched: Option<Watched>,
    /// Whether the migration lock is requested or held: it would be lost with the thread.
    lock_is_out: bool,
}

/// The thread of checks, lock and heartbeat, for its replacement.
#[derive(Debug)]
struct Watched {
    detector: StallDetector,
    start: Start,
    /// Held by each such thread until its end.
    alive: Arc<()>,
}

impl Background {
    /// Starts the subsystems that the plan needs; without any, not even a thread.
    ///
    /// # Errors
    /// The kernel cannot create another thread or its files.
    pub fn start(plan: &Arc<Plan>, published: &Arc<Published>, mailbox: &Mailbox, subsystems: Subsystems) -> io::Result<Self> {
        let mut background = Self {
            orders: watch::Sender::new(Orders { held: plan.prepares(), ..Orders::default() }),
            locks: mpsc::unbounded_channel().0,
            readiness: watch::Sender::new(Readiness::default()),
            lease: watch::Sender::new(None),
            generation: watch::Sender::new(0),
            watched: None,
            lock_is_out: false,
        };
        let started = plan.main.as_ref().is_some_and(|main| main.started.is_some());
        if !plan.checks.is_empty()
            || started
            || plan.keeper().is_some()
            || plan.heartbeat.is_some()
            || plan.health.as_ref().is_some_and(|health| health.control)
            || !plan.modules.is_empty()
        {
            let now = Moment::now();
            let identity = InstanceIdentity::new(&plan.service.instance);
            let start = Start { subsystems, plan: Arc::clone(plan), published: Arc::clone(published), mailbox: mailbox.clone(), identity };
            // From here on a hanging thread is detected.
            published.pulse.beat(now);
            let watched = Watched { detector: StallDetector::new(now), start, alive: Arc::default() };
            background.begin(&watched)?;
            background.watched = Some(watched);
        }
        Ok(background)
    }

    /// Starts a thread of the current generation.
    fn begin(&mut self, watched: &Watched) -> io::Result<()> {
        let (locks, lock_receiver) = mpsc::unbounded_channel();
        let term = Term::new(&self.generation);
        let thread = Thread {
            mailbox: watched.start.mailbox.during(term.clone()),
            start: watched.start.clone(),
            term,
            orders: self.orders.subscribe(),
            readiness: self.readiness.subscribe(),
            lease: self.lease.subscribe(),
        };
        let (runtime, alive) = (runtime()?, Arc::clone(&watched.alive));
        sys::start_thread("background", move || {
            runtime.block_on(thread.tasks(lock_receiver));
            runtime.shutdown_background();
            drop(alive);
        })?;
        self.locks = locks;
        Ok(())
    }

    /// Checks that the thread is active, and replaces it if it hangs.
    pub(super) fn look(&mut self, now: Moment) {
        let Some(mut watched) = self.watched.take() else { return };
        let pulse = &watched.start.published.pulse;
        let beat = pulse.last().unwrap_or(now.mono);
        match watched.detector.look(now, beat) {
            Some(Stall::Detected) => self.replace(&watched, now.mono.saturating_sub(beat)),
            Some(Stall::Persists) => {
                pulse.give_up(beat);
                error!(
                    "the thread of the checks still hangs; /livez fails until it runs again, so that the orchestrator restarts the container"
                );
            }
            Some(Stall::Over) => info!("the thread of the checks runs again"),
            None => {}
        }
        self.watched = Some(watched);
    }

    /// Time until the next check; none without such a thread.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.watched.as_ref().map(|watched| watched.detector.next(now))
    }

    fn replace(&mut self, watched: &Watched, silent: Duration) {
        let hangs = format!("the thread of checks and heartbeat has hung for {} s", silent.as_secs());
        let left_hanging = Arc::strong_count(&watched.alive) - 1;
        if self.lock_is_out {
            warn!("{hangs}; it holds the migration lock or waits for it, so it is not replaced");
        } else if left_hanging > MOST_LEFT_HANGING {
            warn!("{hangs}, like {MOST_LEFT_HANGING} before it; it is not replaced");
        } else {
            warn!("{hangs}; it is replaced by a new thread");
            self.generation.send_modify(|generation| *generation += 1);
            if let Err(error) = self.begin(watched) {
                error!("cannot start another thread for checks and heartbeat: {error}");
            }
        }
    }

    pub(super) fn probe_all(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.all, true));
    }

    /// Publishes the current state.
    pub(super) fn reload(&self, plan: Arc<Plan>) {
        self.orders.send_modify(|orders| orders.plan = Some(plan));
    }

    pub(super) fn probe_now(&self) {
        self.orders.send_modify(|orders| (orders.held, orders.again) = (false, orders.again + 1));
    }

    /// The probes of a process from now on; none: no probes.
    pub(super) fn watch(&self, id: ProcessId, what: Option<ProcessWatch>) {
        self.orders.send_if_modified(|orders| match what {
            Some(what) => {
                orders.processes.insert(id, Arc::new(what));
                true
            }
            None => orders.processes.remove(&id).is_some(),
        });
    }

    /// Requests the lock by [`LockOrder::Acquire`] or [`LockOrder::Take`].
    pub(super) fn acquire_lock(&mut self, order: LockOrder) {
        self.lock_is_out = true;
        let _ = self.locks.send(order);
    }

    pub(super) fn verify(&self) {
        let _ = self.locks.send(LockOrder::Verify);
    }

    pub(super) fn confirm_lock(&self) {
        let _ = self.locks.send(LockOrder::Confirm);
    }

    pub(super) fn release_lock(&self) {
        let _ = self.locks.send(LockOrder::Release);
    }

    /// Records that the lock is no longer held or requested here.
    pub(super) const fn lock_is_back(&mut self) {
        self.lock_is_out = false;
    }

    pub(super) fn lease(&self, length: Option<Duration>) {
        self.lease.send_replace(length);
    }

    pub(super) fn announce(&self, readiness: Readiness) {
        self.readiness.send_replace(readiness);
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_start(|| sys::block_every_signal()).build()
}

/// The input of every background thread.
#[derive(Clone, Debug)]
struct Start {
    subsystems: Subsystems,
    plan: Arc<Plan>,
    published: Arc<Published>,
    mailbox: Mailbox,
    /// The shared identity of the heartbeat.
    identity: InstanceIdentity,
}

/// The code of one background thread, until its term ends.
struct Thread {
    start: Start,
    term: Term,
    /// Its events count only during the term.
    mailbox: Mailbox,
    orders: watch::Receiver<Orders>,
    readiness: watch::Receiver<Readiness>,
    lease: watch::Receiver<Option<Duration>>,
}

impl Thread {
    async fn tasks(self, locks: mpsc::UnboundedReceiver<LockOrder>) {
        let Self { start: Start { subsystems, plan, published, identity, .. }, term, mailbox, orders, readiness, lease } = self;
        if let Some(keeper) = plan.keeper() {
            let keeper = (subsystems.lock)(keeper, plan.service.instance.clone(), locks, mailbox.clone());
            tokio::spawn(keep_lock(keeper, mailbox.clone()));
        }
        if let Some(heartbeat) = plan.heartbeat.clone() {
            tokio::spawn(during(term.clone(), heartbeat::lease::keep(heartbeat.clone(), identity.clone(), lease, mailbox.clone())));
            let context =
                HeartbeatContext { plan: heartbeat, published: Arc::clone(&published), readiness, mailbox: mailbox.clone(), identity };
            tokio::spawn(keep_heartbeat(subsystems.heartbeat, context, term.clone()));
        }
        let prober = keep("prober", term.clone(), move || (subsystems.prober)(Arc::clone(&plan), orders.clone(), mailbox.clone()));
        tokio::spawn(prober);
        during(term, async {
            loop {
                // The pulse is meaningful only after the subsystems had their turn.
                tokio::time::sleep(Pulse::TICK).await;
                let now = Moment::now();
                published.pulse.beat(now);
                // The first of two checks, so that a rare caller need not call twice.
                let _ = published.turns.is_stuck(now);
            }
        })
        .await;
    }
}
