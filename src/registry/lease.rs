//! The permission to restart what is unhealthy: in Redis, under the heartbeat's own keys, one replica of a service has it at a time.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::beat::ANSWER;
use crate::mailbox::Mailbox;
use crate::plan::HeartbeatPlan;
use crate::probe::redis::open;
use crate::state::event::Event;

/// The pause between two tries of a replica that waits.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said that this replica waits.
const REMINDER: Duration = Duration::from_secs(60);

/// Deletes the key where its value is ours still.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Gets the permission whenever one is wanted, says [`Event::RestartGranted`], and gives it back when it is not any more.
///
/// It expires by itself after the time it was asked for. Where Redis does not answer it is granted: a replica that is unhealthy does
/// not stay so for the sake of others that nobody can ask.
pub async fn keep(plan: HeartbeatPlan, mut wanted: watch::Receiver<Option<Duration>>, mailbox: Mailbox) {
    let key = format!("portcullis:{{{}}}:restart", plan.key);
    loop {
        let Ok(length) = wanted.wait_for(Option::is_some).await.map(|wanted| wanted.unwrap_or_default()) else { return };
        let token = format!("{:016x}", fastrand::u64(..));
        let is_ours = tokio::select! {
            is_ours = take(&plan, &key, &token, length) => is_ours,
            gone = wanted.wait_for(Option::is_none) => if gone.is_ok() { continue } else { return },
        };
        mailbox.send(Event::RestartGranted);
        if wanted.wait_for(Option::is_none).await.is_err() {
            return;
        }
        if is_ours {
            let mut command = redis::cmd("EVAL");
            command.arg(GIVE_BACK).arg(1).arg(&key).arg(&token);
            // What is not given back expires.
            let _ = asked(&plan, &command).await;
        }
    }
}

/// Waits until the permission is this replica's; false where Redis could not be asked.
async fn take(plan: &HeartbeatPlan, key: &str, token: &str, length: Duration) -> bool {
    let mut told: Option<Instant> = None;
    let mut command = redis::cmd("SET");
    command.arg(key).arg(token).arg("NX").arg("PX").arg(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    loop {
        match asked(plan, &command).await {
            Some(Value::Nil) => {}
            Some(_) => return true,
            None => {
                tracing::warn!("Redis does not say whether another replica restarts what is unhealthy: this one does not wait");
                return false;
            }
        }
        if told.is_none_or(|told| told.elapsed() >= REMINDER) {
            told = Some(Instant::now());
            tracing::info!("another replica of the service restarts what is unhealthy: this one stays down and waits for it");
        }
        sleep(PAUSE).await;
    }
}

/// What Redis answers to this command on a connection of its own; none where it does not.
async fn asked(plan: &HeartbeatPlan, command: &Cmd) -> Option<Value> {
    let answer = async { open(&plan.target, &plan.key, ANSWER).await.ok()?.ask(command).await.ok() };
    timeout(ANSWER, answer).await.ok().flatten()
}
