//! The newest snapshot and the current plan, swapped by pointer: a reader never locks and never waits.

use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clock::{Moment, Pulse, Turns};
use crate::plan::Plan;
use crate::state::snapshot::{Look, Snapshot};

/// The source for all views, the heartbeat and the log.
#[derive(Debug)]
pub struct Published {
    snapshot: ArcSwap<Snapshot>,
    plan: ArcSwap<Plan>,
    changed: Notify,
    /// The pulse of the thread that runs the checks.
    pub pulse: Pulse,
    /// The turns of the loop that owns the signals.
    pub turns: Turns,
}

impl Published {
    /// Publishes the first snapshot of a run under `plan`.
    pub fn new(snapshot: Snapshot, plan: Arc<Plan>) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            plan: ArcSwap::new(plan),
            changed: Notify::new(),
            pulse: Pulse::default(),
            turns: Turns::default(),
        }
    }

    /// Replaces the snapshot, and after a reload the plan; a reader that sees the snapshot of a reload also sees its plan.
    pub fn publish(&self, snapshot: Snapshot, plan: &Arc<Plan>) {
        if !Arc::ptr_eq(&self.plan.load(), plan) {
            self.plan.store(Arc::clone(plan));
        }
        self.snapshot.store(Arc::new(snapshot));
        self.changed.notify_waiters();
    }

    /// Returns the result of `found` as soon as it returns one for the newest snapshot.
    pub async fn until<T>(&self, found: impl Fn(&Snapshot) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Subscribe first, then read the snapshot, so that no change is missed.
            changed.as_mut().enable();
            if let Some(found) = found(&self.snapshot.load()) {
                return found;
            }
            changed.await;
        }
    }

    /// The current plan.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The newest snapshot, and the time and pulse for its assessment.
    pub fn look(&self) -> (Arc<Snapshot>, Look) {
        let now = Moment::now();
        let look =
            Look { now, beat: self.pulse.last().unwrap_or(now.mono), given_up: self.pulse.is_given_up(), stuck: self.turns.is_stuck(now) };
        (self.snapshot(), look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Service;
    use crate::state::lifecycle::Lifecycle;

    fn plan() -> Arc<Plan> {
        Arc::new(Plan::of(Service {
            name: "api".to_owned(),
            mode: None,
            instance: "one".to_owned(),
            host: String::new(),
            version: None,
            build: "0",
        }))
    }

    #[tokio::test]
    async fn a_waiter_is_woken_by_the_snapshot_that_it_waits_for() {
        let first = Lifecycle::new(plan(), Moment::now()).snapshot().clone();
        let published = Arc::new(Published::new(first.clone(), plan()));
        let waiting = Arc::clone(&published);
        let waiting = tokio::spawn(async move { waiting.until(|snapshot| (snapshot.reloads == 2).then_some(snapshot.reloads)).await });
        for reloads in [1, 2] {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            published.publish(Snapshot { reloads, ..first.clone() }, &plan());
        }
        assert_eq!(waiting.await.unwrap(), 2);
        assert_eq!(published.until(|_| Some(7)).await, 7, "what is there already is not waited for");
    }

    #[test]
    fn a_plan_is_replaced_together_with_its_snapshot() {
        let (first, second) = (plan(), plan());
        let snapshot = Lifecycle::new(plan(), Moment::now()).snapshot().clone();
        let published = Published::new(snapshot.clone(), Arc::clone(&first));
        published.publish(snapshot.clone(), &first);
        assert!(Arc::ptr_eq(&published.plan(), &first));
        published.publish(snapshot, &second);
        assert!(Arc::ptr_eq(&published.plan(), &second));
    }
}
