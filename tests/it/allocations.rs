//! The allocations of a health answer and of a check: none grows with the number of requests or of checks.
//!
//! The test starts itself: with `COUNTS_ALLOCATIONS` it is a supervisor that writes at its end how often it allocated. The shipping form has no
//! symbols, so valgrind finds no allocator in it. Allocations are the same in every build.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string
)]

mod support;

use portcullis::command::run::run;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::RunOptions;
use portcullis::supervisor::background::Subsystems;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use support::{Portcullis, Running, secs, variable};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A run that is ended by TERM after `work`, and how often it allocated.
fn during(config: &str, work: impl FnOnce(&Running)) -> usize {
    let own = std::env::current_exe().unwrap();
    let new = Portcullis::new().config(config).env("COUNTS_ALLOCATIONS", "1").program(own).args(Vec::<String>::new());
    let mut run = new.start();
    run.until_status("/readyz", 200, secs(60));
    work(&run);
    run.stop();
    let said = run.streams().1;
    let count = said.lines().find_map(|line| line.strip_prefix("allocations: "));
    count.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

/// Two runs, of which the second repeats the work more often: the allocations of one repetition, in hundredths.
fn each(count: usize, run: impl Fn(usize) -> usize) -> usize {
    (run(count + count / 4).saturating_sub(run(count / 4))) * 100 / count
}

fn at_most(what: &str, found: usize, limit: usize) {
    assert!(found <= limit, "{what} allocates {found} times in a hundred, and at most {limit} are promised");
    println!("test allocations_of_{what} ... ok ({found} in a hundred)");
}

/// Sends this many requests on one connection.
fn ask(port: u16, path: &str, count: usize) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    for _ in 0..count {
        stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            length = line.to_ascii_lowercase().strip_prefix("content-length: ").map_or(length, |length| length.trim().parse().unwrap());
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
    }
}

fn main() -> ExitCode {
    if variable("COUNTS_ALLOCATIONS").is_some() {
        portcullis::sys::block_every_signal();
        let code = run(&RunOptions::default(), &Environment::of_process(), Subsystems::default());
        eprintln!("allocations: {}", COUNTED.stats().allocations);
        return code.into();
    }
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let peer = || TcpListener::bind("127.0.0.1:0").unwrap();
    let checks = |peer: &TcpListener, count: usize, interval: &str| -> String {
        let port = peer.local_addr().unwrap().port();
        let check = |number| format!("[checks.c{number}]\nurl = \"tcp://127.0.0.1:{port}\"\ninterval = \"{interval}\"\n");
        (0..count).map(check).chain(["[modes.api]\ncommand = [\"sleep\", \"600\"]\n".to_owned()]).collect()
    };
    let calm = peer();
    for (path, limit) in [("/readyz", ANSWER), ("/healthz", ANSWER), ("/status", ANSWER)] {
        let config = checks(&calm, 20, "1h");
        at_most(path, each(4000, |count| during(&config, |run| ask(run.port, path, count))), limit);
    }
    let cycle = |checks_beside: usize| {
        each(40, |count| {
            let (busy, calm) = (peer(), peer());
            let beside = checks(&calm, checks_beside, "1h");
            let port = busy.local_addr().unwrap().port();
            let config = format!("[checks.busy]\nurl = \"tcp://127.0.0.1:{port}\"\ninterval = \"100ms\"\n{beside}");
            during(&config, |_| (0..count).for_each(|_| drop(busy.accept().unwrap())))
        })
    };
    at_most("a_check", cycle(0), CYCLE);
    at_most("a_check_beside_twenty", cycle(20), CYCLE);
    ExitCode::SUCCESS
}

/// In a hundred answers: none each. What is rendered anew each second is counted, too; before, hyper's seven each were.
const ANSWER: usize = 100;
/// In a hundred checks: the connection, the record, the snapshot. Beside twenty other checks it was 13,000 when the snapshot was copied whole.
const CYCLE: usize = 2_600;
