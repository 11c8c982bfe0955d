//! The health endpoint under load: hanging checks, busy cores, floods of slow and silent connections, long and unusual requests.

use crate::support::child::polite;
use crate::support::http::ask;
use crate::support::process::Tool;
use crate::support::{Portcullis, Postgres, Running, Stopwatch, eventually, free_port, secs, slow};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// How long `/livez` took on a connection of its own.
fn livez(run: &Running) -> Duration {
    let watch = Stopwatch::start();
    assert_eq!(ask(run.port, "GET", "/livez", "").expect("livez answers").code, 200);
    watch.elapsed()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

/// Resident memory in KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Files for thousands of connections, for this process and for those that it starts.
fn more_files() {
    let own = std::process::id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &own, "--nofile=8192:"]).status().unwrap().success());
}

#[test]
fn livez_answers_while_every_check_hangs_and_every_core_is_busy() {
    if !slow("livez_answers_while_every_check_hangs_and_every_core_is_busy") {
        return;
    }
    // It neither accepts nor refuses connections: every client hangs.
    let silent = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = silent.local_addr().unwrap().port();
    let check = |index: usize| {
        format!("[checks.c{index}]\nurl = \"http://127.0.0.1:{port}/\"\nwait = \"0s\"\ninterval = \"100ms\"\ntimeout = \"5s\"\n")
    };
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let checks: String = (0..20).map(check).collect();
    let run = run.config(&format!("mode = \"api\"\n{checks}[modes.api]\ncommand = [\"{}\"]\n", child.display())).start();
    run.until_status("/readyz", 200, secs(20));
    let cores = std::thread::available_parallelism().unwrap().get();
    let _busy: Vec<Tool> = (0..cores).map(|_| Tool::start(Command::new("sh").args(["-c", "while :; do :; done"]))).collect();
    let (watch, mut times) = (Stopwatch::start(), Vec::new());
    while watch.elapsed() < secs(60) {
        times.push(livez(&run));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    eprintln!(
        "/livez, every check hung and {cores} cores busy: {} requests, p50 {p50:?}, p99 {p99:?}, most {:?}",
        times.len(),
        times.last()
    );
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
}

#[test]
fn thousands_of_slow_and_idle_connections_cost_nothing() {
    if !slow("thousands_of_slow_and_idle_connections_cost_nothing") {
        return;
    }
    more_files();
    let run = Portcullis::new().sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    let before = resident(run.pid());
    let mut slow_ones: Vec<TcpStream> = (0..2000).map(|_| TcpStream::connect(("127.0.0.1", run.port)).unwrap()).collect();
    let mut times = Vec::new();
    for round in 0..10 {
        for stream in &mut slow_ones {
            // Those that were closed to make room cannot be written to; that is what is wanted.
            let _ = stream.write_all(if round == 0 { b"GET /livez HTTP/1.1\r\nX-Slow: " } else { b"x" });
        }
        times.push(livez(&run));
    }
    let most = resident(run.pid());
    drop(slow_ones);
    let idle: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", run.port)).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    times.extend((0..10).map(|_| livez(&run)));
    let most = most.max(resident(run.pid()));
    drop(idle);
    let slowest = times.iter().max().unwrap();
    eprintln!("2000 slow and 1000 idle connections: slowest /livez {slowest:?}, resident {before} KiB before, {most} KiB at most");
    assert!(*slowest < Duration::from_millis(100), "{times:?}");
    // An unoptimised build is bigger from the start; what it may grow by is the same.
    let limit = if crate::healthcheck::is_static() { 8 * 1024 } else { before + 4 * 1024 };
    assert!(most < limit, "{most} KiB resident");
}

#[test]
fn odd_requests_get_the_right_codes() {
    let mut run = Portcullis::new().sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    let keys = (0..9000).map(|index| format!("k{index}")).collect::<Vec<_>>().join("&");
    assert_eq!(run.get(&format!("/readyz?{}", &keys[..7000])).code, 200, "what fits into the head is read");
    assert_eq!(run.get(&format!("/readyz?{keys}")).code, 431, "9000 keys do not fit");
    assert_eq!(run.ask("GET", "/", &format!("X-Long: {}\r\n", "x".repeat(9 * 1024))).code, 431);
    for method in ["QUERY", "PURGE", "BREW", "post", "CONNECT-ME"] {
        for path in ["/", "/livez", "/actuator/health", "/status", "/health", "/metrics"] {
            assert_eq!(run.ask(method, path, "").code, 405, "{method} {path}");
        }
    }
    for path in ["/%00", "/..", "/livez%00", "/actuator/health/..", "/actuator/health/%2e%2e", "/\u{e4}"] {
        assert!(matches!(ask(run.port, "GET", path, "").map(|answer| answer.code), Ok(400 | 404) | Err(_)), "{path}");
    }
    for nonsense in
        ["\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", run.port)).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
    }
    eventually("it still answers", secs(5), || (run.get("/livez").code == 200).then_some(()));
    assert!(run.runs() && !run.streams().1.contains("internal error of portcullis"), "{}", run.streams().1);
}

#[test]
fn any_number_of_requests_uses_one_connection_to_the_database() {
    let server = Postgres::start();
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let check = format!("[checks.db]\nurl = \"{}\"\ninterval = \"100ms\"", server.url());
    let run = run.config(&format!("mode = \"api\"\n{check}\n[modes.api]\ncommand = [\"{}\"]\n", child.display())).start();
    run.until_status("/healthz", 200, secs(30));
    let sessions = || server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis'");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for path in ["/healthz", "/readyz", "/actuator/health", "/status"].iter().cycle().take(1000) {
                        assert_eq!(ask(run.port, "GET", path, "").unwrap().code, 200, "{path}");
                    }
                })
            })
            .collect();
        while !asking.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(sessions(), "1");
        }
    });
    assert_eq!(sessions(), "1");
}
