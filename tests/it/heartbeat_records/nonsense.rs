//! Whatever another client writes into the registry, the instances continue to write, count, list, show and withdraw.

use super::{KEY, replica, until_key};
use crate::support::redis::Reply;
use crate::support::{Portcullis, Redis, Running, Stopwatch, eventually, secs};

/// The script of a beat as it was before it looked at what others have written.
const BEFORE: &str = include_str!("before/beat.lua");
const NOW: &str = include_str!("../../../src/heartbeat/beat.lua");

fn set(name: &str) -> String {
    format!("portcullis:{{{KEY}}}:{name}")
}

fn beat(redis: &Redis, script: &str, id: &str, sequence: u32, state: &str) -> Reply {
    let (record, take) = (set(&format!("i:{id}")), u8::from(state == "UNKNOWN").to_string());
    let words = ["EVAL", script, "4", KEY, &set("ready"), &set("all"), &record];
    redis.command(&[&words[..], &[id, "token", &sequence.to_string(), state, "60000", "{}", &take, "events", "0"]].concat())
}

fn code(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::List(parts) => parts.first().and_then(|part| if let Reply::Number(code) = part { Some(*code) } else { None }),
        _ => None,
    }
}

/// A record of an instance that is there for half a minute more, with this payload.
fn neighbour(redis: &Redis, id: &str, payload: &str) {
    let script = "local t = redis.call('TIME') redis.call('ZADD', KEYS[1], t[1] * 1000 + 30000, ARGV[1]) \
                  redis.call('HSET', KEYS[2], 's', 'READY', 'p', ARGV[2])";
    redis.command(&["EVAL", script, "2", &set("all"), &set(&format!("i:{id}")), id, payload]);
}

/// Everything that a neighbour might leave there.
fn poison(redis: &Redis) {
    for (name, score) in [("ready", "+inf"), ("ready", "1e300"), ("all", "+inf"), ("all", "1e300"), ("all", "1e15"), ("ready", "1e15")] {
        redis.command(&["ZADD", &set(name), score, &format!("late-{score}")]);
    }
    let numbers = ["18446744073709551615", "1e300", "-1", "9223372036854775807", "253402300800000"];
    for (place, number) in numbers.iter().enumerate() {
        let payload = format!(r#"{{"state":"UP","phase":"running","interval":{number},"ttl":{number},"since":{number},"addr":"x"}}"#);
        neighbour(redis, &format!("odd-{place}"), &payload);
    }
    neighbour(redis, "long", &"x".repeat(300_000));
    neighbour(redis, &"n".repeat(300_000), "{}");
    neighbour(redis, "deep", &"[".repeat(500));
    neighbour(redis, "no-hash", "{}");
    redis.command(&["SET", &set("i:no-hash"), "x"]);
    // Bytes that are no UTF-8, which Lua can write.
    let script = "local t = redis.call('TIME') local id = '\\255\\254' redis.call('ZADD', KEYS[1], t[1] * 1000 + 30000, id) \
                  redis.call('HSET', KEYS[2] .. id, 's', '\\255', 'p', '\\255')";
    redis.command(&["EVAL", script, "2", &set("all"), &set("i:")]);
}

#[test]
fn a_heartbeat_is_written_whatever_its_keys_contain() {
    let redis = Redis::start();
    let odd: [(&str, &[&str]); 12] = [
        ("an infinite deadline", &["ZADD", "READY", "+inf", "x"]),
        ("a deadline beyond all time", &["ZADD", "READY", "1e300", "x"]),
        ("a deadline in a year", &["ZADD", "READY", "1e15", "x"]),
        ("an infinite deadline of all", &["ZADD", "ALL", "+inf", "x"]),
        (
            "a fraction as deadline",
            &["EVAL", "local t = redis.call('TIME') redis.call('ZADD', KEYS[1], t[1] * 1000 + 70000.5, 'x')", "1", "READY"],
        ),
        ("ready that is no set", &["SET", "READY", "x"]),
        ("all that is no set", &["RPUSH", "ALL", "x"]),
        ("an own record that is no hash", &["SET", "OWN", "x"]),
        ("a sequence that is no number", &["HSET", "OWN", "t", "token", "q", "x"]),
        ("a state that is none", &["HSET", "OWN", "t", "token", "q", "1", "s", "a state of more than sixteen bytes"]),
        ("a shared key that is a list", &["RPUSH", "KEY", "x"]),
        ("a record of another's", &["HSET", "OWN", "t", "other", "q", "18446744073709551615"]),
    ];
    for (what, words) in odd {
        redis.command(&["FLUSHALL"]);
        let name = |word: &&str| match *word {
            "READY" => set("ready"),
            "ALL" => set("all"),
            "OWN" => set("i:one"),
            "KEY" => KEY.to_owned(),
            other => other.to_owned(),
        };
        let words: Vec<String> = words.iter().map(name).collect();
        let poisoned = redis.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!matches!(poisoned, Reply::Error(_)), "{what}: {poisoned:?}");
        for (sequence, state) in [(2, "UNKNOWN"), (3, "READY")] {
            let reply = beat(&redis, NOW, "one", sequence, state);
            assert_eq!(code(&reply), Some(1), "{what}, {state}: {reply:?}");
        }
        assert_eq!(redis.get(KEY).as_deref(), Some("ready"), "{what}");
        assert!((1..=71_000).contains(&redis.pttl(KEY)) && (1..=71_000).contains(&redis.pttl(&set("all"))), "{what}: {}", redis.pttl(KEY));
        assert_eq!(code(&beat(&redis, NOW, "one", 4, "STOPPED")), Some(1), "{what}");
    }
}

#[test]
fn replicas_of_before_and_of_now_share_one_registry() {
    let redis = Redis::start();
    for (script, id, sequence, state) in [
        (BEFORE, "old", 1, "UNKNOWN"),
        (NOW, "new", 1, "UNKNOWN"),
        (BEFORE, "old", 2, "READY"),
        (NOW, "new", 2, "READY"),
        (BEFORE, "old", 3, "READY"),
    ] {
        assert_eq!(code(&beat(&redis, script, id, sequence, state)), Some(1), "{id} {sequence}");
    }
    let counted = |expected| assert_eq!(redis.command(&["ZCARD", &set("ready")]), Reply::Number(expected));
    counted(2);
    assert_eq!(code(&beat(&redis, BEFORE, "old", 4, "STOPPED")), Some(1));
    counted(1);
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"));
    // The old script fails over this; one beat of the new one and it works again.
    redis.command(&["ZADD", &set("ready"), "+inf", "x"]);
    assert!(matches!(beat(&redis, BEFORE, "old", 5, "NOT_READY"), Reply::Error(_)));
    assert_eq!(code(&beat(&redis, NOW, "new", 3, "READY")), Some(1));
    assert_eq!(code(&beat(&redis, BEFORE, "old", 6, "NOT_READY")), Some(1));
    assert_eq!(code(&beat(&redis, NOW, "new", 4, "STOPPED")), Some(1));
    assert_eq!(redis.get(KEY), None);
}

#[track_caller]
fn answers(run: &Running) {
    assert_eq!((run.get("/livez").code, run.get("/readyz").code), (200, 200), "{}", run.streams().1);
    for path in ["/status?verbose", "/actuator/health"] {
        let reported = run.get_over_socket(path);
        assert!(reported.code == 200 && serde_json::from_str::<serde_json::Value>(&reported.body).is_ok(), "{path}: {reported:?}");
    }
    assert!(run.get_over_socket("/").body.contains("odd-0") && run.beside(["status"]).stdout.contains("odd-0"));
}

#[test]
fn nonsense_in_the_registry_disturbs_no_replica_and_its_stop_withdraws() {
    let redis = Redis::start();
    poison(&redis);
    let mut run = replica(&redis.url(), "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "20s").start();
    until_key(&redis, Some("ready"));
    eventually("the neighbours are shown", secs(30), || run.beside(["status"]).stdout.contains("odd-0").then_some(()));
    answers(&run);
    // Writing it again and again prevents no heartbeat.
    let watch = Stopwatch::start();
    while watch.elapsed() < secs(3) {
        poison(&redis);
        answers(&run);
    }
    let said = run.streams().1;
    assert!(!said.contains("internal error of portcullis") && !said.contains("is not written"), "{said}");
    run.signal(15);
    run.exits(0);
    eventually("it is withdrawn", secs(5), || {
        (redis.command(&["HGET", &set("i:one"), "s"]) == Reply::Text("STOPPED".into())).then_some(())
    });
}

#[test]
fn readers_count_and_list_past_nonsense() {
    let redis = Redis::start();
    poison(&redis);
    let ready = |more: &[&str]| Portcullis::new().args(["ready", "api", "--url", &redis.url(), "--json"].iter().chain(more)).output();
    let none = ready(&[]).exits(69);
    let reported: serde_json::Value = serde_json::from_str(&none.stdout).unwrap_or_else(|error| panic!("{error}: {none:?}"));
    assert_eq!(reported["ready"], 0, "a deadline that no instance can have counts for nobody: {reported}");
    for (sequence, state) in [(1, "UNKNOWN"), (2, "READY")] {
        beat(&redis, NOW, "sound", sequence, state);
    }
    neighbour(&redis, "long", &"x".repeat(300_000));
    let one = ready(&[]).exits(0);
    let reported: serde_json::Value = serde_json::from_str(&one.stdout).unwrap();
    let ids: Vec<&str> = reported["instances"].as_array().unwrap().iter().filter_map(|one| one["id"].as_str()).collect();
    assert!(["sound", "odd-0", "long", "deep", "no-hash"].iter().all(|id| ids.contains(id)), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() < 300), "{}", ids.len());
    // A user without scripts sees the same, but for names that are longer than an answer may be.
    redis.command(&["DEL", &set("all")]);
    neighbour(&redis, "long", &"x".repeat(300_000));
    neighbour(&redis, "no-hash", "{}");
    redis.command(&["SET", &set("i:no-hash"), "x"]);
    beat(&redis, NOW, "sound", 3, "READY");
    redis.command(&["ACL", "SETUSER", "plain", "on", "nopass", "~*", "+@all", "-eval", "-eval_ro"]);
    let url = redis.url().replacen("redis://", "redis://plain:x@", 1);
    let plain = Portcullis::new().args(["ready", "api", "--url", &url]).output().exits(0);
    assert!(["sound", "long", "no-hash"].iter().all(|id| plain.stdout.contains(id)), "{plain:?}");
}
