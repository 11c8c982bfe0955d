//! Programs on a file system that does not respond: the start hangs, and nothing else does.
//!
//! A write lease (fcntl(2), F_SETLEASE) simulates a lost network file system: a process that opens the file waits for the lease's holder,
//! for 45 s by default.

use crate::support::process::{self, Tool};
use crate::support::{Exit, Portcullis, Running, eventually, executable, secs, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Takes a write lease on the file that it is given, says so by another file, and holds on.
const HOLDER: &str = r#"$SIG{IO} = 'IGNORE'; open(my $file, '+<', $ARGV[0]) or die $!; fcntl($file, 1024, 1) or die "no lease: $!";
open(my $held, '>', "$ARGV[0].held") or die $!; close $held; sleep 1000;"#;

/// A program that hangs when it is executed, for as long as the holder lives.
struct Hanging {
    path: PathBuf,
    _holder: Tool,
}

impl Hanging {
    fn new(dir: &Path) -> Self {
        Self::named(dir, "hanging")
    }

    fn named(dir: &Path, name: &str) -> Self {
        Self::held(executable(&dir.join(name), std::fs::read("/bin/sleep").unwrap()))
    }

    /// From now on this program hangs.
    fn held(path: PathBuf) -> Self {
        let holder = Tool::start(Command::new("perl").args(["-e", HOLDER]).arg(&path));
        let held = PathBuf::from(format!("{}.held", path.display()));
        eventually("the lease is held", secs(20), || held.exists().then_some(()));
        Self { path, _holder: holder }
    }
}

/// TERM ends it with `code` within the time of its stop and a second, and nothing is left.
#[track_caller]
fn stops(run: &mut Running, within: Duration, code: i32) {
    run.signal(15);
    assert!(run.ends_within(within), "TERM does not end it within {within:?}:\n{}", run.streams().1);
    run.exits(code);
    run.leaves_nothing();
}

#[test]
fn a_check_whose_program_hangs_delays_no_other() {
    let run = Portcullis::new();
    let program = executable(&run.dir().join("probe"), std::fs::read("/bin/true").unwrap());
    let config = format!(
        "[process]\nstop_timeout = \"3s\"\nrestart = \"always\"\nrestart_delay = \"0s\"\n\
         [checks.probe]\nkind = \"exec\"\ncommand = [\"{}\"]\ninterval = \"300ms\"\ntimeout = \"300ms\"\naffects = \"none\"\nwait = \"0s\"\n",
        program.display()
    );
    let mut run = run.sh("trap 'exit 7' TERM; echo up; sleep 1000 & wait").config(&config).start();
    run.until_stdout("up", secs(20));
    let probe = |run: &Running| run.get("/status?verbose").json()["checks"]["probe"].to_string();
    eventually("the probe passes", secs(20), || probe(&run).contains("\"up\"").then_some(()));
    let hanging = Hanging::held(program);
    eventually("the probe fails", secs(20), || (!probe(&run).contains("\"up\"")).then_some(()));
    assert_eq!(run.get("/livez").code, 200);
    // The end of the process is noticed, and it is started again.
    process::send(run.child_pid("sh"), 9);
    eventually("it is started again", secs(20), || (run.streams().0.matches("up").count() >= 2).then_some(()));
    drop(hanging);
    eventually("the probe passes again", secs(20), || probe(&run).contains("\"up\"").then_some(()));
    let _hanging = Hanging::held(run.dir().join("probe"));
    stops(&mut run, secs(4), 7);
}

#[test]
fn a_process_whose_program_hangs_is_starting_and_can_be_stopped() {
    let run = Portcullis::new();
    let hanging = Hanging::new(run.dir());
    let mut run = run.config("[process]\nstop_timeout = \"2s\"\n").command([hanging.path.to_str().unwrap(), "1000"]).start();
    run.until_stderr("starting the process", secs(20));
    wait::never("it is ready", Duration::from_millis(500), || run.get("/readyz").code == 200 || run.get("/startupz").code == 200);
    assert_eq!(run.get("/livez").code, 200);
    stops(&mut run, secs(3), 143);

    let run = Portcullis::new();
    let hanging = Hanging::new(run.dir());
    let mut run = run.command([hanging.path.to_str().unwrap(), "1000"]).start();
    run.until_stderr("starting the process", secs(20));
    drop(hanging);
    // The file answers: its open goes on, and the process runs.
    run.until_status("/readyz", 200, secs(20));
    stops(&mut run, secs(9), 143);
}

#[test]
fn a_program_that_hangs_beyond_its_startup_limit_has_failed() {
    let run = Portcullis::new();
    let hanging = Hanging::new(run.dir());
    let config = format!(
        "[modes.api]\ncommand = [\"{}\", \"1000\"]\nstarted = {{ notify = true, within = \"400ms\" }}\n[process]\nstop_timeout = \"2s\"\n",
        hanging.path.display()
    );
    let mut run = run.config(&config).start();
    run.exits(69);
    run.until_stderr("the program was not executed within 400ms: reading its file blocks; check its file system", secs(5));
    run.leaves_nothing();
}

#[test]
fn a_migration_whose_program_hangs_can_be_stopped() {
    let run = Portcullis::new();
    let hanging = Hanging::new(run.dir());
    let config = format!(
        "mode = \"api\"\n[migrations]\nenabled = true\nlock = \"none\"\ncommand = [\"{}\", \"1000\"]\n\
         [modes.api]\ncommand = [\"echo\", \"ran\"]\nmigrate = \"run\"\n",
        hanging.path.display()
    );
    let mut run = run.config(&config).start();
    run.until_stderr("migrat", secs(20));
    wait::never("it is ready", Duration::from_millis(300), || run.get("/readyz").code == 200);
    stops(&mut run, secs(9), 143);
    assert!(!run.streams().0.contains("ran"));
}

#[test]
fn a_module_whose_program_hangs_holds_up_neither_the_process_nor_another_module() {
    let run = Portcullis::new();
    let hanging = Hanging::new(run.dir());
    let config = format!(
        "[process]\nstop_timeout = \"2s\"\n[modules.one]\ncommand = [\"{}\", \"1000\"]\nstart = \"on-demand\"\n\
         [modules.two]\ncommand = [\"sleep\", \"1000\"]\n",
        hanging.path.display()
    );
    let mut run = run.config(&config).sh("trap 'exit 7' TERM; echo up; sleep 1000 & wait").start();
    run.until_status("/readyz", 200, secs(20));
    run.beside(["start", "one", "--timeout", "300ms"]).exits(69);
    run.beside(["restart", "two"]).exits(0);
    run.beside(["stop", "one"]).exits(0);
    run.beside(["start", "one", "--timeout", "300ms"]).exits(69);
    stops(&mut run, secs(3), 7);
}

#[test]
fn of_two_programs_that_hang_each_runs_when_its_own_file_answers() {
    let run = Portcullis::new();
    let (first, second) = (Hanging::named(run.dir(), "first"), Hanging::named(run.dir(), "second"));
    let module = |name: &str, program: &Hanging| format!("[modules.{name}]\ncommand = [\"{}\", \"1000\"]\n", program.path.display());
    let config = format!("[process]\nstop_timeout = \"2s\"\n{}{}", module("one", &first), module("two", &second));
    let mut run = run.config(&config).sh("trap 'exit 7' TERM; echo up; sleep 1000 & wait").start();
    run.until_stdout("up", secs(20));
    wait::never("a module is up", Duration::from_millis(300), || run.streams().1.contains("one is up"));
    drop(first);
    run.until_stderr("module one is up", secs(20));
    assert!(!run.streams().1.contains("module two is up"));
    drop(second);
    run.until_stderr("module two is up", secs(20));
    stops(&mut run, secs(3), 7);
}

#[test]
fn a_path_that_is_not_a_file_is_refused_without_opening_it() {
    let run = Portcullis::new();
    let fifo = run.dir().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = run.command([fifo.to_str().unwrap()]).output().exits(126);
    assert!(run.stderr.contains("it is not executable: it is a named pipe; check the path"), "{}", run.stderr);
    let bare = Portcullis::new();
    let fifo = bare.dir().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bare.args(["run", "--bare", "--", fifo.to_str().unwrap()]).output().exits(126);
}

#[test]
fn a_module_whose_program_becomes_a_fifo_fails_and_harms_no_other() {
    let run = Portcullis::new();
    let program = run.script("program", "#!/bin/sh\nexec sleep 1000\n");
    let config = format!("[modules.one]\ncommand = [\"{}\"]\n", program.display());
    let mut run = run.config(&config).sh("trap 'exit 7' TERM; echo up; sleep 1000 & wait").start();
    run.until_status("/readyz", 200, secs(20));
    std::fs::remove_file(&program).unwrap();
    nix::unistd::mkfifo(&program, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let ordered = run.beside(["restart", "one"]);
    assert!(ordered.exit != Exit::Code(0) && ordered.stderr.contains("a named pipe"), "{ordered:?}");
    assert_eq!(run.get("/livez").code, 200);
    stops(&mut run, secs(9), 7);
}

#[test]
fn a_wait_gives_up_a_check_whose_program_hangs() {
    let dir = crate::support::Dir::new();
    let hanging = Hanging::new(dir.path());
    let target = format!("exec:{} 0", hanging.path.display());
    let ran = Portcullis::new().args(["wait"]).args([target.as_str(), "--timeout", "700ms", "--try-timeout", "300ms"]).output();
    assert_ne!(ran.exit, Exit::Code(0), "{ran:?}");
    assert!(ran.took < secs(10), "{ran:?}");
}
