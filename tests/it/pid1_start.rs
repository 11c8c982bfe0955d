//! PID 1 at the start: nothing is lost or leaked, nothing harmful is inherited, and every failure is reported.

use crate::support::child::{polite, talker};
use crate::support::{Exit, Portcullis, executable, process, root, secs, slow, wait};
use std::io::Read;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn a_term_pending_at_exec_is_acted_on() {
    let run = Portcullis::new();
    let pending = run.script("pending", "kill -TERM $$\nexec \"$@\"\n");
    let mut run = run.through(&format!("env --block-signal=TERM {}", pending.display())).command(["tail", "-f", "/dev/null"]).start();
    assert_eq!(run.wait_exit(secs(20)), Exit::Code(143));
    run.leaves_nothing();
}

/// Starts again and again and sends TERM at a random moment of the first 5 ms; returns how often it was lost.
fn early_terms(starts: u32, pid1: bool, options: &[&str]) -> u32 {
    let mut random = u64::from(std::process::id());
    let mut lost = 0;
    for start in 0..starts {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_micros((random >> 33) % 5000);
        let words = ["run"].iter().chain(options).chain(&["--", "tail", "-f", "/dev/null"]).copied();
        let new = Portcullis::new().args(words);
        let mut run = if pid1 { new.in_pid_namespace().start() } else { new.start() };
        let pid = run.pid();
        wait::moment(delay);
        process::send(pid, 15);
        if pid1 && !run.ends_within(secs(2)) {
            // For PID 1 the kernel drops signals that arrive before the mask is set; no init can receive them.
            lost += 1;
            process::send(pid, 9);
            run.wait_exit(secs(20));
            continue;
        }
        let exit = run.wait_exit(secs(20));
        let ended = matches!(exit, Exit::Code(143) | Exit::Signal(15));
        assert!(ended, "start {start}, TERM after {delay:?}: {exit:?}\n{}", run.streams().1);
        run.leaves_nothing();
    }
    lost
}

#[test]
fn an_early_term_to_the_group_is_never_lost() {
    let starts = if slow("1000 early TERMs to the group; 60 are sent now") { 1000 } else { 60 };
    assert_eq!(early_terms(starts, false, &["--bare", "--signal-scope", "group"]), 0);
}

#[test]
fn pid_1_loses_an_early_term_only_before_its_mask_is_set() {
    let starts = if slow("1000 early TERMs to PID 1; 40 are sent now") { 1000 } else { 40 };
    let lost = early_terms(starts, true, &[]);
    eprintln!("{lost} of {starts} early TERMs to PID 1 were dropped by the kernel");
    assert!(lost * 4 <= starts, "{lost} of {starts}");
}

#[test]
fn passed_descriptors_reach_only_the_child() {
    let run = Portcullis::new();
    let pipe = run.dir().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pass = run.script("pass", &format!("exec 7>{}\nLISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"\n", pipe.display()));
    let child = format!("ls /proc/self/fd | tr '\\n' ' '; echo; echo \"pids $LISTEN_PID $$\"; echo data >&7; exec 7>&-\n{}", polite());
    let mut run = run.through(&pass.display().to_string()).sh(&child).start();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        std::fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
        sender.send(text).unwrap();
    });
    run.until_stdout("ready", secs(20));
    // The end is seen while everything runs: no process but the child held it open.
    assert_eq!(receiver.recv_timeout(secs(20)).expect("the reader sees the end"), "data\n");
    let said = run.streams().0;
    let usual = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap().stdout;
    let mut usual: Vec<u32> = String::from_utf8(usual).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    usual.extend([7].iter().filter(|_| !usual.contains(&7)).copied().collect::<Vec<_>>());
    usual.sort_unstable();
    let mut found: Vec<u32> = said.lines().next().unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, usual, "none of ours may leak, none of theirs may be missing");
    let pids: Vec<&str> = said.lines().find_map(|line| line.strip_prefix("pids ")).unwrap().split(' ').collect();
    assert_eq!(pids[0], pids[1], "LISTEN_PID is the child's");
    run.signal(15);
    run.exits(0);
}

#[test]
fn missing_standard_streams_are_dev_null_for_us_and_for_the_child() {
    let run = Portcullis::new();
    let closed = run.script("closed", "exec \"$@\" <&- >&- 2>&-\n");
    let said = run.dir().join("said");
    let child =
        "trap 'exit 0' TERM; a=$(readlink /proc/$$/fd/0); b=$(readlink /proc/$$/fd/2); echo \"$a $b\" > said.new; mv said.new said\n";
    let mut run = run.through(&closed.display().to_string()).sh(&format!("{child}{}", polite())).start();
    let text = crate::support::eventually("the child has looked", secs(20), || std::fs::read_to_string(&said).ok());
    assert_eq!(text, "/dev/null /dev/null\n");
    for stream in 0..3 {
        let file = std::fs::read_link(format!("/proc/{}/fd/{stream}", run.pid())).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "a socket as stream {stream} would get our log lines");
    }
    run.until_status("/livez", 200, secs(20));
    run.signal(15);
    run.exits(0);
}

#[test]
fn a_program_that_cannot_be_executed_is_reported_with_its_reason() {
    let run = Portcullis::new();
    let script = executable(&run.dir().join("odd"), "#!/no/such/interpreter -x\n");
    run.command([script]).output().exits(127).says(&["odd", "interpreter /no/such/interpreter"]);
    let huge = format!("[env]\nBIG = \"{}\"\n", "x".repeat(140_000));
    Portcullis::new().config(&huge).command(["true"]).output().exits(126).says(&["cannot start true: the variable BIG has 140005 bytes"]);
    let secret = format!("[env]\nAPP_PASSWORD = \"{}\"\n", "hidden".repeat(25_000));
    let said = Portcullis::new().config(&secret).command(["true"]).output().exits(126).says(&["APP_PASSWORD", "131072"]).stderr;
    assert!(!said.contains("hidden"));
    let word = "x".repeat(140_000);
    let config = format!("[modes.api]\ncommand = [\"true\", \"{word}\"]\n");
    Portcullis::new().config(&config).output().exits(126).says(&["argument 1 of the command is longer than the 131072 bytes"]);
    // Each fits alone, and all together do not.
    let many: Vec<String> = (0..30).map(|number| format!("V{number} = \"{}\"", "x".repeat(100_000))).collect();
    Portcullis::new()
        .config(&format!("[env]\n{}\n", many.join("\n")))
        .command(["true"])
        .output()
        .exits(126)
        .says(&["arguments and environment have 3"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    // The longest that the test itself can hand over.
    let wait = Portcullis::new().config("").env("FITS", "x".repeat(131_000)).args(["wait", &target, "--", "true"]);
    wait.output().exits(0);
    Portcullis::new().command(["/"]).output().exits(126).says(&["not executable"]);
    let run = Portcullis::new();
    let file = run.file("file", "");
    run.command([file.join("below")]).output().exits(127).says(&["not a directory"]);
}

#[test]
fn a_full_process_table_is_70() {
    if !root("a_full_process_table_is_70") {
        return;
    }
    // One process of this user is enough for portcullis, and neither for a child nor for the thread that writes the log.
    let through = "setpriv --reuid 54371 --regid 54371 --clear-groups prlimit --nproc=1 --";
    let run = Portcullis::new().through(through).args(["run", "--bare", "--", "true"]);
    run.output().exits(70).says(&["cannot create another process"]);
}

#[test]
fn text_without_a_first_line_is_a_shell_script() {
    let run = Portcullis::new().config("[env]\nPATH = \".:/usr/bin:/bin\"\n");
    executable(&run.dir().join("plain"), "echo \"$0 $1 $2\"\nexit 7\n");
    let output = run.command(["plain", "a b", "c"]).output().exits(7);
    assert_eq!(output.stdout, "./plain a b c\n");
}

#[test]
fn a_program_of_another_machine_is_126_and_named() {
    let run = Portcullis::new();
    let mut program = std::fs::read("/bin/true").unwrap();
    program[18] = 0xb7;
    let path = executable(&run.dir().join("foreign"), program);
    run.command([path]).output().exits(126).says(&["built for aarch64, this is x86_64"]);
}

#[test]
fn programs_are_found_by_the_path_of_the_child() {
    let run = Portcullis::new();
    let dir = run.dir().to_owned();
    let tool = run.script("only-here", "exit 9\n");
    let run = run.config(&format!("[env]\nPATH = \"/nowhere:{}\"\n", dir.display()));
    run.command(["only-here"]).output().exits(9);
    assert!(!tool.exists(), "the directory is gone with its run");
    Portcullis::new().without("PATH").command(["true"]).output().exits(0);
}

#[test]
fn arguments_after_the_first_double_dash_belong_to_the_child() {
    Portcullis::new().args(["run", "--", "--stop-timeout"]).output().exits(127).says(&["--stop-timeout"]);
    let output = Portcullis::new().command(["printf", "%s,", "--", "-x", "--mode"]).output().exits(0);
    assert_eq!(output.stdout, "--,-x,--mode,");
}

#[test]
fn the_child_keeps_the_directory_and_we_leave_it() {
    let run = Portcullis::new();
    let dir = run.dir().to_owned();
    let mut run = run.sh(&format!("pwd\n{}", polite())).start();
    run.until_stdout("ready", secs(20));
    assert_eq!(run.streams().0.lines().next(), dir.to_str());
    assert_eq!(std::fs::read_link(format!("/proc/{}/cwd", run.pid())).unwrap(), Path::new("/"));
    run.signal(15);
    run.exits(0);
}

#[test]
fn the_child_finds_what_the_operator_set_around_it() {
    let run = Portcullis::new().config(
        "[process]\numask = \"0027\"\nlimits = { nofile = \"64:128\", core = 4096 }\nno_new_privileges = true\nworking_directory = \"below\"\n",
    );
    let below = run.dir().join("below");
    std::fs::create_dir(&below).unwrap();
    let output = run.sh("pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -c; grep NoNewPrivs /proc/self/status").output().exits(0);
    assert_eq!(output.stdout, format!("{}\n0027\n64\n128\n4\nNoNewPrivs:\t1\n", below.display()));
    let gone = "[process]\nworking_directory = \"/no/such/place\"\n";
    Portcullis::new().config(gone).command(["true"]).output().exits(126).says(&["working directory"]);
}

#[test]
fn the_process_and_its_migration_run_as_the_user_with_its_groups() {
    if !root("the_process_and_its_migration_run_as_the_user_with_its_groups") {
        return;
    }
    let run = Portcullis::new();
    let passwd = run.file("passwd", "root:x:0:0::/root:/bin/sh\napp:x:54321:54322::/srv/app:/bin/sh\n");
    let group = run.file("group", "root:x:0:\napp:x:54322:\nvideo:x:54323:other,app\n");
    let mounts = format!("mount --bind {} /etc/passwd\nmount --bind {} /etc/group\nexec \"$@\"\n", passwd.display(), group.display());
    let script = run.script("mounts", &mounts);
    let config = "[checks]\n[migrations]\ncommand = [\"sh\", \"-c\", \"echo migrating; id -u; id -g; id -G; echo $$HOME\"]\nlock = \"none\"\n\
                  [process]\nuser = \"app\"\n";
    let run = run.config(config).env("HOME", "/root").through(&format!("unshare --mount {}", script.display()));
    let output = run.sh("echo running; id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status").output().exits(0);
    let who = "54321\n54322\n54322 54323\n/srv/app\n";
    assert_eq!(output.stdout, format!("migrating\n{who}running\n{who}CapEff:\t0000000000000000\n"));
}

#[test]
fn a_user_that_cannot_be_set_is_126() {
    if !root("a_user_that_cannot_be_set_is_126") {
        return;
    }
    let config = "[process]\nuser = \"54321:54321\"\n";
    let other = "setpriv --reuid 54371 --regid 54371 --clear-groups";
    Portcullis::new().config(config).through(other).command(["true"]).output().exits(126).says(&["user", "root"]);
    // An image that names its user already has nothing to change.
    let same = "setpriv --reuid 54321 --regid 54321 --clear-groups";
    Portcullis::new().config(config).through(same).command(["true"]).output().exits(0);
}

#[test]
fn no_writable_path_and_no_known_user_are_needed() {
    if !root("no_writable_path_and_no_known_user_are_needed") {
        return;
    }
    let run = Portcullis::new();
    let readonly = run.script(
        "readonly",
        "mount --make-rprivate /\nfor at in $(cut -d' ' -f2 /proc/mounts); do mount -o remount,ro,bind \"$at\" 2>/dev/null; done\n\
         exec setpriv --reuid 54371 --regid 0 --clear-groups \"$@\"\n",
    );
    let child = "for at in . / /tmp /run /dev/shm /var/tmp; do touch $at/x 2>/dev/null && echo wrote $at; done; echo ready; \
                 trap 'exit 4' TERM; sleep 1000 & wait";
    let mut run = run.in_pid_namespace().through(&format!("unshare --mount {}", readonly.display())).sh(child).start();
    run.until_stdout("ready", secs(20));
    run.until_status("/livez", 200, secs(20));
    run.signal(15);
    run.exits(4);
    assert_eq!(run.streams().0, "ready\n");
}

#[test]
fn a_subreaper_is_set_and_no_foreign_process_is_signalled() {
    let mut stranger = Portcullis::new().sh(&talker(&[], 0)).start();
    stranger.until_stdout("ready", secs(20));
    let orphan = "(setsid sh -c 'trap \"\" TERM; echo orphan; exec sleep 1000' &)\n";
    let mut run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "500ms").sh(&format!("{orphan}{}", polite())).start();
    run.until_stdout("ready", secs(20));
    run.until_stdout("orphan", secs(20));
    let own = run.pid();
    let adopted = || process::children(own).into_iter().any(|pid| process::command_line(pid).contains("sleep 1000"));
    crate::support::eventually("the orphan is ours", secs(20), || adopted().then_some(()));
    run.signal(15);
    run.exits(0);
    run.leaves_nothing();
    assert!(stranger.runs() && !stranger.streams().0.contains("got 15"), "kill(-1) would have reached it");
    stranger.signal(15);
    stranger.exits(0);
}

#[test]
fn works_below_another_init() {
    let run = Portcullis::new();
    let inner = crate::support::portcullis::binary();
    let child = talker(&[], 6);
    let words = [inner.to_str().unwrap(), "run", "--bare", "--", "bash", "-c", &child];
    let mut run = run.in_pid_namespace().args(["run", "--bare", "--"].into_iter().chain(words)).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(6);
}
