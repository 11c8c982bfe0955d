//! Valid configurations, their sources, and the messages for invalid ones.

use crate::support::child::polite;
use crate::support::{Portcullis, secs};
use std::fs::File;
use std::net::TcpListener;

const TWO_MODES: &str = r#"
mode = "${MODE:-api}"
[modes.api]
command = ["echo", "the api"]
[modes.worker]
command = ["echo", "the worker"]
"#;

#[test]
fn the_mode_chooses_the_process() {
    for (mode, said) in [("api", "the api\n"), ("worker", "the worker\n")] {
        let output = Portcullis::new().config(TWO_MODES).env("MODE", mode).output().exits(0);
        assert_eq!(output.stdout, said);
    }
    assert_eq!(Portcullis::new().config(TWO_MODES).output().exits(0).stdout, "the api\n");
    let flag = Portcullis::new().config(TWO_MODES).env("MODE", "api").args(["run", "--mode", "worker"]);
    assert_eq!(flag.output().exits(0).stdout, "the worker\n");
}

#[test]
fn an_unknown_mode_is_refused_with_the_known_ones() {
    Portcullis::new().config(TWO_MODES).env("MODE", "wroker").output().exits(78).says(&["wroker", "api", "worker"]);
}

#[test]
fn an_unknown_option_is_64_with_the_nearest_one() {
    Portcullis::new().args(["run", "--mod", "api"]).output().exits(64).says(&["--mode"]);
    Portcullis::new().args(["run", "--stop-timeot", "1s", "--", "true"]).output().exits(64).says(&["--stop-timeout"]);
}

#[test]
fn help_of_every_command_is_0_and_shows_an_example() {
    let help = |words: &[&str]| Portcullis::new().args(words.iter().copied().chain(["--help"])).output().exits(0).stdout;
    let whole = help(&[]);
    assert!(whole.contains("\nExample"), "{whole}");
    let listed = whole.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty()).collect();
    assert!(names.len() >= 12 && names.contains(&"run") && names.contains(&"healthcheck"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let said = help(&[name]);
        let example = said.split("\nExample").nth(1).unwrap_or_else(|| panic!("{name} shows no example:\n{said}"));
        assert!(
            example.contains(&format!("portcullis {name}")) || example.contains(&format!("/portcullis\", \"{name}\"")),
            "{name}: {example}"
        );
    }
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false), (Some("0"), false)] {
        let (run, terminal) = Portcullis::new().env("TERM", "xterm").command(["true"]).on_terminal();
        let run = no_color.into_iter().fold(run, |run, value| run.env("NO_COLOR", value));
        run.start().exits(0);
        terminal.until("exit code 0", secs(20));
        assert_eq!(terminal.shown().contains("\x1b["), coloured, "NO_COLOR={no_color:?}: {:?}", terminal.shown());
    }
    assert!(!Portcullis::new().env("TERM", "xterm").command(["true"]).output().exits(0).stderr.contains('\x1b'), "it is no terminal");
}

#[test]
fn every_subcommand_helps_in_the_same_words() {
    for command in ["run", "wait", "plan", "preset", "status", "start", "stop", "restart", "reload", "schema", "ready", "healthcheck"] {
        let help = Portcullis::new().args([command, "--help"]).output().exits(0).stdout;
        let (first, usage) = help.split_once("\n\nUsage: portcullis ").unwrap_or_else(|| panic!("{help}"));
        assert!(usage.starts_with(command) && !first.ends_with('.'), "{help}");
        // `-h` alone helps there, too; with a word behind it, it is the host, as wait-for-it has it.
        let flag = if command == "wait" { "\n      --help " } else { "  -h, --help" };
        assert!(help.contains(flag) && help.contains("Print help\n") && help.contains("\nExample"), "{help}");
        for line in help.lines().filter(|line| line.contains("<DURATION>")) {
            assert!(line.contains("[default: ") && line.contains(" as "), "a duration without an example or a default: {line}");
        }
    }
}

#[test]
fn a_redis_that_was_not_requested_is_no_warning() {
    let said = Portcullis::new().command(["true"]).env("NO_COLOR", "1").output().exits(0);
    assert!(said.stderr.contains("portcullis info no heartbeat: no Redis is configured"), "{}", said.stderr);
    let config = "[checks.cache]\nurl = \"redis://127.0.0.1:1\"\nwait = \"0s\"\n[modes.api]\ncommand = [\"true\"]\n";
    let said = Portcullis::new().config(config).output().exits(0);
    assert!(said.stderr.contains("warn no heartbeat: [heartbeat] is missing; `check = \"cache\"`"), "{}", said.stderr);
}

#[test]
fn errors_without_a_file_name_variables_and_no_file() {
    let wrong = [("DB_HOST", "db"), ("DB_PORT", "abc"), ("MIGRATION_ENABLED", "true"), ("REDIS_HOST", "cache"), ("REDIS_PORT", "x")];
    let new = wrong.into_iter().fold(Portcullis::new(), |new, (name, value)| new.env(name, value));
    let said = new.args(["plan", "--", "true"]).output().exits(78).says(&[
        "environment variable DB_PORT: `port` in [checks.db] is `abc`",
        "environment variable PORTCULLIS_MIGRATIONS__COMMAND: `command` in [migrations] is missing",
        "the environment: `variables` in [checks.redis] finds that REDIS_HOST with REDIS_PORT has a port",
    ]);
    assert!(!said.stderr.contains("preset") && !said.stderr.contains("not a redis check"), "{}", said.stderr);
    let preset = |name, value| Portcullis::new().args(["plan", "--preset", "gunicorn"]).env(name, value).output().exits(78);
    preset("MODE", "wroker").says(&["environment variable MODE: unknown mode `wroker`"]);
    preset("MODE", "api").says(&["line ", " of `portcullis preset gunicorn`: ", "GUNICORN_APP is not set"]);
}

#[test]
fn all_errors_of_a_file_are_shown_at_once() {
    let wrong = r#"servce = "api"
[checks.db]
url = "tcp://127.0.0.1:1"
wiat = "5s"
timeout = 5
[process]
stop_timout = "8s"
[modes.api]
command = "not a list"
"#;
    let output = Portcullis::new().config(wrong).output().exits(78);
    let output =
        output.says(&["portcullis.toml", "servce", "service", "wiat", "wait", "stop_timout", "stop_timeout", "timeout", "command"]);
    for line in [1, 4, 5, 7, 9] {
        let place = format!("portcullis.toml:{line}");
        assert!(output.stderr.contains(&place), "{place} is not in:\n{}", output.stderr);
    }
}

#[test]
fn broken_toml_is_78_with_its_line() {
    let output = Portcullis::new().config("service = \"api\"\nmode = [[[\n").output().exits(78);
    assert!(output.stderr.contains("portcullis.toml:2"), "{}", output.stderr);
}

#[test]
fn a_file_that_is_not_there_is_78_and_named() {
    Portcullis::new().args(["run", "-c", "/no/such/file.toml"]).output().exits(78).says(&["/no/such/file.toml"]);
}

#[test]
fn a_variable_of_ours_that_is_unknown_is_an_error_with_the_nearest_one() {
    let wrong = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUTT", "5s").command(["true"]).output().exits(78);
    wrong.says(&["PORTCULLIS_PROCESS__STOP_TIMEOUTT"]);
    let injected = Portcullis::new().env("PORTCULLIS_PORT", "tcp://10.0.0.1:80").env("PORTCULLIS_SERVICE_HOST", "10.0.0.1");
    injected.command(["true"]).output().exits(0);
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[process]\nstop_timeout = \"1s\"\n[modes.api]\ncommand = [\"true\"]\n";
    let plan = Portcullis::new().config(file).env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "77s").args(["plan"]).output().exits(0);
    assert!(plan.stdout.contains("77s") || plan.stdout.contains("1m 17s"), "{}", plan.stdout);
}

#[test]
fn interpolation_supports_defaults_and_required_values() {
    let file = r#"
[modes.api]
command = ["printf", "%s|", "${SET}", "${UNSET:-fallback}", "${EMPTY:-${SET}}", { split = "${WORDS}" }, { split = "${UNSET:-}" }]
"#;
    let run = Portcullis::new().config(file).env("SET", "a b").env("EMPTY", "").env("WORDS", " x  y ").env("MODE", "api");
    assert_eq!(run.output().exits(0).stdout, "a b|fallback|a b|x|y|");
    let required = "[modes.api]\ncommand = [\"echo\", \"${NEEDED:?set it to the thing}\"]\n";
    Portcullis::new().config(required).env("MODE", "api").output().exits(78).says(&["NEEDED", "set it to the thing"]);
}

#[test]
fn a_secret_is_read_from_its_file_and_never_from_two_places() {
    let file = "mode = \"api\"\n[modes.api]\ncommand = [\"echo\", \"${APP_PASSWORD}\"]\n";
    let run = Portcullis::new().config(file);
    let secret = run.file("secret", "from the file\n");
    assert_eq!(run.env("APP_PASSWORD_FILE", &secret).output().exits(0).stdout, "from the file\n");
    let run = Portcullis::new().config(file);
    let secret = run.file("secret", "from the file\n");
    run.env("APP_PASSWORD_FILE", &secret).env("APP_PASSWORD", "too").output().exits(78).says(&["APP_PASSWORD", "APP_PASSWORD_FILE"]);
    let missing = Portcullis::new().config(file).env("APP_PASSWORD_FILE", "/no/such/secret");
    missing.output().exits(78).says(&["/no/such/secret"]);
}

#[test]
fn extra_arguments_go_where_the_mode_names_them() {
    let asks = "mode = \"job\"\n[modes.job]\ncommand = [\"echo\", \"flask\", { args = true }]\n";
    let run = Portcullis::new().config(asks).args(["run", "--", "create-tenant", "--email", "x"]);
    assert_eq!(run.output().exits(0).stdout, "flask create-tenant --email x\n");
    Portcullis::new().config(TWO_MODES).args(["run", "--", "extra"]).output().exits(64).says(&["extra"]);
    let forced = Portcullis::new().config(TWO_MODES).args(["run", "--exec", "--", "echo", "forced"]);
    assert_eq!(forced.output().exits(0).stdout, "forced\n");
}

#[test]
fn defaults_of_the_environment_reach_the_child() {
    let file = "mode = \"api\"\n[env]\nSET_HERE = \"${FROM}\"\n[env.default]\nEMPTY = \"filled\"\nKEPT = \"no\"\n[modes.api]\ncommand = [\"sh\", \"-c\", \"echo $$SET_HERE $$EMPTY $$KEPT\"]\n";
    let run = Portcullis::new().config(file).env("FROM", "interpolated").env("EMPTY", "").env("KEPT", "yes");
    assert_eq!(run.output().exits(0).stdout, "interpolated filled yes\n");
}

#[test]
fn without_a_command_and_a_file_it_is_78() {
    Portcullis::new().output().exits(78);
}

#[test]
fn without_a_file_the_environment_names_the_dependencies() {
    let plan = Portcullis::new()
        .env("MODE", "api")
        .env("DB_HOST", "db.test")
        .env("DB_USERNAME", "u")
        .env("DB_PASSWORD", "hidden-pw")
        .env("DB_DATABASE", "d");
    let plan = plan.env("REDIS_HOST", "redis.test").env("REDIS_PORT", "tcp://10.0.0.1:6379").args(["plan", "--", "true"]).output().exits(0);
    for word in ["db.test", "redis.test", "6379", "api_service_status"] {
        assert!(plan.stdout.contains(word), "{word} is not in:\n{}", plan.stdout);
    }
    assert!(!plan.stdout.contains("hidden-pw") && !plan.stderr.contains("hidden-pw"));
}

#[test]
fn plan_prints_and_does_nothing() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let port = target.local_addr().unwrap().port();
    let file = format!(
        "mode = \"api\"\n[checks.target]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"33s\"\n[modes.api]\ncommand = [\"touch\", \"started\"]\n"
    );
    for args in [&["plan"][..], &["plan", "--json"]] {
        let run = Portcullis::new().config(&file).args(args);
        let started = run.dir().join("started");
        let plan = run.output().exits(0);
        assert!(plan.stdout.contains("touch") && plan.stdout.contains(&port.to_string()), "{}", plan.stdout);
        assert!(!started.exists());
        if args.len() == 2 {
            let json: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
            assert!(json.is_object());
        }
    }
    assert!(target.accept().is_err(), "plan connected to a target");
    let wrong = Portcullis::new().config("servce = \"x\"\n").args(["plan"]);
    wrong.output().exits(78).says(&["servce", "service"]);
}

#[test]
fn a_health_address_in_use_is_78_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").env("PORTCULLIS_HEALTH__LISTEN", &address);
    run.command(["true"]).output().exits(78).says(&[&address]);
    let run = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").env("PORTCULLIS_HEALTH__LISTEN", &address);
    let mut run = run.env("PORTCULLIS_HEALTH__REQUIRED", "false").sh(&polite()).start();
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_unless_its_reader_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let running = Portcullis::new().sh(&polite()).start();
    running.until_stdout("ready", secs(20));
    let listen = format!("127.0.0.1:{}", running.port);
    for args in [
        &["schema"][..],
        &["schema", "--openapi"],
        &["plan", "--", "true"],
        &["plan", "--json", "--", "true"],
        &["preset"],
        &["preset", "django"],
        &["status", "--listen", &listen],
        &["status", "--watch", "--listen", &listen],
        &["wait", "--json", &target],
        &["help"],
        &["help", "run"],
        &["--version"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = Portcullis::new().args(args).stdout_to(full).output();
        assert_eq!(
            said.exits(74).stderr,
            "portcullis: cannot write to standard output: No space left on device; check the file or device behind it\n",
            "{args:?}"
        );
        let (reading, gone) = std::io::pipe().unwrap();
        drop(reading);
        let said = Portcullis::new().args(args).stdout_to(gone).output().exits(0);
        assert_eq!(said.stderr, "", "{args:?}");
    }
}

#[test]
fn a_boolean_that_is_none_is_answered_with_every_word_for_it() {
    let plan = Portcullis::new().env("MIGRATION_ENABLED", "maybe").args(["plan", "--", "true"]).output();
    plan.exits(78).says(&["`maybe`; expected `true` or `false` (or 1, yes, on, 0, no, off)"]);
}
