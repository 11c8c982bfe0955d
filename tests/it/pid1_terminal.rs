//! PID 1 and a terminal: it belongs to the process, ctrl-C arrives once, and ctrl-Z leaves no process stuck.

use crate::support::child::talker;
use crate::support::{Portcullis, Running, Terminal, eventually, process, secs, wait};
use std::time::Duration;

/// Reads lines and repeats them.
const ECHO: &str = "stty -echo; echo listening; while read line; do echo \"heard $line\"; done";

fn on_terminal(pid1: bool, args: &[&str]) -> (Running, Terminal) {
    let (new, terminal) = Portcullis::new().args(args.iter().copied()).env("TERM", "dumb").on_terminal();
    (if pid1 { new.in_pid_namespace().start() } else { new.start() }, terminal)
}

#[test]
fn a_shell_has_job_control() {
    for pid1 in [false, true] {
        let (mut run, mut terminal) = on_terminal(pid1, &["run", "--bare", "--", "bash", "--norc", "--noprofile"]);
        terminal.type_in("echo \"flags [$-]\"; exit 6\n");
        run.exits(6);
        terminal.until("flags [himBHs]", secs(5));
    }
}

#[test]
fn ctrl_c_reaches_the_process_once_and_its_code_is_its_own() {
    for pid1 in [false, true] {
        let script = talker(&[1, 18], 0) + "\n";
        let script = script.replace("echo ready", "trap 'echo got 2; exit 3' INT; echo listening");
        let (mut run, mut terminal) = on_terminal(pid1, &["run", "--", "bash", "-c", &script]);
        terminal.until("listening", secs(20));
        terminal.type_in("\x03");
        run.exits(3);
        terminal.until("got 2", secs(5));
        let shown = terminal.shown();
        assert_eq!(shown.matches("got 2").count(), 1, "{shown}");
        // Nothing is lost or invented on the way of the terminal from us to the child.
        assert!(!shown.contains("got 1\r") && !shown.contains("got 18"), "{shown}");
    }
}

#[test]
fn ctrl_c_before_there_is_a_process_ends_with_130() {
    let config = "[checks.db]\nurl = \"tcp://127.0.0.1:9\"\nwait = \"60s\"\n";
    let (new, mut terminal) = Portcullis::new().config(config).command(["true"]).on_terminal();
    let mut run = new.start();
    terminal.until("waiting for db", secs(20));
    terminal.type_in("\x03");
    run.exits(130);
}

#[test]
fn ctrl_z_as_pid_1_lets_the_process_go_on() {
    let (mut run, mut terminal) = on_terminal(true, &["run", "--bare", "--", "sh", "-c", ECHO]);
    terminal.until("listening", secs(20));
    terminal.type_in("\x1a");
    terminal.type_in("one\n");
    terminal.until("heard one", secs(20));
    terminal.type_in("\x04");
    run.exits(0);
}

#[test]
fn ctrl_z_below_a_shell_suspends_the_job_until_it_is_resumed() {
    let inner = crate::support::portcullis::binary();
    let (new, mut terminal) = Portcullis::new().program("bash").args(["--norc", "--noprofile"]).env("TERM", "dumb").on_terminal();
    let dir = new.dir().to_owned();
    let script = new.script("echo-lines", ECHO);
    let mut run = new.start();
    terminal.type_in(&format!("{} run --bare -- {}\n", inner.display(), script.display()));
    terminal.until("listening\r\n", secs(20));
    let own = eventually("portcullis runs", secs(20), || process::children(run.pid()).first().copied());
    let child = eventually("its child runs", secs(20), || process::children(own).first().copied());
    for (job, line) in [("one", "heard one"), ("two", "heard two")] {
        terminal.type_in("\x1a");
        eventually("both stand still", secs(20), || (process::stands_still(own) && process::stands_still(child)).then_some(()));
        terminal.type_in(&format!("echo $((20+1)){job}\n"));
        terminal.until(&format!("21{job}"), secs(20));
        terminal.type_in("fg\n");
        eventually("both go on", secs(20), || (!process::stands_still(own) && !process::stands_still(child)).then_some(()));
        terminal.type_in(&format!("{job}\n"));
        terminal.until(line, secs(20));
    }
    // In the background it goes on as well, without the terminal.
    terminal.type_in("\x1a");
    eventually("both stand still", secs(20), || (process::stands_still(own) && process::stands_still(child)).then_some(()));
    terminal.type_in("kill -CONT %1; echo $((30+1))bg\n");
    terminal.until("31bg", secs(20));
    terminal.type_in("kill -KILL %1; exit 5\n");
    terminal.type_in("exit 5\n");
    run.exits(5);
    drop(dir);
}

#[test]
fn the_terminal_is_handed_to_each_process_in_turn() {
    let config = "[migrations]\ncommand = [\"sh\", \"-c\", \"read line; echo migration heard $$line\"]\nlock = \"none\"\n\
                  [process]\nrestart = \"always\"\nrestart_delay = \"0s\"\nrestart_limit = 1\n";
    for pid1 in [false, true] {
        let (new, mut terminal) =
            Portcullis::new().config(config).sh("echo listening; read line; echo process heard $line; exit 4").on_terminal();
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        terminal.until("running the migration, without a lock", secs(20));
        terminal.type_in("one\n");
        terminal.until("migration heard one", secs(20));
        terminal.until("listening\r", secs(20));
        terminal.type_in("two\n");
        terminal.until("process heard two", secs(20));
        eventually("it is started again", secs(20), || (terminal.shown().matches("listening\r").count() == 2).then_some(()));
        terminal.type_in("three\n");
        terminal.until("process heard three", secs(20));
        run.exits(4);
    }
}

#[test]
fn a_hangup_of_the_terminal_reaches_the_process() {
    let script = "trap 'echo hangup > hung; exit 8' HUP; echo listening; sleep 1000 & wait";
    let (new, terminal) = Portcullis::new().sh(script).on_terminal();
    let hung = new.dir().join("hung");
    let mut run = new.start();
    terminal.until("listening", secs(20));
    wait::never("it ends before", Duration::from_millis(50), || !run.runs());
    terminal.hang_up();
    run.exits(8);
    assert_eq!(std::fs::read_to_string(hung).unwrap(), "hangup\n");
}
