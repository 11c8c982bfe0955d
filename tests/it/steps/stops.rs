//! What comes between a step and its end: a stop in each of its parts, a lock that goes, a reload.

use crate::support::{Portcullis, Postgres, Running, eventually, secs};
use std::fs;
use std::process::Command;

/// A script that says where it is and stays there, with a child of its own.
const STAYS: &str = "sleep 600 & echo here; exec sleep 601";

/// Ends the start in the part that says `here`, and holds that nothing is left.
fn ended(mut run: Running) {
    run.until_stdout("here", secs(20));
    run.signal(15);
    run.exits(143);
    run.leaves_nothing();
    assert!(!run.dir().join("process").exists(), "the process was started");
}

fn starting(toml: &str) -> Running {
    Portcullis::new().config(toml).sh("touch process").start()
}

#[test]
fn a_stop_ends_each_part_of_a_step_with_143_and_leaves_nothing() {
    let command = format!("[\"sh\", \"-c\", \"{STAYS}\"]");
    for part in [
        format!("command = {command}\n"),
        format!("command = [\"true\"]\ncheck = {command}\n"),
        format!("command = [\"true\"]\nwhen = {{ command = {command} }}\n"),
        format!(
            "each = [\"a\", \"b\"]\ncommand = [\"true\"]\nwhen = {{ command = [\"sh\", \"-c\", \"[ ${{@each}} = a ] || {{ {STAYS}; }}\"] }}\n"
        ),
        format!("each = [\"a\", \"b\"]\ncommand = [\"true\"]\ncheck = [\"sh\", \"-c\", \"[ ${{@each}} = a ] || {{ {STAYS}; }}\"]\n"),
        format!("each = [\"a\", \"b\"]\ncommand = [\"sh\", \"-c\", \"[ ${{@each}} = a ] || {{ {STAYS}; }}\"]\n"),
        "command = [\"sh\", \"-c\", \"echo here; exit 1\"]\nretries = 5\nretry_delay = \"10m\"\n".to_owned(),
    ] {
        ended(starting(&format!("[[steps]]\n{part}")));
        ended(starting(&format!("[[steps]]\nat = \"first\"\non_failure = \"continue\"\n{part}")));
    }
    let migration = |when: &str| format!("[migrations]\nlock = \"none\"\ncommand = [\"true\"]\nwhen = {{ command = {when} }}\n");
    ended(starting(&migration(&command)));
}

#[test]
fn a_stop_ends_a_hook_and_begins_none() {
    let run = Portcullis::new();
    let hooks = run.dir().join("hooks.d");
    fs::create_dir(&hooks).unwrap();
    fs::write(hooks.join("10-stays.sh"), STAYS).unwrap();
    fs::write(hooks.join("20-next.sh"), "touch process").unwrap();
    let toml =
        format!("[[steps]]\ndirectory = \"{}\"\ninterpreter = {{ \".sh\" = [\"sh\"] }}\non_failure = \"continue\"\n", hooks.display());
    ended(run.config(&toml).sh("touch process").start());
}

#[test]
fn a_stop_ends_the_queue_for_a_lock() {
    let shared = Portcullis::new();
    let lock = shared.dir().join("lock");
    let toml = |command: &str| {
        format!("[[steps]]\nname = \"index\"\nlock = \"file://{}\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\n", lock.display())
    };
    let mut holder = starting(&toml("echo holding; while [ ! -e go ]; do sleep 0.05; done"));
    holder.until_stdout("holding", secs(20));
    let mut queued = starting(&toml("echo second; touch process"));
    queued.until_stderr("the step `index` waits for the lock", secs(20));
    queued.signal(15);
    queued.exits(143);
    assert!(!queued.streams().0.contains("second"), "{:?}", queued.streams());
    let mut next = starting(&toml("echo third"));
    next.until_stderr("the step `index` waits for the lock", secs(20));
    assert!(!next.streams().0.contains("third"));
    fs::write(holder.dir().join("go"), "").unwrap();
    holder.exits(0);
    next.exits(0);
    assert!(next.streams().0.contains("third"));
}

#[test]
fn a_lock_that_goes_while_a_step_runs_ends_the_step_and_the_start() {
    let server = Postgres::start();
    let toml = |more: &str| {
        format!(
            "[checks.db]\nurl = \"{}\"\n[[steps]]\nname = \"index\"\nlock = \"db\"\ncommand = [\"sh\", \"-c\", \"echo here; while [ ! -e go ]; do sleep 0.05; done\"]\n\
             [migrations]\nlock = \"db\"\ncommand = [\"true\"]\n{more}",
            server.url()
        )
    };
    let end = || {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-lock:%'";
        assert!(server.psql(sql).contains('t'), "no session of a lock");
    };
    let mut run = starting(&toml(""));
    run.until_stdout("here", secs(60));
    // A session that queues inside the server gets the lock at once, so it cannot be regained.
    let key = server.psql("SELECT (classid::bigint << 32 | objid::bigint)::text FROM pg_locks WHERE locktype = 'advisory' AND granted");
    let thief = format!("exec {} -c 'SELECT pg_advisory_lock({key}), pg_sleep(600)'", server.psql_line());
    let mut thief = Command::new("sh").args(["-c", &thief]).spawn().expect("start psql");
    let queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    eventually("the thief queues", secs(30), || (server.psql(queued) == "1").then_some(()));
    end();
    run.exits(76);
    let stderr = run.streams().1;
    assert!(stderr.contains("the migration lock was lost while the step `index` ran"), "{stderr}");
    run.leaves_nothing();
    assert!(!run.dir().join("process").exists());
    drop(thief.kill());
    drop(thief.wait());
}

/// The number of the process that says it is here.
fn stays(run: &Running) -> i32 {
    run.until_stdout("here", secs(20));
    run.child_pid("sleep 601")
}

#[test]
fn a_reload_leaves_a_step_alone() {
    let module = "[modules.idle]\ncommand = [\"sleep\", \"602\"]\nstart = \"on-demand\"\n";
    let toml = |at: &str, more: &str| {
        format!(
            "{module}{more}[modes.api]\ncommand = [\"sleep\", \"603\"]\n[[steps]]\nname = \"warm\"\nat = \"{at}\"\ncommand = [\"sh\", \"-c\", \"{STAYS}\"]\n"
        )
    };
    let second = "[modules.second]\ncommand = [\"sleep\", \"604\"]\n";
    let mut run = Portcullis::new().config(&toml("up", "")).start();
    let pid = stays(&run);
    fs::write(run.dir().join("portcullis.toml"), toml("up", second)).unwrap();
    run.beside(["reload"]).exits(0);
    assert!(run.child_pid("sleep 604") > 0);
    assert_eq!(run.child_pid("sleep 601"), pid, "the step goes on");
    assert!(!run.streams().1.contains("step `warm` is done"), "{}", run.streams().1);
    run.signal(15);
    run.exits(143);
    run.leaves_nothing();
    // Before the process nothing is taken over, and the step is none the worse for it.
    let mut run = Portcullis::new().config(&toml("ready", "")).start();
    let pid = stays(&run);
    fs::write(run.dir().join("portcullis.toml"), toml("ready", second)).unwrap();
    run.beside(["reload"]).exits(69);
    assert_eq!(run.child_pid("sleep 601"), pid, "the step goes on");
    run.signal(15);
    run.exits(143);
    run.leaves_nothing();
}

#[test]
fn the_command_of_a_condition_decides_in_its_turn() {
    let toml = "[[steps]]\ncommand = [\"sh\", \"-c\", \"echo made > made\"]\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo first >> order\"]\nwhen = { command = [\"test\", \"-e\", \"made\"] }\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo second >> order\"]\nwhen = { not = { command = [\"test\", \"-e\", \"made\"] } }\n\
                [[steps]]\neach = [\"a\", \"made\", \"b\"]\ncommand = [\"sh\", \"-c\", \"echo ${@each} >> order; echo > b\"]\n\
                when = { command = [\"test\", \"-e\", \"${@each}\"] }\n";
    let mut run = Portcullis::new().config(toml).sh("true").start();
    run.exits(0);
    assert_eq!(super::order(&run), ["first", "made", "b"]);
    eventually("nothing is left", secs(20), || run.descendants().is_empty().then_some(()));
}

#[test]
fn a_stop_during_a_wait_takes_along_what_the_command_of_a_check_has_started() {
    let toml = format!("[checks.x]\nurl = 'exec:[\"sh\", \"-c\", \"{STAYS}\"]'\nwait = \"10m\"\ntimeout = \"1m\"\n");
    ended(starting(&toml));
}
