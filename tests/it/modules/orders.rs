//! Control requests for modules of real processes at unexpected moments: before the process starts, and during a pause.

use super::{HEALTH, lines, run, until, up};
use crate::support::{Running, eventually, process, secs};

#[test]
fn a_stop_before_the_process_starts_holds_until_a_start_is_requested() {
    let run = run("[checks.db]\nurl = \"file://DIR/db.up\"\nwait = \"60s\"\n[modules.one]\ncommand = [\"@\", \"one\"]\n\
         [modules.two]\ncommand = [\"@\", \"two\"]\n");
    run.until_status("/livez", 200, secs(20));
    run.beside(["start", "one", "--timeout", "10ms"]).exits(69);
    for name in ["one", "two"] {
        run.beside(["stop", name]).exits(0);
    }
    up(&run, "db");
    until(&run, HEALTH, "UP");
    assert_eq!(lines(&run, &["begin one", "begin two"]), [""; 0]);
    run.beside(["start", "one"]).exits(0);
    run.until_stdout("begin one", secs(20));
    assert_eq!(lines(&run, &["begin one", "begin two"]), ["begin one"]);
}

/// Those who outlive a module's process in its group.
fn survivors(run: &Running) -> Vec<i32> {
    run.descendants().into_iter().filter(|pid| process::command_line(*pid).contains("sleep 1000")).collect()
}

#[test]
fn an_order_during_the_pause_leaves_nothing_of_the_old_process() {
    let run = run("[modules.messy]\nrestart_delay = \"60s\"\nstop_timeout = \"300ms\"\n\
         command = [\"sh\", \"-c\", \"(trap '' TERM; exec sleep 1000) & sleep 0.1; echo begin messy; exit 3\"]\n");
    let pausing = |number: usize| {
        eventually("it has ended", secs(20), || (lines(&run, &["begin messy"]).len() == number).then_some(()));
        until(&run, "/actuator/health/modules/messy", "DOWN");
        eventually("its process is gone", secs(20), || (survivors(&run).len() == 1).then(|| survivors(&run)))
    };
    let first = pausing(1);
    run.beside(["start", "messy"]);
    let second = pausing(2);
    assert_ne!(first, second);
    run.beside(["stop", "messy"]).exits(0);
    assert_eq!(survivors(&run), [0; 0]);
    assert!(process::alive(run.child_pid("child main")));
}

#[test]
fn a_reload_stops_the_old_process_with_the_signal_of_its_start() {
    let tables = |signal: &str| {
        format!(
            "[modules.one]\nstop_signal = \"{signal}\"\ncommand = [\"sh\", \"-c\", \"trap 'echo requested INT; exit' INT; trap 'echo requested USR1; exit' USR1; \
             echo begin one; while :; do sleep 0.02; done\"]\n"
        )
    };
    let run = run(&tables("INT"));
    run.until_status("/readyz", 200, secs(20));
    run.until_stdout("begin one", secs(20));
    let path = run.dir().join("portcullis.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, written.replace("\"INT\"", "\"USR1\"")).unwrap();
    run.beside(["reload"]).exits(0);
    assert_eq!(lines(&run, &["requested"]), ["requested INT"]);
    eventually("it runs again", secs(20), || (lines(&run, &["begin one"]).len() == 2).then_some(()));
    run.beside(["stop", "one"]).exits(0);
    assert_eq!(lines(&run, &["requested"]), ["requested INT", "requested USR1"]);
}
