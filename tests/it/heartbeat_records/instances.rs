//! The instances in the registry on the page and in `portcullis status`: read together with a heartbeat, never by a request.

use super::beats::SCRIPT;
use super::{KEY, replica};
use crate::support::redis::Reply;
use crate::support::{Portcullis, Redis, Running, eventually, secs};

fn quick(run: Portcullis) -> Running {
    run.env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "20s").start()
}

fn until_reported(run: &Running, words: &str) -> String {
    eventually(words, secs(30), || Some(run.beside(["status"]).stdout).filter(|text| text.contains(words)))
}

fn processed(redis: &Redis) -> u64 {
    let Reply::Text(info) = redis.command(&["INFO", "stats"]) else { panic!("no text") };
    info.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).unwrap().trim().parse().unwrap()
}

#[test]
fn instances_are_shown_to_authorized_readers_without_a_query_to_redis() {
    let redis = Redis::start();
    let first = quick(replica(&redis.url(), "replica-one", ""));
    let second = quick(replica(&redis.url(), "replica-two", ""));
    let text = until_reported(&first, "2 of 2 ready");
    let line = |name: &str| text.lines().find(|line| line.contains(name) && line.contains("ready for")).unwrap_or_else(|| panic!("{text}"));
    assert!(line("replica-one").contains("this one") && !line("replica-two").contains("this one"), "{text}");
    until_reported(&second, "2 of 2 ready");
    for path in ["/", "/status?verbose", "/actuator/health", "/metrics"] {
        let reported = first.get(path).body;
        assert!(!reported.contains("replica-"), "{path}: {reported}");
    }
    assert!(first.get("/").body.contains("2 of 2 ready, read from Redis"), "{}", first.get("/").body);
    let reported = first.get("/status?verbose").json();
    assert_eq!((&reported["instances"]["all"], &reported["instances"]["listed"]), (&2.into(), &serde_json::Value::Null), "{reported}");
    let reported = first.get_over_socket("/status?verbose").json();
    assert_eq!((&reported["instances"]["ready"], reported["instances"]["listed"].as_array().unwrap().len()), (&2.into(), 2), "{reported}");
    let before = processed(&redis);
    for _ in 0..300 {
        first.get_over_socket("/");
    }
    let requested = processed(&redis) - before;
    assert!(requested < 200, "{requested} commands beside the beats of a few seconds");
    // A Redis that hangs is not waited for.
    redis.signal(19);
    assert!(first.get_over_socket("/").body.contains("replica-two"));
    redis.signal(18);
    second.signal(9);
    until_reported(&first, "silent for");
    until_reported(&first, "1 of 1 ready");
}

#[test]
fn a_hundred_are_listed_the_rest_is_counted_and_nonsense_is_left_out() {
    let redis = Redis::start();
    let (ready, all) = (format!("portcullis:{{{KEY}}}:ready"), format!("portcullis:{{{KEY}}}:all"));
    for number in 0..150 {
        let id = format!("crowd-{number:03}");
        let record = format!("portcullis:{{{KEY}}}:i:{id}");
        let words = ["EVAL", SCRIPT, "4", KEY, &ready, &all, &record, &id, "a", "1", "NOT_READY", "600000", "{}", "1", "events", "0"];
        assert!(matches!(redis.command(&words), Reply::List(_)));
    }
    redis.command(&["SET", &format!("portcullis:{{{KEY}}}:i:no-hash"), "x"]);
    // In an hour, and in the year 2286, which is no deadline.
    let hour = "local t = redis.call('TIME') redis.call('ZADD', KEYS[1], t[1] * 1000 + 3600000, ARGV[1])";
    redis.command(&["EVAL", hour, "1", &all, "no-hash"]);
    redis.command(&["EVAL", hour, "1", &all, &"n".repeat(300_000)]);
    redis.command(&["ZADD", &all, "9999999999999", "of-another-age"]);
    let run = quick(replica(&redis.url(), "one", ""));
    let text = until_reported(&run, "1 of 153 ready");
    assert_eq!(text.lines().filter(|line| line.contains("  not ready, starting")).count(), 99, "{text}");
    assert!(text.contains("● one") && text.contains("  and 53 more"), "{text}");
    assert_eq!(run.beside(["healthcheck"]).stdout.trim(), "healthy");
}
