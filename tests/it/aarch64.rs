//! The binary for aarch64, run by a user-mode emulator with programs of this machine.

use crate::support::child::polite;
use crate::support::{Exit, Portcullis, eventually, left_out, secs, slow, variable};

/// A run of it. None if the slow group was not requested or it was not built, which is reported.
fn aarch64(test: &str) -> Option<Portcullis> {
    if !slow(test) {
        return None;
    }
    let Some(binary) = variable("PORTCULLIS_AARCH64") else {
        left_out(test, "no binary for aarch64; scripts/test --all builds it");
        return None;
    };
    Some(Portcullis::new().through("qemu-aarch64").program(binary))
}

#[test]
fn aarch64_prints_its_version() {
    let Some(run) = aarch64("aarch64_prints_its_version") else { return };
    assert_eq!(run.args(["--version"]).output().exits(0).stdout, format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn aarch64_keeps_the_exit_code_and_reports_what_cannot_be_started() {
    for (command, code) in [("exit 42", 42), ("kill -9 $$", 137)] {
        let Some(run) = aarch64("aarch64_keeps_the_exit_code_and_reports_what_cannot_be_started") else { return };
        run.sh(command).output().exits(code);
    }
    let Some(run) = aarch64("aarch64_keeps_the_exit_code_and_reports_what_cannot_be_started") else { return };
    run.command(["no-such-program"]).output().exits(127).says(&["no-such-program", "not found"]);
    let Some(run) = aarch64("aarch64_keeps_the_exit_code_and_reports_what_cannot_be_started") else { return };
    let plain = run.file("plain", "text");
    run.command([plain]).output().exits(126).says(&["not executable"]);
}

#[test]
fn aarch64_gives_the_child_its_own_pid_with_the_descriptors() {
    let Some(run) = aarch64("aarch64_gives_the_child_its_own_pid_with_the_descriptors") else { return };
    let pass = run.script("pass", "exec 3</dev/null\nLISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"\n");
    let wrapper = format!("{} qemu-aarch64", pass.display());
    let said = run.through(&wrapper).sh("echo $LISTEN_FDS $LISTEN_PID $$; test -e /proc/self/fd/3").output().exits(0).stdout;
    let words: Vec<_> = said.split_whitespace().collect();
    assert!(words[0] == "1" && words[1] == words[2], "{said}");
}

#[test]
fn aarch64_serves_health_and_stops_on_request() {
    let Some(run) = aarch64("aarch64_serves_health_and_stops_on_request") else { return };
    let child = run.script("child", &polite());
    let mut run = run.command([child]).start();
    run.until_status("/readyz", 200, secs(60));
    run.until_stdout("ready", secs(60));
    let Some(question) = aarch64("aarch64_serves_health_and_stops_on_request") else { return };
    let socket = format!("@{}", run.socket);
    let question = question.without("PORTCULLIS_HEALTH__SOCKET").env("PORTCULLIS_HEALTH__SOCKET", socket).args(["healthcheck"]).output();
    assert_eq!((question.exit, question.stdout.as_str()), (Exit::Code(0), "healthy\n"), "{}", question.stderr);
    run.signal(15);
    run.exits(0);
    eventually("nothing is left", secs(20), || run.descendants().is_empty().then_some(()));
}
