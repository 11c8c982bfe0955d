//! A key in Redis as a lock: only if the configuration names it, because it may expire while its holder still works.

use redis::Value;

use super::lock::{ANSWER, LEASE_SECONDS, Lock, Try};
use super::name::{Name, instance_in};
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::RedisTarget;
use crate::probe::redis::Session;
use crate::state::event::LockHolder;

/// Takes the key if it is free or already ours, and returns whether the last holder released it; otherwise returns the holder. The mark of
/// the release is deleted, because it does not apply to the next holder.
const TAKE: &str = "local held = redis.call('GET', KEYS[1]) \
    if held and held ~= ARGV[1] then return held end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return redis.call('DEL', KEYS[2])";

/// Renews it while it is ours.
const RENEW: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Releases it while it is ours, and leaves a mark for the next holder.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[2], ARGV[1], 'PX', 60000) return redis.call('DEL', KEYS[1])";

/// The lock, and its holders as seen by this replica.
#[derive(Debug)]
pub(super) struct RedisLock {
    target: RedisTarget,
    key: String,
    name: Name,
    waiting: Option<Session>,
    /// Whether another holder was seen.
    seen: bool,
    /// Whether the last holder released it properly.
    clean: bool,
}

impl RedisLock {
    pub(super) const fn new(target: RedisTarget, key: String, name: Name) -> Self {
        Self { target, key, name, waiting: None, seen: false, clean: false }
    }

    /// The key for the mark of a release.
    fn farewell(&self) -> String {
        format!("{}:done", self.key)
    }

    fn script(&self, body: &str) -> redis::Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(body).arg(2).arg(&self.key).arg(self.farewell()).arg(self.name.of_lock()).arg(LEASE_SECONDS * 1000);
        command
    }
}

impl Lock for RedisLock {
    type Held = Session;

    fn shown(&self) -> String {
        format!("{} ({})", self.target, self.key)
    }

    async fn attempt(&mut self) -> Result<Try<Session>, Failure> {
        let mut session = match self.waiting.take() {
            Some(session) => session,
            None => Session::open(&self.target, ANSWER).await?,
        };
        match session.query(&self.script(TAKE)).await? {
            Value::Int(leave) => {
                self.clean |= leave == 1;
                Ok(Try::Held(session))
            }
            Value::BulkString(name) => {
                let words = String::from_utf8_lossy(&name).into_owned();
                self.seen = true;
                self.clean = false;
                self.waiting = Some(session);
                let instance = instance_in(&words).map(str::to_owned);
                Ok(Try::Taken(LockHolder { words, instance, ..LockHolder::default() }))
            }
            other => Err(Failure::new(ErrorKind::Protocol, &format!("the lock's script returned {other:?}"))),
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        holder.words == self.name.of_lock()
    }

    async fn succeeds_cleanly(&mut self, _held: &mut Session) -> bool {
        self.clean || !self.seen
    }

    async fn holds(&self, held: &mut Session) -> Result<bool, Failure> {
        Ok(held.query(&self.script(RENEW)).await? == Value::Int(1))
    }

    async fn ended(&self, held: &mut Session) {
        held.closed().await;
    }

    async fn give_back(&mut self, mut held: Session) {
        let _ = held.query(&self.script(GIVE_BACK)).await;
    }

    fn schema_query(&self) -> SchemaQuery {
        SchemaQuery::without_database()
    }
}
