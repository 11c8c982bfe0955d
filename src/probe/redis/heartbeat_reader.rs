//! Reads the readiness registry: the ready instances, by the clock of its Redis. Its data is untrusted, so it is bounded.

use redis::{RedisError, Value};
use serde_json::Value as Json;

use super::{Session, failure};
use crate::outcome::{ErrorKind, Failure};

/// The maximum number of listed instances; further ones are only counted.
const MOST_LISTED: u64 = 1000;

/// The number of instances per page, so that a reply with the longest ids and payloads stays within the response limit.
const PAGE: u64 = 200;

/// The maximum length of an instance's name in bytes: the limit of portcullis itself.
const LONGEST_ID: usize = 255;

/// The maximum length of an instance's payload in bytes: the limit of portcullis itself.
const LONGEST_PAYLOAD: usize = 512;

/// The latest accepted deadline from now in milliseconds: the longest time to live is a day, and another day is for clocks that differ.
const LONGEST_LIFE: u64 = 172_800_000;

/// The last accepted time in milliseconds since the epoch: the end of the year 9999.
const LATEST: u64 = 253_402_300_799_999;

/// One service's records, and the method by which this user may count them.
#[derive(Clone, Debug)]
pub struct HeartbeatReader {
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
pub struct InstanceRecord {
    /// Its name.
    pub id: String,
    /// Whether it is ready.
    pub ready: bool,
    /// When its record expires, in milliseconds from now by the clock of that Redis.
    pub expires_in: i64,
    /// Its payload; null without one.
    pub payload: Json,
}

impl HeartbeatReader {
    /// The registry behind this shared key.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), way: Way::Script }
    }

    fn set(&self, name: &str) -> String {
        format!("portcullis:{{{}}}:{name}", self.key)
    }

    /// How many instances are ready. If one is enough, the shared key is used even if there are no records of instances.
    pub async fn count(&mut self, session: &mut Session) -> Result<u64, Failure> {
        loop {
            let verb = match self.way {
                Way::Script => "EVAL",
                Way::ReadOnlyScript => "EVAL_RO",
                Way::Plain => return self.count_plainly(session).await,
            };
            let mut command = redis::cmd(verb);
            command.arg(include_str!("count.lua")).arg(2).arg(&self.key).arg(self.set("ready"));
            match session.send(&command).await {
                Ok(Value::Array(parts)) => {
                    return match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
                        Some([counted, shared]) => Ok((*counted).max(*shared)),
                        _ => Err(Failure::new(ErrorKind::Protocol, "the counting script returned no numbers")),
                    };
                }
                Ok(other) => return Err(Failure::new(ErrorKind::Protocol, &format!("the counting script returned {other:?}"))),
                Err(error) if is_refused(&error) => {
                    self.way = if self.way == Way::Script { Way::ReadOnlyScript } else { Way::Plain };
                }
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    async fn count_plainly(&self, session: &mut Session) -> Result<u64, Failure> {
        let now = time(session).await?;
        let counted = session.query(redis::cmd("ZCOUNT").arg(self.set("ready")).arg(now).arg(now.saturating_add(LONGEST_LIFE))).await?;
        let counted = number(&counted).ok_or_else(|| Failure::new(ErrorKind::Protocol, "ZCOUNT returned no number"))?;
        if counted > 0 {
            return Ok(counted);
        }
        match session.query(redis::cmd("GET").arg(&self.key)).await? {
            Value::BulkString(value) if value == b"ready" => Ok(1),
            _ => Ok(0),
        }
    }

    /// All reporting instances, by name; at most a thousand, those that have been silent longest.
    ///
    /// It uses the method that [`HeartbeatReader::count`] has found, so call that one first.
    pub async fn list(&self, session: &mut Session) -> Result<Vec<InstanceRecord>, Failure> {
        let mut instances = match self.way {
            Way::Script => self.list_by_script(session, "EVAL").await?,
            Way::ReadOnlyScript => self.list_by_script(session, "EVAL_RO").await?,
            Way::Plain => self.list_plainly(session).await?,
        };
        instances.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(instances)
    }

    async fn list_by_script(&self, session: &mut Session, verb: &str) -> Result<Vec<InstanceRecord>, Failure> {
        let mut instances = Vec::new();
        for first in (0..MOST_LISTED).step_by(PAGE as usize) {
            let mut command = redis::cmd(verb);
            command.arg(include_str!("list.lua")).arg(1).arg(self.set("all")).arg(self.set("i:"));
            command.arg(first).arg(PAGE).arg(LONGEST_ID).arg(LONGEST_PAYLOAD);
            let answer = session.query_list(&command).await?;
            let strange = || Failure::new(ErrorKind::Protocol, "the listing script returned an unexpected reply");
            let (looked_at, found) = page(&answer).ok_or_else(strange)?;
            instances.extend(found);
            if looked_at < PAGE {
                break;
            }
        }
        Ok(instances)
    }

    /// Without scripts: a name that is longer than the response limit still hides the others.
    async fn list_plainly(&self, session: &mut Session) -> Result<Vec<InstanceRecord>, Failure> {
        let now = time(session).await?;
        let within = |set: String| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(set).arg(now).arg(now.saturating_add(LONGEST_LIFE)).arg("BYSCORE").arg("LIMIT").arg(0).arg(MOST_LISTED);
            command.arg("WITHSCORES");
            command
        };
        let ready = pairs(&session.query_list(&within(self.set("ready"))).await?);
        let mut instances = Vec::new();
        for (id, deadline) in pairs(&session.query_list(&within(self.set("all"))).await?) {
            let payload = self.payload(session, &id).await?;
            let is_ready = ready.iter().any(|(other, _)| *other == id);
            instances.push(InstanceRecord { id, ready: is_ready, expires_in: deadline.saturating_sub(now.cast_signed()), payload });
        }
        Ok(instances)
    }

    /// The payload of an instance; null if its record is too long or invalid.
    async fn payload(&self, session: &mut Session, id: &str) -> Result<Json, Failure> {
        let record = self.set(&format!("i:{id}"));
        // Without the right to this command, the next one may still be allowed.
        if let Ok(Value::Int(length)) = session.send(redis::cmd("HSTRLEN").arg(&record).arg("p")).await
            && length > LONGEST_PAYLOAD as i64
        {
            return Ok(Json::Null);
        }
        match session.send(redis::cmd("HGET").arg(&record).arg("p")).await {
            Ok(Value::BulkString(bytes)) => Ok(serde_json::from_slice(&bytes).unwrap_or(Json::Null)),
            Ok(_) => Ok(Json::Null),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Json::Null),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// How many instances a page of the listing script examined, and those that it returned; none for an invalid reply.
pub(crate) fn page(value: &Value) -> Option<(u64, Vec<InstanceRecord>)> {
    let Value::Array(parts) = value else { return None };
    let (looked_at, rest) = parts.split_first()?;
    let (records, _) = rest.as_chunks::<4>();
    let listed = records.iter().filter_map(|[id, left, ready, payload]| {
        let (Value::BulkString(id), Value::Int(left), Value::BulkString(payload)) = (id, left, payload) else { return None };
        (id.len() <= LONGEST_ID && payload.len() <= LONGEST_PAYLOAD && (0..=LONGEST_LIFE.cast_signed()).contains(left)).then(|| {
            InstanceRecord {
                id: String::from_utf8_lossy(id).into_owned(),
                ready: *ready == Value::Int(1),
                expires_in: *left,
                payload: serde_json::from_slice(payload).unwrap_or(Json::Null),
            }
        })
    });
    Some((number(looked_at)?, listed.take(PAGE as usize).collect()))
}

/// Whether the server does not have this command, or not for this user.
fn is_refused(error: &RedisError) -> bool {
    let unknown = error.detail().is_some_and(|words| words.contains("unknown command"));
    unknown || (error.code() == Some("NOPERM") && error.detail().is_some_and(|words| words.contains("'eval")))
}

/// The server's clock in milliseconds.
async fn time(session: &mut Session) -> Result<u64, Failure> {
    match session.query(&redis::cmd("TIME")).await? {
        Value::Array(parts) => match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
            Some([seconds, micros]) => Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000).min(LATEST)),
            _ => Err(Failure::new(ErrorKind::Protocol, "TIME returned no time")),
        },
        other => Err(Failure::new(ErrorKind::Protocol, &format!("TIME returned {other:?}"))),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// Members of a sorted set and their scores, without impossible scores.
fn pairs(value: &Value) -> Vec<(String, i64)> {
    let Value::Array(parts) = value else { return Vec::new() };
    let (members, _) = parts.as_chunks::<2>();
    let pair = |[member, score]: &[Value; 2]| {
        let (Value::BulkString(member), Value::BulkString(score)) = (member, score) else { return None };
        let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
        let sane = member.len() <= LONGEST_ID && (0.0..=LATEST as f64).contains(&score);
        sane.then(|| (String::from_utf8_lossy(member).into_owned(), score as i64))
    };
    members.iter().filter_map(pair).take(MOST_LISTED as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    #[test]
    fn invalid_records_are_left_out_and_the_others_are_listed() {
        let record = |id: &[u8], left, payload: &[u8]| vec![bulk(id), left, Value::Int(1), bulk(payload)];
        let parts = [
            vec![Value::Int(8)],
            record(b"sound", Value::Int(5), b"{}"),
            record(&[b'n'; 256], Value::Int(5), b"{}"),
            record(b"\xff\xfe", Value::Int(5), b"\xff"),
            record(b"late", Value::Int(i64::MAX), b"{}"),
            record(b"early", Value::Int(i64::MIN), b"{}"),
            record(b"wordy", Value::Int(5), &[b'1'; 513]),
            record(b"strange", Value::Nil, b"{}"),
            vec![bulk(b"cut")],
        ];
        let (looked_at, found) = page(&Value::Array(parts.concat())).unwrap();
        let listed: Vec<_> = found.iter().map(|instance| (instance.id.as_str(), instance.expires_in, &instance.payload)).collect();
        assert_eq!((looked_at, listed), (8, vec![("sound", 5, &serde_json::json!({})), ("\u{fffd}\u{fffd}", 5, &Json::Null)]));
        assert!(page(&Value::Nil).is_none() && page(&Value::Array(vec![bulk(b"x")])).is_none());
        let scores: [&[u8]; 6] = [b"inf", b"-inf", b"nan", b"1e300", b"-1", b"1700000000000.5"];
        let members = scores.iter().flat_map(|score| [bulk(b"one"), bulk(score)]);
        assert_eq!(pairs(&Value::Array(members.collect())), [("one".to_owned(), 1_700_000_000_000)]);
    }

    #[test]
    fn every_script_has_the_same_bound() {
        for script in [
            include_str!("count.lua"),
            include_str!("list.lua"),
            include_str!("../../heartbeat/beat.lua"),
            include_str!("../../heartbeat/instances.lua"),
        ] {
            assert!(script.contains(&format!("local longest = {LONGEST_LIFE}\n")), "{script}");
        }
    }
}
