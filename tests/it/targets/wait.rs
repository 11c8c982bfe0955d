//! `portcullis wait` as a command: it executes in place, probes in parallel, has its own exit codes, and ends at TERM.

use super::{wait_for, wait_with};
use crate::support::{Exit, Portcullis, Stopwatch, free_port, secs};
use std::net::TcpListener;

#[test]
fn the_command_runs_in_place_with_clean_signals() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let mut run = Portcullis::new()
        .args(["wait", &target, "--", "sh", "-c", "echo pid $$; grep -E 'SigBlk|SigIgn' /proc/self/status; echo ready; read x"])
        .through("env --ignore-signal=HUP --block-signal=USR1")
        .start();
    run.until_stdout("ready", secs(20));
    run.until_stderr(&format!("portcullis: {target} is ready after "), secs(20));
    let (stdout, _) = run.streams();
    assert!(stdout.contains(&format!("pid {}\n", run.pid())), "{stdout}");
    assert_eq!(stdout.matches("0000000000000000").count(), 2, "{stdout}");
    run.wait_exit(secs(20));
}

#[test]
fn a_port_that_opens_is_noticed_within_a_moment() {
    let port = free_port();
    let mut run = Portcullis::new().args(["wait", &format!("tcp://127.0.0.1:{port}"), "--", "echo", "started"]).start();
    crate::support::wait::moment(std::time::Duration::from_millis(500));
    assert!(run.runs());
    let since = Stopwatch::start();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    run.until_stdout("started", secs(10));
    assert!(since.elapsed() < std::time::Duration::from_millis(250), "{:?}", since.elapsed());
    run.exits(0);
    drop(listener);
}

#[test]
fn targets_that_were_not_ready_are_reported_with_the_cause() {
    let port = free_port();
    let (closed, file) = (format!("tcp://127.0.0.1:{port}"), "file:///nonexistent");
    let said = wait_with(&["--timeout", "300ms", &closed, file, "dns://localhost"]).exits(69);
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.stderr);
    assert!(lines[0].contains(&closed) && lines[0].contains("connection refused") && lines[0].contains("check the port"), "{}", lines[0]);
    assert!(lines[1].contains(file) && lines[1].contains("No such file"), "{}", lines[1]);
    assert!(lines[2].contains("dns://localhost is ready after"), "{}", lines[2]);
    assert!(
        lines[3].starts_with("portcullis: gave up after 3") && lines[3].ends_with("2 of 3 targets not ready; exit code 69"),
        "{}",
        lines[3]
    );
}

#[test]
fn one_of_several_may_be_enough() {
    wait_with(&["--any", "file:///nonexistent", "file:///"]).exits(0).says(&["file:///nonexistent was not needed"]);
}

#[test]
fn json_is_one_document() {
    let said = wait_with(&["--json", "--timeout", "0s", "file:///nonexistent", "disk:///?free=1"]).exits(69);
    let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["ready"], false);
    assert_eq!(document["targets"][0]["class"], "missing");
    assert_eq!(document["targets"][1]["ready"], true);
    assert_eq!(said.stderr, "");
}

#[test]
fn wrong_words_are_64_and_never_repeat_a_password() {
    let said = wait_with(&["redis://:hunter2hunter2@h:0", "htp://h:1"]).exits(64).says(&["target 1: ", "target 2: ", "`http`"]);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    wait_with(&["https+x://h"]).exits(64).says(&["unknown kind `https+x`", "write `https://`"]);
    wait_with(&["127.0.0.1:99999"]).exits(64).says(&["a port that is not a number from 1 to 65535"]);
    wait_with(&["--timeout", "soon", "tcp://h:1"]).exits(64);
    wait_with(&[]).exits(64);
}

#[test]
fn a_command_that_is_missing_or_no_program_ends_as_shells_say_it() {
    wait_with(&["file:///", "--", "/nonexistent/program"]).exits(127).says(&["cannot start /nonexistent/program", "127"]);
    wait_with(&["file:///", "--", "/etc/passwd"]).exits(126);
}

#[test]
fn a_terminal_shows_a_line_a_target_that_never_wraps() {
    let long = format!("file:///nonexistent/{}", "x".repeat(100));
    let files = ["file:///nonexistent/3", "file:///nonexistent/4", "file:///nonexistent/5"];
    let new = Portcullis::new().args(["wait", "--timeout", "1s", "file:///", &long].iter().chain(&files)).env("TERM", "xterm");
    let narrow = new.script("narrow", "#!/bin/sh\nstty cols 40 rows 4 && exec \"$@\"\n");
    let (new, terminal) = new.on_terminal();
    let new = new.through(&format!("setsid --ctty {}", narrow.display()));
    let mut run = new.start();
    terminal.until("is ready after", secs(20));
    run.exits(69);
    let shown = terminal.shown();
    let (live, _) = shown.split_once("portcullis: ").unwrap();
    assert!(live.contains("missing") && live.contains("and 3 more; 1 of 5 are ready") && live.contains('\u{2026}'), "{live:?}");
    for frame in live.split("\x1b[3A\x1b[J") {
        assert!(frame.lines().count() <= 3 && frame.lines().all(|line| line.chars().count() < 40), "{frame:?}");
    }
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let (new, terminal) = Portcullis::new().args(["wait", "--timeout", "300ms", "file:///nonexistent"]).env("TERM", "dumb").on_terminal();
    let mut run = new.start();
    terminal.until("is not ready: not there", secs(20));
    run.exits(69);
    assert!(!terminal.shown().contains('\x1b'), "{:?}", terminal.shown());
}

/// The examples of the table of targets in docs/waiting.md.
fn examples() -> Vec<&'static str> {
    let table =
        include_str!("../../../docs/waiting.md").split("| target | it is ready when |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').step_by(2)).filter(|example| !example.contains('\u{2026}') && !example.contains(" = ")).collect()
}

#[test]
fn every_example_of_the_manual_is_understood_by_wait_and_by_plan() {
    let examples = examples();
    assert!(examples.len() >= 20, "{examples:?}");
    for example in examples {
        let config = format!("[checks.it]\nurl = '{example}'\n[modes.api]\ncommand = [\"true\"]\n[modules.beat]\ncommand = [\"true\"]\n");
        let said = Portcullis::new().config(&config).env("MODE", "api").args(["plan"]).output().exits(0);
        assert!(said.stdout.contains("it"), "{example}: {}", said.stdout);
        if example.starts_with("process:") {
            continue;
        }
        let said = Portcullis::new().args(["wait", "--timeout", "0s", "--try-timeout", "200ms", example]).output();
        assert!(matches!(said.exit, Exit::Code(0 | 69)), "{example}: {:?} {}", said.exit, said.stderr);
    }
}

#[test]
fn pid_1_ends_at_once_by_term_and_int() {
    let commands: [&[&str]; 3] = [
        &["wait", "file:///nonexistent"],
        &["status", "--watch", "--socket", "/nonexistent.sock"],
        &["ready", "api", "--watch", "--url", "redis://127.0.0.1:1/0"],
    ];
    for (command, (signal, code)) in commands.iter().flat_map(|command| [(15, 143), (2, 130)].map(|end| (*command, end))) {
        let mut run = Portcullis::new().args(command).in_pid_namespace().start();
        let status = format!("/proc/{}/status", run.pid());
        // The mask of the signals that have a handler (proc_pid_status(5)).
        let caught = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let mask = text.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
            mask.is_some_and(|mask| mask & 1 << (signal - 1) != 0)
        };
        crate::support::eventually("it listens", secs(20), || caught().then_some(()));
        let since = Stopwatch::start();
        run.signal(signal);
        run.exits(code);
        assert!(since.elapsed() < std::time::Duration::from_millis(500), "{command:?}: {:?}", since.elapsed());
    }
}

#[test]
fn a_name_without_an_address_is_distinguished_from_a_refusal() {
    wait_for("tcp://nonexistent.invalid:1").exits(69).says(&["name resolution failed"]);
}

#[test]
fn a_script_of_wait_for_it_finds_what_it_needs() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for words in [
        &["-h", "127.0.0.1", "-p", &port, "-t", "5", "--", "echo", "started"][..],
        &[&format!("127.0.0.1:{port}"), "--strict", "--timeout=5", "--", "echo", "started"],
        &[&format!("127.0.0.1:{port}"), "-t", "0", "--", "echo", "started"],
    ] {
        assert_eq!(wait_with(words).exits(0).stdout, "started\n", "{words:?}");
    }
    let quiet = wait_with(&["-q", &format!("127.0.0.1:{port}")]).exits(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    drop(listener);
    let late = wait_with(&["-q", "-t", "1", &format!("127.0.0.1:{}", free_port()), "--", "echo", "started"]).exits(69);
    assert_eq!(
        (late.stdout.as_str(), late.stderr.as_str()),
        ("", ""),
        "the command runs after a timeout only without --strict there, and never here"
    );
    assert!(wait_with(&["-h"]).exits(0).stdout.contains("--port"));
    wait_with(&["-h", "127.0.0.1"]).exits(64).says(&["--port"]);
}

/// Ends the session of a `wait --stable 2s` three times: it may end two seconds after the last time at the earliest.
fn lost_three_times(url: &str, end: impl Fn() -> bool) {
    let mut run = Portcullis::new().args(["wait", "--stable", "2s", "--interval", "100ms", "--timeout", "60s", url]).start();
    for _ in 0..3 {
        crate::support::eventually("a session is ended", secs(20), || end().then_some(()));
    }
    let last = run.since.elapsed();
    run.exits(0);
    let took = run.since.elapsed();
    assert!(took >= last + std::time::Duration::from_millis(1900), "{url}: it ended after {took:?}, the last session at {last:?}");
}

#[test]
fn a_session_that_was_lost_is_a_break() {
    let redis = crate::support::Redis::start();
    let killed = |reply| matches!(reply, crate::support::redis::Reply::Number(count) if count > 0);
    lost_three_times(&redis.url(), || killed(redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])));
    let postgres = crate::support::Postgres::start();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'portcullis'";
    lost_three_times(&postgres.url(), || postgres.psql(end) == "1");
    let mariadb = crate::support::MariaDb::start("secret", &[]);
    let killed = || {
        let id = mariadb.sql("SELECT min(id) FROM information_schema.processlist WHERE user = 'app' AND command = 'Sleep'");
        id.parse::<u64>().is_ok_and(|id| mariadb.try_sql(&format!("KILL {id}")).is_ok())
    };
    lost_three_times(&format!("mysql://app:secret@127.0.0.1:{}/app", mariadb.port), killed);
}

#[test]
fn the_last_line_names_the_cause_that_stood_longest() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    // It closes in place of an answer for two seconds, and says nothing from then on.
    std::thread::spawn(move || {
        let (mut since, mut held) = (None, Vec::new());
        for stream in listener.incoming().flatten() {
            if since.get_or_insert_with(Stopwatch::start).elapsed() > secs(2) {
                held.push(stream);
            }
        }
    });
    let said = wait_with(&["--timeout", "3s", "--try-timeout", "200ms", &url]).exits(69);
    let line = said.stderr.lines().rev().nth(1).unwrap_or_default().to_owned();
    assert!(line.starts_with(&format!("portcullis: {url} is not ready: connection closed")), "{line}");
    assert!(line.contains("; at last: timed out"), "{line}");
}
