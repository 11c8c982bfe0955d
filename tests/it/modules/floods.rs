//! Modules that flood their output and fork endlessly: responses and the stop still work, and nothing is left behind.

use super::prepared;
use crate::support::{Running, Stopwatch, eventually, process, root, secs};
use std::io::{PipeReader, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Asks two hundred times and on until `storm`, a count that grows while it rages, has grown between the first answer and the last.
fn answers_during(run: &Running, storm: impl Fn() -> u64) {
    let mut longest = Duration::ZERO;
    let (before, since) = (storm(), Stopwatch::start());
    let mut answers = 0;
    while answers < 200 || storm() <= before {
        let watch = Stopwatch::start();
        assert_eq!(run.get("/livez").code, 200);
        assert_eq!(run.get("/readyz").code, 200);
        longest = longest.max(watch.elapsed());
        answers += 1;
        assert!(since.elapsed() < secs(60), "the storm is over after {answers} answers");
    }
    assert!(longest < secs(2), "an answer took {longest:?}");
}

/// Reads the pipe to its end and counts its bytes.
fn counted(mut from: PipeReader) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            shared.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn a_module_that_floods_its_output_without_end_holds_up_neither_answers_nor_the_stop() {
    for output in ["inherit", "prefix"] {
        let (reading, writing) = std::io::pipe().unwrap();
        let run = prepared(&format!("[modules.flood]\ncommand = [\"yes\"]\noutput = \"{output}\"\n")).stdout_to(writing);
        let (mut run, bytes) = (run.start(), counted(reading));
        let seen = || bytes.load(Ordering::Relaxed);
        run.until_status("/readyz", 200, secs(20));
        eventually("it floods", secs(20), || (seen() > 1 << 20).then_some(()));
        answers_during(&run, seen);
        let (before, watch) = (seen(), Stopwatch::start());
        run.signal(15);
        run.exits(0);
        assert!(watch.elapsed() < secs(6), "{output}: {:?}", watch.elapsed());
        assert!(before > 1 << 21, "{output}: {before} bytes");
        run.leaves_nothing();
    }
}

#[test]
fn a_module_that_orphans_thousands_of_processes_does_not_stop_the_answers() {
    // Each is an orphan at once, so that portcullis is who reaps it.
    let script = "while :; do (sleep 0.05 &); echo orphaned; done";
    let (reading, writing) = std::io::pipe().unwrap();
    let run = prepared(&format!("[modules.orphans]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n")).stdout_to(writing);
    let (mut run, bytes) = (run.start(), counted(reading));
    let orphans = || bytes.load(Ordering::Relaxed) / "orphaned\n".len() as u64;
    run.until_status("/readyz", 200, secs(20));
    eventually("it forks", secs(20), || (orphans() > 100).then_some(()));
    answers_during(&run, orphans);
    eventually("it has gone on", secs(60), || (orphans() > 2000).then_some(()));
    assert_eq!(run.get("/livez").code, 200);
    run.signal(15);
    run.exits(0);
    run.leaves_nothing();
}

/// It forks endlessly, and so do its children: as many as the limit allows; some end all the time and make room for new ones. The first
/// reports every hundredth refused fork.
const BOMB: &str = "my ($first, $refused) = ($$, 0);\nwhile (1) {\n  my $may = defined(fork);\n  \
    $$ == $first ? ($may or ++$refused % 100 or syswrite(STDOUT, \"refused\\n\")) : (rand() < 0.1 and exit);\n}\n";

#[test]
fn a_fork_bomb_within_its_limit_stops_neither_the_answers_nor_the_stop() {
    if !root("a_fork_bomb_within_its_limit_stops_neither_the_answers_nor_the_stop") {
        return;
    }
    // In its module's group, and each process in a group of its own, so that no signal reaches all of them.
    for bomb in [BOMB.to_owned(), BOMB.replace("fork)", "fork); setpgrp")] {
        let (reading, writing) = std::io::pipe().unwrap();
        let run = prepared("").stdout_to(writing);
        let program = run.file("bomb", &bomb);
        // A user of no other process: the kernel counts all processes of one user.
        let user = 200_000 + std::process::id();
        let tables = format!(
            "mode = \"api\"\n[modes.api]\ncommand = [\"{dir}/child\", \"main\"]\n[modules.bomb]\ncommand = [\"perl\", \"{}\"]\nuser = \"{user}:{user}\"\n\
             limits = {{ nproc = 60 }}\n",
            program.display(),
            dir = run.dir().display(),
        );
        let (mut run, bytes) = (run.config(&tables).start(), counted(reading));
        let refused = || bytes.load(Ordering::Relaxed) / "refused\n".len() as u64;
        run.until_status("/readyz", 200, secs(20));
        eventually("it fills its limit", secs(20), || (refused() > 2).then_some(()));
        answers_during(&run, refused);
        let watch = Stopwatch::start();
        run.signal(15);
        run.exits(0);
        assert!(watch.elapsed() < secs(15), "{:?}", watch.elapsed());
        assert_eq!(processes_of(user), 0, "{bomb}");
        run.leaves_nothing();
    }
}

fn processes_of(user: u32) -> usize {
    let owner = |pid: i32| std::fs::metadata(format!("/proc/{pid}")).ok().map(|entry| entry.uid());
    process::all().into_iter().filter(|pid| owner(*pid) == Some(user)).count()
}
