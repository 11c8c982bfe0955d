//! Accepted and refused command lines, in the forms in which people write them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::grammar::Wrong;
use super::reading::{ParsedArguments, read};
use super::table::{SUBCOMMANDS, WITHOUT};
use super::{help, options, wait};
use crate::command;
use crate::command::healthcheck::ServerLocation;
use crate::command::wait::Reporting;
use crate::config::layers::Override;
use crate::plan::resolve::RunOptions;
use crate::state::snapshot::Level;

fn parse(name: &str, words: &[&str]) -> Result<ParsedArguments, Wrong> {
    let of = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name).unwrap();
    read(of, words.iter().map(OsString::from))
}

fn run(words: &[&str]) -> Result<RunOptions, Wrong> {
    parse("run", words).and_then(options::run)
}

fn wait(words: &[&str]) -> Result<command::wait::Options, Wrong> {
    parse("wait", words).and_then(wait::request)
}

fn healthcheck(line: &str) -> Result<command::healthcheck::Options, Wrong> {
    let words: Vec<&str> = line.split_whitespace().collect();
    parse("healthcheck", &words).and_then(|parsed| options::healthcheck(&parsed))
}

#[test]
fn everything_from_the_first_word_on_is_the_command() {
    for (words, arguments) in [
        (&["--bare", "--", "a", "--", "-b"][..], &["a", "--", "-b"][..]),
        (&["--bare", "a", "--bare", "--", "-c"], &["a", "--bare", "--", "-c"]),
        (&["--bare", "--", "--mode"], &["--mode"]),
        (&["--bare", "-"], &["-"]),
        (&["--bare", "--"], &[]),
    ] {
        let request = run(words).unwrap();
        assert!(request.bare);
        assert_eq!(request.arguments, arguments, "{words:?}");
    }
}

#[test]
fn every_option_of_run_reaches_its_key() {
    let words = [
        "-cfile",
        "--preset=node",
        "--mode",
        "api",
        "--stop-signal=INT",
        "--stop-timeout",
        "3s",
        "--drain-delay=1s",
        "--signal-scope=group",
        "--rewrite",
        "TERM=QUIT",
        "--rewrite=HUP=USR1",
        "--ignore-signal=HUP",
        "--success-code=143",
        "--success-code",
        "3",
        "--parent-death-signal=KILL",
        "--exec",
        "--wait",
        "--",
        "x",
    ];
    let request = run(&words).unwrap();
    assert_eq!(
        (request.file, request.preset.as_deref(), request.mode.as_deref()),
        (Some(PathBuf::from("file")), Some("node"), Some("api"))
    );
    assert!(request.exec && request.wait && !request.bare);
    let put = |key: &str, value: &str, flag: &str| Override { key: key.to_owned(), value: value.to_owned(), flag: flag.to_owned() };
    assert_eq!(
        request.overrides,
        [
            put("process.stop_signal", "INT", "--stop-signal"),
            put("process.stop_timeout", "3s", "--stop-timeout"),
            put("process.drain_delay", "1s", "--drain-delay"),
            put("process.signal_scope", "group", "--signal-scope"),
            put("process.parent_death_signal", "KILL", "--parent-death-signal"),
            put("process.ignore_signals", "[\"HUP\"]", "--ignore-signal"),
            put("process.success_codes", "[\"143\", \"3\"]", "--success-code"),
            put("process.rewrite", "{ \"TERM\" = \"QUIT\", \"HUP\" = \"USR1\" }", "--rewrite"),
        ]
    );
    for form in ["-c file", "-cfile", "-c=file", "--config file", "--config=file"] {
        let words: Vec<&str> = form.split(' ').collect();
        assert_eq!(run(&words).unwrap().file, Some(PathBuf::from("file")), "{form}");
    }
}

#[test]
fn what_is_wrong_is_one_sentence_with_what_may_be_meant() {
    for (name, words, problem) in [
        ("run", &["--mod", "api"][..], "unknown option `--mod`; did you mean `--mode`?; write a command with such a name after `--`"),
        ("status", &["--jsn"], "unknown option `--jsn`; did you mean `--json`?"),
        ("status", &["-x"], "unknown option `-x`; known: `--json`, `--watch`, `--socket`, `--listen`, `--config`"),
        ("run", &["--mode"], "--mode needs a value, MODE"),
        ("run", &["--mode", "--bare"], "--mode needs a value, MODE; write one that begins with `-` as `--mode=--bare`"),
        ("run", &["--bare=true"], "--bare accepts no value"),
        ("run", &["--mode", "a", "--mode=b"], "--mode was given twice; it is allowed once"),
        ("run", &["--wait"], "--wait requires --exec"),
        ("run", &["--exec", "--wait", "--bare"], "--wait and --bare cannot be combined"),
        ("run", &["--rewrite", "TERM"], "--rewrite is `TERM`: expected two signals, for example TERM=QUIT"),
        ("preset", &["a", "b"], "unexpected argument `b`"),
        ("ready", &[], "SERVICE is missing: The service's name: its `service`, else its mode"),
        ("ready", &["api", "--min", "0"], "--min is `0`: expected a whole number of at least 1"),
        ("ready", &["api", "--stable", "1s", "--watch"], "--watch and --stable cannot be combined"),
        ("wait", &["--port", "1"], "--port requires --host"),
        ("wait", &["-h", "db"], "--host requires --port"),
        ("wait", &["-h", "db", "-p", "0"], "--port is `0`: expected a port from 1 to 65535"),
        ("wait", &[], "TARGET is missing: name at least one, for example db:5432"),
        ("wait", &["db:1", "--stable", "5"], "--stable is `5`: time unit needed, for example 5sec or 5ms"),
        ("wait", &["db:1", "-q", "--json"], "--quiet and --json cannot be combined"),
    ] {
        let parsed = parse(name, words);
        let wrong = match name {
            "run" => parsed.and_then(options::run).map(drop),
            "ready" => parsed.and_then(options::ready).map(drop),
            "wait" => parsed.and_then(wait::request).map(drop),
            _ => parsed.map(drop),
        };
        assert_eq!(wrong, Err(Wrong(problem.to_owned())), "{name} {words:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_text_is_wanted() {
    let bad = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff"].concat());
    assert_eq!(read(&WITHOUT, [bad("--config=")]).and_then(options::run).unwrap().file, Some(PathBuf::from(bad(""))));
    for words in [vec![bad("--mode=")], vec!["--".into(), bad("")]] {
        assert!(read(&WITHOUT, words).and_then(options::run).is_err_and(|Wrong(why)| why.contains("is not UTF-8")));
    }
}

#[test]
fn scripts_written_for_wait_for_it_are_understood() {
    for (words, targets, timeout, quiet) in [
        (&["127.0.0.1:5432"][..], &["tcp://127.0.0.1:5432"][..], 60, false),
        (&["db:5432", "-t", "5", "--", "true"], &["tcp://db:5432"], 5, false),
        (&["--timeout=5", "-qs", "db:5432"], &["tcp://db:5432"], 5, true),
        (&["-sqt5", "db:5432"], &["tcp://db:5432"], 5, true),
        (&["-h", "db", "-p", "5432", "--strict", "-t", "30"], &["tcp://db:5432"], 30, false),
        (&["--host=::1", "--port=5432"], &["tcp://[::1]:5432"], 60, false),
        (&["[::1]:5432", "redis://c:1/0", "-h", "a", "-p", "1"], &["tcp://a:1", "tcp://[::1]:5432", "redis://c:1/0"], 60, false),
        (&["exec:80", "file:///x:1", "dns://db"], &["exec:80", "file:///x:1", "dns://db"], 60, false),
    ] {
        let request = wait(words).unwrap();
        assert_eq!(
            (request.targets, request.timeout, request.output == Reporting::Nothing),
            (targets.iter().map(|t| (*t).to_owned()).collect(), Duration::from_secs(timeout), quiet),
            "{words:?}"
        );
    }
    assert_eq!(wait(&["db:1", "-t", "0"]).unwrap().timeout, Duration::MAX);
    assert_eq!(wait(&["db:1", "-t", "0s"]).unwrap().timeout, Duration::ZERO);
    assert_eq!(wait(&["db:1", "-t", "500ms"]).unwrap().timeout, Duration::from_millis(500));
    assert_eq!(wait(&["db:1", "--", "a", "--", "-b"]).unwrap().command, ["a", "--", "-b"]);
}

#[test]
fn the_options_of_healthcheck_are_read_in_every_form_and_the_last_wins() {
    let all = healthcheck("--level live --level ready --timeout=500ms --socket @x --listen 127.0.0.1:1 -c file").unwrap();
    assert_eq!((all.level, all.timeout), (Level::Ready, Duration::from_millis(500)));
    assert_eq!(all.place, ServerLocation { listen: Some("127.0.0.1:1".to_owned()), socket: Some("@x".to_owned()) });
    assert_eq!(all.file, Some(PathBuf::from("file")));
    let none = healthcheck("").unwrap();
    assert_eq!((none.level, none.timeout), (Level::Deep, Duration::from_secs(3)));
    assert_eq!(healthcheck("--address=[::1]:2").unwrap().place.listen.as_deref(), Some("[::1]:2"));
    for (line, problem) in [
        ("--levle live", "unknown option `--levle`; did you mean `--level`?"),
        ("--level deeper", "--level is `deeper`: expected one of live, ready, deep"),
        ("--timeout 3", "--timeout is `3`: expected a duration such as 500ms or 3s"),
        ("--timeout 0s", "--timeout is `0s`: expected a duration such as 500ms or 3s"),
        ("--socket", "--socket needs a value, NAME"),
        ("more", "unexpected argument `more`"),
    ] {
        assert_eq!(healthcheck(line).err(), Some(Wrong(problem.to_owned())), "{line}");
    }
    assert_eq!(super::main(["healthcheck".into(), "--levle".into()]), 1, "Docker reserves 2");
}

#[test]
fn help_lists_what_is_accepted_and_hides_what_is_kept_for_old_scripts() {
    let text = help::help(&WITHOUT, &SUBCOMMANDS);
    for subcommand in &SUBCOMMANDS {
        assert!(text.contains(&format!("\n  {:13}{}\n", subcommand.name, subcommand.about)), "{text}");
        let text = help::help(subcommand, &[]);
        for option in subcommand.options() {
            assert_eq!(text.contains(&format!("--{}", option.long)), !option.about.is_empty(), "{} {text}", option.long);
        }
    }
    assert!(text.contains("  -V, --version                       Print version\n"), "{text}");
    assert!(!help::help(&SUBCOMMANDS[1], &[]).contains("-h, --help"), "there it is the host");
}
