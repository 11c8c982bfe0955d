//! `[conditions]`, `[[refuse]]`, `[options]` and `[[arguments]]`: the effects of arguments.

use super::*;

/// Rules as the entrypoints of images have them.
const RULES: &str = r#"
mode = "server"
[options]
"--workers" = "WS"
"-c" = { variable = "CONF" }
"--debug" = { flag = "DEBUG" }
"--no-cache" = { flag = "CACHE", value = 0 }
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
ignore = true
[[arguments]]
when = { argument = 1, eq = "shell" }
run = true
drop = 1
command = ["tini", "--", { args = true }, "${@1:-none}"]
env = { WHO = "own" }
[[arguments]]
when = { argument = -1, eq = "stop" }
refuse = "name a command, not ${@-1}"
code = 3
[[arguments]]
when = { argument = 1, eq = "manage" }
run = true
prepend = ["python"]
wait = true
[[arguments]]
run = true
[checks.db]
url = "tcp://db:1"
[modes.server]
command = ["serve", "--workers=${WS:-1}", "--debug=${DEBUG:-}", "--first=${@1:-}"]
[modes.worker]
command = ["work", { args = true }]
"#;

/// The command, and whether it is an ad-hoc command and waits.
fn came_to(arguments: &[&str]) -> (String, bool, bool) {
    let plan = with(RULES, &[], arguments);
    (argv(&plan).join(" "), plan.own_command, !plan.checks.is_empty())
}

#[test]
fn the_first_rule_that_holds_decides_about_the_arguments() {
    for (arguments, command, own, waits) in [
        (&[][..], "serve --workers=1 --debug= --first=", false, true),
        (&["server"], "serve --workers=1 --debug= --first=", false, true),
        (&["worker", "a", "b"], "work a b", false, true),
        (&["--flag", "x"], "serve --workers=1 --debug= --first=--flag --flag x", false, true),
        (&["quiet", "x"], "serve --workers=1 --debug= --first=quiet", false, true),
        (&["bash", "-l"], "bash -l", true, false),
        (&["shell", "bash"], "tini -- bash bash", true, false),
        (&["shell"], "tini -- none", true, false),
        (&["manage", "migrate"], "python manage migrate", true, true),
        (&["worker", "--workers", "4", "--debug", "x"], "work x", false, true),
        (&["--workers=4", "--debug"], "serve --workers=4 --debug=true --first=", false, true),
        (&["worker", "--", "--workers", "4"], "work -- --workers 4", false, true),
    ] {
        assert_eq!(came_to(arguments), (command.to_owned(), own, waits), "{arguments:?}");
    }
    let plan = with(RULES, &[], &["worker", "--no-cache", "-c", "x.toml", "--workers=4"]);
    let set: Vec<(&str, &str)> = plan.main.as_ref().unwrap().command.env.iter().map(|(name, word)| (name.as_str(), word.value())).collect();
    assert_eq!(set, [("CACHE", "0"), ("CONF", "x.toml"), ("WS", "4")]);
    assert_eq!(
        plan.arguments.as_deref(),
        Some("the arguments select the mode worker, by rule 1 of [[arguments]] (argument 1 is one of `server`, `worker`); none is left")
    );
    assert_eq!(plan.service.name, "worker");
    let own = with(RULES, &[], &["shell", "bash"]);
    assert!(own.main.unwrap().command.env.iter().any(|(name, word)| name == "WHO" && word.value() == "own"));
}

fn resolve_with(toml: &str, arguments: &[&str], change: impl FnOnce(&mut RunOptions)) -> Result<Plan, Problems> {
    let file = File::new(toml);
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let mut request = RunOptions { file: Some(file.0.clone()), arguments, ..RunOptions::default() };
    change(&mut request);
    resolve(&request, &Environment::new([("PATH", "/usr/bin:/bin")]))
}

#[test]
fn the_command_line_overrides_the_rules() {
    let plan = resolve_with(RULES, &["server", "x"], |request| request.mode = Some("worker".into())).unwrap();
    assert_eq!(argv(&plan), ["work", "x"]);
    let plan = resolve_with(RULES, &["worker", "--workers", "1"], |request| request.exec = true).unwrap();
    assert_eq!((argv(&plan), plan.own_command), (vec!["worker", "--workers", "1"], true));
    let plan = resolve_with(RULES, &["worker", "--workers", "1"], |request| request.bare = true).unwrap();
    assert_eq!((argv(&plan), plan.checks.len()), (vec!["work"], 0));
}

#[test]
fn a_refused_start_reports_only_the_reason() {
    let refused = try_with(RULES, &[], &["x", "stop"]).unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.code()), ("name a command, not stop", 3));
    let toml = "
[conditions]
new = { file = '/nonexistent/version', exists = false }
evaluated = { all = [{ condition = 'new' }, { command = ['sh', '-c', 'exit 0'] }] }
[[refuse]]
when = { var = 'KEY', nonempty = false }
message = 'set KEY'
[[refuse]]
when = { condition = 'evaluated' }
message = 'this is new'
code = 1
[[refuse]]
when = { not = { condition = 'new' } }
message = 'never'
[modes.a]
command = ['a', '${KEY}']
unknown = 1
";
    let refused = resolve_with(toml, &[], |_| ()).unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.code()), ("set KEY\nthis is new", 64));
}

#[test]
fn errors_of_rules_and_conditions_are_reported() {
    for (toml, problem) in [
        ("extra_args = 'ignore'", "p:1:1: `extra_args` no longer exists: rules in `[[arguments]]` handle the arguments"),
        ("[[arguments]]\nmode = 'a'\nrun = true", "`run` in [arguments] excludes `mode`; a rule has only one of"),
        ("[[arguments]]\nignore = true\nappend = true", "`append` in [arguments] excludes `ignore`"),
        ("[[arguments]]\nrun = true\nignore = true", "`ignore` in [arguments] applies to the command of a mode"),
        ("[[arguments]]\nmode = 'a'\nwait = true", "`wait` in [arguments] applies to an ad-hoc command"),
        ("[[arguments]]\nmode = 'a'\ncode = 3", "`code` in [arguments] is the exit code of `refuse`"),
        ("[[arguments]]\nwhen = { args = true }", "`mode` in [arguments] is missing: a rule needs one of"),
        ("[[arguments]]\nmod = 'a'", "unknown key `mod` in [arguments]; did you mean `mode`?"),
        ("[[arguments]]\nmode = 'b'", "p:2:8: unknown mode `b`; known: `a`"),
        ("[options]\nworkers = 'W'", "[options.workers] is not an option"),
        ("[options]\n'--w' = { flag = 'A', variable = 'B' }", "[options.--w] needs either `variable` or `flag`"),
        ("[options]\n'--w' = { variable = 'B', value = '1' }", "[options.--w] has a `value`, which is only for"),
        ("[[refuse]]\nmessage = 'x'", "`when` in [refuse] is missing"),
        ("[[refuse]]\nwhen = { args = false }", "`message` in [refuse] is missing"),
        ("[conditions]\na = { condition = 'b' }\nb = { condition = 'a' }", "`condition` in [conditions.b] refers to `a`, which itself"),
        ("[conditions]\nnew = { condition = 'mew' }", "which does not exist in [conditions]; did you mean `new`?"),
        ("[conditions]\na = { command = ['no-such-program'] }", "`command` in [conditions.a] cannot be run: no-such-program: it was not"),
        ("[conditions]\na = { var = 'X' }", "[conditions.a] needs exactly one of"),
        ("service = '${@1}'", "there is no argument `${@1}`; add the argument, or a default: `${@1:-…}`"),
        ("service = '${@0}'", "`${@0}` is no argument"),
    ] {
        let found = problems(&format!("{toml}\n[modes.a]\ncommand = ['a']\n"), &[], &[]).join("\n");
        assert!(found.contains(problem), "{toml}: {found}");
    }
    for (arguments, problem) in
        [(&["--workers"][..], "the option --workers wants a value"), (&["--debug=1"], "the option --debug takes no value")]
    {
        let problems = try_with(RULES, &[], arguments).unwrap_err();
        assert!(problems.to_string().contains(problem), "{problems}");
        assert_eq!(problems.exit(), Exit::Usage);
    }
    let found = try_with("[modes.a]\ncommand = ['a']\n", &[("PORTCULLIS_EXTRA_ARGS", "ignore")], &[]).unwrap_err().to_string();
    assert!(found.starts_with("environment variable PORTCULLIS_EXTRA_ARGS: `extra_args` no longer exists"), "{found}");
}

#[test]
fn numbers_are_compared_and_what_is_no_number_is_neither_less_nor_more() {
    let rule = |test: &str| format!("[[refuse]]\nwhen = {{ var = 'N', {test} }}\nmessage = 'x'\n[modes.a]\ncommand = ['a']\n");
    for (test, number, holds) in [
        ("lt = '10'", "9", true),
        ("lt = '10'", "10", false),
        ("le = '10'", " 10 ", true),
        ("gt = '${M}'", "3", true),
        ("gt = '${M}'", "2", false),
        ("ge = '-1'", "-1", true),
        ("lt = '10'", "", false),
        ("ge = '0'", "many", false),
    ] {
        let found = try_with(&rule(test), &[("N", number), ("M", "2")], &[]);
        assert_eq!(found.is_err(), holds, "{test} {number}");
        let notices = found.map(|plan| plan.notices).unwrap_or_default();
        assert_eq!(notices.len(), usize::from(number == "many"), "{notices:?}");
    }
}

#[test]
fn what_is_no_failure_ends_with_0() {
    let toml = "[[arguments]]\nwhen = { argument = 1, eq = 'help' }\nrefuse = 'see the page'\ncode = 0\n[modes.a]\ncommand = ['a']\n";
    let refused = try_with(toml, &[], &["help"]).unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.code()), ("see the page", 0));
}

#[test]
fn a_mode_without_a_process_runs_its_steps() {
    let mode = "mode = 'a'\n[modes.a]\ncommand = []\n[modes.b]\ncommand = ['b']\n";
    assert!(problems(mode, &[], &[])[0].contains("there is no step"));
    let plan = with(&format!("{mode}[[steps]]\ncommand = ['s']\n"), &[], &[]);
    assert_eq!((plan.main, plan.steps.len()), (None, 1));
    let plan = with(&format!("{mode}[[steps]]\ncommand = ['s']\nmodes = ['b']\n"), &[], &[]);
    assert_eq!(plan.steps, [], "what this mode has to do is nothing");
}

#[test]
fn a_warning_is_reported_and_ends_nothing() {
    let toml = "[[warn]]\nwhen = { var = 'OLD', nonempty = true }\nmessage = 'OLD=${OLD:-} is now NEW'\n[modes.a]\ncommand = ['a']\n";
    assert_eq!(with(toml, &[("OLD", "x")], &[]).notices, ["OLD=x is now NEW"]);
    assert_eq!(with(toml, &[], &[]).notices, [""; 0]);
    let found = problems("[[warn]]\nmessage = 'x'\n[modes.a]\ncommand = ['a']\n", &[], &[]);
    assert!(found.len() == 1 && found[0].contains("`when` in [warn] is missing"), "{found:?}");
}

#[test]
fn a_variable_whose_file_is_missing_is_tested_as_the_variable_itself() {
    let toml = "[[refuse]]\nwhen = { var = 'DB_PASSWORD', nonempty = true }\nmessage = 'x'\n[modes.a]\ncommand = ['a']\n";
    let plan = with(toml, &[("DB_PASSWORD_FILE", "/no/such/file")], &[]);
    assert!(
        plan.notices.iter().any(|notice| notice.contains("cannot read /no/such/file, which DB_PASSWORD_FILE names")),
        "{:?}",
        plan.notices
    );
    let both = [("DB_PASSWORD_FILE", "/no/such/file"), ("DB_PASSWORD", "x")];
    assert_eq!(try_with(toml, &both, &[]).unwrap_err().code(), 64);
    let used = format!("{toml}env = {{ A = '${{DB_PASSWORD}}' }}\n");
    assert!(problems(&used, &[("DB_PASSWORD_FILE", "/no/such/file")], &[])[0].contains("cannot read /no/such/file"));
}
