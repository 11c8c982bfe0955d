//! Reads the readiness registry: who is ready, by the clock of the Redis that holds it.

use redis::{RedisError, Value};
use serde_json::Value as Json;

use super::{Session, failure};
use crate::outcome::{Class, Failure};

/// More instances than these are counted and not listed.
const MOST_LISTED: usize = 1000;

/// One service's records, and the way in which this user may count them.
#[derive(Clone, Debug)]
pub struct Registry {
    key: String,
    way: Way,
}

/// From one round trip to three, as far as the server's rights allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Script,
    ReadOnlyScript,
    Plain,
}

/// One instance that reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its name.
    pub id: String,
    /// Whether it is ready.
    pub ready: bool,
    /// When its record expires, in milliseconds from now by the clock of that Redis.
    pub expires_in: i64,
    /// What it says of itself; null for none.
    pub said: Json,
}

impl Registry {
    /// The registry behind this shared key.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), way: Way::Script }
    }

    fn set(&self, name: &str) -> String {
        format!("portcullis:{{{}}}:{name}", self.key)
    }

    /// How many instances are ready. Where one is enough the shared key says so even where instances are not recorded.
    pub async fn count(&mut self, session: &mut Session) -> Result<u64, Failure> {
        loop {
            let verb = match self.way {
                Way::Script => "EVAL",
                Way::ReadOnlyScript => "EVAL_RO",
                Way::Plain => return self.count_plainly(session).await,
            };
            let mut command = redis::cmd(verb);
            command.arg(include_str!("count.lua")).arg(2).arg(&self.key).arg(self.set("ready"));
            match session.ask(&command).await {
                Ok(Value::Array(parts)) => {
                    return match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
                        Some([counted, shared]) => Ok((*counted).max(*shared)),
                        _ => Err(Failure::new(Class::Protocol, "the counting script was answered without numbers")),
                    };
                }
                Ok(other) => return Err(Failure::new(Class::Protocol, &format!("the counting script was answered with {other:?}"))),
                Err(error) if is_refused(&error) => {
                    self.way = if self.way == Way::Script { Way::ReadOnlyScript } else { Way::Plain };
                }
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    async fn count_plainly(&self, session: &mut Session) -> Result<u64, Failure> {
        let now = time(session).await?;
        let counted = session.query(redis::cmd("ZCOUNT").arg(self.set("ready")).arg(now).arg("+inf")).await?;
        let counted = number(&counted).ok_or_else(|| Failure::new(Class::Protocol, "ZCOUNT was answered without a number"))?;
        if counted > 0 {
            return Ok(counted);
        }
        match session.query(redis::cmd("GET").arg(&self.key)).await? {
            Value::BulkString(value) if value == b"ready" => Ok(1),
            _ => Ok(0),
        }
    }

    /// Every instance that reports, by name; the first thousand.
    pub async fn list(&self, session: &mut Session) -> Result<Vec<Instance>, Failure> {
        let now = time(session).await?;
        let within = |set: String| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(set).arg(now).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
            command
        };
        let ready = pairs(&session.query_list(&within(self.set("ready"))).await?);
        let mut all = pairs(&session.query_list(&within(self.set("all"))).await?);
        all.sort();
        all.truncate(MOST_LISTED);
        let mut instances = Vec::new();
        for (id, deadline) in all {
            let said = match session.query(redis::cmd("HGET").arg(self.set(&format!("i:{id}"))).arg("p")).await? {
                Value::BulkString(bytes) => serde_json::from_slice(&bytes).unwrap_or(Json::Null),
                _ => Json::Null,
            };
            let is_ready = ready.iter().any(|(other, _)| *other == id);
            instances.push(Instance { id, ready: is_ready, expires_in: deadline - now as i64, said });
        }
        Ok(instances)
    }
}

/// Whether the server has no such command for this user, or not at all.
fn is_refused(error: &RedisError) -> bool {
    let unknown = error.detail().is_some_and(|words| words.contains("unknown command"));
    unknown || (error.code() == Some("NOPERM") && error.detail().is_some_and(|words| words.contains("'eval")))
}

/// The server's clock in milliseconds.
async fn time(session: &mut Session) -> Result<u64, Failure> {
    match session.query(&redis::cmd("TIME")).await? {
        Value::Array(parts) => match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
            Some([seconds, micros]) => Ok(seconds * 1000 + micros / 1000),
            _ => Err(Failure::new(Class::Protocol, "TIME was answered without a time")),
        },
        other => Err(Failure::new(Class::Protocol, &format!("TIME was answered with {other:?}"))),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// Members and scores of a sorted set.
fn pairs(value: &Value) -> Vec<(String, i64)> {
    let Value::Array(parts) = value else { return Vec::new() };
    let text = |value: &Value| if let Value::BulkString(bytes) = value { Some(String::from_utf8_lossy(bytes).into_owned()) } else { None };
    let (members, _) = parts.as_chunks::<2>();
    members.iter().filter_map(|[member, score]| Some((text(member)?, text(score)?.parse::<f64>().ok()? as i64))).collect()
}
