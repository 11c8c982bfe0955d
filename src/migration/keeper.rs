//! Handles the supervisor's requests for any lock: wait for it, keep it, query its database, release it.

mod obstacle;
mod safety;
mod watch;

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::LockOrder;
use super::any::{AnyHeld, AnyLock};
use super::lock::{Try, bounded};
use super::schema_query::{SchemaQuery, SchemaState};
use crate::clock::patience::within;
use crate::exit::Exit;
use crate::plan::{KeeperPlan, Orphans};
use crate::probe::dial::shown;
use crate::state::event::{ANOTHER_MODE, LockHolder, LockNews};
use obstacle::Obstacle;
use safety::prepare;
use watch::{Ward, confirm, keep};

/// How long releasing the lock may take; closing the connection frees it anyway.
const RELEASE: Duration = Duration::from_secs(2);

/// The maximum rate of reports about the holder.
const NEWS: Duration = Duration::from_secs(2);

/// The lock's settings in the plan.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    limit: Duration,
    waits: bool,
    orphans: Orphans,
    check: Option<String>,
    verify: Option<String>,
}

impl Rules {
    pub(super) fn of(plan: &KeeperPlan) -> Self {
        Self {
            limit: plan.hold.lock_timeout,
            waits: plan.waits,
            orphans: plan.hold.orphans,
            check: plan.check.clone(),
            verify: plan.verify.clone(),
        }
    }

    /// The settings for a step, which needs the lock regardless of the migration.
    fn of_step(&self) -> Self {
        Self { waits: false, check: None, ..self.clone() }
    }
}

/// How the wait for the lock ended.
enum Queued {
    Held(AnyHeld),
    Current { ahead: bool },
}

/// Handles the requests until they end.
pub(super) async fn run(lock: &mut dyn AnyLock, rules: &Rules, orders: &mut UnboundedReceiver<LockOrder>, tell: impl Fn(LockNews) + Sync) {
    let mut schema_query = lock.schema_query();
    let of_step = rules.of_step();
    while let Some(order) = orders.recv().await {
        let of_this = if order == LockOrder::Take { &of_step } else { rules };
        match order {
            LockOrder::Release => {
                tell(LockNews::Released);
                continue;
            }
            LockOrder::Verify => {
                tell(LockNews::Verified(verify(&mut schema_query, rules).await));
                continue;
            }
            LockOrder::Confirm => {
                tell(LockNews::Confirmed);
                continue;
            }
            LockOrder::Acquire | LockOrder::Take => {}
        }
        let queued = tokio::select! {
            biased;
            open = released(orders, &tell) => if open { None } else { return },
            queued = queue(lock, &mut schema_query, of_this, &tell) => Some(queued),
        };
        let mut held = match queued {
            Some(Ok(Queued::Held(held))) => held,
            Some(Ok(Queued::Current { ahead })) => {
                tell(LockNews::Current { ahead });
                continue;
            }
            Some(Err((exit, why))) => {
                tell(LockNews::Unavailable(exit, why));
                continue;
            }
            None => {
                tell(LockNews::Released);
                continue;
            }
        };
        tell(LockNews::Environment(lock.environment(&held)));
        tell(LockNews::Held);
        let mut ward = Ward::new();
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                why = keep(lock, &mut held, &mut ward) => {
                    tell(LockNews::Lost(why));
                    break;
                }
            };
            match order {
                Some(LockOrder::Verify) => {
                    let answer = tokio::select! {
                        answer = verify(&mut schema_query, rules) => answer,
                        why = keep(lock, &mut held, &mut ward) => {
                            tell(LockNews::Lost(why.clone()));
                            Err(why)
                        }
                    };
                    tell(LockNews::Verified(answer));
                }
                Some(LockOrder::Confirm) => match confirm(lock, &mut held).await {
                    Ok(()) => tell(LockNews::Confirmed),
                    Err(why) => {
                        tell(LockNews::Lost(why));
                        break;
                    }
                },
                // A step has already taken it.
                Some(LockOrder::Acquire) => {
                    let current = tokio::select! {
                        current = current(&mut schema_query, rules, &tell) => Ok(current),
                        why = keep(lock, &mut held, &mut ward) => Err(why),
                    };
                    match current {
                        Ok(Some(ahead)) => tell(LockNews::Current { ahead }),
                        Ok(None) => tell(LockNews::Held),
                        Err(why) => {
                            tell(LockNews::Lost(why));
                            break;
                        }
                    }
                }
                Some(LockOrder::Take) => tell(LockNews::Held),
                order => {
                    let _ = timeout(RELEASE, lock.give_back(held)).await;
                    if order.is_none() {
                        return;
                    }
                    tell(LockNews::Released);
                    break;
                }
            }
        }
    }
}

/// Returns true for the request to release, false if the requests end. A lock that is not held yet cannot be lost.
async fn released(orders: &mut UnboundedReceiver<LockOrder>, tell: &(impl Fn(LockNews) + Sync)) -> bool {
    while let Some(order) = orders.recv().await {
        match order {
            LockOrder::Release => return true,
            LockOrder::Confirm => tell(LockNews::Confirmed),
            LockOrder::Acquire | LockOrder::Take | LockOrder::Verify => {}
        }
    }
    false
}

async fn verify(schema_query: &mut SchemaQuery, rules: &Rules) -> Result<(), String> {
    let Some(statement) = &rules.verify else { return Ok(()) };
    match schema_query.run(statement).await {
        Ok(SchemaState::Current) => Ok(()),
        Ok(_) => Err("its statement returned that the schema is not up to date".to_owned()),
        Err(failure) => Err(format!("{}; {}", failure.reason().words(), failure.reason().advice())),
    }
}

/// Tries until it has the lock, the schema is up to date, or the limit has passed.
async fn queue(
    lock: &mut dyn AnyLock,
    schema_query: &mut SchemaQuery,
    rules: &Rules,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Queued, (Exit, String)> {
    let mut obstacle = Obstacle::Silence;
    let place = lock.shown();
    match within(rules.limit, queue_patiently(lock, schema_query, rules, &mut obstacle, tell)).await {
        Some(Ok(queued)) => Ok(queued),
        Some(Err(unusable)) => Err((Exit::Config, unusable)),
        None if rules.waits => {
            let why = "the schema was not migrated by another replica within";
            Err((Exit::LockTimeout, format!("{why} {}: check the replica whose mode migrates", shown(rules.limit))))
        }
        None => {
            Err((Exit::LockTimeout, format!("the migration lock at {place} was not available within {}: {obstacle}", shown(rules.limit))))
        }
    }
}

async fn queue_patiently(
    lock: &mut dyn AnyLock,
    schema_query: &mut SchemaQuery,
    rules: &Rules,
    obstacle: &mut Obstacle,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Queued, String> {
    let mut last_report: Option<Instant> = None;
    let mut tries = 0;
    let mut news = |holder: &LockHolder| {
        if last_report.is_none_or(|at| at.elapsed() >= NEWS) {
            last_report = Some(Instant::now());
            tell(LockNews::Queued(holder.clone()));
        }
    };
    loop {
        if let Some(ahead) = current(schema_query, rules, tell).await {
            return Ok(Queued::Current { ahead });
        }
        if rules.waits {
            news(&ANOTHER_MODE.into());
        } else {
            let new = match bounded(lock.attempt()).await {
                Ok(Try::Held(mut held)) => match prepare(lock, schema_query, rules, &mut held, tell).await {
                    Ok(None) => return Ok(Queued::Held(held)),
                    Ok(Some(ahead)) => {
                        let _ = timeout(RELEASE, lock.give_back(held)).await;
                        return Ok(Queued::Current { ahead });
                    }
                    Err(failure) => Obstacle::Failed(failure),
                },
                Ok(Try::Taken(holder)) => {
                    news(&holder);
                    Obstacle::Taken(holder)
                }
                Ok(Try::Unusable(why)) => return Err(why),
                Err(failure) => Obstacle::Failed(failure),
            };
            new.log(obstacle, &lock.shown());
            *obstacle = new;
        }
        tokio::select! {
            () = sleep(pause(tries, fastrand::f64())) => tries += 1,
            () = lock.handed_on() => {
                tries = 0;
                tell(LockNews::HandedOn);
            }
        }
    }
}

/// If the check says that there is nothing to do: whether the schema is ahead; none otherwise.
async fn current(schema_query: &mut SchemaQuery, rules: &Rules, tell: &(impl Fn(LockNews) + Sync)) -> Option<bool> {
    let began = Instant::now();
    match schema_query.run(rules.check.as_ref()?).await {
        Ok(SchemaState::Current) => Some(false),
        Ok(SchemaState::Ahead) => Some(true),
        Ok(SchemaState::Pending) | Err(_) => {
            tell(LockNews::Checked(began.elapsed()));
            None
        }
    }
}

/// The longest pause between two attempts: for a lock without notification, a hand-over takes half of it on average.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The pause before attempt number `tries`: 0.1 s, growing by half up to [`LONGEST_PAUSE`], shortened by up to 30 %.
fn pause(tries: u32, chance: f64) -> Duration {
    // Four times suffice. `powf` would be 8 kB of the binary.
    let grown = (0..tries.min(4)).fold(Duration::from_millis(100), |pause, _| pause * 3 / 2);
    grown.min(LONGEST_PAUSE).mul_f64(1.0 - 0.3 * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_half_a_second() {
        for (tries, chance, ms) in [(0, 0.0, 100), (1, 0.0, 150), (0, 1.0, 70), (8, 0.0, 500), (1_000_000, 1.0, 350)] {
            assert_eq!(pause(tries, chance), Duration::from_millis(ms), "{tries} {chance}");
        }
    }
}
