//! A second lock beside the first, in the way of redis-py's `Lock`, against containers that do not use the first one.
//!
//! It is for deployments in which some containers still migrate without portcullis, under a key in Redis (Dify's `db_upgrade_lock`). They
//! use only that key, so the holder of the first lock has to hold it as well. It protects nothing while Redis is down; nor does it for
//! those containers.

use std::time::Duration;

use redis::Value;

use super::any::{AnyHeld, AnyLock};
use super::lock::{ANSWER, Leftover, Lock, Try, bounded};
use super::schema_query::SchemaQuery;
use crate::outcome::Failure;
use crate::plan::SecondLock;
use crate::probe::redis::{Session, open};
use crate::state::event::LockHolder;

/// The same expiry as usual with redis-py (Dify: 60 s, renewed every 20 s); ours is renewed with every check of the first lock.
const EXPIRY_MS: u64 = 60_000;

/// The prefix of our tokens.
const OURS: &str = "portcullis-lock:";

/// Takes or renews the key and returns 1; 0 if a container that does not use the first lock has it. A killed replica that had both leaves
/// its token; the new holder of the first lock may overwrite it.
const TAKE: &str = "local held = redis.call('GET', KEYS[1]) \
    if held and string.sub(held, 1, string.len(ARGV[3])) ~= ARGV[3] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";

/// Releases it while it is ours.
const GIVE_BACK: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])";

/// Both locks, taken and held as one.
pub(super) struct Both {
    first: Box<dyn AnyLock>,
    plan: SecondLock,
    token: String,
    /// The connection, kept between two attempts.
    waiting: Option<Session>,
}

/// The guard that holds both.
pub(super) struct Held {
    first: AnyHeld,
    /// None while Redis is down.
    second: Option<Session>,
    warned: bool,
}

impl Both {
    pub(super) fn new(first: Box<dyn AnyLock>, plan: SecondLock, instance: &str) -> Self {
        Self { first, plan, token: format!("{OURS}{instance}:{:016x}", fastrand::u64(..)), waiting: None }
    }

    async fn session(&self, kept: Option<Session>) -> Result<Session, Failure> {
        match kept {
            Some(session) => Ok(session),
            None => open(&self.plan.target, &self.plan.key, ANSWER).await,
        }
    }

    /// Whether a container that does not use the first lock has the key.
    async fn is_foreign(&self, session: &mut Session) -> Result<bool, Failure> {
        let held = session.query(redis::cmd("GET").arg(&self.plan.key)).await?;
        Ok(matches!(held, Value::BulkString(token) if !token.starts_with(OURS.as_bytes())))
    }

    /// Takes or renews the key; false if a container that does not use the first lock has it.
    async fn take(&self, session: &mut Session) -> Result<bool, Failure> {
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(&self.plan.key).arg(&self.token).arg(EXPIRY_MS).arg(OURS);
        Ok(session.query(&command).await? == Value::Int(1))
    }

    fn other(&self) -> LockHolder {
        format!("a container that migrates without portcullis (the key {} in {})", self.plan.key, self.plan.target).as_str().into()
    }

    async fn let_go(&self, session: Option<Session>) {
        let Some(mut session) = session else { return };
        let _ = session.query(redis::cmd("EVAL").arg(GIVE_BACK).arg(1).arg(&self.plan.key).arg(&self.token)).await;
    }
}

impl Lock for Both {
    type Held = Held;

    fn shown(&self) -> String {
        self.first.shown()
    }

    /// The first lock is not requested while another container has the second one: releasing it again would wake the waiting replicas.
    async fn attempt(&mut self) -> Result<Try<Self::Held>, Failure> {
        let kept = self.waiting.take();
        let mut session = self.session(kept).await?;
        if self.is_foreign(&mut session).await? {
            self.waiting = Some(session);
            return Ok(Try::Taken(self.other()));
        }
        match self.first.attempt().await? {
            Try::Held(first) => match self.take(&mut session).await {
                Ok(true) => Ok(Try::Held(Held { first, second: Some(session), warned: false })),
                Ok(false) => {
                    self.first.give_back(first).await;
                    self.waiting = Some(session);
                    Ok(Try::Taken(self.other()))
                }
                Err(failure) => {
                    self.first.give_back(first).await;
                    Err(failure)
                }
            },
            Try::Taken(holder) => {
                self.waiting = Some(session);
                Ok(Try::Taken(holder))
            }
            Try::Unusable(why) => Ok(Try::Unusable(why)),
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        self.first.is_own(holder)
    }

    async fn succeeds_cleanly(&mut self, held: &mut Self::Held) -> bool {
        self.first.succeeds_cleanly(&mut held.first).await.unwrap_or(false)
    }

    async fn handed_on(&mut self) {
        self.first.handed_on().await;
    }

    async fn leftovers(&self, held: &mut Self::Held) -> Result<Vec<Leftover>, Failure> {
        self.first.leftovers(&mut held.first).await
    }

    async fn end_leftovers(&self, held: &mut Self::Held) -> Result<(), Failure> {
        self.first.end_leftovers(&mut held.first).await
    }

    async fn attend(&self, held: &mut Self::Held, running: Duration) -> Result<Option<String>, Failure> {
        self.first.attend(&mut held.first, running).await
    }

    fn environment(&self, held: &Self::Held) -> Vec<(String, String)> {
        self.first.environment(&held.first)
    }

    /// If Redis is down, the first lock stays valid: no other container can take the second one either.
    async fn holds(&self, held: &mut Self::Held) -> Result<bool, Failure> {
        if !self.first.holds(&mut held.first).await? {
            return Ok(false);
        }
        let kept = held.second.take();
        let renewed = bounded(async {
            let mut session = self.session(kept).await?;
            Ok((self.take(&mut session).await?, session))
        });
        match renewed.await {
            Ok((ours, session)) => {
                held.second = Some(session);
                held.warned = false;
                Ok(ours)
            }
            Err(failure) => {
                if !std::mem::replace(&mut held.warned, true) {
                    let why = failure.private.as_str();
                    tracing::warn!(lock = %self.plan.target, why, "the second migration lock cannot be renewed, the first one is still held");
                }
                Ok(true)
            }
        }
    }

    async fn ended(&self, held: &mut Self::Held) {
        self.first.ended(&mut held.first).await;
    }

    async fn give_back(&mut self, held: Self::Held) {
        self.let_go(held.second).await;
        self.first.give_back(held.first).await;
    }

    fn schema_query(&self) -> SchemaQuery {
        self.first.schema_query()
    }
}
