//! The start waits until every dependency is ready, and reports what it waits for.

use crate::support::child::polite;
use crate::support::postgres::PASSWORD;
use crate::support::redis::Reply;
use crate::support::{Exit, Http, Portcullis, Postgres, Redis, Stopwatch, eventually, free_port, process, secs, wait};
use std::net::TcpListener;
use std::time::Duration;

/// A file with one check and a process that prints `ready`.
fn one_check(url: &str, more: &str) -> Portcullis {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let url = url.replace('\\', "\\\\").replace('"', "\\\"");
    run.config(&format!("mode = \"api\"\n[checks.it]\nurl = \"{url}\"\n{more}\n[modes.api]\ncommand = [\"{}\"]\n", child.display()))
}

#[test]
fn tcp_is_waited_for() {
    let port = free_port();
    let mut run = one_check(&format!("tcp://127.0.0.1:{port}"), "").start();
    run.until_status("/livez", 200, secs(20));
    assert_eq!(run.get("/readyz").code, 500);
    assert_eq!(run.get("/startupz").code, 500);
    assert_eq!(run.streams().0, "");
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    run.until_stdout("ready", secs(20));
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(0);
    drop(listener);
}

#[test]
fn a_progress_line_names_what_is_waited_for() {
    let port = free_port();
    let run = one_check(&format!("tcp://127.0.0.1:{port}"), "").start();
    run.until_stderr(&format!("127.0.0.1:{port}"), secs(20));
    run.until_stderr("refused", secs(20));
}

#[test]
fn http_is_waited_for_until_status_and_body_are_right() {
    let http = Http::answering(503, "{\"status\":\"red\"}");
    let url = format!("http://127.0.0.1:{}/_cluster/health", http.port);
    let expect = "expect = { status = 200, json = { \"/status\" = [\"green\", \"yellow\"] } }\nheaders = { \"X-Probe\" = \"gate\" }";
    let run = one_check(&url, expect).start();
    eventually("it was probed", secs(20), || (http.seen().len() > 2).then_some(()));
    http.set(200, "{\"status\":\"red\"}");
    let requested = http.seen().len();
    eventually("it was probed again", secs(20), || (http.seen().len() > requested + 2).then_some(()));
    assert_eq!(run.streams().0, "");
    http.set(200, "{\"status\":\"yellow\"}");
    run.until_stdout("ready", secs(20));
    let head = http.seen().concat().to_lowercase();
    assert!(head.contains("get /_cluster/health") && head.contains("x-probe: gate"), "{head}");
}

#[test]
fn postgres_is_waited_for_and_logged_into_with_a_hostile_password() {
    let mut server = Postgres::reserve();
    let parts = format!(
        "mode = \"api\"\n[checks.db]\nurl = \"postgres://${{DB_USERNAME}}:${{DB_PASSWORD}}@${{DB_HOST}}:{}/${{DB_DATABASE}}\"\n[modes.api]\ncommand = [\"echo\", \"started\"]\n",
        server.port
    );
    let run = Portcullis::new().config(&parts).env("DB_USERNAME", "app").env("DB_PASSWORD", PASSWORD);
    let mut run = run.env("DB_HOST", "127.0.0.1").env("DB_DATABASE", "app").start();
    run.until_status("/livez", 200, secs(20));
    server.launch();
    run.until_stdout("started", secs(60));
    run.exits(0);
}

#[test]
fn postgres_that_recovers_is_waited_for_until_select_1_works() {
    let mut server = Postgres::start();
    server.psql("CREATE TABLE wal AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 150000) n; CHECKPOINT");
    server.psql("UPDATE wal SET n = n + 1; UPDATE wal SET n = n + 1");
    server.crash();
    server.launch();
    let startup = eventually("the log is replayed", secs(60), || {
        server.insist();
        server.recovering()
    });
    process::send(startup, 19);
    eventually("the port is open", secs(30), || server.accepts().then_some(()));
    let refused = server.try_psql("app", "SELECT 1").expect_err("it recovers");
    assert!(refused.contains("starting up") || refused.contains("recover"), "{refused}");
    let run = one_check(&server.url(), "").start();
    run.until_status("/livez", 200, secs(20));
    wait::never("started while the database recovers", secs(2), || !run.streams().0.is_empty());
    run.until_stderr("it", secs(20));
    process::send(startup, 18);
    run.until_stdout("ready", secs(120));
    server.psql("SELECT 1");
}

#[test]
fn a_wrong_password_is_named_auth_within_a_second_and_not_shown() {
    let server = Postgres::start();
    let wrong = "wr0ng-canary";
    let run = one_check(&server.url_with(wrong), "").env("PORTCULLIS_LOG", "trace").start();
    run.until_stderr("auth", secs(20));
    let took = run.since.elapsed();
    assert!(took < secs(3), "named after {took:?}");
    let line = run.streams().1.lines().find(|line| line.contains("auth")).unwrap_or_default().to_owned();
    assert!(line.contains("127.0.0.1") && line.contains("app"), "{line}");
    wait::never("the password is shown", Duration::from_millis(500), || run.streams().1.contains(wrong));
}

#[test]
fn a_wrong_database_is_named_and_fail_fast_ends() {
    let server = Postgres::start();
    let url = server.url().replace("/app", "/nosuchdb");
    let mut run = one_check(&url, "fail_fast = true").start();
    run.exits(69);
    assert!(run.streams().1.contains("nosuchdb"), "{}", run.streams().1);
}

#[test]
fn redis_without_or_with_a_wrong_password_is_named_auth() {
    let redis = Redis::with_password("right");
    for userinfo in ["", ":wr0ng-canary@"] {
        let run = one_check(&format!("redis://{userinfo}127.0.0.1:{}/0", redis.port), "").start();
        run.until_stderr("auth", secs(20));
        assert!(!run.streams().1.contains("wr0ng-canary"));
        assert_eq!(run.streams().0, "");
    }
    let run = one_check(&redis.url(), "").start();
    run.until_stdout("ready", secs(20));
}

#[test]
fn redis_that_loads_is_not_ready() {
    let mut redis = Redis::reserve().option("--loading-process-events-interval-bytes 1024").started();
    for key in 0..1500 {
        redis.command(&["SET", &format!("key{key}"), &"x".repeat(200)]);
    }
    redis.command(&["SAVE"]);
    redis.stop();
    let mut redis = redis.option("--key-load-delay 3000");
    redis.launch();
    let loading = || matches!(redis.try_command(&["PING"]), Ok(Reply::Error(text)) if text.starts_with("LOADING"));
    eventually("redis answers LOADING", secs(20), || loading().then_some(()));
    let run = one_check(&redis.url(), "").start();
    run.until_status("/livez", 200, secs(20));
    let mut loads = 0;
    while loading() {
        let started = run.streams().0.contains("ready");
        assert!(!started || !loading(), "started while redis loads");
        loads += 1;
    }
    assert!(loads > 0, "redis had loaded before the run began");
    run.until_stdout("ready", secs(30));
}

#[test]
fn a_dependency_that_never_comes_is_69_and_named() {
    let port = free_port();
    let run = one_check(&format!("tcp://127.0.0.1:{port}"), "wait = \"1s\"");
    let output = run.output().exits(69).says(&["it", &port.to_string(), "69"]);
    assert_eq!(output.stdout, "");
    assert!(output.took >= secs(1), "{:?}", output.took);
}

#[test]
fn a_check_that_is_not_waited_for_does_not_hold_the_start() {
    let port = free_port();
    let run = one_check(&format!("tcp://127.0.0.1:{port}"), "wait = \"0s\"").start();
    run.until_stdout("ready", secs(20));
}

#[test]
fn all_dependencies_are_waited_for_at_once() {
    let (first, second) = (free_port(), free_port());
    let file = format!(
        "mode = \"api\"\n[checks.first]\nurl = \"tcp://127.0.0.1:{first}\"\n[checks.second]\nurl = \"tcp://127.0.0.1:{second}\"\n[modes.api]\ncommand = [\"echo\", \"started\"]\n"
    );
    let mut run = Portcullis::new().config(&file).start();
    run.until_status("/livez", 200, secs(20));
    let later = TcpListener::bind(("127.0.0.1", second)).unwrap();
    eventually("the second is probed before the first is up", secs(20), || {
        later.set_nonblocking(true).unwrap();
        later.accept().ok()
    });
    assert_eq!(run.streams().0, "");
    let earlier = TcpListener::bind(("127.0.0.1", first)).unwrap();
    run.exits(0);
    drop(earlier);
}

#[test]
fn term_while_waiting_ends_at_once_with_143() {
    let mut best = secs(60);
    for (attempt, signal) in [15, 2, 15, 15, 15, 15].into_iter().enumerate() {
        let run = one_check(&format!("tcp://127.0.0.1:{}", free_port()), "");
        let mut run = if attempt % 2 == 0 { run.start() } else { run.in_pid_namespace().start() };
        run.until_status("/livez", 200, secs(20));
        let own = run.pid();
        let watch = Stopwatch::start();
        process::send(own, signal);
        let exit = run.wait_exit(secs(20));
        best = best.min(watch.elapsed());
        assert_eq!(exit, Exit::Code(128 + signal), "{}", run.streams().1);
    }
    assert!(best < Duration::from_millis(100), "ended after {best:?} at best");
}
