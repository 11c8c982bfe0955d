//! What holds for every lock: queue for it, make sure that the last holder's work is over, watch it, regain it, give it back.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::LockOrder;
use super::question::{Answer, Asker};
use crate::exit::Exit;
use crate::outcome::{Class, Failure};
use crate::plan::{MigrationPlan, Orphans, Question};
use crate::probe::dial::shown;
use crate::state::event::{LockHolder, LockNews, Preparation};

/// How long connecting, or one statement, may take before the connection is given up.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How often the holder asks whether it still holds the lock.
pub(super) const PING: Duration = Duration::from_secs(5);

/// How long a lost lock may take to be regained.
const REGAIN: Duration = Duration::from_secs(5);

/// After how many seconds of silence a server ends the holder's session, and with it the lock.
pub(super) const LEASE_SECONDS: u64 = 30;

/// How long a migration gets to stop that has lost its lock; the reducer grants it.
const GRACE: Duration = Duration::from_secs(5);

// A holder that is cut off has stopped its migration before the server hands the lock to another (E5).
const _: () = assert!(PING.as_secs() + ANSWER.as_secs() + REGAIN.as_secs() + GRACE.as_secs() < LEASE_SECONDS);

/// How long a new holder waits after one that vanished without a word: longer than it takes to find out and to stop.
const SETTLE: Duration = Duration::from_secs(8);

const _: () = assert!(SETTLE.as_secs() > REGAIN.as_secs());

/// How long what an earlier migration left in the database may go on before it is ended.
const ORPHAN_WAIT: Duration = Duration::from_secs(30);

/// How long giving the lock back may take; closing the connection frees it anyway.
const RELEASE: Duration = Duration::from_secs(2);

/// How often the supervisor hears of the holder at most.
const NEWS: Duration = Duration::from_secs(2);

/// What one try yielded.
pub(super) enum Try<H> {
    /// It is ours, for as long as this lives.
    Held(H),
    /// Somebody else holds it.
    Taken(LockHolder),
    /// This lock will never keep anybody out, and why.
    Unusable(String),
}

/// A lock that can be tried for.
pub(super) trait Lock: Send {
    /// What holds it.
    type Held: Send;

    /// Where it is, without secrets.
    fn shown(&self) -> String;

    /// One try. Everything in here is bounded by the caller.
    fn attempt(&mut self) -> impl Future<Output = Result<Try<Self::Held>, Failure>> + Send;

    /// Whether this holder is an earlier session of ours, which the server has not given up yet.
    fn is_own(&self, holder: &LockHolder) -> bool;

    /// Whether the last holder before us took leave, or there was none.
    fn succeeds_cleanly(&mut self, held: &mut Self::Held) -> impl Future<Output = bool> + Send;

    /// Comes back when a holder has said that it is done; for ever where holders do not say so. Safe to cancel.
    fn handed_on(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The sessions of earlier migrations under this lock that are still at work; none where nothing tells them from others.
    fn leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Ends them.
    fn end_leftovers(&self, _held: &mut Self::Held) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// What the migration gets into its environment, so that its sessions can be told and end with it.
    fn environment(&self, _held: &Self::Held) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether it is still ours; asking also keeps a dead man's switch from firing.
    fn holds(&self, held: &mut Self::Held) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Comes back when what holds the lock has visibly ended. Safe to cancel.
    fn ended(&self, held: &mut Self::Held) -> impl Future<Output = ()> + Send;

    /// Gives it back and says so to those who queue.
    fn give_back(&mut self, held: Self::Held) -> impl Future<Output = ()> + Send;

    /// Who answers questions about the schema.
    fn asker(&self) -> Asker;
}

/// What the plan says about the lock.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    limit: Duration,
    waits: bool,
    orphans: Orphans,
    check: Option<String>,
    verify: Option<String>,
}

impl Rules {
    pub(super) fn of(plan: &MigrationPlan) -> Self {
        let statement = |question: &Option<Question>| match question {
            Some(Question::Sql(statement)) => Some(statement.clone()),
            _ => None,
        };
        Self {
            limit: plan.lock_timeout,
            waits: plan.waits,
            orphans: plan.orphans,
            check: statement(&plan.check),
            verify: statement(&plan.verify),
        }
    }
}

/// How queueing ended.
enum Queued<H> {
    Held(H),
    Current { ahead: bool },
}

/// Follows the orders until they end.
pub(super) async fn run<L: Lock>(mut lock: L, rules: &Rules, orders: &mut UnboundedReceiver<LockOrder>, tell: impl Fn(LockNews) + Sync) {
    let mut asker = lock.asker();
    while let Some(order) = orders.recv().await {
        match order {
            LockOrder::Release => {
                tell(LockNews::Released);
                continue;
            }
            LockOrder::Verify => {
                tell(LockNews::Verified(verify(&mut asker, rules).await));
                continue;
            }
            LockOrder::Acquire => {}
        }
        let queued = tokio::select! {
            biased;
            open = released(orders) => if open { None } else { return },
            queued = queue(&mut lock, &mut asker, rules, &tell) => Some(queued),
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
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                why = keep(&mut lock, &mut held) => {
                    tell(LockNews::Lost(why));
                    break;
                }
            };
            match order {
                Some(LockOrder::Verify) => {
                    let answer = tokio::select! {
                        answer = verify(&mut asker, rules) => answer,
                        why = keep(&mut lock, &mut held) => {
                            tell(LockNews::Lost(why.clone()));
                            Err(why)
                        }
                    };
                    tell(LockNews::Verified(answer));
                }
                Some(LockOrder::Acquire) => {}
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

/// Returns true on the order to release, false when the orders end.
async fn released(orders: &mut UnboundedReceiver<LockOrder>) -> bool {
    while let Some(order) = orders.recv().await {
        if order == LockOrder::Release {
            return true;
        }
    }
    false
}

async fn verify(asker: &mut Asker, rules: &Rules) -> Result<(), String> {
    let Some(statement) = &rules.verify else { return Ok(()) };
    match asker.ask(statement).await {
        Ok(Answer::Current) => Ok(()),
        Ok(_) => Err("its statement says that the schema is not as it should be".to_owned()),
        Err(failure) => Err(format!("{}; {}", failure.class.public(), failure.class.advice())),
    }
}

/// Tries until the lock is ours, the schema is current, or the limit has passed.
async fn queue<L: Lock>(
    lock: &mut L,
    asker: &mut Asker,
    rules: &Rules,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Queued<L::Held>, (Exit, String)> {
    let mut obstacle = Obstacle::Silence;
    let place = lock.shown();
    match timeout(rules.limit, queue_patiently(lock, asker, rules, &mut obstacle, tell)).await {
        Ok(Ok(queued)) => Ok(queued),
        Ok(Err(unusable)) => Err((Exit::Config, unusable)),
        Err(_) if rules.waits => {
            let why = "the schema was not migrated by another replica within";
            Err((Exit::LockTimeout, format!("{why} {}: check the one whose mode migrates", shown(rules.limit))))
        }
        Err(_) => {
            Err((Exit::LockTimeout, format!("the migration lock at {place} was not to be had within {}: {obstacle}", shown(rules.limit))))
        }
    }
}

async fn queue_patiently<L: Lock>(
    lock: &mut L,
    asker: &mut Asker,
    rules: &Rules,
    obstacle: &mut Obstacle,
    tell: &(impl Fn(LockNews) + Sync),
) -> Result<Queued<L::Held>, String> {
    let mut told: Option<Instant> = None;
    let mut tries = 0;
    let mut news = |holder: &LockHolder| {
        if told.is_none_or(|at| at.elapsed() >= NEWS) {
            told = Some(Instant::now());
            tell(LockNews::Queued(holder.clone()));
        }
    };
    loop {
        if let Some(ahead) = current(asker, rules).await {
            return Ok(Queued::Current { ahead });
        }
        if rules.waits {
            news(&"another replica, whose mode migrates".into());
        } else {
            let new = match bounded(lock.attempt()).await {
                Ok(Try::Held(mut held)) => match prepare(lock, asker, rules, &mut held, tell).await {
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

/// Whether the check says that there is nothing to do, and whether because the schema is ahead; none when it does not say so.
async fn current(asker: &mut Asker, rules: &Rules) -> Option<bool> {
    match asker.ask(rules.check.as_ref()?).await {
        Ok(Answer::Current) => Some(false),
        Ok(Answer::Ahead) => Some(true),
        Ok(Answer::Pending) | Err(_) => None,
    }
}

/// Makes the lock safe to work under. What it says about the schema is asked again in the end, for another may have migrated.
async fn prepare<L: Lock>(
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
            why = watch(lock, held) => return Err(gone(&why)),
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

/// Returns once the lock is lost for good, with the reason.
async fn keep<L: Lock>(lock: &mut L, held: &mut L::Held) -> String {
    loop {
        let trouble = watch(lock, held).await;
        tracing::warn!(lock = lock.shown(), why = trouble, "the migration lock is lost, trying to regain it");
        match timeout(REGAIN, regain(lock)).await {
            Ok(Ok(regained)) => {
                tracing::warn!(lock = lock.shown(), "the migration lock is regained, nobody had it meanwhile");
                *held = regained;
            }
            Ok(Err(successor)) => return format!("{trouble}, and {successor} has it now"),
            Err(_) => return format!("{trouble}, and it could not be regained within {}", shown(REGAIN)),
        }
    }
}

/// Asks every [`PING`] and returns with what is wrong.
async fn watch<L: Lock>(lock: &L, held: &mut L::Held) -> String {
    loop {
        tokio::select! {
            () = lock.ended(held) => return "its connection ended".to_owned(),
            () = sleep(PING) => {}
        }
        match bounded(lock.holds(held)).await {
            Ok(true) => {}
            Ok(false) => return "its session does not hold it any more".to_owned(),
            Err(failure) => return format!("its connection failed: {}", failure.class.public()),
        }
    }
}

/// Tries again until the lock is ours, or somebody else's: then this is his name.
async fn regain<L: Lock>(lock: &mut L) -> Result<L::Held, String> {
    let mut tries = 0;
    loop {
        match bounded(lock.attempt()).await {
            Ok(Try::Held(held)) => return Ok(held),
            // The server may see the end of our old session later than we do.
            Ok(Try::Taken(holder)) if !lock.is_own(&holder) => return Err(holder.words),
            _ => {}
        }
        sleep(pause(tries, fastrand::f64())).await;
        tries += 1;
    }
}

/// The pause before try number `tries`: 0.1 s, growing by half to 2 s, less up to 30 %.
fn pause(tries: u32, chance: f64) -> Duration {
    Duration::from_millis(100).mul_f64(1.5_f64.powf(f64::from(tries.min(16)))).min(Duration::from_secs(2)).mul_f64(1.0 - 0.3 * chance)
}

pub(super) async fn bounded<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(Failure::new(Class::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}

/// What stands between this replica and the lock.
enum Obstacle {
    /// The first try is not answered yet.
    Silence,
    Taken(LockHolder),
    Failed(Failure),
}

impl Obstacle {
    /// Says what no news will: the database itself is in the way. Once for each kind.
    fn log(&self, before: &Self, place: &str) {
        match (self, before) {
            (Self::Failed(now), Self::Failed(before)) if now == before => {}
            (Self::Failed(failure), _) => tracing::warn!(
                lock = place,
                class = failure.class.word(),
                why = failure.private.as_str(),
                "the migration lock cannot be asked for"
            ),
            _ => {}
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("the database did not answer"),
            Self::Taken(holder) => write!(f, "held by {}; check whether its migration still runs", holder.words),
            Self::Failed(failure) => write!(f, "{} ({}); {}", failure.class.public(), failure.private.as_str(), failure.class.advice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_two_seconds() {
        for (tries, chance, ms) in [(0, 0.0, 100), (1, 0.0, 150), (0, 1.0, 70), (8, 0.0, 2_000), (1_000_000, 1.0, 1_400)] {
            assert_eq!(pause(tries, chance), Duration::from_millis(ms), "{tries} {chance}");
        }
    }
}
