//! The script's rules, one heartbeat at a time: ownership, order, fencing, the shared key, and the permissions that it needs.

use super::{KEY, replica, until_key};
use crate::support::child::polite;
use crate::support::redis::Reply;
use crate::support::{Exit, Http, Redis, eventually, process, secs, wait};
use std::path::Path;

pub(super) const SCRIPT: &str = include_str!("../../../src/heartbeat/beat.lua");

/// One beat by hand; the script's code.
fn beat(redis: &Redis, id: &str, token: &str, sequence: u64, state: &str, take: bool, latest: i64) -> Result<i64, String> {
    let record = format!("portcullis:{{{KEY}}}:i:{id}");
    let (ready, all) = (format!("portcullis:{{{KEY}}}:ready"), format!("portcullis:{{{KEY}}}:all"));
    let (sequence, latest, take) = (sequence.to_string(), latest.to_string(), u8::from(take).to_string());
    let words = ["EVAL", SCRIPT, "4", KEY, &ready, &all, &record, id, token, &sequence, state, "60000", "{}", &take, "events", &latest];
    match redis.command(&words) {
        Reply::List(parts) => match parts.first() {
            Some(Reply::Number(code)) => Ok(*code),
            other => panic!("{other:?}"),
        },
        Reply::Error(words) => Err(words),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_beat_changes_nothing() {
    let redis = Redis::start();
    assert_eq!(beat(&redis, "one", "a", 1, "UNKNOWN", true, 0), Ok(1));
    assert_eq!(beat(&redis, "one", "a", 3, "READY", false, 0), Ok(1));
    assert_eq!(beat(&redis, "one", "a", 4, "NOT_READY", false, 0), Ok(1));
    assert_eq!(beat(&redis, "one", "a", 3, "READY", false, 0), Ok(0), "overtaken");
    assert_eq!(redis.get(KEY), None);
    assert_eq!(beat(&redis, "one", "a", 5, "STOPPED", false, 0), Ok(1));
    assert_eq!(beat(&redis, "one", "a", 4, "READY", false, 0), Ok(0), "the tombstone holds");
    assert_eq!(redis.get(KEY), None);
    redis.command(&["DEL", &format!("portcullis:{{{KEY}}}:i:one")]);
    assert_eq!(beat(&redis, "one", "a", 6, "READY", false, 1_000), Ok(-2), "even with the record gone it may not come too late");
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn a_heartbeat_with_another_token_changes_nothing_and_a_successor_replaces_the_record() {
    let redis = Redis::start();
    beat(&redis, "one", "a", 1, "UNKNOWN", true, 0).unwrap();
    beat(&redis, "one", "a", 2, "READY", false, 0).unwrap();
    assert_eq!(beat(&redis, "one", "b", 9, "NOT_READY", false, 0), Ok(-1));
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"));
    assert!(beat(&redis, "one", "b", 1, "READY", true, 0).unwrap_err().contains("cannot report ready"));
    assert_eq!(beat(&redis, "one", "b", 1, "UNKNOWN", true, 0), Ok(1));
    assert_eq!(redis.get(KEY), None, "the successor is not ready");
    assert_eq!(beat(&redis, "one", "a", 3, "READY", false, 0), Ok(-1), "the predecessor's late beat");
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn the_shared_key_belongs_to_all_and_a_foreign_value_to_its_owner() {
    let redis = Redis::start();
    for id in ["one", "two"] {
        beat(&redis, id, id, 1, "UNKNOWN", true, 0).unwrap();
        beat(&redis, id, id, 2, "READY", false, 0).unwrap();
    }
    redis.command(&["DEL", KEY]);
    beat(&redis, "one", "one", 3, "NOT_READY", false, 0).unwrap();
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"), "evicted, and restored for the other");
    assert!((1..=60_000).contains(&redis.pttl(KEY)));
    beat(&redis, "two", "two", 3, "NOT_READY", false, 0).unwrap();
    assert_eq!(redis.get(KEY), None);
    redis.command(&["SET", KEY, "maintenance"]);
    beat(&redis, "two", "two", 4, "STOPPED", false, 0).unwrap();
    assert_eq!(redis.get(KEY).as_deref(), Some("maintenance"));
}

#[test]
fn a_restarted_replica_removes_its_killed_predecessors_readiness_at_once() {
    let redis = Redis::start();
    let mut first = replica(&redis.url(), "one", "").start();
    until_key(&redis, Some("ready"));
    first.signal(9);
    assert_eq!(first.wait_exit(secs(20)), Exit::Signal(9));
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"));
    let app = Http::answering(503, "");
    let started = format!("[modes.api.started]\nurl = \"http://127.0.0.1:{}/\"\nwithin = \"120s\"", app.port);
    let second = replica(&redis.url(), "one", &started).start();
    second.until_stdout("ready", secs(20));
    eventually("the old ready is gone", secs(5), || redis.get(KEY).is_none().then_some(()));
    app.set(200, "");
    until_key(&redis, Some("ready"));
}

#[test]
fn two_live_replicas_of_one_name_are_both_counted() {
    let redis = Redis::start();
    let timing = |run: crate::support::Portcullis| run.env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "20s");
    let first = timing(replica(&redis.url(), "one", "")).start();
    until_key(&redis, Some("ready"));
    let second = timing(replica(&redis.url(), "one", "")).start();
    eventually("one of them has another name", secs(30), || {
        [&first, &second].iter().any(|run| run.streams().1.contains("another live instance has the same id")).then_some(())
    });
    let ready = format!("portcullis:{{{KEY}}}:ready");
    eventually("both are counted", secs(30), || (redis.command(&["ZCARD", &ready]) == Reply::Number(2)).then_some(()));
    wait::never("they fight", secs(4), || redis.command(&["ZCARD", &ready]) != Reply::Number(2));
    let Reply::List(names) = redis.command(&["ZRANGE", &ready, "0", "-1"]) else { panic!("no list") };
    let Some(Reply::Text(other)) = names.iter().find(|name| **name != Reply::Text("one".into())) else { panic!("{names:?}") };
    assert!(other.starts_with("one~") && other.len() == 12, "{other}");
}

#[test]
fn the_record_of_an_instance_is_short_and_a_change_is_published() {
    let redis = Redis::start();
    let mut subscriber = std::process::Command::new("redis-cli");
    let channel = format!("portcullis:{{{KEY}}}:events");
    subscriber.args(["-p", &redis.port.to_string(), "SUBSCRIBE", &channel]).stdout(std::process::Stdio::piped());
    let mut subscriber = subscriber.spawn().unwrap();
    let counts = || redis.command(&["PUBSUB", "NUMSUB", &channel]);
    eventually("it listens", secs(20), || match counts() {
        Reply::List(parts) => (parts.last() == Some(&Reply::Number(1))).then_some(()),
        _ => None,
    });
    let mut run = replica(&redis.url(), &"n".repeat(200), "").start();
    until_key(&redis, Some("ready"));
    let record = format!("portcullis:{{{KEY}}}:i:{}", "n".repeat(200));
    let Reply::Text(payload) = redis.command(&["HGET", &record, "p"]) else { panic!("no payload") };
    assert!(payload.len() <= 512 && payload.contains(r#""state":"UP""#) && payload.contains(r#""phase":"running""#), "{payload}");
    assert!(payload.contains(r#""reason":null"#), "{payload}");
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    drop(subscriber.kill());
    let heard = String::from_utf8_lossy(&subscriber.wait_with_output().unwrap().stdout).into_owned();
    for words in [r#""to":"READY","ready":1"#, r#""to":"STOPPED","ready":0"#] {
        let pairs: Vec<&str> = words.split(',').collect();
        assert!(heard.lines().any(|line| pairs.iter().all(|pair| line.contains(pair))), "{words} not in {heard}");
    }
}

/// The least rights of a writer and of a reader as the manual has them, and those of two who have less.
fn with_users(redis: &Redis) {
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/heartbeat.md")).unwrap();
    let documented = |name: &str, password: &str| {
        let line = manual.lines().find(|line| line.starts_with(&format!("ACL SETUSER {name} "))).expect("the manual's line");
        assert!(line.contains(KEY) && line.contains(">PASSWORD "), "{line}");
        line.replace("PASSWORD", password)
    };
    let simple = format!("ACL SETUSER simple on >s ~{KEY} -@all +set +ping +auth +hello");
    let poor = format!("ACL SETUSER poor on >p %R~{KEY} %R~portcullis:{{{KEY}}}:* -@all +get +zcount +zrange +hget +time +auth +ping");
    for line in [documented("portcullis", "w"), documented("reader", "r"), simple, poor] {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(redis.command(&words), Reply::Text("OK".into()), "{line}");
    }
}

fn as_user(redis: &Redis, login: &str) -> String {
    redis.url().replace("redis://", &format!("redis://{login}@"))
}

#[test]
fn the_least_rights_of_a_writer_and_of_a_reader_are_enough() {
    let redis = Redis::start();
    with_users(&redis);
    let mut run = replica(&as_user(&redis, "portcullis:w"), "one", "").start();
    until_key(&redis, Some("ready"));
    assert_eq!(redis.command(&["ZCARD", &format!("portcullis:{{{KEY}}}:ready")]), Reply::Number(1));
    let reported = || run.beside(["status"]).stdout.contains("1 of 1 ready").then_some(());
    eventually("the writer may also see who is there", secs(20), reported);
    for login in ["reader:r", "poor:p"] {
        let read = run.beside(["ready", "api", "--url", &as_user(&redis, login)]).exits(0);
        assert!(read.stdout.contains("api: 1 ready") && read.stdout.contains("one"), "{login}: {} {}", read.stdout, read.stderr);
    }
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn where_scripts_are_forbidden_the_key_alone_is_written_and_never_deleted() {
    let redis = Redis::start();
    with_users(&redis);
    let mut run = replica(&as_user(&redis, "simple:s"), "one", "").start();
    until_key(&redis, Some("ready"));
    assert!((1..=60_000).contains(&redis.pttl(KEY)));
    run.until_stderr("forbids scripts", secs(10));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"), "others may be ready");
    assert_eq!(redis.command(&["KEYS", "portcullis*"]), Reply::List(vec![]));
}

#[test]
fn an_instance_reports_why_it_is_not_up_in_public_words() {
    let redis = Redis::start();
    let http = Http::answering(200, "");
    let check = format!(
        "[checks.dependency]\nurl = \"http://127.0.0.1:{}/\"\naffects = \"readiness\"\ninterval = \"200ms\"\nfailure_threshold = 2\n",
        http.port
    );
    let _run = replica(&redis.url(), "one", &check).start();
    until_key(&redis, Some("ready"));
    http.set(503, "a secret of the dependency");
    until_key(&redis, None);
    let Reply::Text(payload) = redis.command(&["HGET", &format!("portcullis:{{{KEY}}}:i:one"), "p"]) else { panic!("no payload") };
    let said: serde_json::Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(said["state"], "DOWN");
    assert!(said["reason"].as_str().is_some_and(|reason| reason.starts_with("dependency: ")), "{payload}");
    assert!(!payload.contains("secret") && !payload.contains("127.0.0.1:"), "{payload}");
}

#[test]
fn the_record_contains_the_state_of_the_modules() {
    let redis = Redis::start();
    let run = replica(&redis.url(), "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "20s");
    let module = run.script("module", &polite());
    let table = |name: &str| format!("[modules.{name}]\ncommand = [\"{}\", \"{name}\"]\nrestart = \"never\"\n", module.display());
    let config = format!(
        "mode = \"api\"\n[heartbeat]\nurl = \"{}\"\n[modes.api]\ncommand = [\"sleep\", \"1000\"]\n{}{}",
        redis.url(),
        table("reports"),
        table("search")
    );
    let run = run.config(&config).start();
    let modules = || match redis.command(&["HGET", &format!("portcullis:{{{KEY}}}:i:one"), "p"]) {
        Reply::Text(payload) => serde_json::from_str::<serde_json::Value>(&payload).unwrap()["modules"].clone(),
        _ => serde_json::Value::Null,
    };
    let until = |expected: &str| {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        eventually(&format!("the record says {expected}"), secs(30), || (modules() == expected).then_some(()));
    };
    until(r#"{ "all": 2, "up": 2, "down": [] }"#);
    // Stopped by order is not broken; killed is.
    run.beside(["stop", "reports"]).exits(0);
    until(r#"{ "all": 2, "up": 1, "down": [] }"#);
    process::send(run.child_pid("search"), 9);
    until(r#"{ "all": 2, "up": 0, "down": ["search"] }"#);
    run.beside(["start", "search"]).exits(0);
    until(r#"{ "all": 2, "up": 1, "down": [] }"#);
}

#[test]
fn the_simple_mode_writes_only_the_key_and_an_exclusive_replica_removes_it() {
    let redis = Redis::start();
    redis.command(&["SET", KEY, "ready"]);
    let app = Http::answering(503, "");
    let started = format!("[modes.api.started]\nurl = \"http://127.0.0.1:{}/\"\nwithin = \"120s\"", app.port);
    let simple = |exclusive: &str| {
        replica(&redis.url(), "one", &started)
            .env("PORTCULLIS_HEARTBEAT__MODE", "simple")
            .env("PORTCULLIS_HEARTBEAT__EXCLUSIVE", exclusive)
            .env("PORTCULLIS_HEARTBEAT__EVERY", "1s")
            .env("PORTCULLIS_HEARTBEAT__TTL", "20s")
    };
    let mut run = simple("true").start();
    eventually("what a predecessor left is gone", secs(30), || redis.get(KEY).is_none().then_some(()));
    app.set(200, "");
    until_key(&redis, Some("ready"));
    assert!((1..=20_000).contains(&redis.pttl(KEY)));
    // A full Redis takes neither, and the supervised process does not care.
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    run.until_stderr("[not_ready]", secs(20));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    run.until_stderr("is written again", secs(10));
    run.signal(15);
    run.exits(0);
    assert_eq!(redis.get(KEY), None, "nobody else can be ready");
    let mut run = simple("false").start();
    until_key(&redis, Some("ready"));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"), "others may be ready");
    assert_eq!(redis.command(&["KEYS", "portcullis*"]), Reply::List(vec![]));
}

#[test]
fn the_first_heartbeat_is_not_called_written_again() {
    let mut redis = Redis::reserve();
    let run = replica(&redis.url(), "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").start();
    run.until_stderr("is not written yet", secs(30));
    redis.launch();
    run.until_stderr(&format!("the heartbeat {KEY} is written now"), secs(60));
    assert!(!run.streams().1.contains("written again"), "{}", run.streams().1);
}
