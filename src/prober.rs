//! When each check is asked: backing off while it is waited for, in step while running.

mod modules;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::mailbox::Mailbox;
use crate::outcome::{Class, Outcome};
use crate::plan::process::StartSign;
use crate::plan::target::Target;
use crate::plan::{CheckId, CheckPlan, ModuleId, Plan};
use crate::probe::Probe;
use crate::state::event::Event;
pub use modules::ModuleWatch;

/// What the supervisor wants asked.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Also the checks that were not waited for.
    pub all: bool,
    /// The startup check, until it passes.
    pub startup: bool,
    /// Grows when the awaited checks are to be asked at once, before the process is started again.
    pub again: u64,
    /// The plan that a reload has put in the place of the first one.
    pub plan: Option<Arc<Plan>>,
    /// What is asked of each module.
    pub modules: BTreeMap<ModuleId, Arc<ModuleWatch>>,
}

/// Asks every check of the plan until the orders end, and sends what it finds.
///
/// Each check has a task of its own with one question in flight, so that one that hangs delays no other.
/// Dropping the future ends every question and closes every connection.
pub async fn run(plan: Arc<Plan>, mut orders: watch::Receiver<Orders>, mailbox: Mailbox) {
    let mut tasks = JoinSet::new();
    let mut tasks_of_checks = BTreeMap::new();
    let mut startup: Option<AbortHandle> = None;
    let mut of_modules = modules::Modules::default();
    let watcher = Watcher { orders: orders.clone(), mailbox: mailbox.clone() };
    loop {
        let Orders { all, startup: wants_startup, plan: newer, .. } = orders.borrow_and_update().clone();
        let plan = newer.as_ref().unwrap_or(&plan);
        watcher.follow(plan, all, &mut tasks_of_checks, &mut tasks);
        of_modules.follow(&orders, &mut tasks, &mailbox);
        match (wants_startup, &startup) {
            (true, None) => {
                let sign = plan.main.as_ref().and_then(|main| main.started.as_ref()).map(|started| started.sign.clone());
                if let Some(StartSign::Answers { target, timeout }) = sign {
                    let sender = mailbox.clone();
                    let tell = move |outcome| sender.send(Event::StartupProbed(outcome));
                    startup = Some(tasks.spawn(watch_target(*target, timeout, mailbox.clone(), tell)));
                }
            }
            (false, Some(task)) => {
                task.abort();
                startup = None;
            }
            _ => {}
        }
        if orders.changed().await.is_err() {
            return;
        }
    }
}

/// What the task of a check needs.
struct Watcher {
    orders: watch::Receiver<Orders>,
    mailbox: Mailbox,
}

impl Watcher {
    /// Ends the tasks of checks that are no longer there, and starts one for each check of the service that has none: for those that
    /// are waited for, or for all.
    fn follow(&self, plan: &Plan, all: bool, watched: &mut BTreeMap<CheckId, AbortHandle>, tasks: &mut JoinSet<()>) {
        watched.retain(|id, task| {
            let stays = !plan.retired.checks.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        let own = plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id) && !plan.retired.checks.contains(id));
        for (id, check) in own.filter(|(_, check)| all || !check.wait.is_zero()) {
            watched.entry(id).or_insert_with(|| {
                let mailbox = self.mailbox.clone();
                let tell = move |outcome| mailbox.send(Event::Probed(id, outcome));
                let asked = Guarded::new(check.target.clone(), Some(self.mailbox.clone()));
                tasks.spawn(watch_check(check.clone(), asked, self.orders.clone(), tell))
            });
        }
    }
}

/// Asks one check for ever.
async fn watch_check(check: CheckPlan, mut asked: impl Ask, mut orders: watch::Receiver<Orders>, tell: impl Fn(Outcome)) {
    let mut again = orders.borrow_and_update().again;
    let mut began = Instant::now();
    let mut passes = 0;
    // A check that nobody waits for is in step from the start.
    let mut in_step = check.wait.is_zero();
    loop {
        let outcome = asked.ask(check.timeout).await;
        let class = outcome.class();
        passes = if class == Class::Ok { passes + 1 } else { 0 };
        in_step = in_step || passes >= check.success_threshold;
        tell(outcome);
        let pace = if in_step { Pace::InStep(check.interval) } else { Pace::Waiting { waited: began.elapsed(), class } };
        tokio::select! {
            () = sleep(delay(pace, fastrand::f64())) => {}
            () = ordered_again(&mut orders, again), if !check.wait.is_zero() => {
                again = orders.borrow().again;
                (began, passes, in_step) = (Instant::now(), 0, false);
            }
        }
    }
}

/// Comes back when the checks are to be asked at once; never when nobody orders any more.
async fn ordered_again(orders: &mut watch::Receiver<Orders>, known: u64) {
    if orders.wait_for(|orders| orders.again != known).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks a startup check until it passes.
async fn watch_target(target: Target, timeout: Duration, mailbox: Mailbox, tell: impl Fn(Outcome)) {
    let mut asked = Guarded::new(target, Some(mailbox));
    let began = Instant::now();
    loop {
        let outcome = asked.ask(timeout).await;
        let class = outcome.class();
        tell(outcome);
        if class == Class::Ok {
            return;
        }
        sleep(delay(Pace::Waiting { waited: began.elapsed(), class }, fastrand::f64())).await;
    }
}

/// How often a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is waited for and does not pass yet.
    Waiting {
        /// Since it was first asked.
        waited: Duration,
        /// What it last yielded.
        class: Class,
    },
    /// It once passed: in step from here on, with this interval.
    InStep(Duration),
}

/// Time from an answer to the next question; `chance` is 0 to 1.
///
/// While waiting: 10 ms at first, then 3 % of the time already waited, 250 ms at most, less up to a tenth; so the start is
/// late by a few per cent at most and a server that boots is not flooded. Wrong credentials do not get right by themselves
/// and may lock the account: once a second. In step: the interval, 10 % more or less, so that replicas do not beat together.
pub fn delay(pace: Pace, chance: f64) -> Duration {
    match pace {
        Pace::Waiting { class: Class::Auth, .. } => Duration::from_secs(1),
        Pace::Waiting { waited, .. } => {
            waited.mul_f64(0.03).clamp(Duration::from_millis(10), Duration::from_millis(250)).mul_f64(1.0 - 0.1 * chance)
        }
        Pace::InStep(interval) => interval.mul_f64(0.9 + 0.2 * chance),
    }
}

/// Something that can be asked for an outcome.
trait Ask: Send + 'static {
    fn ask(&mut self, within: Duration) -> impl Future<Output = Outcome> + Send;
}

/// A probe whose panics are outcomes; the next question starts with a new one.
#[derive(Debug)]
pub struct Guarded {
    target: Target,
    supervisor: Option<Mailbox>,
    probe: Probe,
}

impl Guarded {
    /// A probe of `target` that has no connection yet; see [`Probe::under`].
    pub fn new(target: Target, supervisor: Option<Mailbox>) -> Self {
        Self { probe: Probe::under(&target, supervisor.as_ref()), target, supervisor }
    }

    /// Asks once; see [`Probe::ask`].
    pub async fn once(&mut self, within: Duration) -> Outcome {
        let began = Instant::now();
        let Some(outcome) = guarded(self.probe.ask(within)).await else {
            self.probe = Probe::under(&self.target, self.supervisor.as_ref());
            return Outcome::failed(Class::Internal, "the probe panicked", began.elapsed());
        };
        outcome
    }

    /// Takes leave of the server; see [`Probe::close`].
    pub async fn close(&mut self) {
        self.probe.close().await;
    }
}

impl Ask for Guarded {
    async fn ask(&mut self, within: Duration) -> Outcome {
        self.once(within).await
    }
}

/// The future's output; none when it panicked.
async fn guarded<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    use super::*;
    use crate::mailbox::mailbox;
    use crate::plan::target::Address;
    use crate::plan::{Affects, Service};

    fn waiting(waited_ms: u64, class: Class) -> Pace {
        Pace::Waiting { waited: Duration::from_millis(waited_ms), class }
    }

    #[test]
    fn the_pace_is_as_documented() {
        for (pace, chance, ms) in [
            (waiting(0, Class::Refused), 0.0, 10),
            (waiting(0, Class::Refused), 1.0, 9),
            (waiting(1_000, Class::Dns), 0.0, 30),
            (waiting(5_000, Class::Timeout), 0.0, 150),
            (waiting(5_000, Class::NotReady), 1.0, 135),
            (waiting(60_000, Class::Refused), 0.0, 250),
            (waiting(60_000, Class::Refused), 1.0, 225),
            (waiting(0, Class::Auth), 1.0, 1_000),
            (Pace::InStep(Duration::from_secs(5)), 0.0, 4_500),
            (Pace::InStep(Duration::from_secs(5)), 0.5, 5_000),
            (Pace::InStep(Duration::from_secs(5)), 1.0, 5_500),
        ] {
            assert_eq!(delay(pace, chance), Duration::from_millis(ms), "{pace:?} {chance}");
        }
    }

    /// Answers one class after another, the last one for ever; each answer takes 5 ms.
    struct Script(VecDeque<Class>);

    impl Ask for Script {
        async fn ask(&mut self, _within: Duration) -> Outcome {
            sleep(Duration::from_millis(5)).await;
            let class = if self.0.len() > 1 { self.0.pop_front() } else { self.0.front().copied() };
            match class {
                Some(Class::Ok) | None => Outcome::passed(Duration::ZERO),
                Some(class) => Outcome::failed(class, "", Duration::ZERO),
            }
        }
    }

    fn check(wait: Duration, success_threshold: u32) -> CheckPlan {
        CheckPlan {
            name: "db".to_owned(),
            target: Target::Tcp(Address { host: "127.0.0.1".to_owned(), port: 1 }),
            wait,
            fail_fast: false,
            affects: Affects::Health,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failure_threshold: 3,
            success_threshold,
        }
    }

    /// When the answers came within the first `seconds`, in milliseconds.
    async fn times(check: CheckPlan, script: &[Class], seconds: u64) -> Vec<u128> {
        let (sender, receiver) = mpsc::channel();
        let began = Instant::now();
        let tell = move |_| sender.send(began.elapsed().as_millis()).unwrap();
        let (_orders, receiver_of_orders) = watch::channel(Orders::default());
        let asking = watch_check(check, Script(script.iter().copied().collect()), receiver_of_orders, tell);
        let _ = tokio::time::timeout(Duration::from_secs(seconds), asking).await;
        receiver.try_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_dependency_is_asked_often_until_it_passes_and_then_in_step() {
        use Class::{Ok, Refused};
        let times = times(check(Duration::from_secs(60), 1), &[Refused, Refused, Refused, Ok], 18).await;
        assert!(times[3] <= 60, "{times:?}");
        assert!(times[4] - times[3] >= 4_500, "{times:?}");
        assert_eq!(times.len(), 4 + 3, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_pass_of_several_does_not_slow_the_wait() {
        let times = times(check(Duration::from_secs(60), 3), &[Class::Ok], 4).await;
        assert_eq!(times.len(), 3, "{times:?}");
        assert!(times[2] <= 60, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_nobody_waits_for_is_in_step_from_the_start() {
        let times = times(check(Duration::ZERO, 1), &[Class::Refused], 13).await;
        assert_eq!(times.len(), 3, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_asks_a_check_at_once_and_often_until_it_passes() {
        use Class::{Ok, Refused};
        let (orders, receiver_of_orders) = watch::channel(Orders::default());
        let (sender, receiver) = mpsc::channel();
        let began = Instant::now();
        let tell = move |_| sender.send(began.elapsed().as_millis()).unwrap();
        let script = Script([Ok, Refused, Refused, Ok].into_iter().collect());
        let asking = tokio::spawn(watch_check(check(Duration::from_secs(60), 1), script, receiver_of_orders, tell));
        sleep(Duration::from_secs(1)).await;
        orders.send(Orders { again: 1, ..Orders::default() }).unwrap();
        sleep(Duration::from_secs(1)).await;
        asking.abort();
        let times: Vec<u128> = receiver.try_iter().collect();
        assert_eq!(times.len(), 4, "{times:?}");
        assert!((1000..1020).contains(&times[1]) && times[3] < 1100, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_late_by_a_few_per_cent_at_most() {
        let times = times(check(Duration::from_secs(60), 1), &[Class::Refused], 30).await;
        for pair in times.windows(2) {
            assert!((pair[1] - pair[0]) as f64 <= 17.0 + 0.031 * pair[0] as f64, "{pair:?}");
            assert!(pair[1] - pair[0] <= 257, "{pair:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_none_and_not_the_end() {
        let panics = async || -> u8 { panic!("as ordered by the test") };
        assert_eq!(guarded(panics()).await, None);
        assert_eq!(guarded(async { 7 }).await, Some(7));
    }

    /// What arrives once something has arrived.
    async fn received(inbox: &crate::mailbox::Inbox) -> Vec<Event> {
        for _ in 0..1_000 {
            let events = inbox.take();
            if !events.is_empty() {
                return events;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("nothing arrived within 5 s")
    }

    #[tokio::test]
    async fn a_check_that_nobody_waits_for_is_asked_on_order_only() {
        let service = Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), version: "0" };
        let checks = vec![check(Duration::ZERO, 1)];
        let plan = Plan { checks, ..Plan::of(service) };
        let (sender, orders) = watch::channel(Orders::default());
        let (mailbox, inbox) = mailbox().unwrap();
        let prober = tokio::spawn(run(Arc::new(plan), orders, mailbox));
        tokio::task::yield_now().await;
        assert!(inbox.take().is_empty());
        sender.send(Orders { all: true, startup: true, ..Orders::default() }).unwrap();
        let events = received(&inbox).await;
        assert!(matches!(&events[..], [Event::Probed(0, outcome)] if outcome.class() == Class::Refused), "{events:?}");
        drop(sender);
        prober.await.unwrap();
    }
}
