//! Restarts of the process in the container: when, how soon, how often, and never against the operator's will.

use crate::support::child::talker;
use crate::support::{Portcullis, Stopwatch, eventually, free_port, secs, wait};
use std::net::TcpListener;
use std::time::Duration;

fn restarting(more: &str) -> Portcullis {
    Portcullis::new().config(&format!("[process]\nrestart = \"on-failure\"\nrestart_delay = \"20ms\"\n{more}"))
}

/// Counts its starts in a file, and goes on with `then`.
fn counting(then: &str) -> String {
    format!("echo x >> starts; n=$(($(wc -l < starts)))\n{then}")
}

#[test]
fn it_is_restarted_after_a_failure_and_not_after_a_success() {
    let run = restarting("");
    let dir = run.dir().to_owned();
    let mut run = run.sh(&counting("echo start $n; [ $n = 3 ] && exit 0; exit 7")).start();
    run.exits(0);
    let said = run.streams().0;
    assert_eq!(said, "start 1\nstart 2\nstart 3\n", "{}", dir.display());
}

#[test]
fn a_signal_is_a_failure_and_the_limit_ends_with_the_last_status() {
    let mut run = restarting("restart_limit = 2\n").sh(&counting("echo start $n; kill -SEGV $$")).start();
    run.exits(139);
    assert_eq!(run.streams().0.matches("start").count(), 3);
    run.until_stderr("it is not restarted: `restart_limit` allows 2 restarts in a row, until it has run for", secs(5));
}

#[test]
fn the_limit_counts_failures_that_follow_each_other() {
    let config = "[process]\nrestart = \"on-failure\"\nrestart_delay = \"100ms\"\nrestart_reset = \"1s\"\nrestart_limit = 1\n";
    // Longer than `restart_reset` each, so that not one of them counts for the next.
    let mut run = Portcullis::new().config(config).sh(&counting("[ $n = 5 ] && exit 0; sleep 1.2; exit 1")).start();
    run.exits(0);
}

#[test]
fn status_125_means_that_a_restart_is_of_no_use() {
    let run = Portcullis::new().config("[process]\nrestart = \"always\"\nrestart_delay = \"0s\"\n");
    let output = run.sh("echo start; exit 125").output().exits(125).says(&["that status means that a restart is of no use"]);
    assert_eq!(output.stdout, "start\n");
}

#[test]
fn the_pauses_grow() {
    let run = Portcullis::new().config("[process]\nrestart = \"always\"\nrestart_delay = \"100ms\"\nrestart_limit = 3\n");
    let watch = Stopwatch::start();
    run.sh("exit 1").output().exits(1);
    // 100, 200 and 400 ms, each less a fifth at most.
    assert!(watch.elapsed() >= Duration::from_millis(560), "{:?}", watch.elapsed());
}

#[test]
fn a_stop_during_the_pause_leaves_at_once() {
    let mut run = Portcullis::new().config("[process]\nrestart = \"always\"\nrestart_delay = \"60s\"\n").sh("echo ready; exit 1").start();
    run.until_stdout("ready", secs(20));
    let own = run.pid();
    eventually("the process is gone", secs(20), || crate::support::process::children(own).is_empty().then_some(()));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(143);
    assert!(watch.elapsed() < secs(2), "{:?}", watch.elapsed());
}

#[test]
fn a_process_that_got_a_stop_signal_is_not_restarted() {
    let mut run = Portcullis::new().config("[process]\nrestart = \"always\"\nrestart_delay = \"0s\"\n").sh(&talker(&[], 7)).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(7);
    assert_eq!(run.streams().0, "ready\ngot 15\n");
}

#[test]
fn dependencies_are_probed_again_before_each_start() {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let checks = format!("[checks.db]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"60s\"\n");
    let run = restarting(&checks);
    let mut run = run.sh(&counting(&format!("echo start $n; {}", talker(&[], 7)))).start();
    run.until_stdout("start 1\nready", secs(20));
    drop(listener);
    crate::support::process::send(run.child_pid("sh"), 9);
    run.until_status("/readyz", 500, secs(20));
    wait::never("it is started without its dependency", Duration::from_millis(400), || run.streams().0.contains("start 2"));
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    run.until_stdout("start 2\nready", secs(20));
    run.signal(15);
    run.exits(7);
}

#[test]
fn leftovers_in_the_old_processs_group_end_before_the_new_one_starts() {
    let run = Portcullis::new().config("[process]\nrestart = \"on-failure\"\nrestart_delay = \"500ms\"\n");
    let helper = run.script("helper", "trap 'echo helper ends; exit' TERM\necho helper; sleep 1000 & wait\n");
    let script = counting(&format!("[ $n = 1 ] || {{ echo second; exit 0; }}\n{} & wait $!\n", helper.display()));
    let mut run = run.sh(&script).start();
    run.until_stdout("helper\n", secs(20));
    crate::support::process::send(run.child_pid("sh -c"), 9);
    run.exits(0);
    let said = run.streams().0;
    let place = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words:?} is not in {said}"));
    assert!(place("helper ends") < place("second"), "{said}");
    run.leaves_nothing();
}
