//! Makes a lock that was just got safe to work under: its last holder stopped, nothing of an earlier migration at work.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::watch::{REGAIN, watch};
use super::{Rules, current};
use crate::migration::lock::{Lock, bounded};
use crate::migration::question::Asker;
use crate::outcome::{Class, Failure};
use crate::plan::Orphans;
use crate::probe::dial::shown;
use crate::state::event::{LockNews, Preparation};

/// How long a new holder waits after one that vanished without a word: longer than it takes to find out and to stop.
const SETTLE: Duration = Duration::from_secs(8);

const _: () = assert!(SETTLE.as_secs() > REGAIN.as_secs());

/// How long what an earlier migration left in the database may go on before it is ended.
const ORPHAN_WAIT: Duration = Duration::from_secs(30);

/// Makes the lock safe to work under. What it says about the schema is asked again in the end, for another may have migrated.
pub(super) async fn prepare<L: Lock>(
    lock: &mut L,
    asker: &mut Asker,
    rules: &Rules,
    held: &mut L::Held,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Option<bool>, Failure> {
    if !bounded(lock.holds(held)).await? {
        return Err(Failure::new(Class::NotReady, "the lock went again at once"));
    }
    if let Some(ahead) = current(asker, rules).await {
        return Ok(Some(ahead));
    }
    let gone = |why: &str| Failure::new(Class::NotReady, why);
    if !bounded(async { Ok(lock.succeeds_cleanly(held).await) }).await? {
        tracing::info!("the last holder of the migration lock vanished without a word: it gets {} to stop", shown(SETTLE));
        tell(LockNews::Preparing(Preparation::Settling));
        tokio::select! {
            () = sleep(SETTLE) => {}
            trouble = watch(lock, held) => return Err(gone(&trouble.why)),
        }
    }
    if rules.orphans != Orphans::Ignore {
        fence(lock, rules, held, tell).await?;
    }
    if !bounded(lock.holds(held)).await? {
        return Err(gone("the lock went while it was made safe"));
    }
    Ok(current(asker, rules).await)
}

/// Waits until no session of an earlier migration is at work, and ends those that do not end by themselves.
async fn fence<L: Lock>(lock: &L, rules: &Rules, held: &mut L::Held, tell: &(impl Fn(LockNews) + Sync)) -> Result<(), Failure> {
    let began = Instant::now();
    let mut known: Vec<String> = Vec::new();
    let mut ended = false;
    loop {
        let left = bounded(lock.leftovers(held)).await?;
        if left.is_empty() {
            if !known.is_empty() {
                tracing::info!("nothing of an earlier migration is at work any more");
            }
            return Ok(());
        }
        if left != known {
            tell(LockNews::Preparing(Preparation::Fencing(left.len())));
            tracing::warn!("an earlier migration left sessions at work, they are waited for: {}", left.join(", "));
            known = left;
        }
        if !ended && rules.orphans == Orphans::Terminate && began.elapsed() >= ORPHAN_WAIT {
            tracing::warn!("ending the sessions of an earlier migration: {}", known.join(", "));
            bounded(lock.end_leftovers(held)).await?;
            ended = true;
        }
        sleep(Duration::from_millis(500)).await;
    }
}
