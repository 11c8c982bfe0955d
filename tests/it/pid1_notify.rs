//! Notifications of the process to us, and of us to the supervisor above us (`sd_notify(3)`, s6's notification-fd).

use crate::support::child::talker;
use crate::support::{Dir, Portcullis, Running, secs, unique, wait};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

/// A program that sends its arguments as one datagram to `$NOTIFY_SOCKET`.
fn notify(dir: &std::path::Path) -> PathBuf {
    let text = "#!/usr/bin/perl\nuse Socket;\nmy $name = $ENV{NOTIFY_SOCKET};\n$name =~ s/^@/\\0/;\nsocket(S, AF_UNIX, SOCK_DGRAM, 0) or die;\n\
                send(S, join(\"\\n\", @ARGV), 0, pack_sockaddr_un($name)) or die \"send: $!\";\n";
    crate::support::executable(&dir.join("notify"), text)
}

/// A run whose process is started once it has sent `READY=1`; the script's `notify` sends.
fn notifying(started: &str, more: &str, script: &str) -> Running {
    let run = Portcullis::new();
    let tool = notify(run.dir());
    let argv = format!("notify() {{ {} \"$@\"; }}\n{script}", tool.display());
    let child = run.script("child", &argv);
    run.config(&format!("[modes.api]\ncommand = [\"{}\"]\n{started}\n{more}", child.display())).start()
}

#[test]
fn the_process_reports_itself_that_it_is_ready() {
    let script = talker(&[], 3).replace("echo ready", "trap 'notify STATUS=warm READY=1' USR1; echo waiting $NOTIFY_SOCKET");
    let mut run = notifying("started = { notify = true }", "", &script);
    run.until_stdout("waiting @", secs(20));
    assert_eq!(run.get("/startupz").code, 500);
    // A stranger's word counts nothing, though its socket can be reached by all in this network namespace.
    let name = run.streams().0.lines().find_map(|line| line.strip_prefix("waiting @")).unwrap().to_owned();
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.send_to_addr(b"READY=1", &SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    wait::never("a stranger makes it ready", Duration::from_millis(300), || run.get("/startupz").code == 200);
    run.signal(10);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(3);
}

#[test]
fn a_line_on_the_notification_descriptor_is_ready_too() {
    let script = talker(&[], 3).replace("echo ready", "trap 'echo >&5; exec 5>&-' USR1; echo waiting");
    let mut run = notifying("started = { notify_fd = 5 }", "", &script);
    run.until_stdout("waiting", secs(20));
    assert_eq!(run.get("/readyz").code, 500);
    run.signal(10);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(3);
}

#[test]
fn the_notification_descriptor_blocks_as_every_other_does() {
    let look = "perl -e 'use Fcntl; open(F, \">&=\", 5); exit((fcntl(F, F_GETFL, 0) & O_NONBLOCK) ? 9 : 4)'";
    let mut run = notifying("started = { notify_fd = 5 }", "", &format!("{look}\n"));
    run.exits(4);
}

#[test]
fn a_process_that_never_reports_readiness_has_failed_its_start() {
    let mut run = notifying("started = { notify = true, within = \"300ms\" }", "", &talker(&[], 3));
    run.exits(69);
    run.until_stderr("startup check did not pass within 300ms: no READY=1 was received", secs(5));
    run.leaves_nothing();
}

#[test]
fn it_may_request_more_time_to_start() {
    let script = "notify EXTEND_TIMEOUT_USEC=20000000\n".to_owned()
        + &talker(&[], 3).replace("echo ready", "trap 'notify READY=1' USR1; echo waiting");
    let mut run = notifying("started = { notify = true, within = \"2s\" }", "", &script);
    run.until_stdout("waiting", secs(20));
    wait::never("it fails at its first limit", Duration::from_millis(2500), || !run.runs());
    run.signal(10);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(3);
}

#[test]
fn it_may_request_more_time_to_stop_but_not_without_limit() {
    let script = "trap 'notify EXTEND_TIMEOUT_USEC=20000000; sleep 3; exit 5' TERM\nnotify READY=1; echo ready\nsleep 1000 & wait\n";
    let mut run = notifying("started = { notify = true }", "[process]\nstop_timeout = \"2s\"\n", script);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(5);
    let script = script.replace("20000000", "18446744073709551615").replace("sleep 3", "sleep 60");
    let mut run = notifying("started = { notify = true }", "[process]\nstop_timeout = \"1s\"\n", &script);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(137);
}

#[test]
fn a_request_for_more_time_never_shortens_it() {
    let script = "notify EXTEND_TIMEOUT_USEC=1\n".to_owned()
        + &talker(&[], 3).replace("echo ready", "trap 'notify READY=1' USR1; echo waiting")
        + "\ntrap 'notify EXTEND_TIMEOUT_USEC=1; sleep 1; exit 5' TERM";
    let mut run = notifying("started = { notify = true, within = \"60s\" }", "", &script);
    run.until_stdout("waiting", secs(20));
    wait::never("its start fails", Duration::from_millis(500), || !run.runs());
    run.signal(10);
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(3);
}

/// Started twice; the first one leaves a process behind that sends READY=1 while the second, which never does, runs.
#[test]
fn a_leftover_of_the_previous_start_cannot_make_the_next_one_ready() {
    let script = "if [ -e started ]; then echo second; sleep 1000 & wait; fi\ntouch started\n";
    let socket =
        "notify READY=1\n(trap '' TERM; exec setsid sh -c 'sleep 1; '\"$TOOL\"' READY=1; echo said; sleep 1000') &\nsleep 0.3; exit 1\n";
    let pipe =
        "echo >&3\n(trap '' TERM; exec setsid sh -c 'trap \"\" PIPE; sleep 1; echo >&3; echo said; sleep 1000') &\nsleep 0.3; exit 1\n";
    let line = "echo >&3; sleep 0.3; echo >&3; exit 1\n";
    let output =
        "echo now ready\n(trap '' TERM; exec setsid sh -c 'sleep 1; echo now ready; echo said; sleep 1000') &\nsleep 0.3; exit 1\n";
    let restart = "[process]\nrestart = \"on-failure\"\nrestart_delay = \"200ms\"\nstop_timeout = \"2s\"\n";
    for (how, sign) in [(socket, "notify = true"), (pipe, "notify_fd = 3"), (line, "notify_fd = 3"), (output, "line = \"now ready\"")] {
        let run = Portcullis::new();
        let tool = notify(run.dir());
        let text = format!("TOOL={0}\nnotify() {{ {0} \"$@\"; }}\ncd {1}\n{script}{how}", tool.display(), run.dir().display());
        let child = run.script("child", &text);
        let config = format!("[modes.api]\ncommand = [\"{}\"]\nstarted = {{ {sign}, within = \"60s\" }}\n{restart}", child.display());
        let mut run = run.config(&config).start();
        run.until_stdout("second", secs(20));
        if how != line {
            run.until_stdout("said", secs(20));
        }
        wait::never("the second one is ready", Duration::from_millis(400), || run.get("/readyz").code == 200);
        run.signal(15);
        run.exits(143);
    }
}

#[test]
fn a_process_that_falls_silent_is_aborted_and_one_that_speaks_is_not() {
    let speaking = "notify READY=1\ntrap 'echo abort; exit 6' ABRT\ni=0\nwhile [ $i -lt 12 ]; do notify WATCHDOG=1; i=$((i+1)); sleep 0.1; done\n\
                    echo silent\nsleep 1000 & wait\n";
    let mut run = notifying("started = { notify = true }", "[process]\nwatchdog = \"700ms\"\n", speaking);
    run.exits(6);
    assert_eq!(run.streams().0, "silent\nabort\n");
}

#[test]
fn the_supervisor_above_is_notified_and_the_child_does_not_get_its_socket() {
    let name = unique("portcullis-above");
    let above = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    above.set_read_timeout(Some(secs(20))).unwrap();
    let heard = |wanted: &str| {
        let mut bytes = [0; 512];
        loop {
            let count = above.recv(&mut bytes).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
        }
    };
    let run = Portcullis::new().env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "400000");
    let mut run = run.sh(&format!("echo [$NOTIFY_SOCKET$WATCHDOG_USEC]\n{}", talker(&[], 2))).start();
    run.until_stdout("[]\nready", secs(20));
    assert!(heard("READY=1").contains("STATUS=running"));
    for _ in 0..3 {
        heard("WATCHDOG=1");
    }
    run.signal(15);
    heard("STOPPING=1");
    run.exits(2);
}

#[test]
fn a_socket_with_a_path_is_notified_too_and_a_missing_one_harms_nothing() {
    let dir = Dir::new();
    let path = dir.path().join("above");
    let above = UnixDatagram::bind(&path).unwrap();
    above.set_read_timeout(Some(secs(20))).unwrap();
    let mut run = Portcullis::new().env("NOTIFY_SOCKET", &path).sh(&talker(&[], 2)).start();
    run.until_stdout("ready", secs(20));
    let mut bytes = [0; 512];
    above.recv(&mut bytes).unwrap();
    drop(above);
    std::fs::remove_file(&path).unwrap();
    run.signal(15);
    run.exits(2);
}
