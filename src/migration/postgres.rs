//! A PostgreSQL advisory lock: polled, on a connection of its own, watched while it is held.
//!
//! Polled because a session that waits inside `pg_advisory_lock` deadlocks with a `CREATE INDEX CONCURRENTLY` of the holder.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::LockOrder;
use crate::exit::Exit;
use crate::outcome::{Class, Failure};
use crate::plan::target::PostgresTarget;
use crate::probe::dial::shown;
use crate::probe::postgres::Session;
use crate::state::event::LockNews;

/// How long connecting, or one statement, may take before the connection is given up.
const ANSWER: Duration = Duration::from_secs(5);

/// How often the holder asks whether it still holds the lock.
const PING: Duration = Duration::from_secs(5);

/// How long a lost lock may take to be regained. With one ping, its answer and the grace of the migration this stays under
/// the 30 s after which the server ends a session that has gone silent (E5).
const REGAIN: Duration = Duration::from_secs(5);

/// How long giving the lock back may take; closing the connection frees it anyway.
const RELEASE: Duration = Duration::from_secs(2);

/// How often the supervisor hears of the holder at most.
const NEWS: Duration = Duration::from_secs(2);

/// What every session of the lock asks for, each tolerated when the server refuses it: an old version, a hosted service.
///
/// The first is a dead man's switch: a holder whose host is gone loses the lock within half a minute instead of two hours.
const SETTINGS: [&str; 5] = [
    "SET idle_session_timeout = '30s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET statement_timeout = 0",
];

/// Where the lock is, and under which name its sessions are seen.
#[derive(Debug)]
pub(super) struct Lock {
    target: PostgresTarget,
    key: i64,
    application_name: String,
}

impl Lock {
    /// A lock that nobody holds yet. Names carry the lock, so that one replica's sessions can be told from those of another's.
    pub(super) fn new(target: PostgresTarget, key: i64, instance: &str) -> Self {
        Self { target, key, application_name: application_name(key, instance, fastrand::u32(..)) }
    }

    /// The row of `pg_locks` that is this lock: a key of 64 bits is shown as two halves.
    fn row(&self) -> String {
        let (high, low) = (self.key as u64 >> 32, self.key as u64 & 0xffff_ffff);
        format!(
            "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = {high} AND objid = {low} AND objsubid = 1 AND granted"
        )
    }

    /// A session that is ours alone; none when a pooler is in between, which is found out before anything is set or taken:
    /// both would stay behind in a session that others get, too (M4).
    async fn open(&self) -> Result<Option<Session>, Failure> {
        bounded(async {
            let session = Session::open(&self.target, &self.application_name, ANSWER).await?;
            let serving = session.value("SELECT pg_backend_pid()").await?;
            if session.greeted_by().await.is_some_and(|pid| serving != Some(pid.to_string())) {
                return Ok(None);
            }
            for setting in SETTINGS {
                if let Err(refused) = session.query(setting).await {
                    tracing::debug!(setting, why = refused.private.as_str(), "the database refuses a setting of the lock's session");
                }
            }
            Ok(Some(session))
        })
        .await
    }

    /// One try, on the session that is kept between tries or a new one.
    async fn attempt(&self, kept: &mut Option<Session>) -> Result<Try, Failure> {
        let session = match kept.take() {
            Some(session) if !session.is_closed() => session,
            _ => match self.open().await? {
                Some(session) => session,
                None => return Ok(Try::Pooled),
            },
        };
        let statement = format!(
            "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' WHEN pg_try_advisory_lock({}) THEN 'held' ELSE 'taken' END",
            self.key
        );
        match bounded(session.value(&statement)).await?.as_deref() {
            Some("held") => Ok(Try::Held(session)),
            // The name may lead to another server by the next try, so the connection is not kept.
            Some("standby") => Ok(Try::Standby),
            _ => {
                let holder = bounded(self.holder(&session)).await?;
                *kept = Some(session);
                Ok(Try::Taken(holder))
            }
        }
    }

    /// Who holds the lock, as far as the server shows it to this role.
    async fn holder(&self, session: &Session) -> Result<String, Failure> {
        let statement = format!(
            "SELECT coalesce(nullif(application_name, ''), 'a session without a name') || ' (pid ' || pid \
             || coalesce(', connected for ' || extract(epoch FROM now() - backend_start)::int || ' s', '') || ')' \
             FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE {}",
            self.row()
        );
        Ok(session.value(&statement).await?.unwrap_or_else(|| "a session that has just ended".to_owned()))
    }

    /// Whether the session still holds the lock; asking also keeps the dead man's switch from firing.
    async fn holds(&self, session: &Session) -> Result<bool, Failure> {
        let statement = format!("SELECT 1 FROM pg_locks WHERE {} AND pid = pg_backend_pid()", self.row());
        Ok(bounded(session.value(&statement)).await?.is_some())
    }
}

/// What one try yielded.
enum Try {
    /// It is ours, for as long as this session lives.
    Held(Session),
    /// Somebody else holds it.
    Taken(String),
    /// This server is read-only: it would grant the same lock a second time (M11).
    Standby,
    /// The session is not ours alone, so the lock would not be either (M4).
    Pooled,
}

/// `portcullis-mig:<8 hex of the key>:<instance>:<token>`; the server cuts at 63 bytes, so the instance is cut before that.
fn application_name(key: i64, instance: &str, token: u32) -> String {
    const LONGEST: usize = 63;
    let prefix = format!("portcullis-mig:{:08x}:", key as u64 >> 32);
    let suffix = format!(":{token:08x}");
    let mut end = instance.len().min(LONGEST - prefix.len() - suffix.len());
    while !instance.is_char_boundary(end) {
        end -= 1;
    }
    format!("{prefix}{}{suffix}", &instance[..end])
}

/// The pause before try number `tries`: 0.1 s, growing by half to 2 s, less up to 30 %.
fn pause(tries: u32, chance: f64) -> Duration {
    Duration::from_millis(100).mul_f64(1.5_f64.powf(f64::from(tries.min(16)))).min(Duration::from_secs(2)).mul_f64(1.0 - 0.3 * chance)
}

async fn bounded<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(Failure::new(Class::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}

/// Follows the orders until they end.
pub(super) async fn run(lock: Lock, limit: Duration, orders: &mut UnboundedReceiver<LockOrder>, tell: impl Fn(LockNews)) {
    while let Some(order) = orders.recv().await {
        if order == LockOrder::Release {
            tell(LockNews::Released);
            continue;
        }
        let queued = tokio::select! {
            biased;
            open = released(orders) => if open { None } else { return },
            queued = queue(&lock, limit, &tell) => Some(queued),
        };
        let mut session = match queued {
            Some(Ok(session)) => session,
            Some(Err((exit, why))) => {
                tell(LockNews::Unavailable(exit, why));
                continue;
            }
            None => {
                tell(LockNews::Released);
                continue;
            }
        };
        tell(LockNews::Held);
        tokio::select! {
            biased;
            open = released(orders) => {
                let _ = timeout(RELEASE, give_back(&lock, session)).await;
                if !open {
                    return;
                }
                tell(LockNews::Released);
            }
            why = keep(&lock, &mut session) => tell(LockNews::Lost(why)),
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

/// Tries until the lock is ours or `limit` has passed.
async fn queue(lock: &Lock, limit: Duration, tell: &impl Fn(LockNews)) -> Result<Session, (Exit, String)> {
    let mut obstacle = Obstacle::Silence;
    match timeout(limit, queue_patiently(lock, &mut obstacle, tell)).await {
        Ok(held) => held,
        Err(_) => {
            Err((Exit::LockTimeout, format!("the migration lock at {} was not to be had within {}: {obstacle}", lock.target, shown(limit))))
        }
    }
}

async fn queue_patiently(lock: &Lock, obstacle: &mut Obstacle, tell: &impl Fn(LockNews)) -> Result<Session, (Exit, String)> {
    let mut kept = None;
    let mut told: Option<Instant> = None;
    let mut tries = 0;
    loop {
        let new = match lock.attempt(&mut kept).await {
            Ok(Try::Held(session)) => return Ok(session),
            Ok(Try::Taken(holder)) => {
                if told.is_none_or(|at| at.elapsed() >= NEWS) {
                    told = Some(Instant::now());
                    tell(LockNews::Queued(holder.clone()));
                }
                Obstacle::Taken(holder)
            }
            Ok(Try::Standby) => Obstacle::Standby,
            Ok(Try::Pooled) => {
                let why = format!(
                    "the migration lock at {} would not keep others out: a pooler in between shares its sessions; name the database itself",
                    lock.target
                );
                return Err((Exit::Config, why));
            }
            Err(failure) => Obstacle::Failed(failure),
        };
        new.log(obstacle, &lock.target);
        *obstacle = new;
        sleep(pause(tries, fastrand::f64())).await;
        tries += 1;
    }
}

/// What stands between this replica and the lock.
enum Obstacle {
    /// The first try is not answered yet.
    Silence,
    Taken(String),
    Standby,
    Failed(Failure),
}

impl Obstacle {
    /// Says what no news will: the database itself is in the way. Once for each kind.
    fn log(&self, before: &Self, target: &PostgresTarget) {
        match (self, before) {
            (Self::Failed(now), Self::Failed(before)) if now.class == before.class => {}
            (Self::Failed(failure), _) => tracing::warn!(
                target = %target, class = failure.class.word(), why = failure.private.as_str(), "the database of the migration lock cannot be asked"
            ),
            (Self::Standby, Self::Standby) => {}
            (Self::Standby, _) => tracing::warn!(target = %target, "the database of the migration lock is a read-only standby"),
            _ => {}
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("the database did not answer"),
            Self::Taken(holder) => write!(f, "held by {holder}; check whether its migration still runs"),
            Self::Standby => f.write_str("the database is a read-only standby; name the primary"),
            Self::Failed(failure) => write!(f, "{}; {}", failure.class.public(), failure.class.advice()),
        }
    }
}

/// Returns once the lock is lost for good, with the reason.
async fn keep(lock: &Lock, session: &mut Session) -> String {
    loop {
        let trouble = tokio::select! {
            () = session.ended() => "its connection ended".to_owned(),
            trouble = watch(lock, session) => trouble,
        };
        tracing::warn!(target = %lock.target, why = trouble, "the migration lock is lost, trying to regain it");
        match timeout(REGAIN, regain(lock)).await {
            Ok(Ok(regained)) => {
                tracing::warn!(target = %lock.target, "the migration lock is regained, nobody had it meanwhile");
                *session = regained;
            }
            Ok(Err(successor)) => return format!("{trouble}, and {successor} has it now"),
            Err(_) => return format!("{trouble}, and it could not be regained within {}", shown(REGAIN)),
        }
    }
}

/// Asks every [`PING`] and returns with what is wrong.
async fn watch(lock: &Lock, session: &Session) -> String {
    loop {
        sleep(PING).await;
        match lock.holds(session).await {
            Ok(true) => {}
            Ok(false) => return "its session does not hold it any more".to_owned(),
            Err(failure) => return format!("its connection failed: {}", failure.class.public()),
        }
    }
}

/// Tries again until the lock is ours, or somebody else's: then this is his name.
async fn regain(lock: &Lock) -> Result<Session, String> {
    let mut kept = None;
    let mut tries = 0;
    loop {
        match lock.attempt(&mut kept).await {
            Ok(Try::Held(session)) => return Ok(session),
            // The server may see the end of our old session later than we do.
            Ok(Try::Taken(holder)) if !holder.starts_with(&lock.application_name) => return Err(holder),
            _ => {}
        }
        sleep(pause(tries, fastrand::f64())).await;
        tries += 1;
    }
}

async fn give_back(lock: &Lock, session: Session) {
    // Closing frees it, too, but only once the server has noticed.
    let _ = session.query(&format!("SELECT pg_advisory_unlock({})", lock.key)).await;
    session.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::target::{Address, ServerRole, SslMode, Tls};

    #[test]
    fn a_name_carries_the_lock_and_the_token_however_long_the_instance_is() {
        let key = 0x0123_4567_89ab_cdef;
        assert_eq!(application_name(key, "api-1", 0xbeef), "portcullis-mig:01234567:api-1:0000beef");
        let long = application_name(-1, &"ü".repeat(50), 1);
        assert_eq!(long, format!("portcullis-mig:ffffffff:{}:00000001", "ü".repeat(15)));
        assert!(long.len() <= 63);
    }

    #[test]
    fn the_pause_grows_to_two_seconds() {
        for (tries, chance, ms) in [(0, 0.0, 100), (1, 0.0, 150), (0, 1.0, 70), (8, 0.0, 2_000), (1_000_000, 1.0, 1_400)] {
            assert_eq!(pause(tries, chance), Duration::from_millis(ms), "{tries} {chance}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_two_halves() {
        let target = PostgresTarget {
            tls: Tls::default(),
            sslmode: SslMode::Disable,
            role: ServerRole::Any,
            address: Address { host: "db".to_owned(), port: 5432 },
            user: "app".to_owned(),
            password: None,
            database: "app".to_owned(),
        };
        let row = Lock::new(target, -2, "one").row();
        assert!(row.contains("classid = 4294967295 AND objid = 4294967294"), "{row}");
    }
}
