//! portcullis' own lines: none is lost without notice, and the last one arrives as long as there is a reader.

use crate::support::{Portcullis, process, secs, wait};
use std::io::{PipeReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Floods standard error after it made it non-blocking, as Node does it with every pipe that it finds there.
const NON_BLOCKING: &str = "use Fcntl; fcntl(STDERR, F_SETFL, fcntl(STDERR, F_GETFL, 0) | O_NONBLOCK); my $line = ('x' x 199) . \"\\n\";\n\
                            $| = 1; print STDOUT \"flooding\\n\"; while (1) { syswrite(STDERR, $line) or select(undef, undef, undef, 0.001) }";

/// Reads a pipeful every 100 ms, as a log driver with a slow sink does it; in a hurry once the flag is set.
fn slow_reader(mut from: PipeReader, hurry: &Arc<AtomicBool>) -> JoinHandle<String> {
    let hurry = Arc::clone(hurry);
    std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 65536]);
        while let Ok(count @ 1..) = from.read(&mut piece) {
            all.extend_from_slice(&piece[..count]);
            if !hurry.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

#[test]
fn a_process_that_makes_standard_error_non_blocking_costs_no_line() {
    let (reading, writing) = std::io::pipe().unwrap();
    let reader = slow_reader(reading, &Arc::default());
    let run = Portcullis::new().stderr_to(writing).env("PORTCULLIS_LOG", "debug");
    let mut run = run.command(["perl", "-e", NON_BLOCKING]).start();
    run.until_stdout("flooding", secs(20));
    let child = run.child_pid("perl");
    for _ in 0..60 {
        run.signal(28);
        wait::moment(Duration::from_millis(20));
    }
    process::send(child, 9);
    run.exits(137);
    drop(run);
    let said = reader.join().unwrap();
    let reported = said.matches("got SIGWINCH").count();
    let dropped = said.contains("log lines were dropped");
    // Pending signals of one number merge; every received signal is logged, or counted as dropped.
    let taken = said.matches("sent SIGWINCH").count();
    assert!(dropped || (reported >= 40 && reported == taken), "{reported} and {taken} of 60 reported, none counted");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("exit code 137"), "the last line is {last:?}");
}

#[test]
fn the_last_line_arrives_and_what_is_lost_before_it_is_counted() {
    let (reading, writing) = std::io::pipe().unwrap();
    // More lines than the pipe and the queue hold, before they are read; then the reader is slow, but alive.
    let run = Portcullis::new().stderr_to(writing).env("PORTCULLIS_LOG", "debug");
    let mut run = run.sh("trap '' 35; trap 'exit 5' USR1; echo up; while :; do sleep 0.02; done").start();
    run.until_stdout("up", secs(20));
    let pid = run.pid();
    // Real-time signals do not merge.
    // The kernel keeps a thousand of them and drops the rest, so each batch waits until most of the one before it was taken.
    let queued = format!("$(awk '/^SigQ/ {{ split($2, queue, \"/\"); print queue[1] }}' /proc/{pid}/status)");
    let script = format!(
        "for batch in 1 2 3 4 5 6 7 8; do i=0; while [ $i -lt 500 ]; do kill -35 {pid}; i=$((i+1)); done; \
         tries=0; while [ {queued} -gt 300 ] && [ $tries -lt 500 ]; do tries=$((tries+1)); done; done"
    );
    assert!(std::process::Command::new("bash").args(["-c", &script]).status().unwrap().success());
    run.signal(10);
    let reader = slow_reader(reading, &Arc::default());
    run.exits(5);
    drop(run);
    let said = reader.join().unwrap();
    assert!(said.contains("log lines were dropped"), "{} lines", said.lines().count());
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("exit code 5"), "the last line is {last:?}");
}

#[test]
fn output_is_complete_even_if_standard_output_does_not_block() {
    let (mut reading, writing) = std::io::pipe().unwrap();
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&writing, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    let expected = Portcullis::new().args(["schema"]).output().exits(0).stdout;
    // A pipe of one page, so that no answer fits.
    nix::fcntl::fcntl(&writing, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    assert!(expected.len() > 8192, "{}", expected.len());
    let mut run = Portcullis::new().stdout_to(writing).args(["schema"]).start();
    let mut found = String::new();
    reading.read_to_string(&mut found).unwrap();
    run.exits(0);
    assert!(found == expected, "{} of {} bytes", found.len(), expected.len());
}
