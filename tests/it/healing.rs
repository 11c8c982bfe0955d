//! Restart because of a failed check with real processes: a hanging process is stopped by its own rules and restarted, one replica at a
//! time.

use crate::support::{Portcullis, Redis, Running, eventually, never, secs};
use std::path::Path;
use std::time::Duration;

/// A check of a file that the process makes when it is well.
fn check(dir: &Path, file: &str) -> String {
    let path = dir.join(file).display().to_string();
    format!("url = \"file://{path}\"\nwait = \"0s\"\ninterval = \"100ms\"\nfailure_threshold = 2\non_down = \"restart\"\n")
}

fn starts(run: &Running, name: &str) -> usize {
    run.streams().0.lines().filter(|line| *line == format!("begin {name}")).count()
}

fn until_up(run: &Running, check: &str) {
    eventually(&format!("{check} is up"), secs(20), || {
        // A module's check is in no flat answer while all is well.
        run.get("/metrics").body.contains(&format!("portcullis_check_state{{check=\"{check}\",state=\"up\"}} 1")).then_some(())
    });
}

#[test]
fn a_process_that_hangs_and_ignores_term_is_restarted() {
    let run = Portcullis::new();
    let config = format!("[process]\nstop_timeout = \"300ms\"\nrestart_delay = \"50ms\"\n[checks.web]\n{}", check(run.dir(), "web.up"));
    let mut run = run.config(&config).sh("trap '' TERM\ntouch web.up\necho begin main\nwhile :; do sleep 0.05; done").start();
    for round in 1..=2 {
        eventually("it is started", secs(20), || (starts(&run, "main") == round).then_some(()));
        until_up(&run, "web");
        std::fs::remove_file(run.dir().join("web.up")).unwrap();
    }
    eventually("it is started once more", secs(20), || (starts(&run, "main") == 3).then_some(()));
    run.until_stderr("the process is restarted: its check web went down (`on_down = \"restart\"`)", secs(5));
    eventually("it is up", secs(20), || {
        let metrics = run.get("/metrics").body;
        metrics.contains("portcullis_restarts_total{process=\"app\",reason=\"check\"} 2").then_some(())
    });
    until_up(&run, "web");
    assert!(run.get("/").body.contains("last restarted because check web went down"));
    let answer = run.get("/status?verbose").json();
    assert_eq!(answer["last_restart"], serde_json::json!({"check": "web", "state": "done"}));
    run.signal(15);
    run.exits(137);
}

#[test]
fn a_worker_whose_check_goes_down_is_restarted_and_no_other() {
    let run = Portcullis::new();
    let child = run.script("child", "#!/bin/sh\ntrap 'exit 0' TERM\ntouch $1.up\necho begin $1\nwhile :; do sleep 0.05; done\n");
    let (child, check) = (child.display(), check(run.dir(), "worker.up"));
    let check = check.replace("wait = \"0s\"\n", "");
    let config = format!(
        "mode = \"api\"\n[modes.api]\ncommand = [\"{child}\", \"main\"]\n[modules.worker]\ncommand = [\"{child}\", \"worker\"]\nrestart_delay = \"50ms\"\n[modules.worker.checks.queue]\n{check}"
    );
    let mut run = run.config(&config).start();
    eventually("it is started", secs(20), || (starts(&run, "worker") == 1).then_some(()));
    until_up(&run, "worker.queue");
    std::fs::remove_file(run.dir().join("worker.up")).unwrap();
    eventually("it is started again", secs(20), || (starts(&run, "worker") == 2).then_some(()));
    run.until_stderr("its check worker.queue went down, so it is restarted", secs(5));
    assert_eq!(starts(&run, "main"), 1);
    run.signal(15);
    run.exits(0);
}

/// A replica that says in a file of both when it stops and when it runs.
fn replica(redis: &Redis, name: &str, message: &Path, keys: &str) -> Running {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
    let message = message.display();
    let script = format!(
        "#!/bin/sh\ntrap 'echo {name} stops >> {message}; sleep 0.7; exit 0' TERM\nsleep 0.3\ntouch web.up\necho {name} runs >> {message}\necho begin main\nwhile ! [ -e leave ]; do sleep 0.05; done\nexit 3\n"
    );
    let child = run.script("child", &script);
    let config = format!(
        "service = \"api\"\nmode = \"api\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\n[modes.api]\ncommand = [\"{}\"]\n{keys}[modes.api.started]\nurl = \"file://{}\"\n[checks.web]\n{}",
        redis.port,
        child.display(),
        run.dir().join("web.up").display(),
        check(run.dir(), "web.up"),
    );
    run.config(&config).start()
}

#[test]
fn two_replicas_are_never_restarted_at_once() {
    let redis = Redis::start();
    let place = Portcullis::new();
    let message = place.dir().join("told");
    let mut runs = ["one", "two"].map(|name| replica(&redis, name, &message, "restart_delay = \"50ms\"\n"));
    for run in &runs {
        eventually("it is started", secs(20), || (starts(run, "main") == 1).then_some(()));
        until_up(run, "web");
    }
    for run in &runs {
        std::fs::remove_file(run.dir().join("web.up")).unwrap();
    }
    for run in &runs {
        eventually("it is started again", secs(30), || (starts(run, "main") == 2).then_some(()));
    }
    let lines = std::fs::read_to_string(&message).unwrap();
    let order: Vec<&str> = lines.lines().skip(2).collect();
    let [first, second] = if order[0].starts_with("one") { ["one", "two"] } else { ["two", "one"] };
    let expected = [format!("{first} stops"), format!("{first} runs"), format!("{second} stops"), format!("{second} runs")];
    assert_eq!(order, expected);
    let waited = runs.iter().filter(|run| run.streams().1.contains("this one stays down and waits for it")).count();
    assert_eq!(waited, 1);
    eventually("the permission is given back", secs(10), || redis.get("portcullis:{api_service_status}:restart").is_none().then_some(()));
    for run in &mut runs {
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn what_is_outside_the_container_restarts_nothing_unless_configured() {
    let config = |more: &str| format!("[checks.db]\nurl = \"tcp://db.invalid:5432\"\nwait = \"0s\"\non_down = \"restart\"\n{more}");
    Portcullis::new().config(&config("")).sh("exit 0").output().exits(78).says(&["on_down", "i_know = true"]);
    Portcullis::new().config(&config("i_know = true\n")).sh("exit 0").output().exits(0);
}

#[test]
fn a_check_that_was_never_up_restarts_nothing() {
    let run = Portcullis::new();
    let config = format!("[checks.web]\n{}", check(run.dir(), "web.up"));
    let mut run = run.config(&config).sh("trap 'exit 0' TERM\necho begin main\nwhile :; do sleep 0.05; done").start();
    eventually("it is started", secs(20), || (starts(&run, "main") == 1).then_some(()));
    never("it is restarted", Duration::from_secs(1), || starts(&run, "main") > 1);
    run.signal(15);
    run.exits(0);
}

const LEASE: &str = "portcullis:{api_service_status}:restart";

#[test]
fn the_lease_outlives_a_long_pause_and_a_replica_that_shuts_down_gives_it_back() {
    let redis = Redis::start();
    let place = Portcullis::new();
    let keys = "stop_timeout = \"1s\"\nrestart_delay = \"100s\"\nrestart_max_delay = \"100s\"\n";
    let mut run = replica(&redis, "one", &place.dir().join("told"), keys);
    eventually("it is started", secs(20), || (starts(&run, "main") == 1).then_some(()));
    until_up(&run, "web");
    std::fs::remove_file(run.dir().join("web.up")).unwrap();
    run.until_stderr("the process is restarted: its check web went down", secs(20));
    // A minute is the longest start, ten seconds are to spare.
    assert!(redis.pttl(LEASE) > 160_000, "{}", redis.pttl(LEASE));
    eventually("it pauses", secs(20), || run.get("/metrics").body.contains("reason=\"check\"} 1").then_some(()));
    assert!(redis.get(LEASE).is_some());
    run.signal(15);
    run.exits(143);
    eventually("the lease is given back", secs(10), || redis.get(LEASE).is_none().then_some(()));
}

#[test]
fn a_process_that_ends_while_it_waits_for_the_lease_ends_the_run_with_its_code() {
    let redis = Redis::start();
    let place = Portcullis::new();
    redis.command(&["SET", LEASE, "another", "PX", "60000"]);
    let mut run = replica(&redis, "one", &place.dir().join("told"), "");
    eventually("it is started", secs(20), || (starts(&run, "main") == 1).then_some(()));
    until_up(&run, "web");
    std::fs::remove_file(run.dir().join("web.up")).unwrap();
    run.until_stderr("another replica of the service is restarting: this one stays down and waits for it", secs(20));
    eventually("it is reported", secs(10), || run.get("/").body.contains("waits for another replica").then_some(()));
    assert_eq!(run.get("/status?verbose").json()["last_restart"]["state"], "waiting");
    assert_eq!(starts(&run, "main"), 1);
    std::fs::write(run.dir().join("leave"), "").unwrap();
    run.exits(3);
    assert_eq!(redis.get(LEASE).as_deref(), Some("another"), "what is another's is not taken away");
}

#[test]
fn without_restarts_left_it_stays_down_and_reports_that() {
    let run = Portcullis::new();
    let check = check(run.dir(), "web.up");
    let config = format!("[process]\nrestart = \"on-failure\"\nrestart_limit = 1\nrestart_delay = \"50ms\"\n[checks.web]\n{check}");
    let mut run = run.config(&config).sh("trap 'exit 0' TERM\ntouch web.up\necho begin main\nwhile :; do sleep 0.05; done").start();
    for round in 1..=2 {
        eventually("it is started", secs(20), || (starts(&run, "main") == round).then_some(()));
        until_up(&run, "web");
        std::fs::remove_file(run.dir().join("web.up")).unwrap();
    }
    run.until_stderr("the process stays down: its check web went down, and `restart_limit` is used up", secs(20));
    never("it is restarted", Duration::from_secs(1), || starts(&run, "main") > 2);
    run.signal(15);
    run.exits(0);
}
