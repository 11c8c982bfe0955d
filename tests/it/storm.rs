//! Every input of the loop is flooded at once: TERM is handled in its next turn, no turn is long, and the end comes in time.

use crate::support::http::ask;
use crate::support::portcullis::is_optimized;
use crate::support::{Portcullis, Running, Stopwatch, eventually, executable, process, secs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The process: it is ready, then has children at nice 19 send datagrams and real-time signals, leave orphans, and write lines, for as
/// long as they live. TERM ends it with 7.
const FLOODER: &str = r#"#!/usr/bin/perl
use strict; use Socket; use POSIX ();
my ($above, $parent) = (getppid(), $$);
(my $name = $ENV{NOTIFY_SOCKET}) =~ s/^@/\0/;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die; connect($socket, pack_sockaddr_un($name)) or die;
send($socket, 'READY=1', 0) or die;
POSIX::sigaction($_, POSIX::SigAction->new('IGNORE')) for 34 .. 64;
$SIG{TERM} = sub { POSIX::_exit(7) };
$SIG{USR2} = sub { open(my $file, '>>', $ENV{COUNT}) or die; syswrite($file, '.') };
sub flood { my $what = shift; return if fork; $SIG{TERM} = 'DEFAULT'; $SIG{USR2} = 'IGNORE'; POSIX::nice(19); $what->() while getppid() == $parent; POSIX::_exit(0) }
flood(sub { send($socket, "WATCHDOG=1\nSTATUS=" . rand() . "\nEXTEND_TIMEOUT_USEC=1", 0) for 1 .. 100 }) for 1 .. 3;
flood(sub { for my $number (34 .. 64) { kill $number, $above } });
flood(sub { my $pid = fork; return unless defined $pid; if (!$pid) { fork; fork; POSIX::_exit(0) } waitpid $pid, 0 });
$| = 1;
flood(sub { print "a line of output that is passed on by its whole length\n" x 20 });
sleep 1 while 1;
"#;

/// Threads that send requests and control requests until they have to end; counts the responses.
struct Crowd {
    ends: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn new(run: &Running) -> Self {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        let questions =
            [("GET", "/status?verbose"), ("GET", "/metrics"), ("GET", "/readyz"), ("POST", "/control/modules/one/restart?wait_ms=1")];
        for (method, path) in questions {
            let (ends, answers, port) = (Arc::clone(&ends), Arc::clone(&answers), run.port);
            let extra = if method == "POST" { "Authorization: Bearer token\r\nContent-Length: 0\r\n" } else { "" };
            threads.push(std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    answers.fetch_add(u64::from(ask(port, method, path, extra).is_ok()), Ordering::Relaxed);
                }
            }));
        }
        Self { ends, answers, threads }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn figure(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

/// The processor time that a turn may take. Without optimization it takes several times as long.
const fn most(is_optimized: bool) -> Duration {
    Duration::from_millis(if is_optimized { 5 } else { 25 })
}

/// Requires that a run stays within the bound, or that the two after it do: the kernel charges interrupts and other disturbances to the
/// running process, so a single run beyond the bound is ignored.
fn stays_within(what: &str, bound: Duration, mut measured: impl FnMut() -> Duration) {
    let first = measured();
    if first < bound {
        return;
    }
    let others = [measured(), measured()];
    assert!(others.iter().all(|other| *other < bound), "{what}: {first:?}, {others:?}, not within {bound:?}");
}

/// How long it takes until the process has a signal that was sent to portcullis: the median of nine, each awaited before the next.
fn passed_on(run: &Running, count: &std::path::Path) -> Duration {
    let length = || std::fs::metadata(count).map_or(0, |file| file.len());
    let mut all: Vec<Duration> = (0..9)
        .map(|number| {
            let watch = Stopwatch::start();
            process::send(run.pid(), libc::SIGUSR2);
            eventually("the process has it", secs(20), || (length() > number).then_some(()));
            watch.elapsed()
        })
        .collect();
    all.sort_unstable();
    all[4]
}

/// One storm; how long its longest turn was.
fn storm() -> Duration {
    let run = Portcullis::new().env("PORTCULLIS_HEALTH__TOKEN", "token");
    let (flooder, count) = (executable(&run.dir().join("flooder"), FLOODER), run.dir().join("count"));
    let run = run.env("COUNT", count.as_os_str());
    let config = format!(
        "[process]\nstop_timeout = \"3s\"\nwatchdog = \"20s\"\noutput = \"prefix\"\n[modes.api]\ncommand = [\"{}\"]\n\
         started = {{ notify = true }}\n[modules.one]\ncommand = [\"sleep\", \"1000\"]\n\
         [checks.often]\nkind = \"exec\"\ncommand = [\"true\"]\ninterval = \"100ms\"\naffects = \"none\"\nwait = \"0s\"\n",
        flooder.display()
    );
    let mut run = run.config(&config).start();
    run.until_status("/startupz", 200, secs(30));
    let crowd = Crowd::new(&run);
    let answered = || crowd.answers.load(Ordering::Relaxed);
    eventually("everybody is answered meanwhile", secs(60), || (answered() > 400).then_some(()));
    assert_eq!(run.get("/livez").code, 200);
    let queued = process::status(run.pid(), "SigQ");
    assert!(queued.ends_with("/1024"), "{queued}: what is queued is bounded");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.child_pid("flooder"))).unwrap();
    let pending = |limits: &str| limits.lines().find(|line| line.starts_with("Max pending signals")).map(str::to_owned);
    let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(pending(&limits), pending(&ours), "the process has the limit that portcullis was given");
    let signal = passed_on(&run, &count);
    let watch = Stopwatch::start();
    run.signal(15);
    run.until_stderr("stopping: no longer ready", secs(10));
    let taken = watch.elapsed();
    let page = run.get("/metrics").body;
    assert!(run.ends_within(secs(4)), "the end takes longer than stop_timeout and a second:\n{}", run.streams().1);
    run.exits(7);
    drop(crowd);
    run.leaves_nothing();
    // A single one may meet the tests beside this one; the signals before were as many as show what is usual.
    assert!(taken < secs(1), "TERM was taken after {taken:?}");
    assert!(!is_optimized() || signal < Duration::from_millis(100), "a signal was passed on after {signal:?}");
    let longest = Duration::from_secs_f64(figure(&page, "portcullis_loop_longest_turn_seconds"));
    eprintln!("TERM taken after {taken:?}, a signal passed on after {signal:?}, longest turn {longest:?}");
    longest
}

#[test]
fn term_is_handled_in_the_next_turn_whatever_floods_the_loop() {
    stays_within("the longest turn of a storm", most(is_optimized()), storm);
}

/// A pool: 400 workers that say every second that they live. TERM ends it with 7 and leaves the workers behind, which `$ARGV[0]` lets TERM
/// end or ignore.
const POOL: &str = r"#!/usr/bin/perl
use strict; use Socket; use POSIX ();
(my $name = $ENV{NOTIFY_SOCKET}) =~ s/^@/\0/;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die; connect($socket, pack_sockaddr_un($name)) or die;
$SIG{TERM} = sub { POSIX::_exit(7) };
for my $worker (1 .. 400) {
    next if fork; $SIG{TERM} = $ARGV[0]; POSIX::setpgid(0, 0) if $worker % 2;
    while (1) { send($socket, 'WATCHDOG=1', 0); sleep 1 }
}
send($socket, 'READY=1', 0) or die;
sleep 1 while 1;
";

/// What the log says of the longest turn of a run that is over.
fn longest_turn(run: &Running) -> Duration {
    let stderr = run.streams().1;
    let message = stderr.rsplit_once("the longest turn of the loop so far took ").and_then(|(_, rest)| rest.split_once(" us"));
    Duration::from_micros(message.and_then(|(micros, _)| micros.parse().ok()).unwrap_or_else(|| panic!("nothing is reported:\n{stderr}")))
}

/// One stop of a pool whose workers stay behind; how long the longest turn was.
fn pool(term: &str) -> Duration {
    let run = Portcullis::new().env("PORTCULLIS_LOG", "debug");
    let pool = executable(&run.dir().join("pool"), POOL);
    let config = format!(
        "[process]\nstop_timeout = \"2s\"\nwatchdog = \"20s\"\n[modes.api]\ncommand = [\"{}\", \"{term}\"]\nstarted = {{ notify = true }}\n",
        pool.display()
    );
    let mut run = run.config(&config).start();
    run.until_status("/startupz", 200, secs(60));
    eventually("all workers are there", secs(60), || (run.descendants().len() > 400).then_some(()));
    let watch = Stopwatch::start();
    run.signal(15);
    assert!(run.ends_within(secs(20)), "{}", run.streams().1);
    // A second beside the time to end; more is the machine's.
    let took = watch.elapsed();
    run.exits(7);
    run.leaves_nothing();
    let is_killed = run.streams().1.contains("killing pid");
    assert_eq!(is_killed, term == "IGNORE", "{}", run.streams().1);
    assert!(took < secs(if is_optimized() { 3 } else { 5 }), "the end took {took:?}");
    let longest = longest_turn(&run);
    eprintln!("{term}: the end took {took:?}, longest turn {longest:?}");
    longest
}

#[test]
fn many_leftover_workers_are_ended_in_short_turns() {
    for term in ["DEFAULT", "IGNORE"] {
        stays_within(term, most(is_optimized()), || pool(term));
    }
}
