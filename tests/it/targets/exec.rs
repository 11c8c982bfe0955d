//! Commands as checks: their status, their end by the timeout, their user, and that no process of them is left.

use super::{fails, passes, wait_with};
use crate::support::{Portcullis, eventually, process, secs};

#[test]
fn a_command_is_ready_when_it_ends_with_status_0() {
    passes("exec:true");
    passes(r#"exec:["sh", "-c", "exit 0"]"#);
    fails(r#"exec:["sh", "-c", "exit 3"]"#, &["command failed", "ended with status 3"]);
    fails(r#"exec:["sh", "-c", "kill -9 $$"]"#, &["command failed", "KILL"]);
    fails("exec:/nonexistent", &["cannot start /nonexistent", "it was not found"]);
    wait_with(&["exec:echo hello | cat"]).exits(64).says(&["target 1", "without shell syntax"]);
    wait_with(&["process:"]).exits(64).says(&["`wait` starts none"]);
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_group() {
    let mark = format!("{}.25", 70_000 + std::process::id());
    let script = format!(r#"exec:["sh", "-c", "sleep {mark} & wait"]"#);
    wait_with(&["--timeout", "1s", "--try-timeout", "300ms", &script]).exits(69).says(&["timed out"]);
    eventually("nothing is left", secs(10), || process::all().iter().all(|pid| !process::command_line(*pid).contains(&mark)).then_some(()));
}

#[test]
fn the_gate_waits_for_commands_and_kills_those_that_hang() {
    let portcullis = Portcullis::new();
    let (file, mark) = (portcullis.dir().join("there"), format!("{}.5", 80_000 + std::process::id()));
    let config = format!(
        r#"
        [checks.file]
        kind = "exec"
        command = ["sh", "-c", "read line; test -z \"$$line\" && test \"$$GREETING\" = hello && test -e {file}"]
        [checks.hangs]
        url = "exec:sleep {mark}"
        wait = "0s"
        timeout = "200ms"
        interval = "300ms"
        [checks.runs]
        url = "process:"
        interval = "100ms"
        [env]
        GREETING = "hello"
        [modes.api]
        command = ["sh", "-c", "trap 'exit 0' TERM; echo started; while :; do sleep 0.05; done"]
        "#,
        file = file.display(),
    );
    let mut run = portcullis.config(&config).env("MODE", "api").start();
    run.until_stderr("file", secs(20));
    std::fs::write(&file, "").unwrap();
    run.until_stdout("started", secs(20));
    let hangs = || process::all().into_iter().filter(|pid| process::command_line(*pid).contains(&mark)).collect::<Vec<_>>();
    let first = eventually("the command runs", secs(20), || hangs().first().copied());
    eventually("it is killed and another one runs", secs(20), || hangs().into_iter().any(|pid| pid != first).then_some(()));
    let body = run.until_status("/healthz", 500, secs(20)).json();
    assert_eq!((&body["file"], &body["runs"], &body["hangs"]), (&"ok".into(), &"ok".into(), &"nok".into()), "{body}");
    run.signal(15);
    assert!(run.ends_within(secs(4)), "a check's command does not delay the end");
    assert!(hangs().is_empty());
    run.leaves_nothing();
}
