//! The leftovers of a process are found and ended, even if the machine shows little of them.

use crate::support::child::polite;
use crate::support::{Portcullis, Stopwatch, Terminal, eventually, free_port, process, root, secs, wait};
use std::net::TcpStream;
use std::time::Duration;

/// Reports its stop signal.
const DAEMON: &str = "(setsid bash -c 'trap \"echo cleaned; exit 0\" TERM; echo daemon; while :; do sleep 0.05; done' &)\n";

#[test]
fn leftovers_of_leftovers_get_a_stop_signal_too() {
    // A shell that dies of TERM leaves its own child behind, which has not got a signal yet.
    let script = "setsid sh -c 'sleep 300; echo x' & sleep 0.3";
    let watch = Stopwatch::start();
    let mut run = Portcullis::new().args(["run", "--bare", "--", "sh", "-c", script]).start();
    run.exits(0);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    run.leaves_nothing();
    // Three of them in a row, each of which cleans up first.
    let chain = "setsid bash -c 'trap \"echo one; exit\" TERM; bash -c \"trap \\\"echo two; exit\\\" TERM; sleep 301 & wait\" & echo up; wait' &\nwait\n";
    let mut run = Portcullis::new().args(["run", "--bare", "--", "bash", "-c", chain]).start();
    run.until_stdout("up", secs(20));
    eventually("the last one sleeps", secs(20), || process::all().into_iter().find(|pid| process::command_line(*pid) == "sleep 301 "));
    let watch = Stopwatch::start();
    process::send(run.child_pid("bash -c"), 9);
    run.exits(137);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    assert_eq!(run.streams().0, "up\none\ntwo\n");
    run.leaves_nothing();
}

#[test]
fn without_proc_all_processes_in_our_own_pid_namespace_get_a_stop_signal() {
    if !root("without_proc_all_processes_in_our_own_pid_namespace_get_a_stop_signal") {
        return;
    }
    let run = Portcullis::new();
    let script = run.script("unmount", "umount -l /proc\nexec \"$@\"\n");
    let run = run.in_pid_namespace().through(&script.display().to_string());
    let mut run = run.sh(&format!("{DAEMON}{}", polite())).start();
    run.until_stdout("daemon", secs(20));
    run.until_stdout("ready", secs(20));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    let (stdout, stderr) = run.streams();
    assert!(stdout.contains("cleaned") && stderr.contains("there is no /proc here"), "{stdout}\n{stderr}");
    run.leaves_nothing();
}

#[test]
fn the_proc_of_another_pid_namespace_is_not_used() {
    if !root("the_proc_of_another_pid_namespace_is_not_used") {
        return;
    }
    // Its numbers are others': what stands there under our own number is not below us.
    let mut run = Portcullis::new().through("unshare --pid --fork --kill-child").sh(&format!("{DAEMON}{}", polite())).start();
    run.until_stdout("daemon", secs(20));
    run.until_stdout("ready", secs(20));
    let init = process::children(run.pid())[0];
    process::send(init, 15);
    run.exits(0);
    assert!(run.streams().0.contains("cleaned"), "{:?}", run.streams());
    run.leaves_nothing();
}

#[test]
fn with_no_descriptor_left_the_leftovers_are_found() {
    let run = Portcullis::new().through("prlimit --nofile=40:40");
    let mut run = run.sh(&format!("{DAEMON}{}", polite())).start();
    run.until_stdout("daemon", secs(20));
    run.until_stdout("ready", secs(20));
    run.until_status("/livez", 200, secs(20));
    // Clients of the health endpoint use up the descriptors one by one.
    let taken: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(("127.0.0.1", run.port)).unwrap()).collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", run.pid())).map_or(0, Iterator::count);
    eventually("all are taken", secs(20), || (open() >= 40).then_some(()));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    assert!(run.streams().0.contains("cleaned"), "{}", run.streams().0);
    run.leaves_nothing();
    drop(taken);
}

#[test]
fn with_a_full_process_table_names_are_resolved_and_no_process_is_blamed() {
    if !root("with_a_full_process_table_names_are_resolved_and_no_process_is_blamed") {
        return;
    }
    // Room for our own threads and for none beside them, with a user of its own.
    let through = "setpriv --reuid 54373 --regid 54373 --clear-groups prlimit --nproc=4 --";
    let config = "[checks.target]\nurl = \"tcp://no-such-name.invalid:1\"\nwait = \"1s\"\n";
    let output = Portcullis::new().config(config).through(through).command(["true"]).output().exits(69);
    assert!(!output.stderr.contains("internal error of portcullis") && !output.stderr.contains("internal error"), "{}", output.stderr);
}

/// A run that waits for what never comes.
fn waiting() -> Portcullis {
    let target = format!("[checks.target]\nurl = \"tcp://127.0.0.1:{}\"\nwait = \"100s\"\n", free_port());
    Portcullis::new().config(&target).command(["true"])
}

#[test]
fn while_it_waits_every_signal_that_ends_a_process_ends_the_wait() {
    // USR1, USR2, PWR, RTMIN+3 as systemd has it, and WINCH: all of them are some image's STOPSIGNAL.
    for number in [10, 12, 30, 37, 28] {
        let mut run = waiting().in_pid_namespace().start();
        run.until_stderr("target is not ready", secs(20));
        let watch = Stopwatch::start();
        run.signal(number);
        run.exits(128 + number);
        assert!(watch.elapsed() < secs(5), "{number}: {:?}", watch.elapsed());
    }
    let mut run = waiting().in_pid_namespace().start();
    run.until_stderr("target is not ready", secs(20));
    for number in [17, 18, 20, 21, 22, 23] {
        run.signal(number);
    }
    wait::never("it ends", Duration::from_millis(300), || !run.runs());
    run.signal(15);
    run.exits(143);
}

#[test]
fn a_resize_of_the_terminal_ends_no_wait() {
    let (run, terminal): (_, Terminal) = waiting().in_pid_namespace().on_terminal();
    let mut run = run.start();
    terminal.until("target is not ready", secs(20));
    let device = std::fs::read_link(format!("/proc/{}/fd/0", run.pid())).unwrap();
    for rows in ["40", "50"] {
        let status = std::process::Command::new("stty").arg("-F").arg(&device).args(["rows", rows]).status().unwrap();
        assert!(status.success());
    }
    wait::never("it ends", Duration::from_millis(300), || !run.runs());
    // Below another init, which hands such a signal on, it is no end either.
    let mut below = waiting().start();
    below.until_stderr("target is not ready", secs(20));
    below.signal(28);
    wait::never("it ends", Duration::from_millis(300), || !below.runs());
    for run in [&mut run, &mut below] {
        run.signal(15);
        run.exits(143);
    }
}
