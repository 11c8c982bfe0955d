//! `output = "prefix"`: every line after its process' name, none lost, and no process delayed.

use crate::support::{Exit, Portcullis, Stopwatch, eventually, process, root, secs, wait};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::time::Duration;

const PREFIX: &str = "service = \"api\"\n[process]\noutput = \"prefix\"\n";

fn labelled() -> Portcullis {
    Portcullis::new().config(PREFIX)
}

/// Pseudo-random bytes, the same in every call.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Everything that comes out of the pipe without the labels, which every line has to bear.
fn unlabelled(from: PipeReader) -> Vec<u8> {
    let (mut from, mut line, mut all) = (BufReader::with_capacity(1 << 20, from), Vec::new(), Vec::new());
    while from.read_until(b'\n', &mut line).expect("read the output") > 0 {
        assert!(line.starts_with(b"api | "), "no label: {:?}", String::from_utf8_lossy(&line[..line.len().min(80)]));
        all.extend_from_slice(&line[6..]);
        line.clear();
    }
    all
}

/// A file of noise beside the configuration, and its path in a script.
fn with_noise(run: &Portcullis, length: usize) -> (Vec<u8>, String) {
    let bytes = noise(length);
    let path = run.dir().join("noise");
    std::fs::write(&path, &bytes).unwrap();
    (bytes, path.display().to_string())
}

#[track_caller]
fn same(found: &[u8], expected: &[u8]) {
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!((found.len(), differs), (expected.len(), None));
}

#[test]
fn each_stream_keeps_its_own_and_each_line_its_name() {
    let output = labelled().sh("echo out; echo err >&2; printf 'last words'; printf oops >&2; exit 3").output().exits(3);
    assert_eq!(output.stdout, "api | out\napi | last words\n");
    assert!(output.stderr.contains("\napi | err\n") || output.stderr.starts_with("api | err\n"), "{}", output.stderr);
    let last: Vec<&str> = output.stderr.lines().rev().take(2).collect();
    assert!(last[0].ends_with("exit code 3") && output.stderr.contains("api | oops\n"), "{}", output.stderr);
}

#[test]
fn without_it_the_streams_are_the_childs_own() {
    let output = Portcullis::new().sh("printf out; readlink /proc/self/fd/2 /proc/$PPID/fd/2 >&2").output().exits(0);
    assert_eq!(output.stdout, "out");
    let links: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("pipe:")).collect();
    assert_eq!(links.len(), 2, "{}", output.stderr);
    assert_eq!(links[0], links[1]);
}

#[test]
fn a_hundred_megabytes_arrive_to_the_last_byte() {
    let (reading, writing) = std::io::pipe().unwrap();
    let run = labelled().stdout_to(writing);
    let (mut expected, path) = with_noise(&run, 100_000_000);
    let mut run = run.sh(&format!("exec cat {path}")).start();
    let found = unlabelled(reading);
    run.exits(0);
    expected.push(b'\n');
    same(&found, &expected);
}

#[test]
fn the_last_byte_before_the_end_is_never_lost() {
    for _ in 0..30 {
        let output = labelled().sh("i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; printf end; kill -9 $$").output().exits(137);
        let expected: Vec<String> = (0..50).map(|i| format!("api | {i}")).chain(["api | end".to_owned()]).collect();
        assert_eq!(output.stdout, expected.join("\n") + "\n");
    }
}

#[test]
fn a_killed_child_leaves_whole_lines() {
    let (reading, writing) = std::io::pipe().unwrap();
    let mut run = labelled().stdout_to(writing).sh("exec yes 0123456789").start();
    let mut first = [0; 17];
    (&reading).read_exact(&mut first).unwrap();
    let reader = std::thread::spawn(move || unlabelled(reading));
    process::send(run.child_pid("yes"), 9);
    run.exits(137);
    let found = String::from_utf8(reader.join().unwrap()).unwrap();
    let lines: Vec<&str> = found.lines().collect();
    let (last, whole) = lines.split_last().unwrap();
    assert!(whole.iter().all(|line| *line == "0123456789") && "0123456789".starts_with(last), "{last:?}");
}

#[test]
fn a_line_of_a_mebibyte_is_one_line() {
    let output = labelled().sh("head -c 1048576 /dev/zero | tr '\\0' x; echo; echo after").output().exits(0);
    assert!(output.stdout == format!("api | {}\napi | after\n", "x".repeat(1 << 20)), "{} bytes", output.stdout.len());
}

#[test]
fn a_grandchild_that_keeps_the_pipe_holds_nothing_up() {
    for how in ["sleep 1000", "setsid sleep 1000", "trap '' TERM; sleep 1000"] {
        let config = "service = \"api\"\n[process]\noutput = \"prefix\"\nstop_timeout = \"1s\"\n";
        let run = Portcullis::new().config(config).sh(&format!("({how}) & printf 'the last words'; exit 5")).start();
        let (mut run, watch) = (run, Stopwatch::start());
        run.exits(5);
        assert!(watch.elapsed() < secs(8), "{how}: {:?}", watch.elapsed());
        assert_eq!(run.streams().0, "api | the last words\n", "{how}");
        run.leaves_nothing();
    }
}

#[test]
fn a_reader_that_pauses_holds_up_its_stream_alone_and_loses_nothing() {
    let (reading, writing) = std::io::pipe().unwrap();
    let run = labelled().stdout_to(writing);
    let (mut expected, path) = with_noise(&run, 2_000_000);
    let mut run = run.sh(&format!("(while :; do echo still there >&2; sleep 0.1; done) & echo $$ >&2; cat {path}; exit 4")).start();
    run.until_stderr("still there", secs(20));
    // Both pipes and what is in between are full once `cat` waits for its write.
    let cat =
        eventually("cat runs", secs(20), || process::all().into_iter().find(|pid| process::command_line(*pid) == format!("cat {path} ")));
    eventually("cat waits", secs(20), || (process::stat(cat)?.0 == 'S').then_some(()));
    let before = run.streams().1.matches("still there").count();
    eventually("standard error goes on", secs(20), || (run.streams().1.matches("still there").count() > before + 2).then_some(()));
    assert_eq!(run.get("/livez").code, 200);
    let found = unlabelled(reading);
    run.exits(4);
    expected.push(b'\n');
    same(&found, &expected);
}

#[test]
fn without_a_reader_neither_the_stop_nor_the_end_is_delayed() {
    let (reading, writing) = std::io::pipe().unwrap();
    let mut run = labelled().stdout_to(writing).sh("echo ready >&2; exec yes").start();
    run.until_stderr("ready", secs(20));
    let yes = run.child_pid("yes");
    eventually("yes waits", secs(20), || (process::stat(yes)?.0 == 'S').then_some(()));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(143);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    assert!(run.streams().1.contains("standard output was not read"), "{}", run.streams().1);
    drop(reading);
}

#[test]
fn a_reader_that_is_gone_does_not_end_the_child() {
    let (reading, writing) = std::io::pipe().unwrap();
    let mut run = labelled().stdout_to(writing).sh("while :; do echo line; sleep 0.02; done").start();
    let mut first = [0; 10];
    (&reading).read_exact(&mut first).unwrap();
    drop(reading);
    run.until_stderr("standard output accepts no more output", secs(20));
    wait::never("it ends", Duration::from_millis(300), || !run.runs());
    run.signal(15);
    assert_eq!(run.wait_exit(secs(20)), Exit::Code(143));
}

#[test]
fn another_user_may_open_its_own_standard_output() {
    if !root("another_user_may_open_its_own_standard_output") {
        return;
    }
    let config = "service = \"api\"\n[process]\noutput = \"prefix\"\nuser = \"nobody\"\n";
    let output = Portcullis::new().config(config).sh("echo mine > /dev/stdout; echo mine too > /dev/stderr").output().exits(0);
    assert_eq!(output.stdout, "api | mine\n");
    assert!(output.stderr.contains("api | mine too\n"), "{}", output.stderr);
}

#[test]
fn modules_bear_their_names_and_a_helper_that_stays_hides_no_last_words() {
    let run = Portcullis::new();
    let child = run.script("child", "echo main; exec sleep 1000\n");
    // It dies in the middle of a line, and its helper keeps the pipe.
    let module = run.script("module", "trap '' HUP; sleep 1000 & printf 'it broke'; exit 3\n");
    let config = format!(
        "mode = \"api\"\n[process]\noutput = \"prefix\"\n[modes.api]\ncommand = [\"{}\"]\n[modules.beat]\ncommand = [\"{}\"]\nrestart = \"never\"\n\
         [modules.plain]\ncommand = [\"echo\", \"plain\"]\noutput = \"inherit\"\nrestart = \"never\"\n",
        child.display(),
        module.display()
    );
    let run = run.config(&config).start();
    for line in ["api | main\n", "beat | it broke\n", "plain\n"] {
        run.until_stdout(line, secs(20));
    }
    assert!(!run.streams().0.contains("| plain"), "{}", run.streams().0);
}

#[test]
fn a_module_that_floods_holds_up_neither_answers_nor_the_others_lines() {
    let (reading, writing) = std::io::pipe().unwrap();
    let run = Portcullis::new().stdout_to(writing);
    let child = run.script("child", "i=0; while :; do i=$((i+1)); echo line $i; echo line $i >&2; sleep 0.05; done\n");
    let config = format!(
        "mode = \"api\"\n[process]\noutput = \"prefix\"\n[modes.api]\ncommand = [\"{}\"]\n[modules.flood]\ncommand = [\"yes\", \"flood\"]\n",
        child.display()
    );
    let mut run = run.config(&config).start();
    let reader = std::thread::spawn(move || {
        let (mut lines, mut of_main, mut flood) = (BufReader::new(reading).lines(), 0, 0_u64);
        while let Some(Ok(line)) = lines.next() {
            of_main += u32::from(line.starts_with("api | line "));
            flood += u64::from(line == "flood | flood");
            assert!(line.starts_with("api | line ") || "flood | flood".starts_with(&line[..line.len().min(13)]), "{line}");
        }
        (of_main, flood)
    });
    run.until_stderr("api | line 20\n", secs(60));
    for _ in 0..20 {
        let watch = Stopwatch::start();
        assert_eq!(run.get("/livez").code, 200);
        assert!(watch.elapsed() < secs(2), "{:?}", watch.elapsed());
    }
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(143);
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    let (of_main, flood) = reader.join().unwrap();
    assert!(of_main >= 19 && flood > 1000, "{of_main} lines of the process among {flood}");
    run.leaves_nothing();
}

#[test]
fn where_both_streams_are_one_its_lines_stay_whole() {
    let (reading, writing) = std::io::pipe().unwrap();
    let run = labelled().stdout_to(writing.try_clone().unwrap()).stderr_to(writing);
    let script = "a=$(head -c 9000 /dev/zero | tr '\\0' a); b=$(head -c 70000 /dev/zero | tr '\\0' b); i=0\n\
                  yes $a | head -n 300 & while [ $i -lt 100 ]; do echo $b >&2; i=$((i+1)); done; wait\n";
    let child = run.script("both", script);
    let mut run = run.command([child]).start();
    let (mut a, mut b) = (0, 0);
    for line in BufReader::new(reading).lines() {
        let line = line.unwrap();
        let Some(line) = line.strip_prefix("api | ") else {
            assert!(line.contains(" portcullis "), "neither a label nor ours: {:?}", &line[..line.len().min(80)]);
            continue;
        };
        // A line beyond 64 KiB may end early; it never runs into another one.
        assert!(line.bytes().all(|byte| byte == line.as_bytes()[0]), "two in one");
        if line.starts_with('a') { a += line.len() } else { b += line.len() }
    }
    run.exits(0);
    assert_eq!((a, b), (300 * 9000, 100 * 70000));
}
