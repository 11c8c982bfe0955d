//! One heartbeat: what is written, which record may overwrite it, and the reply of Redis.

mod payload;

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Script, Value};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::identity::{InstanceIdentity, Who};
use super::instances;
use crate::clock::Moment;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::HeartbeatPlan;
use crate::probe::dial::shown;
use crate::probe::redis::{Session, failure, open};
use crate::state::event::Readiness;
use crate::state::instances::Instances;
use crate::state::snapshot::{Look, Snapshot};

/// The script of a heartbeat.
const BEAT: &str = include_str!("beat.lua");

/// How long connecting, and one command, may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// Writes heartbeats under one identity over one connection, which is opened again after any failure.
pub(super) struct HeartbeatWriter {
    plan: HeartbeatPlan,
    script: Script,
    listing: Script,
    session: Option<Session>,
    identity: InstanceIdentity,
    /// The instance's own name; it writes under another one if that name is in use.
    instance: String,
    /// The server's clock in milliseconds, and when it was read.
    clock: Option<(u64, Instant)>,
    /// Whether scripts are forbidden: then only the shared key is written, and it expires.
    simple: bool,
    /// The last count of instances; none if the server does not allow the listing.
    counted: Option<u64>,
    host: Option<String>,
    state: Readiness,
    since: Duration,
}

/// The reply of the script to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeatResult {
    Applied,
    Overtaken,
    Superseded,
    TooLate,
}

impl HeartbeatWriter {
    pub(super) fn new(plan: HeartbeatPlan, identity: InstanceIdentity, snapshot: &Snapshot) -> Self {
        Self {
            simple: plan.simple,
            plan,
            script: Script::new(BEAT),
            listing: Script::new(instances::SCRIPT),
            session: None,
            identity,
            instance: snapshot.service.instance.clone(),
            clock: None,
            counted: Some(0),
            host: nix::sys::utsname::uname().ok().and_then(|name| name.nodename().to_str().map(str::to_owned)),
            state: Readiness::Unknown,
            since: snapshot.phase_since.wall,
        }
    }

    /// Writes one heartbeat; the first one takes over the id. Without a snapshot it contains only the state.
    ///
    /// Connecting and each command may take [`ANSWER`]. Any failure closes the connection, because the next one may lead to another server.
    pub(super) async fn write(&mut self, state: Readiness, published: Option<(&Snapshot, Look)>) -> Result<(), Failure> {
        if let Some((_, look)) = published.filter(|_| state != self.state) {
            self.state = state;
            self.since = look.now.wall;
        }
        // Held here, so that an abandoned heartbeat closes its connection.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                // Another server may allow what the last one refused.
                self.counted.get_or_insert_default();
                bounded(open(&self.plan.target, &self.plan.key, ANSWER)).await?
            }
        };
        self.beat(&mut session, state, published).await?;
        self.session = Some(session);
        Ok(())
    }

    /// Returns when the connection of the last heartbeat has ended; never without one. Safe to cancel.
    pub(super) async fn lost(&mut self) {
        match &mut self.session {
            Some(session) => session.closed().await,
            None => std::future::pending().await,
        }
        self.session = None;
    }

    /// The instances, read over the connection of the last heartbeat; none if that is not allowed, or not due. Safe to cancel.
    ///
    /// A missing reply closes the connection, as for a heartbeat; a refusal is remembered until the next connection.
    pub(super) async fn look_around(&mut self) -> Option<Instances> {
        if self.simple || !instances::due(self.counted?, fastrand::f64()) {
            return None;
        }
        let session = self.session.as_mut()?;
        let read = match run(session, &self.listing, instances::SCRIPT, &instances::arguments(&self.plan.key)).await {
            Ok(Ok(value)) => instances::read(&value, &self.identity.change(|who| who.id.clone()), self.plan.ttl, Moment::now()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(silence) => {
                self.session = None;
                tracing::debug!("the other instances in the registry are unknown: {}", silence.private.as_str());
                return None;
            }
        };
        self.counted = read.as_ref().ok().map(|instances| instances.all);
        read.inspect_err(|refusal| tracing::info!("the instances are not listed: {}", refusal.private.as_str())).ok()
    }

    async fn beat(&mut self, session: &mut Session, state: Readiness, published: Option<(&Snapshot, Look)>) -> Result<(), Failure> {
        // Another id, taking over, a new clock, simple mode: each may take an attempt; more than these is an error.
        for _ in 0..6 {
            if self.simple {
                return self.simple_beat(session, state).await;
            }
            let who = self.identity.next();
            let now = if !who.taken && state == Readiness::Ready { Readiness::Unknown } else { state };
            match self.script_beat(session, now, &who, published).await? {
                None => {
                    tracing::warn!(
                        key = self.plan.key,
                        "Redis forbids scripts for this user: only the key is written, instances are not counted"
                    );
                    self.simple = true;
                }
                Some(BeatResult::Applied) => {
                    self.identity.change(|who| who.taken = true);
                    if now == state {
                        return Ok(());
                    }
                }
                Some(BeatResult::Superseded) => {
                    let other = format!("{}~{}", self.instance, who.token.get(..8).unwrap_or_default());
                    tracing::warn!(id = who.id, now = other, "another live instance has the same id, set PORTCULLIS_INSTANCE_ID");
                    self.identity.change(|who| (who.id, who.taken) = (other, false));
                }
                // This run has no higher number, so another one wrote the record: take it over.
                Some(BeatResult::Overtaken) => self.identity.change(|who| *who = Who::new(who.id.clone(), who.sequence)),
                // The reply contained the clock.
                Some(BeatResult::TooLate) => {}
            }
        }
        Err(Failure::new(ErrorKind::Protocol, "the heartbeat was refused repeatedly"))
    }

    /// One run of the script; none if scripts are forbidden.
    async fn script_beat(
        &mut self,
        session: &mut Session,
        state: Readiness,
        who: &Who,
        published: Option<(&Snapshot, Look)>,
    ) -> Result<Option<BeatResult>, Failure> {
        let payload = match published {
            Some((snapshot, look)) => self.payload(state, who, session, snapshot, look),
            None => json!({ "v": 1, "instance": who.id, "state": "UNKNOWN", "seq": who.sequence }).to_string(),
        };
        let key = &self.plan.key;
        let set = |name: &str| format!("portcullis:{{{key}}}:{name}");
        let keys = ["4".to_owned(), key.clone(), set("ready"), set("all"), set(&format!("i:{}", who.id))];
        let take = u64::from(!who.taken);
        let numbers = [who.sequence, self.plan.ttl.as_millis() as u64, take, self.latest()].map(|number| number.to_string());
        let [sequence, ttl, take, latest] = numbers;
        let words = [who.id.clone(), who.token.clone(), sequence, script_word(state).to_owned(), ttl, payload, take, set("events"), latest];
        match run(session, &self.script, BEAT, &[&keys[..], &words[..]].concat()).await? {
            Ok(value) => self.read(value).map(Some),
            // A missing permission for a key or a command inside the script is different: simple mode would not help.
            Err(error) if error.code() == Some("NOPERM") && error.detail().is_some_and(|words| words.contains("'eval")) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// The script's reply: code, ready instances, the server's time.
    fn read(&mut self, value: Value) -> Result<BeatResult, Failure> {
        let (code, _, now) =
            <(i64, u64, u64)>::from_redis_value(value).map_err(|error| Failure::new(ErrorKind::Protocol, &error.to_string()))?;
        self.clock = Some((now, Instant::now()));
        match code {
            1 => Ok(BeatResult::Applied),
            0 => Ok(BeatResult::Overtaken),
            -1 => Ok(BeatResult::Superseded),
            -2 => Ok(BeatResult::TooLate),
            other => Err(Failure::new(ErrorKind::Protocol, &format!("the script answered {other}"))),
        }
    }

    /// Until when this heartbeat may be applied, by the server's clock; 0 while that clock is unknown.
    fn latest(&self) -> u64 {
        self.clock.map_or(0, |(server, learnt)| server.saturating_add(learnt.elapsed().saturating_add(ANSWER).as_millis() as u64))
    }

    /// Only the shared key, in one command with its expiry; deleted only if no other instance can be ready.
    async fn simple_beat(&self, session: &mut Session, state: Readiness) -> Result<(), Failure> {
        let command = if state == Readiness::Ready {
            let mut command = redis::cmd("SET");
            command.arg(&self.plan.key).arg("ready").arg("PX").arg(self.plan.ttl.as_millis() as u64);
            command
        } else if self.plan.exclusive {
            let mut command = redis::cmd("DEL");
            command.arg(&self.plan.key);
            command
        } else {
            return Ok(());
        };
        send(session, &command).await?.map(drop).map_err(|error| failure(&error))
    }
}

/// Runs a script by its hash, or by its text if the server does not know it yet.
async fn run(session: &mut Session, script: &Script, text: &str, arguments: &[String]) -> Result<redis::RedisResult<Value>, Failure> {
    let command = |verb, body| redis::cmd(verb).arg(body).arg(arguments).clone();
    match send(session, &command("EVALSHA", script.get_hash())).await? {
        Err(error) if error.code() == Some("NOSCRIPT") => send(session, &command("EVAL", text)).await,
        answer => Ok(answer),
    }
}

/// Sends one command and waits [`ANSWER`] for the reply; the outer error is the timeout.
async fn send(session: &mut Session, command: &Cmd) -> Result<redis::RedisResult<Value>, Failure> {
    bounded(async { Ok(session.send(command).await) }).await
}

async fn bounded<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, exchange)
        .await
        .unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}

/// The name of a membership state in the registry.
const fn script_word(state: Readiness) -> &'static str {
    match state {
        Readiness::Unknown => "UNKNOWN",
        Readiness::Ready => "READY",
        Readiness::NotReady => "NOT_READY",
        Readiness::Stopped => "STOPPED",
    }
}
