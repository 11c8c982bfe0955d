//! The configuration is read again during a run: completely or not at all, and unchanged parts are not affected.

use super::{ON_DEMAND, SLOW, config, order, pid, read, run, sent};
use crate::support::child::polite;
use crate::support::{Portcullis, Stopwatch, eventually, process, secs, wait};
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

#[test]
fn a_reload_waits_for_nothing_that_another_one_has_begun() {
    let (run, path) = run(ON_DEMAND);
    std::fs::write(&path, config(&path, SLOW)).unwrap();
    let first = sent(&run, "/control/reload?wait_ms=60000");
    eventually("the reload has begun", secs(20), || run.streams().1.contains("reloading: module slow added").then_some(()));
    let watch = Stopwatch::start();
    order(&run, &["reload"], 0, "nothing has changed");
    std::fs::write(&path, config(&path, &SLOW.replace("60s", "61s"))).unwrap();
    order(&run, &["reload", "--timeout", "200ms"], 69, "module slow is still ");
    assert!(watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    drop(first);
}

#[test]
fn a_reload_that_the_end_of_the_process_overtakes_is_refused_and_the_next_one_is_not() {
    let dir = Portcullis::new();
    let (child, path) = (dir.script("child", &polite()), dir.dir().join("portcullis.toml"));
    dir.script("sleeper", &polite());
    // So much takes a few milliseconds to be read, in which the process ends.
    let comments = format!("# {}\n", "x".repeat(100)).repeat(5000);
    let process = "[process]\nrestart = \"always\"\nrestart_delay = \"100ms\"\nrestart_max_delay = \"100ms\"\n";
    let with = |number: u64| {
        let module = format!("[modules.reports]\ncommand = [\"@\", \"report {number}\"]\nstart = \"on-demand\"\n");
        config(&path, &format!("{module}{process}{comments}"))
    };
    let run = dir.config(&with(0)).start();
    for turn in 1..=8 {
        run.until_status("/readyz", 200, secs(20));
        let first = run.child_pid(&child.display().to_string());
        std::fs::write(&path, with(turn)).unwrap();
        let reload = sent(&run, "/control/reload?wait_ms=60000");
        wait::moment(Duration::from_millis(turn));
        process::send(first, 9);
        let watch = Stopwatch::start();
        let message = read(&reload);
        assert!(message.contains("\"exit\":0,") || message.contains("\"exit\":69,"), "{message}");
        assert!(watch.elapsed() < secs(8), "turn {turn}: {:?}", watch.elapsed());
        eventually("another process runs", secs(20), || (run.child_pid(&child.display().to_string()) != first).then_some(()));
    }
    run.until_status("/readyz", 200, secs(20));
    std::fs::write(&path, with(100)).unwrap();
    order(&run, &["reload"], 0, "module reports changed");
}

#[test]
fn a_reload_leaves_a_module_stopped_that_was_stopped_on_request() {
    let (run, path) = run("[modules.m]\ncommand = [\"@\", \"before\"]\n");
    order(&run, &["stop", "m"], 0, "module m");
    std::fs::write(&path, config(&path, "[modules.m]\ncommand = [\"@\", \"after\"]\n")).unwrap();
    order(&run, &["reload"], 0, "module m changed\n  module m did not run, and stays stopped");
    let after = pid(&order(&run, &["start", "m"], 0, "module m is up with pid "));
    assert!(process::command_line(after).contains("after"));
}

#[test]
fn a_reload_adds_changes_and_removes_without_touching_anything_else() {
    let keep = "[modules.keep]\ncommand = [\"@\", \"keep\"]\n";
    let old = "[modules.old]\ncommand = [\"@\", \"old\"]\n[modules.changes]\ncommand = [\"@\", \"before\"]\n";
    let (run, path) = run(&format!("{keep}{old}[checks.disk]\nurl = \"disk:///?free=1KiB\"\nwait = \"0s\"\n"));
    let main = run.child_pid("child");
    let kept = run.child_pid("keep");
    let (gone, before) = (run.child_pid("sleeper old"), run.child_pid("sleeper before"));
    order(&run, &["reload"], 0, "nothing has changed");
    let new = "[modules.changes]\ncommand = [\"@\", \"after\"]\n[modules.new]\ncommand = [\"@\", \"new\"]\n\
               [modules.later]\ncommand = [\"@\", \"later\"]\nstart = \"on-demand\"\n";
    let checks = "[checks.file]\nurl = \"file:///proc/self\"\nwait = \"0s\"\ninterval = \"100ms\"\n";
    std::fs::write(&path, config(&path, &format!("{keep}{new}{checks}"))).unwrap();
    let words = "modules new, later added; module changes changed; module old removed; check file added; check disk removed";
    let output = order(&run, &["reload"], 0, words);
    assert!(output.stdout.contains("module new is up with pid ") && output.stdout.contains("module changes is up with pid "), "{output:?}");
    assert!(!output.stdout.contains("module later"), "{output:?}");
    assert_eq!((run.child_pid("child"), run.child_pid("keep")), (main, kept));
    assert!(!process::alive(gone) && !process::alive(before));
    assert!(run.child_pid("sleeper after") > 0 && run.child_pid("sleeper new") > 0);
    eventually("the new check is probed", secs(20), || run.get("/healthz").body.contains("\"file\":\"ok\"").then_some(()));
    assert!(!run.get("/healthz").body.contains("disk"), "{}", run.get("/healthz").body);
    order(&run, &["stop", "old"], 64, "there is no module `");
    order(&run, &["start", "later"], 0, "module later is up");
    order(&run, &["reload"], 0, "nothing has changed");
}

#[test]
fn a_reload_is_all_or_nothing() {
    let (run, path) = run(ON_DEMAND);
    let main = run.child_pid("child");
    let added = format!("{ON_DEMAND}[modules.added]\ncommand = [\"@\", \"added\"]\n");
    std::fs::write(&path, config(&path, &format!("{added}comand = 1\n[checks.x]\nurl = \"nonsense://\"\n"))).unwrap();
    let output = order(&run, &["reload"], 78, "the configuration has errors; nothing was changed");
    assert!(output.stderr.contains("comand") && output.stderr.contains("nonsense"), "every problem is reported: {}", output.stderr);
    let fixed = config(&path, &added).replace("/child\"]", "/child\", \"more\"]");
    std::fs::write(&path, format!("{fixed}[health]\ntoken = \"other\"\n")).unwrap();
    let output = order(&run, &["reload"], 79, "restart the container to apply it; nothing was changed");
    for item in ["the process' command differs", "`token` or `details` of [health] differs"] {
        assert!(output.stderr.contains(item), "{}", output.stderr);
    }
    order(&run, &["start", "added"], 64, "there is no module `");
    assert_eq!(run.child_pid("child"), main);
    std::fs::remove_file(&path).unwrap();
    order(&run, &["reload"], 78, "cannot read the configuration");
}

#[test]
fn a_reload_reads_from_where_the_run_was_started() {
    let run = Portcullis::new();
    let (child, path) = (run.script("child", &polite()), run.dir().join("portcullis.toml"));
    run.script("sleeper", &polite());
    let run = run.config(&config(&path, ON_DEMAND)).without("PORTCULLIS_CONFIG");
    for args in [vec!["run"], vec!["run", "-c", "portcullis.toml"]] {
        let run = Portcullis::new().args(args).through(&format!("env -C {}", run.dir().display())).start();
        run.until_status("/readyz", 200, secs(20));
        assert!(run.child_pid("child") > 0, "{}", child.display());
        std::fs::write(&path, config(&path, &format!("{ON_DEMAND}[modules.hot]\ncommand = [\"@\"]\n"))).unwrap();
        order(&run, &["reload"], 0, "module hot added");
        std::fs::write(&path, config(&path, ON_DEMAND)).unwrap();
        order(&run, &["reload"], 0, "module hot removed");
        std::fs::remove_file(&path).unwrap();
        order(&run, &["reload"], 78, "cannot read the configuration");
        order(&run, &["stop", "reports"], 0, "module reports did not run");
        std::fs::write(&path, config(&path, ON_DEMAND)).unwrap();
    }
}

#[test]
fn a_reload_continues_if_its_client_has_gone() {
    let slow = |word: &str| {
        let script = "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done";
        format!("[modules.slow]\ncommand = [\"sh\", \"-c\", \"{script}\", \"{word}\"]\n")
    };
    let (run, path) = run(&slow("first"));
    run.child_pid("first");
    for (turn, (old, new)) in [("first", "second"), ("second", "third")].into_iter().enumerate() {
        std::fs::write(&path, config(&path, &slow(new))).unwrap();
        let mut cut = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&run.socket).unwrap()).unwrap();
        cut.write_all(b"POST /control/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
        let begun = || run.streams().1.matches("reloading: module slow changed").count() > turn;
        eventually("the reload has begun", secs(20), || begun().then_some(()));
        drop(cut);
        run.child_pid(&format!("done {new}"));
        order(&run, &["reload"], 0, "nothing has changed");
        let of = |word: &str| process::children(run.pid()).into_iter().filter(|pid| process::command_line(*pid).contains(word)).count();
        assert_eq!((of(&format!("done {old}")), of(&format!("done {new}"))), (0, 1));
    }
}
