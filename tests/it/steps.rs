//! `[[steps]]`: actions that run once per start, their order, and the effects of a stop, a failure and a restart.

mod stops;

use crate::support::{Exit, Portcullis, Postgres, Running, eventually, executable, secs};
use std::fs;

/// A step that adds its name to a file.
fn noting(name: &str, more: &str) -> String {
    format!("[[steps]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", \"echo {name} >> order\"]\n{more}\n")
}

fn order(run: &Running) -> Vec<String> {
    fs::read_to_string(run.dir().join("order")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn steps_run_in_their_order_and_not_again_when_the_process_is_restarted() {
    let toml = [
        noting("migrated", ""),
        noting("up", "at = \"up\""),
        noting("first", "at = \"first\""),
        noting("skipped", "when = { var = \"SKIP\", ne = \"yes\" }"),
        noting("absent", "when = { file = \"/nonexistent\", exists = true }"),
        noting("ready", "at = \"ready\""),
        "[migrations]\ncommand = [\"sh\", \"-c\", \"echo migration >> order\"]\nlock = \"none\"\n\
         [process]\nrestart = \"always\"\nrestart_delay = \"10ms\"\n"
            .to_owned(),
    ]
    .concat();
    let run = Portcullis::new().config(&toml).env("SKIP", "yes").sh("echo process >> order; exec sleep 600").start();
    let expected = ["first", "ready", "migration", "migrated", "process", "up"];
    eventually("the start is through", secs(20), || (order(&run).len() == expected.len()).then_some(()));
    // A process without a startup check is up as soon as it executes.
    let mut seen = order(&run);
    assert_eq!(seen.drain(..4).collect::<Vec<_>>(), expected[..4]);
    seen.sort();
    assert_eq!(seen, expected[4..]);
    nix_kill(run.child_pid("sleep 600"));
    eventually("the process is started again", secs(20), || (order(&run).len() > expected.len()).then_some(()));
    assert_eq!(order(&run).last().map(String::as_str), Some("process"));
    let metrics = run.get("/status?verbose").body;
    assert!(metrics.contains("step:first"), "{metrics}");
}

fn nix_kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("kill");
}

#[test]
fn a_dependency_that_was_up_before_the_wait_is_not_waited_for_again() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = peer.local_addr().unwrap().port();
    let check = format!("[checks.peer]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"5s\"\ninterval = \"1h\"\n");
    let step = "[[steps]]\ncommand = [\"sleep\", \"0.3\"]\nat = \"first\"\n";
    let file = "[[files]]\npath = \"made\"\ncontent = \"text\"\n";
    for before in [step, file] {
        Portcullis::new().config(&format!("{before}{check}")).sh("true").output().exits(0);
    }
}

#[test]
fn a_step_that_fails_ends_the_start_with_its_code_and_one_that_may_does_not() {
    let failing =
        "[[steps]]\nname = \"seed\"\ncommand = [\"sh\", \"-c\", \"echo tried >> order; exit 3\"]\nretries = 1\nretry_delay = \"10ms\"\n";
    let mut run = Portcullis::new().config(failing).sh("echo process >> order").start();
    run.exits(3);
    assert_eq!(order(&run), ["tried", "tried"]);
    assert!(
        run.streams().1.contains("the step `seed` failed, so the process was not started: it ended with status 3"),
        "{}",
        run.streams().1
    );
    let mut run = Portcullis::new().config(&format!("{failing}on_failure = \"continue\"\n")).sh("echo process >> order").start();
    run.exits(0);
    assert_eq!(order(&run), ["tried", "tried", "process"]);
    assert!(run.streams().1.contains("the start continues"), "{}", run.streams().1);
    let mut run = Portcullis::new().config(&format!("{failing}success_codes = [3]\n")).sh("echo process >> order").start();
    run.exits(0);
    assert_eq!(order(&run), ["tried", "process"]);
}

#[test]
fn a_step_has_its_time_its_input_its_items_and_its_variables() {
    let toml = "[[steps]]\nname = \"slow\"\ncommand = [\"sleep\", \"600\"]\ntimeout = \"200ms\"\n";
    let mut run = Portcullis::new().config(toml).sh("true").start();
    run.exits(124);
    let toml = "[[steps]]\ncommand = [\"sh\", \"-c\", \"cat >> order; echo $$GREETING >> order; umask >> order\"]\ninput = \"\"\"text of ${NAME}\n\"\"\"\n\
                env = { GREETING = \"hello\" }\numask = \"0027\"\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo item ${@each} >> order\"]\neach = { split = \"${LIST}\", at = \",\" }\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo never >> order\"]\neach = { split = \"${EMPTY:-}\" }\n";
    let mut run = Portcullis::new().config(toml).env("NAME", "somebody").env("LIST", "a, b,").sh("true").start();
    run.exits(0);
    assert_eq!(order(&run), ["text of somebody", "hello", "0027", "item a", "item b"]);
}

#[test]
fn term_is_forwarded_to_a_step_that_gets_its_grace_and_leaves_no_process_behind() {
    let polite =
        "[[steps]]\ncommand = [\"sh\", \"-c\", \"trap 'echo asked >> order; exit 0' TERM; echo ready; while :; do sleep 0.05; done\"]\n";
    let mut run = Portcullis::new().config(polite).sh("echo process >> order").start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(143);
    assert_eq!(order(&run), ["asked"]);
    let stubborn = "[process]\nstop_timeout = \"300ms\"\n[[steps]]\ncommand = [\"sh\", \"-c\", \"sleep 600 & trap '' TERM; echo ready; while :; do sleep 0.05; done\"]\n";
    let mut run = Portcullis::new().config(stubborn).sh("true").start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(143);
    run.leaves_nothing();
}

#[test]
fn leftovers_in_a_steps_group_end_before_the_process_starts() {
    let toml = "[[steps]]\ncommand = [\"sh\", \"-c\", \"sleep 600 & echo done\"]\n";
    let run = Portcullis::new().config(toml).sh("echo process; exec sleep 500").start();
    run.until_stdout("process", secs(20));
    assert_eq!(run.descendants().len(), 1, "{:?}", run.descendants());
}

#[test]
fn hooks_run_by_name_and_a_directory_that_is_absent_is_nothing() {
    let run = Portcullis::new();
    let hooks = run.dir().join("hooks.d");
    fs::create_dir(&hooks).unwrap();
    fs::write(hooks.join("20-b.sh"), "echo b >> order").unwrap();
    executable(&hooks.join("10-a"), "#!/bin/sh\necho a >> order");
    fs::write(hooks.join("notes"), "echo no >> order").unwrap();
    let toml = format!(
        "[[steps]]\ndirectory = \"{}\"\ninterpreter = {{ \".sh\" = [\"sh\"] }}\n[[steps]]\ndirectory = \"/nonexistent\"\n",
        hooks.display()
    );
    let mut run = run.config(&toml).sh("true").start();
    run.exits(0);
    assert_eq!(order(&run), ["a", "b"]);
    assert!(run.streams().1.contains("notes is skipped"), "{}", run.streams().1);
}

#[test]
fn a_command_of_ones_own_runs_only_the_steps_that_say_so() {
    let toml = noting("usual", "") + &noting("own", "own = true");
    let mut run = Portcullis::new().config(&toml).args(["run", "--exec", "--", "sh", "-c", "echo process >> order"]).start();
    run.exits(0);
    assert_eq!(order(&run), ["own", "process"]);
}

#[test]
fn bare_runs_steps_and_a_lock_that_cannot_be_is_refused() {
    let mut run = Portcullis::new().config(&noting("usual", "")).args(["run", "--bare", "--", "sh", "-c", "echo process >> order"]).start();
    run.exits(0);
    assert_eq!(order(&run), ["usual", "process"]);
    let said = Portcullis::new().config(&noting("early", "at = \"first\"\nlock = \"file:///tmp/x\"")).sh("true").output().exits(78);
    said.says(&["`lock` in [steps.1] is not possible before the dependencies are ready"]);
}

#[test]
fn of_two_replicas_one_runs_a_step_under_the_lock_that_the_migration_has_too() {
    let server = Postgres::start();
    let config = format!(
        "[checks.db]\nurl = \"{}\"\n\
         [[steps]]\nname = \"index\"\nat = \"migrated\"\nlock = \"db\"\ncommand = [\"sh\", \"-c\", \"echo index >> $$SHARED/order; sleep 0.5\"]\n\
         check = [\"sh\", \"-c\", \"grep -q index $$SHARED/order\"]\n\
         [migrations]\nlock = \"db\"\ncommand = [\"sh\", \"-c\", \"echo migration >> $$SHARED/order; sleep 0.2\"]\n\
         check = [\"sh\", \"-c\", \"grep -q migration $$SHARED/order\"]\n",
        server.url()
    );
    let shared = Portcullis::new();
    fs::write(shared.dir().join("order"), "").unwrap();
    let start = || Portcullis::new().config(&config).env("SHARED", shared.dir()).sh("exec sleep 600").start();
    let runs = [start(), start()];
    for run in &runs {
        run.until_status("/readyz", 200, secs(60));
    }
    assert_eq!(fs::read_to_string(shared.dir().join("order")).unwrap(), "migration\nindex\n");
    let waited = runs.iter().filter(|run| run.streams().1.contains("the step `index` waits for the lock")).count();
    assert!(waited <= 1, "one hold covers both");
}

#[test]
fn a_step_beside_the_process_ends_with_it() {
    let toml = "[[steps]]\nname = \"warm\"\nat = \"up\"\ncommand = [\"sh\", \"-c\", \"echo warming; exec sleep 700\"]\n";
    let mut run = Portcullis::new().config(toml).sh("exec sleep 600").start();
    run.until_stdout("warming", secs(20));
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    assert!(matches!(run.wait_exit(secs(20)), Exit::Code(143) | Exit::Signal(15)));
    run.leaves_nothing();
}

#[test]
fn of_a_step_that_may_fail_every_item_and_every_hook_is_run() {
    let each = "[[steps]]\nname = \"seeds\"\neach = [\"a\", \"b\", \"c\"]\ncommand = [\"sh\", \"-c\", \"echo ${@each} >> order; [ ${@each} = c ]\"]\n\
                on_failure = \"continue\"\n";
    let mut run = Portcullis::new().config(each).sh("echo process >> order").start();
    run.exits(0);
    assert_eq!(order(&run), ["a", "b", "c", "process"]);
    let said = run.streams().1;
    assert!(said.contains("the step `seeds` goes on with its next command: it ended with status 1 in command 1 of 3, `sh -c"), "{said}");
    assert!(
        said.contains("the step `seeds` failed after") && said.contains("it failed 2 times; the last time it ended with status 1"),
        "{said}"
    );
    let run = Portcullis::new();
    let hooks = run.dir().join("hooks.d");
    fs::create_dir(&hooks).unwrap();
    for name in ["5-a.sh", "10-b.sh", "20-c.sh"] {
        fs::write(hooks.join(name), format!("echo {name} >> order; [ {name} != 10-b.sh ]")).unwrap();
    }
    let toml = |more: &str| {
        format!("[[steps]]\ndirectory = \"{}\"\ninterpreter = {{ \".sh\" = [\"sh\"] }}\norder = \"version\"\n{more}", hooks.display())
    };
    let mut first = Portcullis::new().config(&toml("on_failure = \"continue\"\n")).sh("true").start();
    first.exits(0);
    assert_eq!(order(&first), ["5-a.sh", "10-b.sh", "20-c.sh"]);
    let mut second = Portcullis::new().config(&toml("")).sh("true").start();
    second.exits(1);
    assert_eq!(order(&second), ["5-a.sh", "10-b.sh"]);
    assert!(second.streams().1.contains("in command 2 of 3, `sh ") && second.streams().1.contains("10-b.sh`"), "{}", second.streams().1);
}

#[test]
fn a_step_sees_its_own_variables_and_each_of_its_items_is_checked() {
    let toml = "[env]\nWHO = \"all\"\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo ${WHO}-$$WHO >> order; cat >> order\"]\ninput = \"for ${WHO}\\n\"\nenv = { WHO = \"one of ${WHO}\" }\n\
                [[steps]]\neach = [\"a\", \"b\", \"c\"]\ncommand = [\"sh\", \"-c\", \"echo ${@each} >> order\"]\ncheck = [\"test\", \"${@each}\", \"=\", \"b\"]\n\
                [[steps]]\neach = [\"x\", \"y\"]\ncommand = [\"sh\", \"-c\", \"echo ${@each} >> order\"]\nwhen = { var = \"WANTED\", eq = \"${@each}\" }\n\
                [[steps]]\ncommand = [\"sh\", \"-c\", \"echo ${WHO} >> order\"]\n";
    let mut run = Portcullis::new().config(toml).env("WANTED", "y").sh("true").start();
    run.exits(0);
    assert_eq!(order(&run), ["one of all-one of all", "for one of all", "a", "c", "y", "all"]);
}

#[test]
fn the_migration_sees_its_variables_and_its_condition_is_evaluated_in_its_turn() {
    let toml = |exists: bool| {
        format!(
            "[[steps]]\nat = \"ready\"\ncommand = [\"sh\", \"-c\", \"echo > made\"]\n\
             [migrations]\nlock = \"none\"\ncommand = [\"sh\", \"-c\", \"echo ${{WHO}} >> order\"]\nenv = {{ WHO = \"me\" }}\n\
             when = {{ file = \"${{PWD}}/made\", exists = {exists} }}\n"
        )
    };
    for (exists, seen) in [(true, vec!["me", "process"]), (false, vec!["process"])] {
        let run = Portcullis::new();
        let here = run.dir().to_owned();
        let mut run = run.config(&toml(exists)).env("PWD", &here).sh("echo process >> order").start();
        run.exits(0);
        assert_eq!(order(&run), seen);
    }
}

#[test]
fn a_mode_without_a_process_ends_well_after_its_steps() {
    let toml = "mode = \"job\"\n[modes.job]\ncommand = []\n[[steps]]\ncommand = [\"sh\", \"-c\", \"echo done >> order\"]\n";
    let mut run = Portcullis::new().config(toml).args(["run"]).start();
    run.exits(0);
    assert_eq!(order(&run), ["done"]);
    let mut run = Portcullis::new().config(&toml.replace("echo done >> order", "exit 4")).args(["run"]).start();
    run.exits(4);
}

#[test]
fn steps_are_reported_with_their_state_their_time_and_their_note() {
    let toml = noting("seed", "") + "[[steps]]\nname = \"index\"\ncommand = [\"true\"]\ncheck = [\"true\"]\n";
    let run = Portcullis::new().config(&toml).sh("exec sleep 600").start();
    run.until_status("/readyz", 200, secs(20));
    let metrics = run.get("/metrics").body;
    for line in ["portcullis_step_state{step=\"seed\",state=\"done\"} 1", "portcullis_step_state{step=\"index\",state=\"failed\"} 0"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(metrics.contains("portcullis_step_duration_seconds{step=\"index\"} "), "{metrics}");
    assert!(run.get_over_socket("/status?verbose").body.contains("\"note\":\"nothing to do\""));
    assert!(!run.get("/status?verbose").body.contains("nothing to do"));
    run.until_stderr("the step `index` is done after", secs(20));
}
