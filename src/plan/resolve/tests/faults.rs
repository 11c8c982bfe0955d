//! Every error is reported once, at its cause and with the variable that causes it; and the words for a boolean.

use super::*;
use crate::plan::ViewSwitch;

/// What a run does not use is read for its form.
#[test]
fn a_misspelt_key_is_reported_where_this_run_does_not_use_it() {
    let own = "[[arguments]]\nrun = true\n[modes.api]\ncommand = ['a']\n";
    for (rest, expected) in [
        ("[heartbeat]\nurl = '${CACHE}'\nevry = '9s'\n", "p:7:1: unknown key `evry` in [heartbeat]; did you mean `every`?"),
        ("[heartbeat]\ncheck = 'c'\nhost = 'h'\n", "p:7:8: `host` in [heartbeat] has no effect beside `check`"),
        ("[checks.a]\nurl = '${A}'\nwhen = { var = 'X', eq = '1' }\ncommand = 7\n", "p:8:11: the command in [checks.a] is a number"),
        (
            "[[modes.api.variants]]\nwhen = { var = 'X', eq = '1' }\ncommand = 7\n",
            "p:7:11: the command in [modes.api.variants] is a number",
        ),
        ("[heartbeat]\nwhen = 7\n", "p:6:8: [heartbeat.when] is a number; expected a table"),
        ("[heartbeat]\nurl = 'redis://h'\ncheck = 'c'\n", "p:7:9: `check` in [heartbeat] names a Redis, and so does `url`"),
        ("[checks.a]\nwhen = { var = 'X', eq = '1' }\ntargets = []\n", "p:7:11: `targets` in [checks.a] names no target"),
        ("[[files]]\npath = '/a'\nremove = true\nwhen = { command = [] }\n", "p:8:20: `command` in [files.when] contains no program"),
    ] {
        let found = problems(&format!("{own}{rest}"), &[], &["sh"]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{rest}: {found:?}");
    }
    let replaced = problems(&format!("mode = 0\n{}", own.replace("run = true", "mode = 'api'")), &[], &[]);
    assert_eq!(replaced, ["p:1:8: `mode` is a number; expected a string"]);
}

#[test]
fn every_error_is_reported_once_without_its_consequences() {
    let migrations = "[migrations]\ncommand = ['m']\n[heartbeat]\ncheck = 'cache'\n";
    for (toml, variables, expected) in [
        // The database of the lock and the Redis of the heartbeat are those of checks that are wrong.
        (
            format!("[checks.db]\nurl = 'postgres://${{DB_HOST/x'\n[checks.cache]\nurl = 'redis://${{CACHE}}/0'\n{migrations}"),
            &[][..],
            &["p:2:7: `url` in [checks.db]: `${DB_HOST` is followed", "p:4:7: `url` in [checks.cache]: CACHE is not set"][..],
        ),
        ("[checks.db]\nurl = 'htpp://x'\n[migrations]\ncommand = ['m']\nlock = 'db'\n".to_owned(), &[], &["p:2:7: "]),
        // What is not TOML may hold the mode and the command.
        ("[modes.api\ncommand = ['a']\n".to_owned(), &[], &["p:1:"]),
        (
            "[mode.api] # for [modes.api]\ncommand = ['a']\nstartd = { url = 'http://a' }\n".to_owned(),
            &[],
            &["p:1:2: `mode` is a table; did you mean `modes`? `mode` names the one that is started", "p:3:1: unknown key `startd`"],
        ),
        (
            "mode = '${WHICH}'\n[modes.api]\ncommand = ['a']\n[modes.worker]\ncommand = ['b']\n".to_owned(),
            &[],
            &["p:1:8: `mode`: WHICH is not set"],
        ),
        (
            "[modes.api]\ncommand = ['a']\n[modes.worker]\ncommand = ['b']\n".to_owned(),
            &[("MODE", "apii\r")],
            &["environment variable MODE: unknown mode `apii\\r`; did you mean `api`? known: `api`, `worker`"],
        ),
        (
            "[modes.api]\ncommand = ['a']\n[modes.worker]\ncommand = ['b']\n".to_owned(),
            &[("MODE_FILE", "/nowhere/mode")],
            &["environment variable MODE: cannot read /nowhere/mode"],
        ),
        (
            "[checks.web]\nurl = 'tcp://a:1'\naffects = '${COUNTS}'\n".to_owned(),
            &[("COUNTS", "readines")],
            &["p:3:11: `affects` in [checks.web], from COUNTS, is `readines` (did you mean `readiness`?); expected one of"],
        ),
    ] {
        let command: &[&str] = if toml.contains("[modes") { &[] } else { &["app"] };
        let found = problems(&toml, variables, command);
        let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(fits, "{toml}{found:#?}");
    }
    let request = RunOptions { file: Some("/nowhere/portcullis.toml".into()), ..RunOptions::default() };
    let lines = resolve(&request, &Environment::new([("PORTCULLIS_HEALTH_LISTEN", ":1")])).unwrap_err().to_string();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("PORTCULLIS_HEALTH_LISTEN: portcullis knows no such variable; did you mean PORTCULLIS_HEALTH__LISTEN?"));
    assert!(lines[1].starts_with("cannot read the configuration /nowhere/portcullis.toml: "));
}

#[test]
fn a_boolean_has_the_same_words_wherever_a_variable_brings_it() {
    let file = "[checks.r]\nkind = 'redis'\nhost = 'r'\ntls = '${TLS:-}'\n[checks.db]\nurl = 'postgres://d/x'\n[migrations]\nenabled = '${MIGRATE:-}'\ncommand = ['m']\n";
    for (word, truth) in [
        ("1", true),
        ("true", true),
        ("True", true),
        ("YES", true),
        ("on", true),
        (" on\r", true),
        ("0", false),
        ("false", false),
        ("FALSE", false),
        ("no", false),
        ("Off", false),
        ("", false),
    ] {
        let plan = with(file, &[("TLS", word), ("MIGRATE", word)], &["app"]);
        let Target::Redis(redis) = &plan.checks[0].target else { panic!("a redis") };
        assert_eq!((redis.tls.is_some(), plan.migration.is_some()), (truth, truth), "{word:?}");
        let plan = with(file, &[("PORTCULLIS_MIGRATIONS__ENABLED", word), ("PORTCULLIS_HEALTH__PAGE", word)], &["app"]);
        assert_eq!((plan.migration.is_some(), plan.health.unwrap().views.has(ViewSwitch::Page)), (truth, truth), "{word:?}");
        assert_eq!(with("", &[("PORTCULLIS_BARE", word)], &["app"]).health.is_none(), truth, "{word:?}");
    }
    for (name, expected) in [
        ("MIGRATE", "`enabled` in [migrations], from MIGRATE, is `maybe`; expected `true` or `false` (or 1, yes, on, 0, no, off)"),
        ("TLS", "`tls` in [checks.r], from TLS, is `maybe`; expected `true` or `false` (or 1, yes, on, 0, no, off)"),
        (
            "PORTCULLIS_HEALTH__PAGE",
            "environment variable PORTCULLIS_HEALTH__PAGE: `page` in [health] is `maybe`; expected `true` or `false` (or 1, yes, on, 0, no, off)",
        ),
        ("PORTCULLIS_BARE", "environment variable PORTCULLIS_BARE: is `maybe`; expected `true` or `false` (or 1, yes, on, 0, no, off)"),
    ] {
        let found = problems(file, &[(name, "maybe")], &["app"]);
        assert!(found.len() == 1 && found[0].ends_with(expected), "{found:?}");
    }
}

#[test]
fn dify_accepts_what_its_own_script_accepts_and_warns_of_the_rest() {
    let on = |preset: &str, value: &str| {
        let request = RunOptions { preset: Some(preset.to_owned()), mode: Some("api".to_owned()), ..RunOptions::default() };
        let plan = resolve(&request, &Environment::new([("MIGRATION_ENABLED", value)])).unwrap();
        (
            plan.migration.is_some(),
            plan.notices.iter().any(|notice| notice.starts_with(&format!("MIGRATION_ENABLED is `{value}`, so no migration runs"))),
        )
    };
    for preset in ["dify", "dify@0.15.3"] {
        for (value, found) in [
            ("true", (true, false)),
            ("True", (false, true)),
            ("1", (false, true)),
            ("yes", (false, true)),
            ("truthful", (false, true)),
            ("false", (false, false)),
            ("0", (false, false)),
            ("", (false, false)),
        ] {
            assert_eq!(on(preset, value), found, "{preset} {value:?}");
        }
    }
}
