//! Readers of the registry: the commands, and the unchanged one-liners of docs/heartbeat.md.

use super::{KEY, replica, until_key};
use crate::support::redis::Reply;
use crate::support::{Portcullis, Redis, Stopwatch, eventually, left_out, secs, variable};
use std::process::Command;

fn ready(arguments: &[&str]) -> crate::support::portcullis::Output {
    Portcullis::new().args(["ready"].iter().chain(arguments)).output()
}

#[test]
fn the_ready_instances_are_listed_and_counted() {
    let redis = Redis::start();
    let url = redis.url();
    ready(&["api", "--url", &url]).exits(69);
    let run = replica(&url, "one", "").start();
    until_key(&redis, Some("ready"));
    let one = ready(&["api", "--url", &url]).exits(0);
    assert!(
        one.stdout.starts_with("api: 1 ready, 1 wanted\n") && one.stdout.contains("one") && one.stdout.contains("running"),
        "{}",
        one.stdout
    );
    ready(&["api", "--min", "2", "--url", &url]).exits(69);
    let second = replica(&url, "two", "").start();
    second.until_status("/readyz", 200, secs(30));
    eventually("both are ready", secs(20), || {
        (redis.command(&["ZCARD", &format!("portcullis:{{{KEY}}}:ready")]) == Reply::Number(2)).then_some(())
    });
    let json = ready(&["api", "--min", "2", "--json", "--url", &url]).exits(0);
    let reported: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&reported["ready"], &reported["enough"]), (&2.into(), &true.into()), "{reported}");
    assert_eq!(reported["instances"][0]["said"]["service"], "api");
    drop(run);
}

#[test]
fn the_redis_is_found_where_the_configuration_or_the_environment_names_it() {
    let redis = Redis::start();
    let _run = replica(&redis.url(), "one", "").start();
    until_key(&redis, Some("ready"));
    let port = redis.port.to_string();
    Portcullis::new().args(["ready", "api"]).env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", &port).output().exits(0);
    let file = format!("service = \"api\"\n[heartbeat]\nurl = \"{}\"\n", redis.url());
    Portcullis::new().args(["ready", "api"]).config(&file).output().exits(0);
    Portcullis::new().args(["ready", "api"]).output().exits(78).says(&["no Redis is configured"]);
    ready(&["api", "--url", "redis://127.0.0.1:1/0"]).exits(69).says(&["connection refused"]);
    ready(&["api", "--url", "http://127.0.0.1/"]).exits(78);
    ready(&[]).exits(64);
}

/// How often the instances were counted.
fn looks(redis: &Redis) -> u64 {
    let Reply::Text(info) = redis.command(&["INFO", "commandstats"]) else { panic!("no text") };
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_eval:calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or_default()
}

/// Waits until a look that began from now on has ended.
fn until_looked(redis: &Redis) {
    let before = looks(redis);
    eventually("somebody has looked", secs(30), || (looks(redis) >= before + 2).then_some(()));
}

#[test]
fn enough_that_do_not_stay_are_not_enough() {
    let redis = Redis::start();
    redis.command(&["SET", KEY, "ready"]);
    let watch = Stopwatch::start();
    let reported = ready(&["api", "--stable", "2s", "--url", &redis.url()]).exits(0);
    assert!(watch.elapsed() >= secs(2), "{:?}", watch.elapsed());
    assert_eq!(reported.stdout.matches("api: 1 ready").count(), 1, "{}", reported.stdout);
    let mut run = Portcullis::new().args(["ready", "api", "--stable", "10m", "--url", &redis.url()]).start();
    until_looked(&redis);
    assert!(run.runs());
    redis.command(&["DEL", KEY]);
    run.exits(69);
    assert!(run.streams().0.starts_with("api: 0 ready, 1 wanted\n"), "{}", run.streams().0);
    ready(&["api", "--stable", "2s", "--watch", "--url", &redis.url()]).exits(64);
}

#[test]
fn a_wait_for_stability_restarts_with_every_failure() {
    let redis = Redis::start();
    let target = format!("redis+ready://127.0.0.1:{}/0?service=api", redis.port);
    let mut run = Portcullis::new().args(["wait", "--stable", "8s", "--timeout", "5m", &target, "--", "echo", "started"]).start();
    until_looked(&redis);
    redis.command(&["SET", KEY, "ready"]);
    until_looked(&redis);
    redis.command(&["DEL", KEY]);
    until_looked(&redis);
    redis.command(&["SET", KEY, "ready"]);
    let watch = Stopwatch::start();
    run.until_stderr("ready, but not yet for 8s without interruption", secs(30));
    run.until_stdout("started", secs(60));
    assert!(watch.elapsed() >= secs(8), "{:?}", watch.elapsed());
    run.exits(0);
}

#[test]
fn a_wait_that_cannot_come_true_is_refused() {
    for (stable, timeout) in [("60s", "60s"), ("1s", "0s")] {
        let said = Portcullis::new().args(["wait", "--stable", stable, "--timeout", timeout, "file:///"]).output();
        said.exits(64).says(&["--stable", "give a longer --timeout"]);
    }
}

#[test]
fn another_producer_of_the_shared_key_counts_as_one() {
    let redis = Redis::start();
    redis.command(&["SET", KEY, "ready", "EX", "60"]);
    let reported = ready(&["api", "--url", &redis.url()]).exits(0);
    assert!(reported.stdout.contains("1 ready") && reported.stdout.contains("records no instances"), "{}", reported.stdout);
    ready(&["api", "--min", "2", "--url", &redis.url()]).exits(69);
}

#[test]
fn a_watcher_reports_changes() {
    let redis = Redis::start();
    let watcher = Portcullis::new().args(["ready", "api", "--watch", "--url", &redis.url()]).start();
    watcher.until_stdout("api: 0 ready", secs(20));
    let mut run = replica(&redis.url(), "one", "").start();
    watcher.until_stdout("api: 1 ready", secs(30));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    eventually("the end is reported", secs(20), || watcher.streams().0.ends_with("api: 0 ready, 1 wanted\n").then_some(()));
}

/// The lines between `<!-- NAME -->` and the end of the code block after it.
fn page(name: &str) -> Vec<String> {
    let text = include_str!("../../../docs/heartbeat.md");
    let after = text.split_once(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("docs/heartbeat.md has no {name}")).1;
    let block = after.split("```").nth(1).expect("a code block");
    block.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A password that a careless line would break on.
const PASSWORD: &str = "p w$1%s#";

/// A Python that has redis-py, where `scripts/test` has put one.
fn python() -> String {
    variable("PORTCULLIS_PYTHON").map_or_else(|| "python3".to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Runs a line of the page with its host and port put in the place of the real ones.
fn runs(line: &str, redis: &Redis) -> (bool, String) {
    let line = line
        .replace("python3", &python())
        .replace("redis-cli -h redis", &format!("redis-cli -p {}", redis.port))
        .replace("//redis:6379", &format!("//127.0.0.1:{}", redis.port))
        .replace("/dev/tcp/redis/6379", &format!("/dev/tcp/127.0.0.1/{}", redis.port))
        .replace("'redis', 6379", &format!("'127.0.0.1', {}", redis.port))
        .replace("portcullis ready", &format!("{} ready", crate::support::portcullis::binary().display()))
        .replace("portcullis wait", &format!("{} wait", crate::support::portcullis::binary().display()));
    let mut command = Command::new("timeout");
    let output = command.args(["20", "sh", "-c", &line]).env("REDIS_PASSWORD", PASSWORD).output().expect("run sh");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_one_liners_of_the_manual_do_what_they_say() {
    let redis = Redis::start();
    let lines = [page("consumers in sh"), page("consumers in Python")].concat();
    assert!(lines.len() >= 6, "{lines:?}");
    let counting = |line: &str| line.contains("ZCOUNT") || line.contains("zcount");
    for line in lines.iter().filter(|line| counting(line)) {
        assert_eq!(runs(line, &redis), (true, "0".to_owned()), "{line}");
    }
    let _run = replica(&redis.url(), "one", "").start();
    until_key(&redis, Some("ready"));
    for line in &lines {
        let (passes, reported) = runs(line, &redis);
        assert!(passes, "{line}: {reported}");
        assert!(!counting(line) || reported == "1", "{line}: {reported}");
    }
}

#[test]
fn the_one_liners_with_a_password_and_with_redis_py_do_what_they_say() {
    let name = "the_one_liners_with_a_password_and_with_redis_py_do_what_they_say";
    let has_client = Command::new(python()).args(["-c", "import redis"]).output().is_ok_and(|output| output.status.success());
    if !has_client {
        left_out(name, "in part: wants redis-py; scripts/test installs it");
    }
    let redis = Redis::with_password(PASSWORD);
    let lines = page("consumers with a password");
    assert!(lines.len() >= 4, "{lines:?}");
    let lines: Vec<_> = lines.iter().filter(|line| has_client || !line.contains("import os, redis")).collect();
    let counts = |line: &str| line.contains("zcount");
    for line in &lines {
        let (passes, reported) = runs(line, &redis);
        assert_eq!((passes, reported == "0"), (counts(line), counts(line)), "{line}: {reported}");
    }
    let url = format!("redis://:p%20w$$1%25s%23@127.0.0.1:{}/0", redis.port);
    let _run = replica(&url, "one", "").start();
    until_key(&redis, Some("ready"));
    for line in &lines {
        let (passes, reported) = runs(line, &redis);
        assert!(passes && (!counts(line) || reported == "1"), "{line}: {reported}");
    }
}
