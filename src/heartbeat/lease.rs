//! The lease to restart what is unhealthy: in Redis, under the heartbeat's own keys, one replica of a service has it at a time.

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

/// The pause between two tries of a replica that waits.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said that this replica waits.
const REMINDER: Duration = Duration::from_secs(60);

/// Takes the lease where it is free or ours already, for so many milliseconds from now; nil where another replica has it.
const TAKE: &str = "local holder = redis.call('GET', KEYS[1]) if holder and holder ~= ARGV[1] then return false end \
    return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";

/// Deletes the key where its value is ours still.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Gets the lease whenever one is wanted, says [`Event::RestartGranted`], and gives it back when it is not any more. Each wish is
/// answered, whether or not the lease is ours from an earlier one: it then holds for as long as the later one says.
///
/// It expires by itself after the time it was asked for. Where Redis does not answer it is granted: a replica that is unhealthy does
/// not stay so for the sake of others that nobody can ask.
pub async fn keep(plan: HeartbeatPlan, identity: InstanceIdentity, mut wanted: watch::Receiver<Option<Duration>>, mailbox: Mailbox) {
    let key = key(&plan);
    // The run's own, so that a thread that takes the place of one that hangs goes on with the same lease.
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

/// Gives the lease back where it may be this run's. Both who keeps it and the end of the run do so, because neither waits for the other;
/// what is not given back expires.
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

/// Waits until the lease is this replica's, or Redis cannot be asked.
async fn take(plan: &HeartbeatPlan, key: &str, token: &str, length: Duration) {
    let mut last_warning: Option<Instant> = None;
    let mut command = redis::cmd("EVAL");
    command.arg(TAKE).arg(1).arg(key).arg(token).arg(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    loop {
        match answer(plan, &command).await {
            Some(Value::Nil) => {}
            Some(_) => return,
            None => {
                tracing::warn!("Redis does not say whether another replica restarts what is unhealthy: this one does not wait");
                return;
            }
        }
        if last_warning.is_none_or(|last_warning| last_warning.elapsed() >= REMINDER) {
            last_warning = Some(Instant::now());
            tracing::info!("another replica of the service restarts what is unhealthy: this one stays down and waits for it");
        }
        sleep(PAUSE).await;
    }
}

/// What Redis answers to this command on a connection of its own; none where it does not.
async fn answer(plan: &HeartbeatPlan, command: &Cmd) -> Option<Value> {
    let answer = async { open(&plan.target, &plan.key, ANSWER).await.ok()?.send(command).await.ok() };
    timeout(ANSWER, answer).await.ok().flatten()
}
