//! The costs of a start, a response and a check that do not depend on the machine: instructions, bytes and crates.
//!
//! `scripts/bench` measures times. A bound is the measured value of its day plus a tenth. A change that exceeds it explains its benefit in
//! `CHANGELOG.md` and raises the bound.

use crate::support::portcullis::{binary, is_optimized};
use crate::support::{Portcullis, Running, left_out, secs};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// The counting program; it writes the sum to standard error.
const COUNTING: &str = "valgrind --tool=callgrind --callgrind-out-file=/dev/null";

/// Whether the binary under test is the release form, and instructions can be counted here.
fn counts(test: &str) -> bool {
    let can_count = Command::new("valgrind").arg("--version").output().is_ok();
    if !is_optimized() {
        left_out(test, "the shipping form is counted; scripts/test builds it");
    } else if !can_count {
        left_out(test, "there is no valgrind here; scripts/test installs it");
    }
    is_optimized() && can_count
}

/// The number of instructions of a run from its start to its end, with its threads, without its child and the kernel.
fn collected(said: &str) -> u64 {
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    line.unwrap_or_else(|| panic!("{said}")).1.trim().parse().unwrap()
}

fn at_most(what: &str, found: u64, limit: u64) {
    assert!(found <= limit, "{what} takes {found}, and at most {limit} is promised");
    // A bound that is far away is useless; on a busy machine responses are rendered more often, so it is not near either.
    assert!(found * 3 > limit, "{what} takes {found}: bring its bound of {limit} down");
}

/// A run that is ended by TERM after `work`, and its cost.
fn during(config: &str, work: impl FnOnce(&Running)) -> u64 {
    let mut run = Portcullis::new().config(config).through(COUNTING).start();
    run.until_status("/readyz", 200, secs(60));
    work(&run);
    run.stop();
    collected(&run.streams().1)
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

/// With the pages that the kernel maps around each one that is used. Before: 5,260, when the linker mixed used and unused functions.
const RESIDENT: u64 = 2_700;
/// Before: 1,846,000, when the command line was not read by a table and a configuration was read; 450,000, when the log had room for all its
/// lines from the start.
const BARE: u64 = 420_000;
/// Before: 2,096,000, when copies of the configuration did not share their content; 1,505,000, when the built-in configuration was a text, a section
/// that is not used was read again after each of its variables, and the allocator had a mutex of musl.
const WITHOUT_FILE: u64 = 1_060_000;
/// A mode of one command. Before: 876,000.
const WITH_FILE: u64 = 760_000;

#[test]
fn a_bare_run_has_little_memory_of_its_own() {
    if !is_optimized() {
        left_out("a_bare_run_has_little_memory_of_its_own", "the shipping form is weighed; scripts/test builds it");
        return;
    }
    // A file that the linker has just written is cached in larger pieces than one that is read from a disk, as a container's first start does.
    let file = std::fs::File::open(binary()).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    std::fs::read(binary()).unwrap();
    let bare = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    let run = bare.args(["run", "--bare", "--", "sleep", "600"]).start();
    run.until_stderr("ready: accepting traffic", secs(20));
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", run.pid())).unwrap();
    let kilobytes = |field: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    };
    at_most("the memory of a bare run in kB", kilobytes("Anonymous:"), 150);
    at_most("the resident memory of a bare run in kB (if too much of it is the binary, run scripts/layout)", kilobytes("Rss:"), RESIDENT);
}

/// Two runs, of which the second repeats the work more often: the cost of one repetition.
fn each(count: u64, run: impl Fn(u64) -> u64) -> u64 {
    (run(count + count / 4).saturating_sub(run(count / 4))) / count
}

#[test]
fn an_answer_and_a_check_are_bounded_numbers_of_instructions() {
    if !counts("an_answer_and_a_check_are_bounded_numbers_of_instructions") {
        return;
    }
    // Connections that it does not accept wait in its queue, which is longer than the number of checks and cycles here.
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

/// Before: 28,000, when hyper parsed every request; 40,000, when the view did, too. A response is rendered anew each second, so a busy machine
/// counts more than a quiet one (5,000); this and the next two bounds leave room for that.
const READYZ: u64 = 9_000;
/// Before: 53,000, when every request needed the rendering thread.
const STATUS: u64 = 12_000;
/// A connection to a port, its record, its snapshot, and no log line. On a quiet machine 40,000; before, when each result assessed all checks,
/// 57,500.
const CYCLE: u64 = 60_000;

/// Before, when the end of a module made the reducer look at all of them for each of them: four times.
#[test]
fn a_module_costs_as_much_among_many_as_among_few() {
    if !counts("a_module_costs_as_much_among_many_as_among_few") {
        return;
    }
    let start_and_stop = |count: u64| {
        let module = |number| format!("[modules.m{number}]\ncommand = [\"sleep\", \"600\"]\n");
        let command = "[modes.api]\ncommand = [\"sleep\", \"600\"]\n";
        let config = (0..count).map(module).collect::<Vec<_>>().concat();
        during(&(config + command), |run| (0..count).for_each(|number| run.until_stderr(&format!("module m{number} is up"), secs(60))))
    };
    let [none, few, many] = [0, 40, 160].map(start_and_stop);
    let [few, many] = [(few, 40), (many, 160)].map(|(took, count)| took.saturating_sub(none) / count);
    at_most(&format!("a module among 160 ({many} instructions), in percent of one among 40 ({few})"), many * 100 / few, 150);
}

/// Sends this many requests on one connection.
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

/// Seven megabytes are promised; every crate has to be maintained.
#[test]
fn the_binary_and_its_crates_are_bounded() {
    if !is_optimized() {
        left_out("the_binary_and_its_crates_are_bounded", "the shipping form is weighed; scripts/test builds it");
        return;
    }
    at_most("the binary", std::fs::metadata(binary()).unwrap().len(), 7_000_000);
    let words = ["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target"];
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let listed = Command::new(env!("CARGO")).args(words).arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let crates: BTreeSet<&str> = listed.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    at_most("the binary in crates", crates.len() as u64, 178);
}
