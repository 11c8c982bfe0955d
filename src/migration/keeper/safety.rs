//! Makes a lock that was just got safe to work under: its last holder stopped, nothing of an earlier migration at work.

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

/// How long a new holder waits after one that vanished without a word: longer than it takes to find out and to stop.
const SETTLE: Duration = Duration::from_secs(8);

const _: () = assert!(SETTLE.as_secs() > REGAIN.as_secs());

/// How long what an earlier migration left in the database may go on before it is ended.
const ORPHAN_WAIT: Duration = Duration::from_secs(30);

/// Makes the lock safe to work under. What it says about the schema is asked again in the end, for another may have migrated.
pub(super) async fn prepare(
    lock: &mut dyn AnyLock,
    schema_query: &mut SchemaQuery,
    rules: &Rules,
    held: &mut AnyHeld,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Option<bool>, Failure> {
    if !bounded(lock.holds(held)).await? {
        return Err(Failure::new(ErrorKind::NotReady, "the lock went again at once"));
    }
    if let Some(ahead) = current(schema_query, rules, tell).await {
        return Ok(Some(ahead));
    }
    let gone = |why: &str| Failure::new(ErrorKind::NotReady, why);
    if !bounded(lock.succeeds_cleanly(held)).await? {
        tracing::info!("the last holder of the migration lock vanished without a word: it gets {} to stop", shown(SETTLE));
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
        return Err(gone("the lock went while it was made safe"));
    }
    Ok(current(schema_query, rules, tell).await)
}

/// Waits until no session of an earlier migration is at work, and ends those that do not end by themselves where they are certainly its.
/// One that may be anybody's is waited for as long, and then left alone.
async fn fence(lock: &dyn AnyLock, rules: &Rules, held: &mut AnyHeld, tell: &(impl Fn(LockNews) + Sync)) -> Result<(), Failure> {
    let began = Instant::now();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut ended = false;
    loop {
        let left = bounded(lock.leftovers(held)).await?;
        if left.is_empty() {
            if !known.is_empty() {
                tracing::info!("nothing of an earlier migration is at work any more");
            }
            return Ok(());
        }
        let new: Vec<_> = left.iter().filter(|new| !known.contains(&new.id)).cloned().collect();
        let of = |left: &[Leftover], certain: bool| {
            let those = left.iter().filter(|left| left.certain == certain).map(|left| left.words.as_str());
            Some(those.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
        };
        if let Some(words) = of(&new, true) {
            tracing::warn!("an earlier migration left sessions at work, they are waited for: {words}");
        }
        if let Some(words) = of(&new, false) {
            tracing::warn!(
                "sessions are at work that may be an earlier migration's or anybody's, they are waited for and left alone: {words}"
            );
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
                    tracing::warn!("going on, although sessions are still at work that may be an earlier migration's, check them: {words}");
                    return Ok(());
                }
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}
