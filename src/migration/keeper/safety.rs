//! Waits after getting the lock until it is safe to work: the last holder has stopped, and no session of an earlier migration is at work.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::watch::{REGAIN, watch};
use super::{Rules, current};
use crate::migration::any::{AnyHeld, AnyLock};
use crate::migration::lock::{Leftover, bounded};
use crate::migration::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::Orphans;
use crate::probe::dial::shown;
use crate::state::event::{LockNews, Preparation};

/// How long a new holder waits after one that disappeared: longer than that one needs to notice the loss and to stop.
const SETTLE: Duration = Duration::from_secs(8);

const _: () = assert!(SETTLE.as_secs() > REGAIN.as_secs());

/// How long sessions of an earlier migration may continue before they are ended.
const ORPHAN_WAIT: Duration = Duration::from_secs(30);

/// Waits until it is safe to work under the lock. At the end the schema is checked again, because another replica may have migrated.
pub(super) async fn prepare(
    lock: &mut dyn AnyLock,
    schema_query: &mut SchemaQuery,
    rules: &Rules,
    held: &mut AnyHeld,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Option<bool>, Failure> {
    if !bounded(lock.holds(held)).await? {
        return Err(Failure::new(ErrorKind::NotReady, "the lock was lost again at once"));
    }
    if let Some(ahead) = current(schema_query, rules, tell).await {
        return Ok(Some(ahead));
    }
    let gone = |why: &str| Failure::new(ErrorKind::NotReady, why);
    if !bounded(lock.succeeds_cleanly(held)).await? {
        tracing::info!("the last holder of the migration lock disappeared without releasing it: waiting {} for it to stop", shown(SETTLE));
        tell(LockNews::Preparing(Preparation::Settling));
        tokio::select! {
            () = sleep(SETTLE) => {}
            trouble = watch(lock, held, None) => return Err(gone(&trouble.why)),
        }
    }
    if rules.orphans != Orphans::Ignore {
        fence(lock, rules, held, tell).await?;
    }
    if !bounded(lock.holds(held)).await? {
        return Err(gone("the lock was lost during the safety checks"));
    }
    Ok(current(schema_query, rules, tell).await)
}

/// Waits until no session of an earlier migration is at work, and ends those that do not end by themselves if they certainly belong to it.
/// Other sessions are waited for as long, and then ignored.
async fn fence(lock: &dyn AnyLock, rules: &Rules, held: &mut AnyHeld, tell: &(impl Fn(LockNews) + Sync)) -> Result<(), Failure> {
    let began = Instant::now();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut ended = false;
    loop {
        let left = bounded(lock.leftovers(held)).await?;
        if left.is_empty() {
            if !known.is_empty() {
                tracing::info!("no session of an earlier migration is at work any more");
            }
            return Ok(());
        }
        let new: Vec<_> = left.iter().filter(|new| !known.contains(&new.id)).cloned().collect();
        let of = |left: &[Leftover], certain: bool| {
            let those = left.iter().filter(|left| left.certain == certain).map(|left| left.words.as_str());
            Some(those.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
        };
        if let Some(words) = of(&new, true) {
            tracing::warn!("sessions of an earlier migration are still at work, waiting for them: {words}");
        }
        if let Some(words) = of(&new, false) {
            tracing::warn!("sessions are at work that may belong to an earlier migration, waiting for them without ending them: {words}");
        }
        if !new.is_empty() {
            tell(LockNews::Preparing(Preparation::Fencing(left.len())));
            known.extend(new.into_iter().map(|new| new.id));
        }
        if rules.orphans == Orphans::Terminate && began.elapsed() >= ORPHAN_WAIT {
            match of(&left, true) {
                Some(words) if !ended => {
                    tracing::warn!("ending the sessions of an earlier migration: {words}");
                    bounded(lock.end_leftovers(held)).await?;
                    ended = true;
                }
                Some(_) => {}
                None => {
                    let words = of(&left, false).unwrap_or_default();
                    tracing::warn!(
                        "continuing, although sessions that may belong to an earlier migration are still at work, check them: {words}"
                    );
                    return Ok(());
                }
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}
