//! The subsystems that may fail, each started again when it does: checks, migration lock and heartbeat on one thread, the
//! health endpoint on another. Where that one thread hangs, another one takes its place.

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

/// Pause before a subsystem that ended is started again, doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Threads that hang and were replaced, at a time: an operator sees /livez fail before they are a burden.
const MOST_LEFT_HANGING: usize = 3;

/// A subsystem at work.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers health questions on these listeners, and takes orders where there is a controller.
pub type Serve = fn(Listeners, Arc<HealthPlan>, Arc<Published>, Option<Controller>) -> io::Result<Infallible>;

/// The subsystems' beginnings. They are handed in so that a test can hand in some that fail.
#[derive(Clone, Copy, Debug)]
pub struct Subsystems {
    /// Asks the checks.
    pub prober: fn(Arc<Plan>, watch::Receiver<Orders>, Mailbox) -> Work,
    /// Keeps the readiness in Redis true.
    pub heartbeat: fn(HeartbeatContext) -> Work,
    /// Holds the migration lock.
    pub lock: fn(KeeperPlan, String, mpsc::UnboundedReceiver<LockOrder>, Mailbox) -> Work,
    /// Answers health questions; blocks its thread.
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

/// The lines to the subsystems; sending never waits and never fails.
#[derive(Debug)]
pub struct Background {
    orders: watch::Sender<Orders>,
    locks: mpsc::UnboundedSender<LockOrder>,
    readiness: watch::Sender<Readiness>,
    /// For how long the permission to restart is asked for; none: not at all.
    lease: watch::Sender<Option<Duration>>,
    /// Which of the threads that followed each other is listened to.
    generation: watch::Sender<u64>,
    watched: Option<Watched>,
    /// Whether the migration lock is queued for or held: it would be gone with the thread.
    lock_is_out: bool,
}

/// The thread of checks, lock and heartbeat, as far as another one may have to take its place.
#[derive(Debug)]
struct Watched {
    detector: StallDetector,
    start: Start,
    /// Held by each such thread until it ends.
    alive: Arc<()>,
}

impl Background {
    /// Starts what the plan needs; nothing, not even a thread, when it needs nothing.
    ///
    /// # Errors
    /// The kernel has no room for another thread or for its files.
    pub fn start(plan: &Arc<Plan>, published: &Arc<Published>, mailbox: &Mailbox, subsystems: Subsystems) -> io::Result<Self> {
        let mut background = Self {
            orders: watch::Sender::new(Orders { held: plan.first().next().is_some(), ..Orders::default() }),
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
            // From here on a thread that does not turn is noticed.
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

    /// Looks whether the thread turns, and has another one take its place when it hangs.
    pub(super) fn look(&mut self, now: Moment) {
        let Some(mut watched) = self.watched.take() else { return };
        let pulse = &watched.start.published.pulse;
        let beat = pulse.last().unwrap_or(now.mono);
        match watched.detector.look(now, beat) {
            Some(Stall::Detected) => self.replace(&watched, now.mono.saturating_sub(beat)),
            Some(Stall::Persists) => {
                pulse.give_up(beat);
                error!(
                    "the thread of the checks still hangs; /livez fails until it turns, so that the orchestrator starts the container anew"
                );
            }
            Some(Stall::Over) => info!("the thread of the checks turns again"),
            None => {}
        }
        self.watched = Some(watched);
    }

    /// Time until the next look; none when there is no such thread.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.watched.as_ref().map(|watched| watched.detector.next(now))
    }

    fn replace(&mut self, watched: &Watched, silent: Duration) {
        let hangs = format!("the thread of checks and heartbeat has hung for {} s", silent.as_secs());
        let left_hanging = Arc::strong_count(&watched.alive) - 1;
        if self.lock_is_out {
            warn!("{hangs}; it holds the migration lock or queues for it, so no other one takes its place");
        } else if left_hanging > MOST_LEFT_HANGING {
            warn!("{hangs}, like {MOST_LEFT_HANGING} before it; no other one takes its place");
        } else {
            warn!("{hangs}; another one takes its place");
            self.generation.send_modify(|generation| *generation += 1);
            if let Err(error) = self.begin(watched) {
                error!("cannot start another thread for checks and heartbeat: {error}");
            }
        }
    }

    pub(super) fn probe_all(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.all, true));
    }

    /// What holds from now on.
    pub(super) fn reload(&self, plan: Arc<Plan>) {
        self.orders.send_modify(|orders| orders.plan = Some(plan));
    }

    pub(super) fn probe_now(&self) {
        self.orders.send_modify(|orders| (orders.held, orders.again) = (false, orders.again + 1));
    }

    /// What is asked of a process from now on; none: nothing.
    pub(super) fn watch(&self, id: ProcessId, what: Option<ProcessWatch>) {
        self.orders.send_if_modified(|orders| match what {
            Some(what) => {
                orders.processes.insert(id, Arc::new(what));
                true
            }
            None => orders.processes.remove(&id).is_some(),
        });
    }

    /// Queues for the lock by one of [`LockOrder::Acquire`] and [`LockOrder::Take`].
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

    /// Takes down that the lock is with nobody here any more.
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

/// What every background thread begins with.
#[derive(Clone, Debug)]
struct Start {
    subsystems: Subsystems,
    plan: Arc<Plan>,
    published: Arc<Published>,
    mailbox: Mailbox,
    /// As whom all of them write the heartbeat.
    identity: InstanceIdentity,
}

/// What one background thread runs, until its term ends.
struct Thread {
    start: Start,
    term: Term,
    /// Heard during the term only.
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
                // Only after the subsystems had their turn does it mean anything that the thread turns.
                tokio::time::sleep(Pulse::TICK).await;
                let now = Moment::now();
                published.pulse.beat(now);
                // The first of two looks, so that whoever asks seldom need not ask twice.
                let _ = published.turns.is_stuck(now);
            }
        })
        .await;
    }
}
