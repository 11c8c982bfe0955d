//! Hostile clients of the health endpoint: floods of pipelined requests for long responses, and clients that never read theirs.

use crate::support::child::polite;
use crate::support::http::ask;
use crate::support::{Exit, Portcullis, Running, Stopwatch, eventually, free_port, secs, slow};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The longest answers there are.
const LONG: [&str; 2] = ["/status?verbose", "/"];

/// A run with 500 checks on a peer that accepts and closes.
fn many_checks() -> Running {
    let peer = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = peer.local_addr().unwrap().port();
    std::thread::spawn(move || peer.incoming().for_each(drop));
    let check = |index: usize| format!("[checks.peer-{index:03}]\nurl = \"tcp://127.0.0.1:{port}\"\n");
    let checks: String = (0..500).map(check).collect();
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let run = run.config(&format!("mode = \"api\"\n{checks}[modes.api]\ncommand = [\"{}\"]\n", child.display())).start();
    run.until_status("/readyz", 200, secs(60));
    run
}

/// Resident memory in KiB.
fn resident(run: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Asks for `path` twenty times at once and again with whatever comes, until `over`; begins anew when it is closed.
fn pipeline(port: u16, path: &str, over: &AtomicBool, answered: &AtomicUsize) {
    let questions = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(20);
    let mut bytes = vec![0; 1 << 18];
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        stream.set_read_timeout(Some(secs(1))).unwrap();
        while !over.load(Ordering::Relaxed) && stream.write_all(questions.as_bytes()).is_ok() {
            match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
    }
}

/// How long `/livez` on connections of their own and `portcullis healthcheck` over the unix socket took in a flood of `path`.
fn in_a_flood(run: &Running, path: &str, times: usize) -> (Vec<Duration>, Vec<Duration>) {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..63 {
            scope.spawn(|| pipeline(run.port, path, &over, &answered));
        }
        eventually("the flood is there", secs(30), || (answered.load(Ordering::Relaxed) > 200).then_some(()));
        let measured = |what: &dyn Fn()| {
            let watch = Stopwatch::start();
            what();
            watch.elapsed()
        };
        // Whatever it finds, the flood has to end before its threads are joined.
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let probe = || assert_eq!(ask(run.port, "GET", "/livez", "").expect("livez answers").code, 200);
            let healthcheck = || {
                let reported = run.beside(["healthcheck", "--level", "live"]);
                assert_eq!((reported.exit, reported.stdout.trim()), (Exit::Code(0), "live"), "{reported:?}");
            };
            let probes = (0..times).map(|_| measured(&probe)).collect();
            (probes, (0..times / 10).map(|_| measured(&healthcheck)).collect())
        }));
        over.store(true, Ordering::Relaxed);
        found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_flood_of_long_answers_delays_no_probe() {
    let mut run = many_checks();
    for path in LONG {
        let (mut probes, healthchecks) = in_a_flood(&run, path, 100);
        probes.sort_unstable();
        let p99 = probes[probes.len() * 99 / 100];
        eprintln!("{path}: /livez p50 {:?}, p99 {p99:?}; healthcheck {healthchecks:?}", probes[probes.len() / 2]);
        // Without fairness no client gets an answer within five seconds; scripts/bench-health measures it on an idle machine.
        assert!(p99 < secs(1), "{path}: {probes:?}");
        assert!(healthchecks.iter().all(|took| *took < secs(2)), "{path}: {healthchecks:?}");
    }
    assert!(run.runs() && !run.streams().1.contains("internal error of portcullis"), "{}", run.streams().1);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_costs_little() {
    if !slow("a_client_that_does_not_read_is_cut_and_costs_little") {
        return;
    }
    let run = many_checks();
    for path in LONG {
        assert_eq!(run.get(path).code, 200);
        let before = resident(&run);
        let question = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(50);
        let mut silent: Vec<TcpStream> = (0..63).map(|_| TcpStream::connect(("127.0.0.1", run.port)).unwrap()).collect();
        for stream in &mut silent {
            stream.write_all(question.as_bytes()).unwrap();
        }
        let (watch, mut most) = (Stopwatch::start(), 0);
        eventually("all of them are cut", secs(30), || {
            most = most.max(resident(&run));
            assert_eq!(ask(run.port, "GET", "/livez", "").unwrap().code, 200);
            // A reset is seen without reading, which would be what the server waits for.
            silent.retain(|stream| stream.take_error().unwrap().is_none());
            silent.is_empty().then_some(())
        });
        eprintln!("{path}: {before} KiB before, {most} KiB at most, cut after {:?}", watch.elapsed());
        assert!(most < before + 8 * 1024, "{path}: {before} KiB before, {most} KiB with 63 that do not read");
    }
}
