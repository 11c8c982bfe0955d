//! Time in which no process could run (`docker pause`, SIGSTOP) does not count against any deadline.

use crate::support::child::{polite, talker};
use crate::support::{Portcullis, Running, executable, free_port, process, secs, wait};
use std::net::TcpListener;
use std::time::Duration;

/// Stops the run and everything below it for so long.
fn freeze(run: &Running, length: Duration, meanwhile: impl FnOnce()) {
    let mut all = vec![run.pid()];
    all.extend(run.descendants());
    for pid in &all {
        process::send(*pid, libc::SIGSTOP);
    }
    wait::never("somebody ends while all stand still", length, || !process::alive(run.pid()));
    meanwhile();
    for pid in &all {
        process::send(*pid, libc::SIGCONT);
    }
}

/// A process that says every 0.2 s that it is alive.
const SPEAKS: &str = "#!/usr/bin/perl\nuse Socket;\nmy $name = $ENV{NOTIFY_SOCKET};\n$name =~ s/^@/\\0/;\n\
                      socket(S, AF_UNIX, SOCK_DGRAM, 0) or die;\n$SIG{ABRT} = sub { exit 6 };\n$| = 1; print \"speaks\\n\";\n\
                      while (1) { send(S, 'WATCHDOG=1', 0, pack_sockaddr_un($name)); select(undef, undef, undef, 0.2) }\n";

#[test]
fn a_watchdog_does_not_count_time_in_which_no_process_could_run() {
    let run = Portcullis::new();
    let child = executable(&run.dir().join("speaks"), SPEAKS);
    let mut run = run.config("[process]\nwatchdog = \"1s\"\n").command([child]).start();
    run.until_stdout("speaks", secs(20));
    freeze(&run, secs(4), || {});
    run.until_stderr("this process could not run for", secs(10));
    wait::never("the watchdog ends it", secs(2), || !run.runs());
    run.signal(15);
    run.exits(143);
}

#[test]
fn a_wait_does_not_count_time_in_which_no_process_could_run() {
    let port = free_port();
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let config =
        format!("[checks.late]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"3s\"\n[modes.api]\ncommand = [\"{}\"]\n", child.display());
    let mut run = run.config(&config).start();
    run.until_stderr("late is not ready", secs(20));
    let mut listener = None;
    freeze(&run, secs(5), || listener = Some(TcpListener::bind(("127.0.0.1", port)).unwrap()));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
}

#[test]
fn the_waiting_command_does_not_count_it_either() {
    let port = free_port();
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = [there.local_addr().unwrap().port(), port].map(|port| format!("tcp://127.0.0.1:{port}"));
    let mut run = Portcullis::new().args(["wait", "--timeout", "3s", &urls[0], &urls[1]]).start();
    there.accept().unwrap();
    let mut listener = None;
    freeze(&run, secs(5), || listener = Some(TcpListener::bind(("127.0.0.1", port)).unwrap()));
    run.exits(0);
}

#[test]
fn a_stop_does_not_count_it_either() {
    let script = talker(&[], 0).replace("echo got 15; exit", "echo stopping; read -t 1.5 line <&3; exit");
    let mut run = Portcullis::new().config("[process]\nstop_timeout = \"3s\"\n").sh(&script.replace("exit 0", "exit 4")).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_stdout("stopping", secs(20));
    freeze(&run, secs(5), || {});
    run.exits(4);
}

/// Pings once for each USR1. After USR2 it sends eight other datagrams first, and from a second later on it pings every 0.2 s.
const SPEAKS_LATE: &str = r#"#!/usr/bin/perl
use Socket;
(my $name = $ENV{NOTIFY_SOCKET}) =~ s/^@/\0/;
socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; connect(S, pack_sockaddr_un($name)) or die;
my ($once, $late) = (0, 0);
$SIG{USR1} = sub { $once = 1 }; $SIG{USR2} = sub { $late = 1 }; $SIG{TERM} = sub { exit 7 };
$| = 1; print "speaks\n";
sub ping { send(S, 'WATCHDOG=1', 0) }
until ($late) { select(undef, undef, undef, 0.01); if ($once) { $once = 0; ping(); print "pinged\n" } }
send(S, "STATUS=$_", 0) for 1 .. 8; ping(); print "pinged late\n";
select(undef, undef, undef, 1);
while (1) { ping(); select(undef, undef, undef, 0.2) }
"#;

#[test]
fn a_ping_that_was_sent_in_time_counts_though_it_was_not_read() {
    // Every process with a socket has its share of what a turn reads: that of one among four is less than the datagrams before the ping.
    let other = |number| format!("[modules.other-{number}]\ncommand = [\"sleep\", \"1000\"]\nwatchdog = \"1h\"\n");
    let others = [1, 2, 3, 4].map(other).concat();
    let run = Portcullis::new();
    let child = executable(&run.dir().join("speaks"), SPEAKS_LATE);
    let config = format!("[process]\nwatchdog = \"1s\"\n{others}[modes.api]\ncommand = [\"{}\"]\n", child.display());
    let mut run = run.config(&config).start();
    run.until_stdout("speaks", secs(20));
    let child = run.child_pid("speaks");
    process::send(child, libc::SIGUSR1);
    run.until_stdout("pinged", secs(20));
    // Not long enough for a gap: the watchdog has run out when portcullis wakes, and the ping stands behind the rest.
    wait::moment(Duration::from_millis(600));
    process::send(run.pid(), libc::SIGSTOP);
    process::send(child, libc::SIGUSR2);
    run.until_stdout("pinged late", secs(20));
    wait::moment(Duration::from_millis(450));
    process::send(run.pid(), libc::SIGCONT);
    wait::never("the watchdog ends it", secs(2), || !run.runs());
    run.signal(15);
    run.exits(7);
}
