//! Monitors a held lock, and regains a lost one unless another replica has it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::pause;
use crate::clock::since_boot;
use crate::migration::any::{AnyHeld, AnyLock};
use crate::migration::lock::{ANSWER, LEASE_SECONDS, Try, bounded};
use crate::probe::dial::shown;

/// How often the holder checks that it still holds the lock.
const PING: Duration = Duration::from_secs(5);

/// When the migration is first examined: its sessions exist by then.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How long regaining a lost lock may take.
pub(super) const REGAIN: Duration = Duration::from_secs(5);

/// How long a migration without its lock has to stop; the reducer applies it.
const GRACE: Duration = Duration::from_secs(5);

/// A lock that was not checked for longer than this is not regained: its lease may have expired, and another replica may have held it.
const LONGEST_SILENCE: Duration = Duration::from_secs(PING.as_secs() + ANSWER.as_secs() + 1);

// A disconnected holder has stopped its migration before the server gives the lock to another (`docs/decisions.md`, 1).
const _: () = assert!(PING.as_secs() + ANSWER.as_secs() + REGAIN.as_secs() + GRACE.as_secs() < LEASE_SECONDS);

/// The state of a running migration for the lock's keeper.
#[derive(Debug)]
pub(super) struct Ward {
    since: Instant,
    hinted: bool,
}

impl Ward {
    /// A migration that begins now.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), hinted: false }
    }

    /// Examines it, and logs once what may block it.
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
            Err(failure) => tracing::debug!(why = failure.private.as_str(), "the migration's sessions cannot be inspected"),
        }
    }
}

/// Returns once the lock is lost for good, with the reason.
pub(super) async fn keep(lock: &mut dyn AnyLock, held: &mut AnyHeld, ward: &mut Ward) -> String {
    loop {
        let trouble = watch(lock, held, Some(ward)).await;
        let LostLock { why: trouble, silent } = trouble;
        if silent > LONGEST_SILENCE {
            return format!("{trouble}, and it could not be checked for {}", shown(silent));
        }
        tracing::warn!(lock = lock.shown(), why = trouble, "the migration lock is lost, trying to regain it");
        let lost = Instant::now();
        match timeout(REGAIN, regain(lock)).await {
            Ok(Ok(regained)) => {
                // It is unknown whether another replica held it in between.
                let after = shown(lost.elapsed());
                tracing::warn!(lock = lock.shown(), after, "the migration lock is regained, the migration continues");
                *held = regained;
            }
            Ok(Err(successor)) => return format!("{trouble}, and {successor} has it now"),
            Err(_) => return format!("{trouble}, and it could not be regained within {}", shown(REGAIN)),
        }
    }
}

/// What is wrong with a lock, and the time since the last check, including suspends of the machine.
pub(super) struct LostLock {
    pub(super) why: String,
    silent: Duration,
}

/// Checks every [`PING`] and returns what is wrong.
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

/// Checks once after a pause of this process. A lock that was lost in a pause is not regained, because another replica may have held it.
pub(super) async fn confirm(lock: &dyn AnyLock, held: &mut AnyHeld) -> Result<(), String> {
    holds(lock, held).await.map_err(|why| format!("{why}, after a pause of this process"))
}

async fn holds(lock: &dyn AnyLock, held: &mut AnyHeld) -> Result<(), String> {
    match bounded(lock.holds(held)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("its session no longer holds it".to_owned()),
        Err(failure) => Err(format!("its connection failed: {}", failure.reason().words())),
    }
}

/// Tries until it has the lock again, or another replica has it; then returns its name.
async fn regain(lock: &mut dyn AnyLock) -> Result<AnyHeld, String> {
    let mut tries = 0;
    loop {
        match bounded(lock.attempt()).await {
            Ok(Try::Held(held)) => return Ok(held),
            // The server may notice the end of our old session later than we do.
            Ok(Try::Taken(holder)) if !holder.gone && !lock.is_own(&holder) => return Err(holder.words),
            _ => {}
        }
        sleep(pause(tries, fastrand::f64())).await;
        tries += 1;
    }
}
