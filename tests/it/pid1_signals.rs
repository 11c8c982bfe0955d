//! PID 1 and signals: each one goes to the right process, once, and a stopped child does not count as ended.

use crate::support::child::{polite, talker};
use crate::support::{Exit, Portcullis, eventually, process, root, secs, wait};
use std::time::Duration;

#[test]
fn signals_that_usually_report_faults_are_forwarded_if_a_process_sends_them() {
    let faults = [4, 5, 6, 7, 8, 11, 16, 31];
    for pid1 in [false, true] {
        let new = Portcullis::new().sh(&talker(&faults, 0));
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        run.until_stdout("ready", secs(20));
        for signal in faults {
            run.signal(signal);
            run.until_stdout(&format!("got {signal}\n"), secs(20));
        }
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn the_thread_librarys_own_signals_are_forwarded_too() {
    for signal in [32, 33] {
        let mut run = Portcullis::new().sh(&polite()).start();
        run.until_stdout("ready", secs(20));
        run.signal(signal);
        run.exits(128 + signal);
    }
}

#[test]
fn hundreds_of_orphans_at_once_leave_no_zombie() {
    let orphans = "i=0; while [ $i -lt 300 ]; do (sh -c : &); i=$((i+1)); done\n";
    let mut run = Portcullis::new().in_pid_namespace().sh(&format!("{orphans}{}", talker(&[], 5))).start();
    run.until_stdout("ready", secs(60));
    let own = run.pid();
    eventually("one child is left, alive", secs(20), || {
        let children = process::children(own);
        (children.len() == 1 && process::alive(children[0])).then_some(())
    });
    run.signal(15);
    run.exits(5);
}

#[test]
fn twenty_thousand_orphans_are_reaped_and_the_code_kept() {
    let count = if crate::support::slow("20,000 orphans; 2,000 are made now") { 20_000 } else { 2_000 };
    // Two forks an orphan: the middle process ends at once, and its child is ours.
    let script = format!("for (1..{count}) {{ unless (fork) {{ fork; exit }} wait }} exit 9");
    let output = Portcullis::new().in_pid_namespace().args(["run", "--bare", "--", "perl", "-e", &script]).start();
    let mut run = output;
    assert_eq!(run.wait_exit(secs(240)), Exit::Code(9), "{}", run.streams().1);
    run.leaves_nothing();
}

#[test]
fn a_stopped_child_does_not_count_as_ended() {
    let mut run = Portcullis::new().in_pid_namespace().sh(&talker(&[18], 4)).start();
    run.until_stdout("ready", secs(20));
    let child = run.child_pid("sh");
    for signal in [19, 20] {
        process::send(child, signal);
        eventually("the child stands still", secs(10), || process::stands_still(child).then_some(()));
        wait::never("portcullis ends or wakes it", Duration::from_millis(100), || !run.runs() || !process::stands_still(child));
        run.signal(18);
        eventually("the child goes on", secs(10), || (!process::stands_still(child)).then_some(()));
    }
    run.signal(15);
    run.exits(4);
}

#[test]
fn tstp_reaches_the_child_and_without_a_terminal_we_go_on() {
    let mut run = Portcullis::new().sh(&talker(&[20, 21, 22, 28], 4)).start();
    run.until_stdout("ready", secs(20));
    for signal in [20, 21, 22, 28] {
        run.signal(signal);
        run.until_stdout(&format!("got {signal}\n"), secs(20));
        assert!(!process::stands_still(run.pid()), "stopped by {signal}");
    }
    run.signal(15);
    run.exits(4);
}

#[test]
fn in_group_scope_job_control_stops_both_as_with_dumb_init() {
    for pid1 in [false, true] {
        let words = ["run", "--bare", "--signal-scope", "group", "--", "bash", "-c"];
        let talker = talker(&[18], 4);
        let new = Portcullis::new().args(words.into_iter().chain([talker.as_str()]));
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        run.until_stdout("ready", secs(20));
        let (own, child) = (run.pid(), run.child_pid("sh"));
        for (count, signal) in [20, 21, 22].into_iter().enumerate() {
            run.signal(signal);
            eventually("the child stands still", secs(10), || process::stands_still(child).then_some(()));
            if !pid1 {
                eventually("and so do we", secs(10), || process::stands_still(own).then_some(()));
            }
            run.signal(18);
            eventually("both go on", secs(10), || (!process::stands_still(child) && !process::stands_still(own)).then_some(()));
            eventually("the child gets it", secs(10), || (run.streams().0.matches("got 18").count() == count + 1).then_some(()));
        }
        run.signal(15);
        run.exits(4);
        assert_eq!(run.streams().0.matches("got 18").count(), 3, "a child that runs needs no CONT\n{}", run.streams().0);
    }
}

#[test]
fn in_group_scope_every_member_gets_the_signal_and_by_default_none_but_the_child() {
    for (scope, expected) in [("group", 2), ("child", 1)] {
        let run = Portcullis::new();
        let helper = run.script("helper", &talker(&[10], 0).replace("echo ready", "echo helper"));
        let script = format!("{} &\n{}", helper.display(), talker(&[10], 3));
        let mut run = run.args(["run", "--signal-scope", scope, "--", "bash", "-c", &script]).start();
        run.until_stdout("ready", secs(20));
        run.until_stdout("helper", secs(20));
        run.signal(10);
        run.until_stdout("got 10", secs(20));
        eventually(scope, secs(10), || (run.streams().0.matches("got 10").count() == expected).then_some(()));
        run.signal(15);
        run.exits(3);
        assert_eq!(run.streams().0.matches("got 10").count(), expected, "{scope}");
    }
}

#[test]
fn signals_are_rewritten_and_ignored() {
    let script = talker(&[1, 3, 10, 12], 0).replace("echo 'got 3'", "exit 31");
    let options = [
        "run",
        "--rewrite",
        "TERM=QUIT",
        "--rewrite",
        "USR1=12",
        "--ignore-signal",
        "HUP",
        "--ignore-signal",
        "WINCH",
        "--stop-timeout=300ms",
    ];
    let mut run = Portcullis::new().args(options.into_iter().chain(["--", "bash", "-c", &script])).start();
    run.until_stdout("ready", secs(20));
    run.signal(1);
    run.signal(10);
    run.until_stdout("got 12", secs(20));
    run.signal(15);
    run.until_stdout("got 3\n", secs(20));
    let said = run.streams().0;
    assert!(!said.contains("got 1\n") && !said.contains("got 10") && !said.contains("got 15"), "{said}");
    run.exits(137);
}

#[test]
fn other_signals_may_start_the_stop() {
    let config = "[process]\nstop_on = [\"QUIT\", \"RTMIN+3\"]\nstop_signal = \"TERM\"\n";
    for signal in [3, 37] {
        let mut run = Portcullis::new().config(config).sh(&talker(&[3, 37], 8)).start();
        run.until_stdout("ready", secs(20));
        run.signal(signal);
        run.exits(8);
        let said = run.streams().0;
        assert!(said.contains("got 15") && !said.contains(&format!("got {signal}\n")), "{said}");
    }
}

#[test]
fn a_child_that_must_not_be_signalled_does_not_end_the_run() {
    if !root("a_child_that_must_not_be_signalled_does_not_end_the_run") {
        return;
    }
    // Without CAP_KILL root may not signal another user's process.
    let config = "[process]\nuser = \"54321:54321\"\n";
    let new = Portcullis::new().config(config).through("setpriv --bounding-set -kill --inh-caps -kill");
    crate::support::chmod(new.dir(), 0o777);
    let mut run = new.sh(&talker(&[10], 7)).start();
    run.until_stdout("ready", secs(20));
    run.signal(10);
    run.until_stderr("cannot send SIGUSR1", secs(20));
    assert!(run.runs());
    // Asked from outside it ends, and its code is the exit.
    process::send(run.child_pid("sh"), 15);
    run.exits(7);
}

#[test]
fn idle_it_never_wakes() {
    let mut run = Portcullis::new().args(["run", "--bare", "--", "bash", "-c", &polite()]).start();
    run.until_stdout("ready", secs(20));
    let own = run.pid();
    let switches = || {
        let threads = std::fs::read_dir(format!("/proc/{own}/task")).unwrap().flatten();
        let count = |thread: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            text.lines().filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok()).sum()
        };
        threads.map(count).sum::<u64>()
    };
    // The last line of the start may still be on its way when the child speaks.
    eventually("it comes to rest", secs(20), || {
        let before = switches();
        wait::never("", Duration::from_millis(300), || false);
        (switches() == before).then_some(())
    });
    let before = switches();
    wait::never("it wakes", secs(3), || switches() != before);
    run.signal(15);
    run.exits(0);
}

#[test]
fn the_child_dies_with_us_only_if_requested() {
    for (option, dies) in [("--parent-death-signal=TERM", true), ("--stop-timeout=8s", false)] {
        let mut run = Portcullis::new().args(["run", option, "--", "bash", "-c", &talker(&[], 0)]).start();
        run.until_stdout("ready", secs(20));
        let child = run.child_pid("sh");
        run.signal(9);
        assert_eq!(run.wait_exit(secs(20)), Exit::Signal(9));
        if dies {
            run.until_stdout("got 15", secs(20));
            eventually("the child ends", secs(20), || (!process::alive(child)).then_some(()));
        } else {
            wait::never("the child ends", Duration::from_millis(200), || !process::alive(child));
        }
    }
}
