//! What a start, an answer and a check cost where that does not depend on the machine: instructions, bytes and crates.
//!
//! Times are measured by `scripts/bench`. A bound is the figure of the day on which it was set and a tenth more. What goes over it says in
//! `CHANGELOG.md` what that is worth, and moves the bound.

use crate::support::portcullis::{binary, is_optimized};
use crate::support::{Portcullis, Running, left_out, secs};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// The program that counts; it writes the sum to standard error.
const COUNTING: &str = "valgrind --tool=callgrind --callgrind-out-file=/dev/null";

/// Whether the binary under test is the shipping form, and can be counted here.
fn counts(test: &str) -> bool {
    let can_count = Command::new("valgrind").arg("--version").output().is_ok();
    if !is_optimized() {
        left_out(test, "the shipping form is counted; scripts/test builds it");
    } else if !can_count {
        left_out(test, "there is no valgrind here; scripts/test installs it");
    }
    is_optimized() && can_count
}

/// How many instructions a run took from its start to its end, its threads included, its child and the kernel not.
fn collected(said: &str) -> u64 {
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    line.unwrap_or_else(|| panic!("{said}")).1.trim().parse().unwrap()
}

fn at_most(what: &str, found: u64, limit: u64) {
    assert!(found <= limit, "{what} takes {found}, and at most {limit} is promised");
    // One that is far away guards nothing.
    assert!(found * 2 > limit, "{what} takes {found}: bring its bound of {limit} down");
}

/// A run that is ended by TERM after `work`, and what it took.
fn during(config: &str, work: impl FnOnce(&Running)) -> u64 {
    let mut run = Portcullis::new().config(config).through(COUNTING).start();
    run.until_status("/readyz", 200, secs(60));
    work(&run);
    run.stop();
    collected(&run.said().1)
}

#[test]
fn a_start_is_a_bounded_number_of_instructions() {
    if !counts("a_start_is_a_bounded_number_of_instructions") {
        return;
    }
    let took = |run: Portcullis| collected(&run.through(COUNTING).output().exits(0).stderr);
    let bare = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    at_most("a bare run", took(bare.args(["run", "--bare", "--", "true"])), BARE);
    at_most("a run without a file", took(Portcullis::new().command(["true"])), WITHOUT_FILE);
    at_most("a run with a file", took(Portcullis::new().config("[modes.api]\ncommand = [\"true\"]\n")), WITH_FILE);
}

/// Of 1,846,000 before the command line was read by a table and no configuration for it.
const BARE: u64 = 520_000;
/// Of 2,096,000 before copies of the configuration shared what is in it.
const WITHOUT_FILE: u64 = 1_600_000;
/// A mode of one command.
const WITH_FILE: u64 = 1_000_000;

/// Two runs of which the second does more of the same: what each of that took.
fn each(count: u64, run: impl Fn(u64) -> u64) -> u64 {
    (run(count + count / 4).saturating_sub(run(count / 4))) / count
}

#[test]
fn an_answer_and_a_check_are_bounded_numbers_of_instructions() {
    if !counts("an_answer_and_a_check_are_bounded_numbers_of_instructions") {
        return;
    }
    // What it does not accept waits in its queue, which is longer than there are checks and cycles here.
    let peer = || TcpListener::bind("127.0.0.1:0").unwrap();
    let check = |peer: &TcpListener, number, interval| {
        let port = peer.local_addr().unwrap().port();
        format!("[checks.c{number}]\nurl = \"tcp://127.0.0.1:{port}\"\ninterval = \"{interval}\"\n")
    };
    let command = "[modes.api]\ncommand = [\"sleep\", \"600\"]\n";
    let calm = peer();
    let config = (0..20).map(|number| check(&calm, number, "1h")).collect::<String>() + command;
    for (path, limit) in [("/readyz", READYZ), ("/status", STATUS)] {
        at_most(path, each(400, |count| during(&config, |run| ask(run.port, path, count))), limit);
    }
    let cycle = each(40, |count| {
        let busy = peer();
        during(&(check(&busy, 0, "100ms") + command), |_| (0..count).for_each(|_| drop(busy.accept().unwrap())))
    });
    at_most("a check with the turn of the loop that takes it in", cycle, CYCLE);
}

/// Of 40,000 before an answer was told again without its path being taken apart.
const READYZ: u64 = 30_000;
/// Of 53,000 before it was told again without the thread that renders it.
const STATUS: u64 = 33_000;
/// A connection to a port, its record, the snapshot with it, and the line that is not written.
const CYCLE: u64 = 70_000;

/// Asks so often on one connection.
fn ask(port: u16, path: &str, count: u64) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    for _ in 0..count {
        stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            length = line.to_ascii_lowercase().strip_prefix("content-length: ").map_or(length, |length| length.trim().parse().unwrap());
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// Seven megabytes are promised; every crate is one more that has to be watched.
#[test]
fn the_binary_and_its_crates_are_bounded() {
    if !is_optimized() {
        left_out("the_binary_and_its_crates_are_bounded", "the shipping form is weighed; scripts/test builds it");
        return;
    }
    at_most("the binary", std::fs::metadata(binary()).unwrap().len(), 7_000_000);
    let words = ["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", "all"];
    let listed = Command::new(env!("CARGO")).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let crates: BTreeSet<&str> = listed.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    at_most("the binary in crates", crates.len() as u64, 222);
}
