//! `portcullis wait` as a command: in place, in parallel, with its own exit codes, and gone at TERM.

use super::{wait_for, wait_with};
use crate::support::{Portcullis, Stopwatch, free_port, secs};
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
    let (stdout, _) = run.said();
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
fn who_was_not_ready_is_told_with_the_cause() {
    let port = free_port();
    let (closed, file) = (format!("tcp://127.0.0.1:{port}"), "file:///nonexistent");
    let said = wait_with(&["--timeout", "300ms", &closed, file, "dns://localhost"]).exits(69);
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.stderr);
    assert!(lines[0].contains(&closed) && lines[0].contains("connection refused") && lines[0].contains("check the port"), "{}", lines[0]);
    assert!(lines[1].contains(file) && lines[1].contains("No such file"), "{}", lines[1]);
    assert!(lines[2].contains("dns://localhost is ready after"), "{}", lines[2]);
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
    wait_with(&["--timeout", "soon", "tcp://h:1"]).exits(64);
    wait_with(&[]).exits(64);
}

#[test]
fn a_command_that_is_missing_or_no_program_ends_as_shells_say_it() {
    wait_with(&["file:///", "--", "/nonexistent/program"]).exits(127).says(&["cannot start /nonexistent/program", "127"]);
    wait_with(&["file:///", "--", "/etc/passwd"]).exits(126);
}

#[test]
fn pid_1_ends_at_once_by_term_and_int() {
    for (signal, code) in [(15, 143), (2, 130)] {
        let mut run = Portcullis::new().args(["wait", "file:///nonexistent"]).in_pid_namespace().start();
        let pid = run.pid();
        // The second thread is the one that listens for signals.
        let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        crate::support::eventually("it listens", secs(20), || (tasks() > 1).then_some(()));
        let since = Stopwatch::start();
        run.signal(signal);
        run.exits(code);
        assert!(since.elapsed() < std::time::Duration::from_millis(500), "{:?}", since.elapsed());
    }
}

#[test]
fn a_name_without_an_address_is_told_from_a_refusal() {
    wait_for("tcp://nonexistent.invalid:1").exits(69).says(&["name resolution failed"]);
}
