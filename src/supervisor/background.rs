//! The subsystems that may fail, each started again when it does: checks, migration lock and heartbeat on one thread, the
//! health endpoint on another.

use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::clock::{Moment, Pulse};
use crate::exit::Exit;
use crate::mailbox::Mailbox;
use crate::migration::{self, LockOrder};
use crate::plan::{HealthPlan, HeartbeatPlan, MigrationPlan, ModuleId, Plan};
use crate::prober::{self, ModuleWatch, Orders};
use crate::published::Published;
use crate::registry;
use crate::server::{self, Controller, Listeners};
use crate::state::event::{Event, LockNews, Readiness};
use crate::sys;

/// Pause before a subsystem that ended is started again, doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A subsystem at work.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers health questions on these listeners, and takes orders where there is a controller.
pub type Serve = fn(Listeners, Arc<HealthPlan>, Arc<Published>, Option<Controller>) -> io::Result<Infallible>;

/// The subsystems' beginnings. They are handed in so that a test can hand in some that fail.
#[derive(Clone, Copy)]
pub struct Subsystems {
    /// Asks the checks.
    pub prober: fn(Arc<Plan>, watch::Receiver<Orders>, Mailbox) -> Work,
    /// Keeps the readiness in Redis true.
    pub heartbeat: fn(HeartbeatPlan, Arc<Published>, watch::Receiver<Readiness>, Mailbox) -> Work,
    /// Holds the migration lock.
    pub lock: fn(MigrationPlan, String, mpsc::UnboundedReceiver<LockOrder>, Mailbox) -> Work,
    /// Answers health questions; blocks its thread.
    pub health: Serve,
}

impl Default for Subsystems {
    fn default() -> Self {
        Self {
            prober: |plan, orders, mailbox| Box::pin(prober::run(plan, orders, mailbox)),
            heartbeat: |plan, published, readiness, mailbox| Box::pin(registry::run(plan, published, readiness, mailbox)),
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
}

impl Background {
    /// Starts what the plan needs; nothing, not even a thread, when it needs nothing.
    ///
    /// # Errors
    /// The kernel has no room for another thread or for its files.
    pub fn start(plan: &Arc<Plan>, published: &Arc<Published>, mailbox: &Mailbox, subsystems: Subsystems) -> io::Result<Self> {
        let (orders, order_receiver) = watch::channel(Orders::default());
        let (locks, lock_receiver) = mpsc::unbounded_channel();
        let (readiness, readiness_receiver) = watch::channel(Readiness::default());
        let started = plan.main.as_ref().is_some_and(|main| main.started.is_some());
        if !plan.checks.is_empty()
            || started
            || plan.migration.is_some()
            || plan.heartbeat.is_some()
            || plan.health.as_ref().is_some_and(|health| health.control)
            || !plan.modules.is_empty()
        {
            let work = Thread {
                subsystems,
                plan: Arc::clone(plan),
                published: Arc::clone(published),
                mailbox: mailbox.clone(),
                orders: order_receiver,
                readiness: readiness_receiver,
            };
            // From here on a thread that does not turn is noticed.
            published.pulse.beat(Moment::now());
            let runtime = runtime()?;
            sys::start_thread("background", move || runtime.block_on(work.tasks(lock_receiver)))?;
        }
        Ok(Self { orders, locks, readiness })
    }

    pub(super) fn ask_startup(&self, on: bool) {
        self.orders.send_if_modified(|orders| std::mem::replace(&mut orders.startup, on) != on);
    }

    pub(super) fn ask_all(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.all, true));
    }

    /// What holds from now on.
    pub(super) fn reload(&self, plan: Arc<Plan>) {
        self.orders.send_modify(|orders| orders.plan = Some(plan));
    }

    pub(super) fn ask_again(&self) {
        self.orders.send_modify(|orders| orders.again += 1);
    }

    /// What is asked of a module from now on; none: nothing.
    pub(super) fn watch(&self, id: ModuleId, what: Option<ModuleWatch>) {
        self.orders.send_if_modified(|orders| match what {
            Some(what) => {
                orders.modules.insert(id, Arc::new(what));
                true
            }
            None => orders.modules.remove(&id).is_some(),
        });
    }

    pub(super) fn acquire_lock(&self) {
        let _ = self.locks.send(LockOrder::Acquire);
    }

    pub(super) fn verify(&self) {
        let _ = self.locks.send(LockOrder::Verify);
    }

    pub(super) fn release_lock(&self) {
        let _ = self.locks.send(LockOrder::Release);
    }

    pub(super) fn announce(&self, readiness: Readiness) {
        self.readiness.send_replace(readiness);
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(256 * 1024)
        .on_thread_start(|| sys::block_every_signal())
        .build()
}

/// What the background thread runs.
struct Thread {
    subsystems: Subsystems,
    plan: Arc<Plan>,
    published: Arc<Published>,
    mailbox: Mailbox,
    orders: watch::Receiver<Orders>,
    readiness: watch::Receiver<Readiness>,
}

impl Thread {
    async fn tasks(self, locks: mpsc::UnboundedReceiver<LockOrder>) {
        let Self { subsystems, plan, published, mailbox, orders, readiness } = self;
        if let Some(migration) = plan.migration.clone() {
            let keeper = (subsystems.lock)(migration, plan.service.instance.clone(), locks, mailbox.clone());
            tokio::spawn(keep_lock(keeper, mailbox.clone()));
        }
        if let Some(heartbeat) = plan.heartbeat.clone() {
            let (published, mailbox) = (Arc::clone(&published), mailbox.clone());
            tokio::spawn(keep("heartbeat", move || {
                (subsystems.heartbeat)(heartbeat.clone(), Arc::clone(&published), readiness.clone(), mailbox.clone())
            }));
        }
        let prober = keep("prober", move || (subsystems.prober)(Arc::clone(&plan), orders.clone(), mailbox.clone()));
        tokio::spawn(prober);
        loop {
            published.pulse.beat(Moment::now());
            tokio::time::sleep(Pulse::TICK).await;
        }
    }
}

/// Runs a subsystem until it ends of its own accord; after a panic it is started again.
async fn keep<F: Future<Output = ()> + Send + 'static>(name: &'static str, start: impl Fn() -> F) {
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = tokio::spawn(start()).await {
        error!("the {name} failed ({}); starting it again in {}", describe(&fault), humantime::format_duration(pause));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The lock's keeper cannot be started again in the middle: its connection, and so the lock, went with it.
async fn keep_lock(keeper: Work, mailbox: Mailbox) {
    if let Err(fault) = tokio::spawn(keeper).await {
        error!("the keeper of the migration lock failed ({})", describe(&fault));
        mailbox.send(Event::Lock(LockNews::Lost("its keeper failed".to_owned())));
        mailbox.send(Event::Lock(LockNews::Unavailable(Exit::Internal, "the keeper of the migration lock failed; see the log".to_owned())));
        mailbox.send(Event::Lock(LockNews::Released));
    }
}

fn describe(fault: &tokio::task::JoinError) -> &'static str {
    if fault.is_panic() { "it panicked" } else { "it was cancelled" }
}

/// Serves the health endpoint on a thread of its own, again and again should it fail.
pub fn serve(
    listeners: Listeners,
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
    subsystems: Subsystems,
) -> io::Result<()> {
    let body = move || {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(listeners) = listeners.try_clone() else {
                error!("cannot duplicate the health listeners; the health endpoint is gone");
                return;
            };
            let serving = || (subsystems.health)(listeners, Arc::clone(&plan), Arc::clone(&published), controller.clone());
            let fault = match catch_unwind(AssertUnwindSafe(serving)) {
                Ok(Ok(never)) => match never {},
                Ok(Err(cause)) => cause.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            error!("the health endpoint failed ({fault}); starting it again in {}", humantime::format_duration(pause));
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    sys::start_thread("health", body)
}
