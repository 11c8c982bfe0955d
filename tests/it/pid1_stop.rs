//! PID 1 at the end: first not ready, then the stop signal, then the wait, then KILL, all within one deadline, and the exit code is that of
//! the process.

use crate::support::child::{polite, stubborn, talker};
use crate::support::{Portcullis, Redis, Stopwatch, eventually, left_out, process, root, secs, unique, wait};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

#[test]
fn the_stop_keeps_its_order() {
    let redis = Redis::start();
    let name = unique("portcullis-above");
    let above = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    above.set_read_timeout(Some(secs(20))).unwrap();
    let config = format!(
        "service = \"order\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\n[process]\ndrain_delay = \"1500ms\"\nstop_timeout = \"20s\"\n",
        redis.port
    );
    let run = Portcullis::new().config(&config).env("NOTIFY_SOCKET", format!("@{name}"));
    let helper = run.script("helper", &talker(&[], 0).replace("got 15", "helper got 15").replace("echo ready", "echo helper"));
    let mut run = run.sh(&format!("setsid {} &\n{}", helper.display(), talker(&[], 9).replace("got 15", "main got 15"))).start();
    run.until_stdout("ready", secs(20));
    run.until_stdout("helper\n", secs(20));
    let key = || redis.get("order_service_status").unwrap_or_default();
    eventually("the heartbeat is there", secs(20), || (key() == "ready").then_some(()));
    let watch = Stopwatch::start();
    run.signal(15);
    eventually("the heartbeat is withdrawn", secs(5), || (key() != "ready").then_some(()));
    assert_eq!((run.get("/readyz").code, run.get("/livez").code), (500, 200), "reported, and alive");
    let mut bytes = [0; 512];
    loop {
        let count = above.recv(&mut bytes).unwrap();
        if String::from_utf8_lossy(&bytes[..count]).contains("STOPPING=1") {
            break;
        }
    }
    assert!(watch.elapsed() < Duration::from_millis(1400), "reported within {:?}", watch.elapsed());
    assert!(!run.streams().0.contains("got 15"), "the process gets no stop signal before the drain is over");
    run.exits(9);
    assert!(watch.elapsed() >= Duration::from_millis(1450), "drained for {:?}", watch.elapsed());
    let said = run.streams().0;
    let order: Vec<&str> = said.lines().filter(|line| line.contains("got 15")).collect();
    assert_eq!(order, ["main got 15", "helper got 15"]);
    run.leaves_nothing();
}

/// Whether every signal that was sent has been taken: two of the same kind would merge in the kernel.
fn taken(pid: i32) -> bool {
    !process::alive(pid) || process::status(pid, "ShdPnd").trim_matches('0').is_empty()
}

#[test]
fn the_second_term_cuts_the_drain_and_the_third_kills() {
    let config = "[process]\ndrain_delay = \"100s\"\nstop_timeout = \"100s\"\n";
    let mut run = Portcullis::new().config(config).sh(&talker(&[], 3)).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_stderr("stopping", secs(20));
    wait::never("it gets the signal at once", Duration::from_millis(150), || run.streams().0.contains("got 15"));
    run.signal(15);
    run.exits(3);

    let mut run = Portcullis::new().config(config).sh(&stubborn()).start();
    run.until_stdout("ready", secs(20));
    for signal in [15, 2, 15] {
        run.signal(signal);
        let own = run.pid();
        eventually("it is taken", secs(10), || taken(own).then_some(()));
    }
    run.exits(137);
}

#[test]
fn a_process_that_ends_during_the_drain_is_not_waited_for() {
    let config = "[process]\ndrain_delay = \"100s\"\n";
    let mut run =
        Portcullis::new().config(config).sh(&talker(&[], 3).replace("trap 'echo got 15", "trap 'exit 12' 10; trap 'echo got 15")).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_stderr("stopping", secs(20));
    let watch = Stopwatch::start();
    run.signal(10);
    run.exits(12);
    assert!(watch.elapsed() < secs(5), "{:?}", watch.elapsed());
}

#[test]
fn a_helper_that_needs_a_second_to_clean_up_gets_it() {
    for pid1 in [false, true] {
        let new = Portcullis::new();
        let helper = new.script("helper", "trap 'echo cleaning; sleep 1; echo cleaned; exit' TERM\necho helper; sleep 1000 & wait\n");
        let new = new.sh(&format!("{} &\nread line < go; exit 5", helper.display()));
        let go = new.dir().join("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        run.until_stdout("helper\n", secs(20));
        std::fs::write(&go, "now\n").unwrap();
        run.exits(5);
        assert!(run.streams().0.ends_with("cleaning\ncleaned\n"), "{}", run.streams().0);
        run.leaves_nothing();
    }
}

#[test]
fn the_children_of_a_pool_are_not_signalled_before_their_parent_is_gone() {
    // The parent lets its workers finish for 3 s, as celery's warm shutdown does; TERM would end a worker in the middle.
    let run = Portcullis::new().in_pid_namespace();
    let worker = run.script("worker", "trap 'echo worker got 15; exit 1' TERM\necho worker; read line < done.$1; echo finished $1\n");
    let parent = format!(
        "mkfifo done.1 done.2\n{0} 1 & {0} 2 &\ntrap 'echo draining; sleep 3; echo > done.1; echo > done.2; wait; echo drained; exit 0' TERM\n\
         echo ready\nwhile :; do wait; done\n",
        worker.display()
    );
    let mut run = run.sh(&parent).start();
    eventually("all are ready", secs(20), || (run.streams().0.lines().count() == 3).then_some(()));
    run.signal(15);
    run.exits(0);
    let said = run.streams().0;
    assert!(
        !said.contains("worker got 15") && said.contains("finished 1") && said.contains("finished 2") && said.ends_with("drained\n"),
        "{said}"
    );
}

#[test]
fn a_helper_that_holds_our_output_does_not_hold_the_end() {
    let run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "700ms");
    let helper = run.script("helper", &stubborn().replace("echo ready", "echo helper"));
    let watch = Stopwatch::start();
    let run = run.sh(&format!("setsid {} & read line < go; exit 4", helper.display()));
    let go = run.dir().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = run.start();
    run.until_stdout("helper\n", secs(20));
    std::fs::write(&go, "now\n").unwrap();
    run.exits(4);
    assert!(watch.elapsed() < secs(15));
    run.leaves_nothing();
}

#[test]
fn a_declared_success_code_is_0_after_a_stop_and_itself_otherwise() {
    let start = || {
        let run = Portcullis::new().args([
            "run",
            "--success-code",
            "143",
            "--success-code",
            "9",
            "--",
            "sh",
            "-c",
            "echo ready; exec tail -f /dev/null",
        ]);
        let run = run.start();
        run.child_pid("tail");
        run
    };
    let mut requested = start();
    requested.signal(15);
    requested.exits(0);
    let mut unasked = start();
    process::send(unasked.child_pid("tail"), 15);
    unasked.exits(143);
}

#[test]
fn a_budget_over_the_grace_is_warned_of() {
    let config = "[process]\nstop_timeout = \"20s\"\ndrain_delay = \"5s\"\n";
    Portcullis::new().config(config).command(["true"]).output().exits(0).says(&["warn", "25s", "stop_grace_period: 26s"]);
    let known = format!("{config}grace_period = \"30s\"\n");
    let output = Portcullis::new().config(&known).command(["true"]).output().exits(0);
    assert!(!output.stderr.contains("grace"), "{}", output.stderr);
    let plan = Portcullis::new().config(config).args(["plan", "--", "true"]).output().exits(0);
    assert!(plan.stdout.contains("25s at most") && plan.stdout.contains("terminationGracePeriodSeconds: 26"), "{}", plan.stdout);
}

#[test]
fn a_failed_start_is_held_with_its_health_until_term() {
    let held = "[process]\non_startup_failure = \"hold\"\n";
    let startup = "[modes.api]\ncommand = [\"sh\", \"-c\", \"echo ready; exec tail -f /dev/null\"]\n\
                   started = { url = \"tcp://127.0.0.1:9\", within = \"300ms\" }\n";
    let migration = "[migrations]\ncommand = [\"false\"]\nlock = \"none\"\n[modes.api]\ncommand = [\"true\"]\n";
    let wait = "[checks.db]\nurl = \"tcp://127.0.0.1:9\"\nwait = \"200ms\"\n[modes.api]\ncommand = [\"true\"]\n";
    let missing = "[modes.api]\ncommand = [\"/no/such/program\"]\n";
    for (config, code) in [(startup, 69), (migration, 1), (wait, 69), (missing, 127)] {
        let mut run = Portcullis::new().config(&format!("{config}{held}")).start();
        run.until_stderr("held for inspection", secs(20));
        wait::never("it ends", Duration::from_millis(200), || !run.runs());
        assert_eq!((run.get("/livez").code, run.get("/readyz").code), (500, 500));
        assert!(run.get("/healthz").code == 500);
        run.signal(15);
        run.exits(code);
        run.leaves_nothing();
    }
    // What was started and ended later is no failed start.
    Portcullis::new().config(held).sh("exit 7").output().exits(7);
}

#[test]
fn a_kill_because_memory_ran_out_is_recognized() {
    let cgroup = std::path::PathBuf::from("/sys/fs/cgroup/memory").join(unique("portcullis-it"));
    let (limit, tasks, bytes) = ("memory.limit_in_bytes", "cgroup.procs", "60000000");
    let version2 = !std::path::Path::new("/sys/fs/cgroup/memory").exists();
    let cgroup = if version2 { std::path::PathBuf::from("/sys/fs/cgroup").join(unique("portcullis-it")) } else { cgroup };
    let limit = if version2 { "memory.max" } else { limit };
    let name = "a_kill_because_memory_ran_out_is_recognized";
    if !root(name) {
        return;
    }
    if let Err(error) = std::fs::create_dir(&cgroup).and_then(|()| std::fs::write(cgroup.join(limit), bytes)) {
        drop(std::fs::remove_dir(&cgroup));
        left_out(name, &format!("no memory cgroup may be made here: {error}"));
        return;
    }
    let run = Portcullis::new();
    let inside = run.script("inside", &format!("echo $$ > {}/{tasks}\nexec \"$@\"\n", cgroup.display()));
    let eater = "my @a; push @a, 'x' x 1_000_000 while 1";
    let output = run.through(&inside.display().to_string()).command(["perl", "-e", eater]).output();
    eventually("the cgroup is empty", secs(10), || std::fs::remove_dir(&cgroup).ok());
    output.exits(137).says(&["because memory ran out", "memory limit"]);
    // The same signal from another process is a different case.
    let plain = Portcullis::new().sh("kill -KILL $$").output().exits(137);
    assert!(!plain.stderr.contains("memory"), "{}", plain.stderr);
}

#[test]
fn a_worker_s_death_because_memory_ran_out_is_reported_at_once_and_attributed_to_no_other() {
    let name = "a_worker_s_death_because_memory_ran_out_is_reported_at_once_and_attributed_to_no_other";
    if !root(name) {
        return;
    }
    let version2 = !std::path::Path::new("/sys/fs/cgroup/memory").exists();
    let (parent, limit) = if version2 { ("/sys/fs/cgroup", "memory.max") } else { ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") };
    let cgroup = std::path::Path::new(parent).join(unique("portcullis-it"));
    if let Err(error) = std::fs::create_dir(&cgroup).and_then(|()| std::fs::write(cgroup.join(limit), "60000000")) {
        drop(std::fs::remove_dir(&cgroup));
        left_out(name, &format!("no memory cgroup may be made here: {error}"));
        return;
    }
    let run = Portcullis::new().config("[process]\nstop_timeout = \"1s\"\n");
    let inside = run.script("inside", &format!("echo $$ > {}/cgroup.procs\nexec \"$@\"\n", cgroup.display()));
    let script = "trap '' TERM\n(echo 1000 > /proc/self/oom_score_adj; exec perl -e 'my @a; push @a, q(x) x 1_000_000 while 1')\necho over\nwhile :; do sleep 0.1; done";
    let mut run = run.through(&inside.display().to_string()).sh(script).start();
    run.until_stdout("over", secs(30));
    run.until_stderr("killed a process of this container because memory ran out, and not one that portcullis started", secs(15));
    run.signal(15);
    run.exits(137);
    eventually("the cgroup is empty", secs(10), || std::fs::remove_dir(&cgroup).ok());
    let said = run.streams().1;
    let last = said.lines().find(|line| line.contains("exit code 137")).unwrap_or_default();
    assert!(!last.contains("memory"), "{said}");
    assert!(said.contains("killing pid "), "{said}");
}

#[test]
fn remaining_and_killed_processes_are_reported_at_the_end() {
    let run = Portcullis::new().config("[process]\nstop_timeout = \"3s\"\n");
    let helper = run.script("helper", &stubborn().replace("echo ready", "echo helper"));
    let mut run = run.sh(&format!("setsid {} & read -t 2 line < <(sleep 1); exit 3", helper.display())).start();
    run.until_stdout("helper", secs(20));
    run.exits(3);
    let said = run.streams().1;
    let [waited, killed] = ["the process ended with status 3; still waiting for pid ", "killing pid "]
        .map(|words| said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {said}")));
    assert!(waited.contains("(helper)") && waited.contains("s at most") && killed.contains("(helper)"), "{said}");
    run.leaves_nothing();
}

#[test]
fn two_requests_at_once_do_not_cut_the_drain_short() {
    // On a busy machine the second one may come too late to be the same; then it is a second request, and nothing is shown.
    for _ in 0..20 {
        let mut run = Portcullis::new().config("[process]\ndrain_delay = \"1s\"\n").sh(&talker(&[], 4)).start();
        run.until_stdout("ready", secs(20));
        let pid = run.pid();
        let watch = Stopwatch::start();
        // As `timeout` does it: its child, and then the whole group.
        run.signal(15);
        eventually("the first one is taken", secs(10), || taken(pid).then_some(()));
        run.signal_again(15);
        let apart = watch.elapsed();
        run.exits(4);
        if apart < Duration::from_millis(40) {
            assert!(watch.elapsed() >= Duration::from_millis(900), "{:?}", watch.elapsed());
            return;
        }
    }
    panic!("two signals were never within 40 ms");
}

#[test]
fn term_while_a_helper_alone_is_left_keeps_the_code() {
    let run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "100s");
    let helper = run.script("helper", &stubborn().replace("echo ready", "echo helper"));
    let mut run = run.sh(&format!("setsid {} & \n{}", helper.display(), polite())).start();
    run.until_stdout("ready", secs(20));
    run.until_stdout("helper", secs(20));
    let own = run.pid();
    let child = run.child_pid("sh -c");
    run.signal(15);
    eventually("the process is gone", secs(20), || (!process::alive(child)).then_some(()));
    for _ in 0..2 {
        run.signal(15);
        eventually("it is taken", secs(10), || taken(own).then_some(()));
    }
    run.exits(0);
    run.leaves_nothing();
}
