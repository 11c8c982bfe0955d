//! Reads the other instances in the registry, so rarely that the load on Redis does not grow with the service.

use std::time::Duration;

use redis::Value;
use serde_json::Value as Json;

use crate::clock::Moment;
use crate::outcome::{ErrorKind, Failure};
use crate::state::event::Readiness;
use crate::state::instances::{Instance, Instances, LONGEST_NAME, MOST_LISTED};
use crate::state::snapshot::{Phase, Status};

/// The longest payload of one instance in bytes: a reader takes the payloads of all instances at once.
pub(super) const LONGEST_PAYLOAD: usize = 512;

/// The script that reads them in one round trip.
pub(super) const SCRIPT: &str = include_str!("instances.lua");

/// The longest duration that is accepted from an instance; longer ones are invalid, like non-numbers.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The last time that every view can format, since the epoch: the end of the year 9999.
const LATEST: Duration = Duration::from_millis(253_402_300_799_999);

/// The tolerance for a heartbeat that was on time: one round trip.
const SLACK: Duration = Duration::from_secs(2);

/// With more instances than this, each of them reads less often than it writes, so that the total number of reads does not grow.
const CROWD: u64 = 1000;

/// Whether to read after this heartbeat, with this number of instances at the last count.
pub(super) fn due(counted: u64, chance: f64) -> bool {
    counted as f64 * chance < CROWD as f64
}

/// The script's arguments, after its text or hash.
pub(super) fn arguments(key: &str) -> [String; 7] {
    let set = |name| format!("portcullis:{{{key}}}:{name}");
    let numbers = [MOST_LISTED, LONGEST_NAME, LONGEST_PAYLOAD].map(|number| number.to_string());
    let [most, longest_name, longest_payload] = numbers;
    ["2".to_owned(), set("ready"), set("all"), set("i:"), most, longest_name, longest_payload]
}

/// The maximum length of the name of a state in bytes.
const LONGEST_STATE: usize = 16;

/// The reply of the script, from the view of the instance `own`; records without their own time live for `ttl`.
pub(crate) fn read(value: &Value, own: &str, ttl: Duration, now: Moment) -> Result<Instances, Failure> {
    let strange = || Failure::new(ErrorKind::Protocol, "the script that lists the instances returned an unexpected reply");
    let Value::Array(parts) = value else { return Err(strange()) };
    let Some((&[Value::Int(server), Value::Int(all), Value::Int(ready)], rest)) = parts.split_first_chunk() else {
        return Err(strange());
    };
    let (records, _) = rest.as_chunks::<4>();
    let listed = records.iter().take(MOST_LISTED).filter_map(|record| instance(record, server, own, ttl));
    Ok(Instances::new(now, all.unsigned_abs(), ready.unsigned_abs(), listed.collect()))
}

fn instance([id, deadline, state, payload]: &[Value; 4], server: i64, own: &str, ttl: Duration) -> Option<Instance> {
    let (name, state, payload) = (text(id, LONGEST_NAME)?, text(state, LONGEST_STATE)?, text(payload, LONGEST_PAYLOAD)?);
    let Value::Int(deadline) = deadline else { return None };
    let payload_json: Json = serde_json::from_str(&payload).unwrap_or_default();
    let seconds = |key: &str| payload_json.get(key).and_then(Json::as_u64).map(Duration::from_secs).filter(|time| *time <= LONGEST);
    let word = |key: &str| payload_json.get(key).and_then(Json::as_str);
    let left = Duration::from_millis(u64::try_from(deadline.saturating_sub(server)).unwrap_or_default());
    let silent = seconds("ttl").unwrap_or(ttl).saturating_sub(left);
    Some(Instance {
        own: name == own,
        readiness: match state.as_str() {
            "READY" => Readiness::Ready,
            "NOT_READY" => Readiness::NotReady,
            "STOPPED" => Readiness::Stopped,
            _ => Readiness::Unknown,
        },
        status: [Status::Up, Status::Down, Status::Unknown].into_iter().find(|status| word("state") == Some(status.word())),
        phase: Phase::ALL.into_iter().find(|phase| word("phase") == Some(phase.word())),
        since: payload_json.get("since").and_then(Json::as_u64).map(Duration::from_millis).filter(|since| *since <= LATEST),
        address: word("addr").filter(|address| address.len() <= LONGEST_NAME).map(str::to_owned),
        silent,
        late: seconds("interval").is_some_and(|interval| silent > interval.saturating_add(SLACK)),
        name,
    })
}

/// The text, if it is at most this many bytes long.
fn text(value: &Value, longest: usize) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    (bytes.len() <= longest).then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn instances_are_read_whatever_stands_in_their_records() {
        let payload_json = r#"{"state":"UP","phase":"running","since":5000,"addr":"10.0.0.7","ttl":60,"interval":20}"#;
        let answer = Value::Array(vec![
            Value::Int(100_000),
            Value::Int(5),
            Value::Int(2),
            bulk("b"),
            Value::Int(155_000),
            bulk("READY"),
            bulk(payload_json),
            bulk("a"),
            Value::Int(110_000),
            bulk("READY"),
            bulk(payload_json),
            bulk("silent"),
            Value::Int(110_000),
            bulk("NOT_READY"),
            bulk("no JSON"),
            bulk("strange"),
            Value::Nil,
            bulk("READY"),
            bulk(""),
        ]);
        let read = read(&answer, "b", Duration::from_secs(30), Moment::default()).unwrap();
        assert_eq!((read.all, read.ready), (5, 2));
        let listed: Vec<_> = read.listed.iter().map(|one| (one.name.as_str(), one.own, one.silent.as_secs(), one.late)).collect();
        assert_eq!(listed, [("silent", false, 20, false), ("a", false, 50, true), ("b", true, 5, false)]);
        let own = &read.listed[2];
        assert_eq!((own.status, own.phase, own.since), (Some(Status::Up), Some(Phase::Running), Some(Duration::from_secs(5))));
        assert_eq!((own.address.as_deref(), read.listed[0].status), (Some("10.0.0.7"), None));
        for other in [Value::Nil, Value::Array(vec![Value::Int(1), Value::Int(2)])] {
            assert!(super::read(&other, "b", Duration::ZERO, Moment::default()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn impossible_values_in_a_record_are_ignored() {
        let read_one = |deadline: i64, payload_json: &str| {
            let answer =
                vec![Value::Int(100_000), Value::Int(1), Value::Int(1), bulk("a"), Value::Int(deadline), bulk("READY"), bulk(payload_json)];
            read(&Value::Array(answer), "b", Duration::from_secs(60), Moment::default()).unwrap().listed.into_iter().next().unwrap()
        };
        for number in ["18446744073709551615", "1e300", "-1", "null", "{}", "86401"] {
            let one = read_one(110_000, &format!(r#"{{"ttl":{number},"interval":{number}}}"#));
            assert_eq!((one.silent, one.late), (Duration::from_secs(50), false), "{number}");
        }
        // The year 10000, which no view can write.
        for since in ["253402300800000", "18446744073709551615", "-1"] {
            assert_eq!(read_one(110_000, &format!(r#"{{"since":{since}}}"#)).since, None);
        }
        assert_eq!((read_one(i64::MIN, "{}").silent, read_one(i64::MAX, "{}").silent), (Duration::from_secs(60), Duration::ZERO));
        let long = format!(r#"{{"state":"UP","x":"{}"}}"#, "x".repeat(600));
        let parts = [Value::Int(1), Value::Int(1), Value::Int(1), bulk("a"), Value::Int(2), bulk("READY"), bulk(&long)];
        assert!(read(&Value::Array(parts.to_vec()), "b", Duration::ZERO, Moment::default()).unwrap().listed.is_empty());
    }

    #[test]
    fn a_crowd_reads_seldom() {
        assert!(due(0, 0.99) && due(CROWD, 0.99));
        assert!(due(10 * CROWD, 0.09) && !due(10 * CROWD, 0.11));
    }
}
