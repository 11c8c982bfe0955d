//! `user`: the state of a process for which portcullis drops privileges instead of the container runtime, compared with other tools.

use crate::support::{Portcullis, chmod, root, secs};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const NOBODY: &str = "[process]\nuser = \"nobody\"\n";

#[test]
fn a_user_may_open_the_pipes_that_it_inherits() {
    if !root("a_user_may_open_the_pipes_that_it_inherits") {
        return;
    }
    let migrating = "[checks]\n[migrations]\ncommand = [\"sh\", \"-c\", \"echo migrated > /dev/stdout\"]\nlock = \"none\"\n";
    let run = Portcullis::new().config(&format!("{migrating}{NOBODY}"));
    let output = run.sh("echo out > /dev/stdout && echo err > /dev/stderr").output().exits(0);
    assert_eq!(output.stdout, "migrated\nout\n");
    assert!(output.stderr.contains("err\n"), "{}", output.stderr);
}

#[test]
fn a_user_may_open_the_terminal_that_it_inherits() {
    if !root("a_user_may_open_the_terminal_that_it_inherits") {
        return;
    }
    let (run, terminal) = Portcullis::new().config(NOBODY).on_terminal();
    let mut run = run.sh("echo shown > /dev/stdout; echo \"$(stat -Lc %U /dev/stdin) owns it\"; exit 3").start();
    terminal.until("shown", secs(20));
    terminal.until("nobody owns it", secs(20));
    run.exits(3);
}

#[test]
fn files_sockets_and_dev_null_keep_their_owner() {
    if !root("files_sockets_and_dev_null_keep_their_owner") {
        return;
    }
    let run = Portcullis::new().config(NOBODY);
    let path = run.dir().join("log");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let run = run.stdout_to(File::create(&path).unwrap()).stderr_to(std::os::fd::OwnedFd::from(theirs));
    let mut run = run.command(["stat", "-Lc", "%u", "/dev/stdin", "/proc/self/fd/1", "/proc/self/fd/2"]).start();
    run.exits(0);
    drop(ours);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n0\n0\n");
    assert_eq!(std::fs::metadata("/dev/null").unwrap().uid(), 0);
}

#[test]
fn a_module_of_another_user_leaves_the_streams_to_the_process() {
    if !root("a_module_of_another_user_leaves_the_streams_to_the_process") {
        return;
    }
    let config = "mode = \"api\"\n[process]\nuser = \"nobody\"\n[modes.api]\ncommand = [\"sh\", \"-c\", \"while [ ! -e go ]; do sleep 0.02; done; echo mine > /dev/stdout\"]\n\
                  [modules.other]\nuser = \"daemon\"\ncommand = [\"sleep\", \"1000\"]\n";
    let mut run = Portcullis::new().config(config).start();
    run.child_pid("sleep 1000");
    run.child_pid("while");
    std::fs::write(run.dir().join("go"), "").unwrap();
    run.until_stdout("mine", secs(20));
    run.exits(0);
}

/// What a program finds of itself: everything that a change of the user concerns. Ignored signals are none of it: those tools hand on what
/// they were started with.
const LOOK: &str = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)|SigBlk|Umask):' /proc/self/status; id -G; \
                    echo \"$USER $LOGNAME $SHELL\"; cat /proc/self/oom_score_adj; ulimit -a";

/// The same seen below `tool`, which ends in its command's words.
fn seen_below(tool: &[&str], around: &[&str]) -> String {
    let words: Vec<&str> = around.iter().chain(tool).copied().chain(["bash", "-c", LOOK]).collect();
    let output = Command::new(words[0]).args(&words[1..]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_drop_of_privileges_leaves_what_setpriv_and_gosu_leave() {
    if !root("a_drop_of_privileges_leaves_what_setpriv_and_gosu_leave") {
        return;
    }
    let setpriv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--init-groups", "--"];
    // Plainly; and from a parent that hands capabilities on, as some runtimes have done it (CVE-2022-24769).
    let ambient = ["setpriv", "--inh-caps=+net_bind_service,+net_raw", "--ambient-caps=+net_bind_service", "--"];
    let bounded = ["setpriv", "--bounding-set=-sys_admin,-sys_ptrace", "--no-new-privs", "--"];
    for around in [&[][..], &ambient, &bounded] {
        let through = if around.is_empty() { "env".to_owned() } else { around[..around.len() - 1].join(" ") };
        let ours = Portcullis::new().config(NOBODY).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").through(&through).sh(LOOK).output();
        let ours = ours.exits(0).stdout;
        assert_eq!(ours, seen_below(&setpriv, around), "setpriv, {around:?}");
        assert!(ours.contains("CapEff:\t0000000000000000") && ours.contains("CapAmb:\t0000000000000000"), "{ours}");
        if Command::new("gosu").arg("--version").output().is_ok() {
            // gosu leaves the user's own group out of the supplementary ones, which initgroups(3) puts in; no right hangs on it.
            let but_groups = |seen: String| seen.lines().filter(|line| !line.starts_with("Groups:")).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(but_groups(ours), but_groups(seen_below(&["gosu", "nobody"], around)), "gosu, {around:?}");
        }
    }
}

#[test]
fn a_directory_that_only_the_user_may_enter_is_entered_as_the_user() {
    if !root("a_directory_that_only_the_user_may_enter_is_entered_as_the_user") {
        return;
    }
    let run = Portcullis::new();
    let home = run.dir().join("home");
    std::fs::create_dir(&home).unwrap();
    chmod(&home, 0o700);
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let config = format!("{NOBODY}working_directory = \"{}\"\n", home.display());
    // Root without the power over others' files, as on NFS with root_squash.
    let run = run.config(&config).through("setpriv --bounding-set -dac_override,-dac_read_search");
    assert_eq!(run.command(["pwd"]).output().exits(0).stdout, format!("{}\n", home.display()));
    let nobodys = "[process]\nuser = \"daemon\"\nworking_directory = \"/root\"\n";
    let run = Portcullis::new().config(nobodys).through("setpriv --bounding-set -dac_override,-dac_read_search");
    let closed = run.dir().join("closed");
    std::fs::create_dir(&closed).unwrap();
    chmod(&closed, 0o700);
    std::os::unix::fs::chown(&closed, Some(65534), Some(65534)).unwrap();
    let run = run.config(&nobodys.replace("/root", &closed.display().to_string()));
    run.command(["pwd"]).output().exits(126).says(&["working directory cannot be entered"]);
}
