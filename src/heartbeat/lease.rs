//! The restart lease: in Redis, under the heartbeat's keys; only one replica of a service holds it at a time.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::InstanceIdentity;
use super::beat::ANSWER;
use crate::mailbox::Mailbox;
use crate::plan::HeartbeatPlan;
use crate::probe::redis::open;
use crate::state::event::Event;

/// The pause between two attempts of a waiting replica.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the wait is logged.
const REMINDER: Duration = Duration::from_secs(60);

/// Takes the lease if it is free or already ours, for this many milliseconds from now; nil if another replica has it.
const TAKE: &str = "local holder = redis.call('GET', KEYS[1]) if holder and holder ~= ARGV[1] then return false end \
    return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";

/// Deletes the key if its value is still ours.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Takes the lease whenever it is requested, sends [`Event::RestartGranted`], and releases it when it is no longer needed. Every request is
/// answered, also if the lease is still held from an earlier one: the time of the later request then applies.
///
/// It expires by itself after the requested time. If Redis does not answer, it is granted: an unhealthy replica must not wait for replicas
/// that cannot be reached.
pub async fn keep(plan: HeartbeatPlan, identity: InstanceIdentity, mut wanted: watch::Receiver<Option<Duration>>, mailbox: Mailbox) {
    let key = key(&plan);
    // One value per run, so that the replacement of a hanging thread continues with the same lease.
    let token = identity.change(|who| who.token.clone());
    loop {
        let length = *wanted.borrow_and_update();
        if let Some(length) = length {
            identity.change(|who| who.leases = true);
            tokio::select! {
                () = take(&plan, &key, &token, length) => mailbox.send(Event::RestartGranted),
                gone = wanted.changed() => if gone.is_ok() { continue } else { return },
            }
        } else {
            give_back(&plan, &identity).await;
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Releases the lease if this run may hold it. Both the lease task and the end of the run call it, because neither waits for the other; a
/// lease that is not released expires.
pub(super) async fn give_back(plan: &HeartbeatPlan, identity: &InstanceIdentity) {
    let Some(token) = identity.change(|who| who.leases.then(|| who.token.clone())) else { return };
    let mut command = redis::cmd("EVAL");
    command.arg(GIVE_BACK).arg(1).arg(key(plan)).arg(token);
    let _ = answer(plan, &command).await;
    identity.change(|who| who.leases = false);
}

fn key(plan: &HeartbeatPlan) -> String {
    format!("portcullis:{{{}}}:restart", plan.key)
}

/// Waits until this replica has the lease, or Redis does not answer.
async fn take(plan: &HeartbeatPlan, key: &str, token: &str, length: Duration) {
    let mut last_warning: Option<Instant> = None;
    let mut command = redis::cmd("EVAL");
    command.arg(TAKE).arg(1).arg(key).arg(token).arg(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    loop {
        match answer(plan, &command).await {
            Some(Value::Nil) => {}
            Some(_) => return,
            None => {
                tracing::warn!("Redis does not answer whether another replica is restarting: this one does not wait");
                return;
            }
        }
        if last_warning.is_none_or(|last_warning| last_warning.elapsed() >= REMINDER) {
            last_warning = Some(Instant::now());
            tracing::info!("another replica of the service is restarting: this one stays down and waits for it");
        }
        sleep(PAUSE).await;
    }
}

/// The reply of Redis to this command on a separate connection; none without a reply.
async fn answer(plan: &HeartbeatPlan, command: &Cmd) -> Option<Value> {
    let answer = async { open(&plan.target, &plan.key, ANSWER).await.ok()?.send(command).await.ok() };
    timeout(ANSWER, answer).await.ok().flatten()
}
