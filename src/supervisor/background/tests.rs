//! Threads that hang, and their replacements.

use super::*;
use crate::outcome::Outcome;
use crate::plan::target::{Address, Target};
use crate::plan::{Affects, CheckPlan, Service};
use crate::state::event::Event;
use crate::state::lifecycle::Lifecycle;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

/// Closed while the threads of a test are to hang.
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    const fn closed() -> Self {
        Self(Mutex::new(false), Condvar::new())
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

fn plan() -> Arc<Plan> {
    let check = CheckPlan {
        name: "db".to_owned(),
        target: Target::Tcp(Address { host: "127.0.0.1".to_owned(), port: 1 }),
        wait: Duration::ZERO,
        fail_fast: false,
        creates_database: false,
        affects: Affects::Health,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failure_threshold: 3,
        success_threshold: 1,
        rate_limited: false,
        on_down: crate::plan::OnDown::default(),
    };
    let service =
        Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0" };
    Arc::new(Plan { checks: vec![check], ..Plan::of(service) })
}

fn started(subsystems: Subsystems) -> (Background, crate::mailbox::Inbox) {
    let plan = plan();
    let published = Arc::new(Published::new(Lifecycle::new(Arc::clone(&plan), Moment::now()).snapshot().clone(), Arc::clone(&plan)));
    let (mailbox, inbox) = crate::mailbox::mailbox().unwrap();
    (Background::start(&plan, &published, &mailbox, subsystems).unwrap(), inbox)
}

fn replace(background: &mut Background) {
    let watched = background.watched.take().unwrap();
    background.replace(&watched, Duration::from_secs(20));
    background.watched = Some(watched);
}

fn threads(background: &Background) -> usize {
    Arc::strong_count(&background.watched.as_ref().unwrap().alive) - 1
}

fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("not within 20 s")
}

#[test]
fn a_hanging_thread_is_replaced_and_its_late_results_are_ignored() {
    static GATE: Gate = Gate::closed();
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let subsystems = Subsystems {
        prober: |_, mut orders, mailbox| {
            Box::pin(async move {
                let number = BEGUN.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    GATE.pass();
                }
                mailbox.send(Event::Probed(number, Outcome::passed(Duration::ZERO)));
                while orders.changed().await.is_ok() {}
            })
        },
        ..Subsystems::default()
    };
    let (mut background, inbox) = started(subsystems);
    eventually(|| BEGUN.load(Ordering::SeqCst) == 1);
    replace(&mut background);
    eventually(|| matches!(inbox.take(usize::MAX)[..], [Event::Probed(1, _)]));
    GATE.open();
    eventually(|| threads(&background) == 1);
    assert!(inbox.take(usize::MAX).is_empty());
    background.lock_is_out = true;
    replace(&mut background);
    assert_eq!((threads(&background), *background.generation.borrow()), (1, 1), "the lock would be gone with its thread");
}

#[test]
fn threads_that_hang_do_not_pile_up() {
    static GATE: Gate = Gate::closed();
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let hangs = Subsystems {
        prober: |_, _, _| {
            Box::pin(async {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                GATE.pass();
            })
        },
        ..Subsystems::default()
    };
    let (mut background, _inbox) = started(hangs);
    for turn in 0..20 {
        eventually(|| BEGUN.load(Ordering::SeqCst) == 1 + turn.min(MOST_LEFT_HANGING));
        replace(&mut background);
    }
    assert_eq!(threads(&background), 1 + MOST_LEFT_HANGING);
    GATE.open();
    eventually(|| threads(&background) == 1);
    replace(&mut background);
    assert_eq!(*background.generation.borrow(), MOST_LEFT_HANGING as u64 + 1, "the place may be taken again");
}
