//! One beat: what is written, by whom it may be overwritten, and what Redis says to it.

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

/// The script of a beat.
const BEAT: &str = include_str!("beat.lua");

/// How long connecting, and one command, may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// Writes beats under one identity over one connection that it makes, and makes again after any failure.
pub(super) struct HeartbeatWriter {
    plan: HeartbeatPlan,
    script: Script,
    listing: Script,
    session: Option<Session>,
    identity: InstanceIdentity,
    /// The instance's own name, which the one it writes under may have had to leave to another.
    instance: String,
    /// The server's clock in milliseconds, and when we learnt it.
    clock: Option<(u64, Instant)>,
    /// Whether scripts are forbidden to us: then the shared key alone is written, and left to its expiry.
    simple: bool,
    /// How many instances were counted last; none where the server does not tell who is there.
    counted: Option<u64>,
    host: Option<String>,
    state: Readiness,
    since: Duration,
}

/// What the script says to a beat.
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

    /// Writes one beat, after the one that takes the id over when there was none yet. Without a snapshot the beat tells its state only.
    ///
    /// Connecting and each command may take [`ANSWER`]. Any failure closes the connection: the next one may lead to another
    /// server, which is the cure for several of them.
    pub(super) async fn write(&mut self, state: Readiness, published: Option<(&Snapshot, Look)>) -> Result<(), Failure> {
        if let Some((_, look)) = published.filter(|_| state != self.state) {
            self.state = state;
            self.since = look.now.wall;
        }
        // Held here, not in the pen, so that a beat that is given up takes its connection with it.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                // Another server may tell what the last one refused.
                self.counted.get_or_insert_default();
                bounded(open(&self.plan.target, &self.plan.key, ANSWER)).await?
            }
        };
        self.beat(&mut session, state, published).await?;
        self.session = Some(session);
        Ok(())
    }

    /// Comes back when the connection that the last beat left open is gone; never without one. Safe to cancel.
    pub(super) async fn lost(&mut self) {
        match &mut self.session {
            Some(session) => session.closed().await,
            None => std::future::pending().await,
        }
        self.session = None;
    }

    /// Who is there, read over the connection that the last beat left open; none where that is not told, or not due. Safe to cancel.
    ///
    /// An answer that does not come takes the connection with it, as that of a beat does; a refusal stands until the next connection.
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
                tracing::debug!("who else is in the registry is not known: {}", silence.private.as_str());
                return None;
            }
        };
        self.counted = read.as_ref().ok().map(|instances| instances.all);
        read.inspect_err(|refusal| tracing::info!("the instances are not listed: {}", refusal.private.as_str())).ok()
    }

    async fn beat(&mut self, session: &mut Session, state: Readiness, published: Option<(&Snapshot, Look)>) -> Result<(), Failure> {
        // Another id, taking over, a new clock, the simple way: each may cost a try, and more than these is a fault.
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
                        "Redis forbids scripts to this user: the key alone is written, instances are not counted"
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
                // Nothing of ours has a higher number, so somebody else wrote that: the record is taken over from them.
                Some(BeatResult::Overtaken) => self.identity.change(|who| *who = Who::new(who.id.clone(), who.sequence)),
                // The answer told the clock.
                Some(BeatResult::TooLate) => {}
            }
        }
        Err(Failure::new(ErrorKind::Protocol, "the beat was refused time and again"))
    }

    /// One run of the script; none when scripts are forbidden.
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
            // The right to a key or to a command inside the script is another matter, which the simple way would not mend.
            Err(error) if error.code() == Some("NOPERM") && error.detail().is_some_and(|words| words.contains("'eval")) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// The script's answer: code, ready instances, the server's time.
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

    /// Until when, by the server's clock, this beat may be applied; 0 while that clock is unknown.
    fn latest(&self) -> u64 {
        self.clock.map_or(0, |(server, learnt)| server.saturating_add(learnt.elapsed().saturating_add(ANSWER).as_millis() as u64))
    }

    /// The shared key alone, in one command with its expiry; deleted only where nobody else can be ready.
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

/// Runs a script by its hash, and by its text where the server has not seen it yet.
async fn run(session: &mut Session, script: &Script, text: &str, arguments: &[String]) -> Result<redis::RedisResult<Value>, Failure> {
    let command = |verb, body| redis::cmd(verb).arg(body).arg(arguments).clone();
    match send(session, &command("EVALSHA", script.get_hash())).await? {
        Err(error) if error.code() == Some("NOSCRIPT") => send(session, &command("EVAL", text)).await,
        answer => Ok(answer),
    }
}

/// Sends one command and waits [`ANSWER`] for it; the outer error is the silence.
async fn send(session: &mut Session, command: &Cmd) -> Result<redis::RedisResult<Value>, Failure> {
    bounded(async { Ok(session.send(command).await) }).await
}

async fn bounded<T>(exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, exchange)
        .await
        .unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(ANSWER)))))
}

/// The registry's word for membership.
const fn script_word(state: Readiness) -> &'static str {
    match state {
        Readiness::Unknown => "UNKNOWN",
        Readiness::Ready => "READY",
        Readiness::NotReady => "NOT_READY",
        Readiness::Stopped => "STOPPED",
    }
}
