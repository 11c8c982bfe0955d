//! When a check is probed, on a clock that the tests advance.

use std::collections::VecDeque;
use std::sync::mpsc;

use tokio::time::sleep;

use super::*;
use crate::mailbox::mailbox;
use crate::plan::target::{Address, Expectation, HttpTarget, Tls};
use crate::plan::{Affects, Service};
use crate::secret::Secret;

/// Answers one class after another, the last one forever; each answer takes 5 ms. A refusal comes before the peer has received the request.
struct Script {
    answers: VecDeque<ErrorKind>,
    reached: bool,
}

impl Script {
    fn new(answers: &[ErrorKind]) -> Self {
        Self { answers: answers.iter().copied().collect(), reached: true }
    }
}

impl Probing for Script {
    async fn probe(&mut self, _within: Duration) -> Outcome {
        sleep(Duration::from_millis(5)).await;
        let kind = if self.answers.len() > 1 { self.answers.pop_front() } else { self.answers.front().copied() };
        self.reached = kind != Some(ErrorKind::Refused);
        match kind {
            Some(ErrorKind::Ok) | None => Outcome::passed(Duration::ZERO),
            Some(kind) => Outcome::failed(kind, "", Duration::ZERO),
        }
    }

    fn reached(&self) -> bool {
        self.reached
    }
}

fn check(wait: Duration, success_threshold: u32) -> CheckPlan {
    CheckPlan {
        name: "db".to_owned(),
        target: Target::Tcp(Address { host: "127.0.0.1".to_owned(), port: 1 }),
        wait,
        fail_fast: false,
        creates_database: false,
        affects: Affects::Health,
        interval: Duration::from_secs(5),
        rate_limited: false,
        timeout: Duration::from_secs(2),
        failure_threshold: 3,
        success_threshold,
        on_down: crate::plan::OnDown::default(),
    }
}

/// When the answers came within the first `seconds`, in milliseconds.
async fn times(check: CheckPlan, script: &[ErrorKind], seconds: u64) -> Vec<u128> {
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    let tell = move |_| sender.send(began.elapsed().as_millis()).unwrap();
    let (_orders, receiver_of_orders) = watch::channel(Orders::default());
    let asking = watch_check(0, check, Script::new(script), receiver_of_orders, false, Alarm::of_runtime, tell);
    let _ = tokio::time::timeout(Duration::from_secs(seconds), asking).await;
    receiver.try_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn a_dependency_is_probed_often_until_it_passes_and_then_in_step() {
    use ErrorKind::{Ok, Refused};
    let times = times(check(Duration::from_secs(60), 1), &[Refused, Refused, Refused, Ok], 17).await;
    assert!(times[3] <= 60, "{times:?}");
    assert!(times[4] - times[3] >= 5_000, "{times:?}");
    assert_eq!(times.len(), 4 + 3, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_pass_of_several_does_not_slow_the_wait() {
    let times = times(check(Duration::from_secs(60), 3), &[ErrorKind::Ok], 4).await;
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times[2] <= 60, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_without_a_wait_is_in_step_from_the_start() {
    let times = times(check(Duration::ZERO, 1), &[ErrorKind::Refused], 13).await;
    assert_eq!(times.len(), 3, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_probes_a_check_at_once_and_often_until_it_passes() {
    use ErrorKind::{Ok, Refused};
    let (orders, receiver_of_orders) = watch::channel(Orders::default());
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    let tell = move |_| sender.send(began.elapsed().as_millis()).unwrap();
    let script = Script::new(&[Ok, Refused, Refused, Ok]);
    let asking =
        tokio::spawn(watch_check(0, check(Duration::from_secs(60), 1), script, receiver_of_orders, false, Alarm::of_runtime, tell));
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
    let times = times(check(Duration::from_secs(60), 1), &[ErrorKind::Refused], 30).await;
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0]) as f64 <= 17.0 + 0.021 * pair[0] as f64, "{pair:?}");
        assert!(pair[1] - pair[0] <= 257, "{pair:?}");
    }
}

#[tokio::test]
async fn a_panic_returns_none_and_does_not_end_the_run() {
    let panics = async || -> u8 { panic!("as ordered by the test") };
    assert_eq!(guarded(panics()).await, None);
    assert_eq!(guarded(async { 7 }).await, Some(7));
}

/// What arrives once something has arrived.
async fn received(inbox: &crate::mailbox::Inbox) -> Vec<Event> {
    for _ in 0..1_000 {
        let events = inbox.take(usize::MAX);
        if !events.is_empty() {
            return events;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing arrived within 5 s")
}

#[tokio::test]
async fn a_check_without_a_wait_is_probed_only_on_order() {
    let service =
        Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0" };
    let checks = vec![check(Duration::ZERO, 1)];
    let plan = Plan { checks, ..Plan::of(service) };
    let (sender, orders) = watch::channel(Orders::default());
    let (mailbox, inbox) = mailbox().unwrap();
    let prober = tokio::spawn(run(Arc::new(plan), orders, mailbox));
    tokio::task::yield_now().await;
    assert!(inbox.take(usize::MAX).is_empty());
    sender.send(Orders { all: true, ..Orders::default() }).unwrap();
    let events = received(&inbox).await;
    assert!(matches!(&events[..], [Event::Probed(0, outcome)] if outcome.kind() == ErrorKind::Refused), "{events:?}");
    drop(sender);
    prober.await.unwrap();
}

/// A check of an HTTP endpoint that may be probed every 5 s at most.
fn rate_limited(url: &str, success_threshold: u32) -> CheckPlan {
    let http = HttpTarget {
        url: Secret::unlisted(url),
        shown: url.to_owned(),
        method: "GET".to_owned(),
        masked_key: None,
        headers: Vec::new(),
        expect: Expectation::default(),
        tls: Tls::default(),
        redirects: None,
        environment_proxy: false,
    };
    CheckPlan { target: Target::Http(http), rate_limited: true, ..check(Duration::from_secs(60), success_threshold) }
}

/// A running check and its results: when, in milliseconds, and whether its peer was probed for it.
struct WatchedCheck {
    task: tokio::task::JoinHandle<()>,
    receiver: mpsc::Receiver<(u128, bool)>,
}

impl WatchedCheck {
    fn by(check: CheckPlan, script: &[ErrorKind], orders: &watch::Sender<Orders>, began: Instant) -> Self {
        let (sender, receiver) = mpsc::channel();
        let tell = move |event| sender.send((began.elapsed().as_millis(), matches!(event, Event::Probed(..)))).unwrap();
        Self {
            task: tokio::spawn(watch_check(0, check, Script::new(script), orders.subscribe(), false, Alarm::of_runtime, tell)),
            receiver,
        }
    }

    fn end(self) -> Vec<(u128, bool)> {
        self.task.abort();
        self.receiver.try_iter().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_check_is_probed_once_an_interval_at_most_also_while_it_is_waited_for() {
    use ErrorKind::{Auth, Ok, Protocol, Status, Timeout};
    for script in [&[Status][..], &[Timeout, Auth, Protocol, Ok], &[Ok, Status, Ok, Ok, Ok]] {
        let times = times(rate_limited("http://es/", 3), script, 60).await;
        assert!((10..=12).contains(&times.len()), "{script:?} {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5_000), "{script:?} {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_attempt_is_not_a_request() {
    use ErrorKind::{Ok, Refused, Status};
    let times = times(rate_limited("http://es/", 1), &[Refused, Refused, Refused, Status, Ok], 6).await;
    assert!(times[3] <= 60, "{times:?}");
    assert!(times[4] - times[3] >= 5_000, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_result_of_a_rate_limited_peer_is_used_before_a_restart() {
    let (orders, _) = watch::channel(Orders::default());
    let events = WatchedCheck::by(rate_limited("http://es/", 1), &[ErrorKind::Ok], &orders, Instant::now());
    sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        orders.send_modify(|orders| orders.again += 1);
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let events = events.end();
    let probed: Vec<bool> = events.iter().map(|(_, probed)| *probed).collect();
    assert_eq!(probed, [true, false, false, true], "{events:?}");
    assert_eq!((events[1].0, events[2].0), (1_000, 2_000));
    assert_eq!(events[3].0 - events[0].0, 5_005, "it is probed as soon as allowed: {events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_task_of_a_peer_keeps_its_interval() {
    let (orders, _) = watch::channel(Orders::default());
    let began = Instant::now();
    let watch = |check, script: &[ErrorKind]| WatchedCheck::by(check, script, &orders, began);
    let first = watch(rate_limited("http://es/", 1), &[ErrorKind::Ok]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.end(), [(5, true)]);
    let under_other_rules = watch(CheckPlan { failure_threshold: 1, ..rate_limited("http://es/", 1) }, &[ErrorKind::Ok]);
    sleep(Duration::from_millis(4_500)).await;
    assert_eq!(under_other_rules.end(), [(1_000, false), (5_010, true)]);
    let another = watch(rate_limited("http://other/", 1), &[ErrorKind::Ok]);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(another.end(), [], "it was cancelled during the probe");
    let after_it = watch(rate_limited("http://other/", 1), &[ErrorKind::Ok]);
    sleep(Duration::from_millis(5_010)).await;
    assert_eq!(after_it.end(), [(10_507, true)], "the peer may have received the cancelled request");
}
