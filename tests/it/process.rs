//! One process as the main process of a container: exit codes, signals, reaping, PID 1.

use crate::support::child::{polite, stubborn, talker};
use crate::support::{Exit, Portcullis, Stopwatch, eventually, process, secs, slow, wait};
use std::io::Write;
use std::time::Duration;

/// What a process may be sent and portcullis hands on: not KILL and STOP (the kernel's), CHLD (ours), TERM and INT (the stop), the fault
/// signals (a fault is never sent by another process) and 32, 33 (the thread library's own).
fn forwardable() -> Vec<i32> {
    let own = [4, 5, 6, 7, 8, 9, 11, 15, 2, 17, 18, 19, 31, 32, 33];
    (1..=64).filter(|number| !own.contains(number)).collect()
}

#[test]
fn a_command_runs_without_any_dependency() {
    let output = Portcullis::new().command(["echo", "hello"]).output().exits(0);
    assert_eq!(output.stdout, "hello\n");
}

#[test]
fn a_missing_heartbeat_is_logged_once() {
    let output = Portcullis::new().command(["true"]).output().exits(0);
    let lines = output.stderr.lines().filter(|line| line.contains("heartbeat")).count();
    assert_eq!(lines, 1, "{}", output.stderr);
}

#[test]
fn the_exit_code_is_the_processes_own() {
    for code in [0, 1, 7, 64, 78, 130, 255] {
        Portcullis::new().sh(&format!("exit {code}")).output().exits(code);
    }
}

#[test]
fn death_by_signal_n_is_128_plus_n() {
    for signal in [1, 6, 9, 11, 15, 34, 64] {
        Portcullis::new().sh(&format!("kill -{signal} $$")).output().exits(128 + signal);
    }
}

#[test]
fn the_last_line_has_the_reason_and_the_code() {
    let output = Portcullis::new().sh("exit 7").output().exits(7);
    let last = output.stderr.lines().last().unwrap_or_default();
    assert!(last.contains('7'), "{last:?}");
}

#[test]
fn a_requested_end_is_not_an_error() {
    let sleeps = "echo up; exec sleep 1000";
    let own_code = "trap 'kill $!; exit 3' TERM; sleep 1000 & echo up; wait";
    for (requested, script, code, level) in [(true, sleeps, 143, "info"), (true, own_code, 3, "error"), (false, "kill $$", 143, "error")] {
        let mut run = Portcullis::new().sh(script).start();
        if requested {
            run.until_stdout("up", secs(20));
            run.signal(15);
        }
        run.exits(code);
        let said = run.streams().1;
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains(&format!(" {level} ")), "{script}: {last}");
    }
}

#[test]
fn a_missing_command_is_127_and_is_named() {
    Portcullis::new().command(["/no/such/program"]).output().exits(127).says(&["/no/such/program"]);
    Portcullis::new().command(["no-such-program"]).output().exits(127).says(&["no-such-program"]);
}

#[test]
fn a_missing_interpreter_is_127() {
    let run = Portcullis::new();
    let script = crate::support::executable(&run.dir().join("odd"), "#!/no/such/interpreter\n");
    run.command([script]).output().exits(127);
}

#[test]
fn a_command_that_is_not_executable_is_126() {
    let run = Portcullis::new();
    let file = run.file("plain", "#!/bin/sh\n");
    run.command([file.clone()]).output().exits(126).says(&["plain"]);
    Portcullis::new().command(["/tmp"]).output().exits(126);
}

#[test]
fn arguments_arrive_as_they_were_written() {
    let words = ["printf", "%s|", "", "two words", "*", "$HOME", "--help", "--"];
    let output = Portcullis::new().command(words).output().exits(0);
    assert_eq!(output.stdout, "|two words|*|$HOME|--help|--|");
}

#[test]
fn the_child_gets_the_environment_and_the_directory() {
    let run = Portcullis::new().env("PLAIN", "as it was");
    let dir = run.dir().to_owned();
    let output = run.sh("echo $PLAIN; pwd").output().exits(0);
    assert_eq!(output.stdout, format!("as it was\n{}\n", dir.display()));
}

#[test]
fn term_stops_the_child_and_its_status_is_the_exit() {
    let mut run = Portcullis::new().sh(&talker(&[], 3)).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(3);
    run.until_stdout("got 15", secs(5));
}

#[test]
fn a_child_that_dies_of_the_stop_signal_is_143() {
    let mut run = Portcullis::new().sh("echo ready; exec tail -f /dev/null").start();
    run.child_pid("tail");
    run.signal(15);
    run.exits(143);
}

#[test]
fn a_child_that_ignores_term_is_killed_after_the_stop_timeout() {
    let mut run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "700ms").sh(&stubborn()).start();
    run.until_stdout("ready", secs(20));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(137);
    assert!(watch.elapsed() >= Duration::from_millis(650), "killed after {:?}", watch.elapsed());
}

#[test]
fn the_third_term_kills() {
    let mut run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "100s").sh(&stubborn()).start();
    run.until_stdout("ready", secs(20));
    let own = run.pid();
    for _ in 0..3 {
        run.signal(15);
        eventually("the signal is taken", secs(10), || (!pending(own, 15)).then_some(()));
        wait::never("ends before the third", Duration::from_millis(50), || false);
    }
    assert_eq!(run.wait_exit(secs(20)), Exit::Code(137));
}

fn pending(pid: i32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned);
    let bits = |name| u64::from_str_radix(&field(name).unwrap_or_default(), 16).unwrap_or(0);
    (bits("SigPnd:") | bits("ShdPnd:")) & (1 << (signal - 1)) != 0
}

#[test]
fn every_forwardable_signal_reaches_the_child() {
    for pid1 in [false, true] {
        let new = Portcullis::new().sh(&talker(&forwardable(), 0));
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        run.until_stdout("ready", secs(20));
        for signal in forwardable() {
            run.signal(signal);
            run.until_stdout(&format!("got {signal}\n"), secs(20));
        }
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn a_stopped_child_is_continued_for_the_stop() {
    let mut run = Portcullis::new().sh(&polite()).start();
    run.until_stdout("ready", secs(20));
    let child = run.child_pid("sh");
    process::send(child, 19);
    eventually("the child stands still", secs(10), || (process::stat(child)?.0 == 'T').then_some(()));
    run.signal(15);
    run.exits(0);
}

#[test]
fn the_child_starts_with_an_empty_mask_and_default_dispositions() {
    let start = |through: &str| {
        let output = Portcullis::new().through(through).command(["grep", "Sig", "/proc/self/status"]).output().exits(0);
        let value = |name: &str| output.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        (value("SigBlk:"), value("SigIgn:"))
    };
    let none = || "0".repeat(16);
    assert_eq!(start("env --block-signal"), (none(), none()), "all blocked before");
    assert_eq!(start("env --ignore-signal=HUP --ignore-signal=PIPE --ignore-signal=USR1"), (none(), none()), "some ignored before");
}

#[test]
fn an_ignored_sigchld_does_not_hang() {
    Portcullis::new().through("env --ignore-signal=CHLD").sh("exit 4").output().exits(4);
}

#[test]
fn term_blocked_before_the_start_still_stops() {
    let mut run = Portcullis::new().through("env --block-signal=TERM").sh(&talker(&[], 6)).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(6);
}

#[test]
fn works_as_pid_1_and_reaps_what_is_left_to_it() {
    let orphans = "for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'exit 0' &); done\n";
    for pid1 in [false, true] {
        let new = Portcullis::new().sh(&format!("{orphans}{}", talker(&[], 5)));
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        run.until_stdout("ready", secs(20));
        let own = run.pid();
        let zombies =
            || process::children(own).into_iter().filter(|pid| process::stat(*pid).is_some_and(|(state, _)| state == 'Z')).count();
        eventually("no zombie is left", secs(20), || (zombies() == 0).then_some(()));
        run.signal(15);
        run.exits(5);
    }
}

#[test]
fn survivors_get_term_after_the_main_child_and_leave_nothing() {
    let run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "20s");
    let helper = run.script("helper", &talker(&[], 0).replace("got 15", "helper got 15").replace("ready", "helper ready"));
    let main = talker(&[], 9).replace("got 15", "main got 15").replace("ready", "main waits");
    let mut run = run.sh(&format!("{0} & setsid {0} &\n{main}", helper.display())).start();
    eventually("both helpers are ready", secs(20), || (run.streams().0.matches("helper ready").count() == 2).then_some(()));
    run.until_stdout("main waits", secs(20));
    run.signal(15);
    run.exits(9);
    let said = run.streams().0;
    let order: Vec<&str> = said.lines().filter(|line| line.contains("got 15")).collect();
    assert_eq!(order, ["main got 15", "helper got 15", "helper got 15"]);
    run.leaves_nothing();
}

#[test]
fn survivors_that_ignore_term_are_killed() {
    let run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "1s");
    let helper = run.script("helper", &stubborn());
    let mut run = run.sh(&format!("setsid {} &\n{}", helper.display(), talker(&[], 9).replace("ready", "main waits"))).start();
    run.until_stdout("ready", secs(20));
    run.until_stdout("main waits", secs(20));
    run.signal(15);
    run.exits(9);
    run.leaves_nothing();
}

#[test]
fn the_last_line_is_written_whatever_the_log_leaves_out() {
    for (level, status) in [("off", 3), ("error", 0), ("portcullis=off", 3)] {
        let output = Portcullis::new().env("PORTCULLIS_LOG", level).sh(&format!("exit {status}")).output().exits(status);
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].ends_with(&format!("; exit code {status}")), "{level}: {}", output.stderr);
    }
    let output = Portcullis::new().env("PORTCULLIS_LOG", "off").config("nonsense = 1").output().exits(78);
    assert!(output.stderr.trim().ends_with("the configuration has errors; exit code 78"), "{}", output.stderr);
}

#[test]
fn closed_standard_streams_harm_nothing() {
    let run = Portcullis::new();
    let closed = run.script("closed", "exec \"$@\" <&- >&- 2>&-\n");
    run.through(&closed.display().to_string()).sh("exit 8").output().exits(8);
}

#[test]
fn a_full_or_broken_stderr_never_blocks_the_stop() {
    for full in [true, false] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = if full {
            writer.write_all(&vec![b'x'; 65_536]).unwrap();
            Some(reader)
        } else {
            None
        };
        // sh must not write there itself: its own stderr is the broken one.
        let mut run = Portcullis::new().env("PORTCULLIS_LOG", "trace").stderr_to(writer).sh(&talker(&[10], 2)).start();
        run.until_stdout("ready", secs(20));
        for _ in 0..200 {
            assert_eq!(run.get("/livez").code, 200);
        }
        run.signal(10);
        run.until_stdout("got 10", secs(20));
        run.signal(15);
        run.exits(2);
        drop(reader);
    }
}

#[test]
fn term_in_the_first_milliseconds_is_never_lost() {
    let starts = if slow("1000 early TERMs; 60 are sent now") { 1000 } else { 60 };
    let mut random = u64::from(std::process::id());
    for start in 0..starts {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_micros((random >> 33) % 5000);
        let mut run = Portcullis::new().command(["tail", "-f", "/dev/null"]).start();
        wait::moment(delay);
        run.signal(15);
        let exit = run.wait_exit(secs(20));
        let ended = matches!(exit, Exit::Code(143) | Exit::Signal(15));
        assert!(ended, "start {start}, TERM after {delay:?}: {exit:?}\n{}", run.streams().1);
        run.leaves_nothing();
    }
}

#[test]
fn more_problems_than_the_log_can_queue_do_not_cost_its_last_line() {
    let checks: String = (0..3000).fold(String::new(), |text, n| text + &format!("[checks.c{n}]\nurl = \"pg://h/\"\n"));
    Portcullis::new().config(&checks).command(["true"]).output().exits(78).says(&["the configuration has errors; exit code 78"]);
}
