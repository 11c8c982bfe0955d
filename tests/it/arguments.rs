//! The arguments after `run --`: rules that select a mode, run an ad-hoc command or refuse it; options that become variables.

use crate::support::{Portcullis, secs};

/// The rules of an image with two modes.
fn image() -> Portcullis {
    let config = r#"
[options]
"--workers" = "WS"
"--debug" = { flag = "DEBUG" }
[[arguments]]
when = { argument = 1, one_of = ["server", "worker"] }
mode = "${@1}"
drop = 1
[[arguments]]
when = { argument = 1, prefix = "-" }
mode = "server"
append = true
[[arguments]]
when = { argument = 1, eq = "quiet" }
mode = "server"
ignore = true
[[arguments]]
when = { argument = 1, eq = "exit" }
run = true
drop = 1
command = ["sh", "-c", "echo \"$$WHO runs $0 $*\"; exit 5", { args = true }]
env = { WHO = "it" }
[[arguments]]
when = { args = false }
refuse = "name `server` or `worker`"
[[arguments]]
run = true
[[refuse]]
when = { condition = "broken" }
message = "the image is broken: ${WHY:-nobody knows why}"
code = 9
[conditions]
broken = { all = [{ var = "BROKEN", truthy = true }, { command = ["sh", "-c", "test \"$$BROKEN\" = yes"] }] }
[modes.server]
command = ["sh", "-c", "echo \"serve $$WS [$$DEBUG] $*\"", "sh"]
[modes.worker]
command = ["echo", "work", "${@-1:-alone}", { args = true }]
"#;
    Portcullis::new().config(config)
}

#[track_caller]
fn says(arguments: &[&str], stdout: &str, code: i32) {
    assert_eq!(image().env("WS", "1").command(arguments).output().exits(code).stdout, stdout, "{arguments:?}");
}

#[test]
fn arguments_select_the_mode_or_are_a_command_of_ones_own() {
    says(&["server"], "serve 1 [] \n", 0);
    says(&["server", "--workers", "4", "--debug"], "serve 4 [true] \n", 0);
    says(&["--workers=4", "--flag", "x"], "serve 4 [] --flag x\n", 0);
    says(&["quiet", "x"], "serve 1 [] \n", 0);
    says(&["worker"], "work alone\n", 0);
    says(&["worker", "a", "b c"], "work b c a b c\n", 0);
    says(&["worker", "--", "--workers", "x"], "work x -- --workers x\n", 0);
    says(&["exit", "now", "then"], "it runs now then\n", 5);
    says(&["sh", "-c", "exit 3"], "", 3);
}

#[test]
fn a_refusal_is_reported_and_ends_with_its_code() {
    let run = image().args(["run"]).output();
    run.exits(64).says(&["name `server` or `worker`", "the configuration refuses this start; exit code 64"]);
    image().env("BROKEN", "yes").command(["server"]).output().exits(9).says(&["the image is broken: nobody knows why"]);
    image().env("BROKEN", "on").env("WS", "2").command(["server"]).output().exits(0);
    image().command(["server", "x"]).output().exits(64).says(&["mode `server` takes no arguments and got `x`", "[[arguments]]"]);
    image().command(["server", "--workers"]).output().exits(64).says(&["the option --workers wants a value"]);
}

#[test]
fn the_command_line_stands_above_the_rules_and_bare_has_them_too() {
    let run = image().args(["run", "--mode", "worker", "--", "server"]);
    assert_eq!(run.output().exits(0).stdout, "work alone\n");
    let run = image().args(["run", "--exec", "--", "echo", "--workers", "4"]);
    assert_eq!(run.output().exits(0).stdout, "--workers 4\n");
    let run = image().args(["run", "--bare", "--", "worker", "--workers=4", "x"]);
    assert_eq!(run.output().exits(0).stdout, "work x x\n");
}

#[test]
fn plan_reports_which_rule_holds_and_why() {
    let plan = image().args(["plan", "--", "worker", "x"]).output().exits(0).stdout;
    let rule =
        "# 1. the arguments select the mode worker, by rule 1 of [[arguments]] (argument 1 is one of `server`, `worker`); `x` is left\n";
    assert!(plan.contains(rule), "{plan}");
    let plan = image().args(["plan", "--", "env"]).output().exits(0).stdout;
    assert!(plan.contains("the arguments select an ad-hoc command, by rule 6 of [[arguments]] (it always holds); `env` is left"), "{plan}");
    image().args(["plan"]).output().exits(64).says(&["name `server` or `worker`"]);
}

#[test]
fn healthcheck_beside_an_ad_hoc_command_is_0() {
    let mut run = image().env("WS", "1").command(["sh", "-c", "echo ready; exec sleep 1000"]).start();
    run.until_stdout("ready", secs(20));
    let said = run.beside(["healthcheck"]).exits(0).stdout;
    assert!(said.contains("an ad-hoc command runs here"), "{said}");
    run.signal(15);
    run.exits(143);
}

#[test]
fn plan_reports_a_missing_program() {
    let plan = Portcullis::new().config("[modes.a]\ncommand = [\"slep\", \"1\"]\n").args(["plan"]).output().exits(0).stdout;
    assert!(plan.contains("# Notice: cannot start slep, the program of the process: it was not found; did you mean `sleep`?"), "{plan}");
}
