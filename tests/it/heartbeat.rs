//! The key in Redis says `ready` while an instance is ready, and at no other time.

use crate::support::child::{polite, talker};
use crate::support::{Http, Portcullis, Proxy, Redis, Running, Stopwatch, eventually, secs, slow, wait};
use std::time::Duration;

const KEY: &str = "api_service_status";

/// A replica that beats into the Redis behind `port`, `timing` as the configuration writes it.
fn beating(port: u16, name: &str, timing: &str, more: &str) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
    let child = run.script("child", &polite());
    let config = format!(
        "service = \"api\"\nmode = \"api\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{port}/0\"\n{timing}\n[modes.api]\ncommand = [\"{}\"]\n{more}\n",
        child.display()
    );
    run.config(&config)
}

fn until_key(redis: &Redis, value: Option<&str>, deadline: Duration) {
    eventually(&format!("{KEY} is {value:?}"), deadline, || (redis.get(KEY).as_deref() == value).then_some(()));
}

fn stop(mut run: Running) {
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
}

#[test]
fn the_key_is_there_only_while_ready_and_expires() {
    let redis = Redis::start();
    let app = Http::answering(503, "");
    let started = format!("[modes.api.started]\nurl = \"http://127.0.0.1:{}/\"\nwithin = \"120s\"", app.port);
    let run = beating(redis.port, "one", "", &started).start();
    run.until_stdout("ready", secs(20));
    eventually("the startup check asks", secs(20), || (app.seen().len() > 2).then_some(()));
    assert_eq!(run.get("/readyz").code, 500);
    assert_eq!(redis.get(KEY), None, "not ready yet");
    app.set(200, "");
    run.until_status("/readyz", 200, secs(20));
    until_key(&redis, Some("ready"), secs(10));
    let left = redis.pttl(KEY);
    assert!((1..=60_000).contains(&left), "{left} ms to live");
    stop(run);
    assert_eq!(redis.get(KEY), None, "withdrawn on stop");
}

#[test]
fn the_key_is_gone_before_the_process_has_ended() {
    let redis = Redis::start();
    let run = beating(redis.port, "one", "", "");
    run.script("child", &crate::support::child::stubborn());
    let mut run = run.env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "5s").start();
    run.until_stdout("ready", secs(20));
    until_key(&redis, Some("ready"), secs(20));
    run.signal(15);
    until_key(&redis, None, secs(4));
    assert!(run.runs(), "the key went only with the process");
}

#[test]
fn the_key_is_refreshed() {
    let redis = Redis::start();
    let run = beating(redis.port, "one", "ttl = \"6s\"\nevery = \"1s\"", "").start();
    until_key(&redis, Some("ready"), secs(20));
    for _ in 0..3 {
        eventually("some of its time is over", secs(10), || (redis.pttl(KEY) < 5_700).then_some(()));
        eventually("it has all its time again", secs(10), || (redis.pttl(KEY) > 5_800).then_some(()));
        assert!(redis.pttl(KEY) <= 6_000);
    }
    stop(run);
}

#[test]
fn the_key_is_withdrawn_when_no_longer_ready_and_comes_back() {
    let redis = Redis::start();
    let http = Http::answering(200, "");
    let check = format!(
        "[checks.dependency]\nurl = \"http://127.0.0.1:{}/\"\naffects = \"readiness\"\ninterval = \"200ms\"\nfailure_threshold = 2\n",
        http.port
    );
    let run = beating(redis.port, "one", "", &check).start();
    until_key(&redis, Some("ready"), secs(20));
    http.set(500, "");
    run.until_status("/readyz", 500, secs(20));
    until_key(&redis, None, secs(10));
    http.set(200, "");
    until_key(&redis, Some("ready"), secs(20));
    stop(run);
}

#[test]
fn one_replica_that_stops_leaves_the_key_of_the_other() {
    let redis = Redis::start();
    let first = beating(redis.port, "first", "", "").start();
    let second = beating(redis.port, "second", "", "").start();
    for run in [&first, &second] {
        run.until_status("/readyz", 200, secs(20));
    }
    eventually("both have beaten", secs(20), || {
        (redis.command(&["ZCARD", "portcullis:{api_service_status}:ready"]) == crate::support::redis::Reply::Number(2)).then_some(())
    });
    stop(first);
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"));
    stop(second);
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn a_process_that_ends_by_itself_removes_its_key() {
    let redis = Redis::start();
    let run = beating(redis.port, "one", "", "");
    run.script("child", &talker(&[10], 0).replace("echo got 10", "exit 3"));
    let mut run = run.start();
    run.until_stdout("ready", secs(20));
    until_key(&redis, Some("ready"), secs(20));
    let child = run.child_pid("child");
    crate::support::process::send(child, 10);
    run.exits(3);
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn redis_away_disturbs_nothing_and_the_key_is_back_within_5_seconds() {
    let mut redis = Redis::start();
    let run = beating(redis.port, "one", "", "").start();
    until_key(&redis, Some("ready"), secs(20));
    redis.stop();
    wait::never("disturbed", secs(3), || run.get("/livez").code != 200 || run.get("/readyz").code != 200);
    redis.restart();
    let watch = Stopwatch::start();
    until_key(&redis, Some("ready"), secs(20));
    assert!(watch.elapsed() < secs(5), "back after {:?}", watch.elapsed());
    stop(run);
}

#[test]
fn redis_that_was_never_there_does_not_hold_the_start_or_the_stop() {
    let redis = Redis::reserve();
    let run = beating(redis.port, "one", "", "").start();
    run.until_status("/readyz", 200, secs(20));
    let watch = Stopwatch::start();
    stop(run);
    assert!(watch.elapsed() < secs(4), "stopped after {:?}", watch.elapsed());
}

#[test]
fn a_wrong_password_of_the_heartbeat_is_reported_and_harms_nothing() {
    let redis = Redis::with_password("right");
    let run = beating(redis.port, "one", "", "").start();
    run.until_status("/readyz", 200, secs(20));
    run.until_stderr("auth", secs(20));
    stop(run);
}

/// Freezes the way to Redis for `length`; the key has to go after its expiry, and to be back within 5 s of the thaw.
fn frozen(timing: &str, ttl: Duration, length: Duration) {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port);
    let mut run = beating(proxy.port, "one", timing, "").start();
    until_key(&redis, Some("ready"), secs(20));
    proxy.freeze();
    let watch = Stopwatch::start();
    let mut gone = None;
    wait::never("/livez fails or the process ends", length, || {
        if gone.is_none() && redis.get(KEY).is_none() {
            gone = Some(watch.elapsed());
        }
        !run.runs() || run.get("/livez").code != 200
    });
    let gone = gone.expect("the key goes while Redis is out of reach");
    assert!(gone <= ttl + secs(1), "gone after {gone:?}");
    assert_eq!(redis.get(KEY), None);
    assert_eq!(run.get("/readyz").code, 200, "readiness does not hang on the heartbeat");
    proxy.thaw();
    let thawed = Stopwatch::start();
    until_key(&redis, Some("ready"), secs(30));
    assert!(thawed.elapsed() < secs(5), "back after {:?}", thawed.elapsed());
    stop(run);
}

#[test]
fn a_frozen_redis_lets_the_key_expire_and_has_it_back_after_the_thaw() {
    frozen("ttl = \"3s\"\nevery = \"1s\"", secs(3), secs(6));
}

#[test]
fn redis_frozen_for_90_seconds() {
    if slow("redis_frozen_for_90_seconds") {
        frozen("", secs(60), secs(90));
    }
}
