//! Watches a lock that is held, and regains one that was lost while nobody else has it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::pause;
use crate::clock::since_boot;
use crate::migration::any::{AnyHeld, AnyLock};
use crate::migration::lock::{ANSWER, LEASE_SECONDS, Try, bounded};
use crate::probe::dial::shown;

/// How often the holder asks whether it still holds the lock.
const PING: Duration = Duration::from_secs(5);

/// When the migration is first looked after: its sessions are there by then.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How long a lost lock may take to be regained.
pub(super) const REGAIN: Duration = Duration::from_secs(5);

/// How long a migration gets to stop that has lost its lock; the reducer grants it.
const GRACE: Duration = Duration::from_secs(5);

/// A lock that was not looked at for longer than this is not regained: its lease may have run out, and another have had it.
const LONGEST_SILENCE: Duration = Duration::from_secs(PING.as_secs() + ANSWER.as_secs() + 1);

// A holder that is cut off has stopped its migration before the server hands the lock to another (`docs/decisions.md`, 1).
const _: () = assert!(PING.as_secs() + ANSWER.as_secs() + REGAIN.as_secs() + GRACE.as_secs() < LEASE_SECONDS);

/// A migration that runs, as far as the lock's keeper looks after it.
#[derive(Debug)]
pub(super) struct Ward {
    since: Instant,
    hinted: bool,
}

impl Ward {
    /// One that begins now.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), hinted: false }
    }

    /// Looks after it, and says once what may keep it from going on.
    async fn attend(&mut self, lock: &dyn AnyLock, held: &mut AnyHeld) {
        match bounded(lock.attend(held, self.since.elapsed())).await {
            Ok(Some(hint)) if !std::mem::replace(&mut self.hinted, true) => {
                tracing::warn!(
                    lock = lock.shown(),
                    "the migration has run for {}: {hint}",
                    shown(Duration::from_secs(self.since.elapsed().as_secs()))
                );
            }
            Ok(_) => {}
            Err(failure) => tracing::debug!(why = failure.private.as_str(), "the migration's sessions cannot be looked at"),
        }
    }
}

/// Returns once the lock is lost for good, with the reason.
pub(super) async fn keep(lock: &mut dyn AnyLock, held: &mut AnyHeld, ward: &mut Ward) -> String {
    loop {
        let trouble = watch(lock, held, Some(ward)).await;
        let LostLock { why: trouble, silent } = trouble;
        if silent > LONGEST_SILENCE {
            return format!("{trouble}, and nobody here could look for {}", shown(silent));
        }
        tracing::warn!(lock = lock.shown(), why = trouble, "the migration lock is lost, trying to regain it");
        let lost = Instant::now();
        match timeout(REGAIN, regain(lock)).await {
            Ok(Ok(regained)) => {
                // Whether somebody took it and gave it back in between cannot be known.
                let after = shown(lost.elapsed());
                tracing::warn!(lock = lock.shown(), after, "the migration lock is regained, the migration goes on");
                *held = regained;
            }
            Ok(Err(successor)) => return format!("{trouble}, and {successor} has it now"),
            Err(_) => return format!("{trouble}, and it could not be regained within {}", shown(REGAIN)),
        }
    }
}

/// What is wrong with a lock, and for how long nobody had looked by then, suspends of the machine included.
pub(super) struct LostLock {
    pub(super) why: String,
    silent: Duration,
}

/// Asks every [`PING`] and returns with what is wrong.
pub(super) async fn watch(lock: &dyn AnyLock, held: &mut AnyHeld, mut ward: Option<&mut Ward>) -> LostLock {
    let mut pause = if ward.is_some() { FIRST_LOOK } else { PING };
    loop {
        let looked = since_boot();
        let ended = tokio::select! {
            () = lock.ended(held) => true,
            () = sleep(pause) => false,
        };
        pause = PING;
        let state = if ended { Err("its connection ended".to_owned()) } else { holds(lock, held).await };
        if let Err(why) = state {
            return LostLock { why, silent: since_boot().saturating_sub(looked) };
        }
        if let Some(ward) = &mut ward {
            ward.attend(lock, held).await;
        }
    }
}

/// Asks once, after a time in which nobody could look. What went then is not regained: another may have had it in between.
pub(super) async fn confirm(lock: &dyn AnyLock, held: &mut AnyHeld) -> Result<(), String> {
    holds(lock, held).await.map_err(|why| format!("{why}, after a time in which nobody here could look"))
}

async fn holds(lock: &dyn AnyLock, held: &mut AnyHeld) -> Result<(), String> {
    match bounded(lock.holds(held)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("its session does not hold it any more".to_owned()),
        Err(failure) => Err(format!("its connection failed: {}", failure.reason().words())),
    }
}

/// Tries again until the lock is ours, or somebody else's: then this is his name.
async fn regain(lock: &mut dyn AnyLock) -> Result<AnyHeld, String> {
    let mut tries = 0;
    loop {
        match bounded(lock.attempt()).await {
            Ok(Try::Held(held)) => return Ok(held),
            // The server may see the end of our old session later than we do, or just now.
            Ok(Try::Taken(holder)) if !holder.gone && !lock.is_own(&holder) => return Err(holder.words),
            _ => {}
        }
        sleep(pause(tries, fastrand::f64())).await;
        tries += 1;
    }
}
