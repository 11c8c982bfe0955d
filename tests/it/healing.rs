//! Restart on ill health with real processes: what hangs is stopped by its own rules and started anew, one replica at a time.

use crate::support::{Portcullis, Redis, Running, eventually, never, secs};
use std::path::Path;
use std::time::Duration;

/// A check of a file that the process makes when it is well.
fn check(dir: &Path, file: &str) -> String {
    let path = dir.join(file).display().to_string();
    format!("url = \"file://{path}\"\nwait = \"0s\"\ninterval = \"100ms\"\nfailure_threshold = 2\non_down = \"restart\"\n")
}

fn starts(run: &Running, name: &str) -> usize {
    run.said().0.lines().filter(|line| *line == format!("begin {name}")).count()
}

fn until_up(run: &Running, check: &str) {
    eventually(&format!("{check} is up"), secs(20), || {
        let answer = run.get("/healthz");
        (answer.json()[check] == "ok" || answer.json()[check] == "up").then_some(())
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
    run.until_stderr("the process is restarted: a check of it with `on_down = \"restart\"` went down", secs(5));
    run.signal(15);
    run.exits(137);
}

#[test]
fn a_worker_whose_check_goes_down_is_restarted_and_nobody_else() {
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
    run.until_stderr("its check worker.queue went down, so it is started anew", secs(5));
    assert_eq!(starts(&run, "main"), 1);
    run.signal(15);
    run.exits(0);
}

/// A replica that says in a file of both when it stops and when it runs.
fn replica(redis: &Redis, name: &str, told: &Path) -> Running {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
    let told = told.display();
    let script = format!(
        "#!/bin/sh\ntrap 'echo {name} stops >> {told}; sleep 0.7; exit 0' TERM\nsleep 0.3\ntouch web.up\necho {name} runs >> {told}\necho begin main\nwhile :; do sleep 0.05; done\n"
    );
    let child = run.script("child", &script);
    let config = format!(
        "service = \"api\"\nmode = \"api\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\n[modes.api]\ncommand = [\"{}\"]\nrestart_delay = \"50ms\"\n[modes.api.started]\nurl = \"file://{}\"\n[checks.web]\n{}",
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
    let told = place.dir().join("told");
    let mut runs = ["one", "two"].map(|name| replica(&redis, name, &told));
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
    let lines = std::fs::read_to_string(&told).unwrap();
    let order: Vec<&str> = lines.lines().skip(2).collect();
    let [first, second] = if order[0].starts_with("one") { ["one", "two"] } else { ["two", "one"] };
    let expected = [format!("{first} stops"), format!("{first} runs"), format!("{second} stops"), format!("{second} runs")];
    assert_eq!(order, expected);
    let waited = runs.iter().filter(|run| run.said().1.contains("this one stays down and waits for it")).count();
    assert_eq!(waited, 1);
    eventually("the permission is given back", secs(10), || redis.get("portcullis:{api_service_status}:restart").is_none().then_some(()));
    for run in &mut runs {
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn what_is_outside_the_container_restarts_nobody_unless_it_is_meant() {
    let config = |more: &str| format!("[checks.db]\nurl = \"tcp://db.invalid:5432\"\nwait = \"0s\"\non_down = \"restart\"\n{more}");
    Portcullis::new().config(&config("")).sh("exit 0").output().exits(78).says(&["on_down", "i_know = true"]);
    Portcullis::new().config(&config("i_know = true\n")).sh("exit 0").output().exits(0);
}

#[test]
fn a_check_that_was_never_up_restarts_nobody() {
    let run = Portcullis::new();
    let config = format!("[checks.web]\n{}", check(run.dir(), "web.up"));
    let mut run = run.config(&config).sh("trap 'exit 0' TERM\necho begin main\nwhile :; do sleep 0.05; done").start();
    eventually("it is started", secs(20), || (starts(&run, "main") == 1).then_some(()));
    never("it is restarted", Duration::from_secs(1), || starts(&run, "main") > 1);
    run.signal(15);
    run.exits(0);
}
