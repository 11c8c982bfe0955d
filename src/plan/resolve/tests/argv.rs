//! The command of a run: its words, the arguments of the container, and what a flag overrides.

use super::*;

#[test]
fn every_construct_of_an_argv_gives_its_words() {
    for (variables, words) in [
        (vec![], "celery -P gevent -c 1 ''"),
        (vec![("POOL", "a  b\tc"), ("VERBOSE", "TRUE")], "celery -P a b c -c 1 '' -v"),
        (vec![("AUTO", "True")], "celery -P gevent --autoscale=4,1 ''"),
        (vec![("AUTO", "true"), ("CONCURRENCY", "3 -x"), ("MAX", "9")], "celery -P gevent -c 3 -x ''"),
    ] {
        let plan = with(CONSTRUCTS, &[variables, vec![("MODE", "worker")]].concat(), &[]);
        assert_eq!(plan.main.unwrap().command.argv.to_string(), words);
    }
    let environment = |plan: &Plan| {
        let main = plan.main.as_ref().unwrap();
        main.command.env.iter().map(|(name, value)| format!("{name}={}", value.value())).collect::<Vec<_>>()
    };
    let plan = with(CONSTRUCTS, &[("MODE", "worker"), ("LANG", "de")], &[]);
    assert_eq!(environment(&plan), ["NUMBER=5", "PYTHONIOENCODING=utf-8", "PLAIN=2"]);
    let debug = with(CONSTRUCTS, &[("MODE", "api"), ("DEBUG", "true")], &[]);
    assert_eq!((argv(&debug), environment(&debug).last().unwrap().as_str()), (vec!["python", "-m", "app"], "HOST=0.0.0.0"));
    assert_eq!(argv(&with(CONSTRUCTS, &[("MODE", "api"), ("DEBUG", "True")], &[])), ["gunicorn"]);
    let migrating = format!("{CONSTRUCTS}[migrations]\ncommand = ['m']\nlock = 'none'\n");
    let migration = with(&migrating, &[("MODE", "api"), ("DEBUG", "true")], &[]).migration.unwrap();
    assert!(migration.process.command.env.iter().all(|(name, _)| name != "HOST"));
}

#[test]
fn arguments_are_inserted_only_where_the_mode_accepts_them() {
    assert_eq!(argv(&with(CONSTRUCTS, &[("MODE", "job")], &["create tenant", "-x"])), ["flask", "create tenant", "-x"]);
    let few = try_with(CONSTRUCTS, &[("MODE", "job")], &[]).unwrap_err();
    assert_eq!(
        (few.exit(), few.to_string()),
        (Exit::Usage, "[modes.job] wants at least 1 arguments after the options, but there are only 0".into())
    );
    let extra = try_with(CONSTRUCTS, &[("MODE", "api")], &["x"]).unwrap_err();
    assert_eq!(extra.exit(), Exit::Usage);
    assert!(extra.to_string().starts_with("mode `api` takes no arguments and got `x`: "), "{extra}");
    assert_eq!(argv(&with(&format!("arguments = [{{ ignore = true }}]\n{CONSTRUCTS}"), &[("MODE", "api")], &["x"])), ["gunicorn"]);
    let file = File::new(CONSTRUCTS);
    let request = RunOptions { file: Some(file.0.clone()), arguments: vec!["sh".into()], exec: true, ..RunOptions::default() };
    assert_eq!(argv(&resolve(&request, &Environment::new([("MODE", "nonsense")])).unwrap()), ["sh"]);
}

#[test]
fn a_flag_stands_above_variable_mode_and_file() {
    let toml = "[modes.a]\ncommand = ['x']\nstop_timeout = '1s'\n[process]\nstop_timeout = '2s'\ndrain_delay = '3s'\n";
    assert_eq!(with(toml, &[], &[]).main.unwrap().stop_timeout, Duration::from_secs(1));
    let file = File::new(toml);
    let flag = Override { key: "process.stop_timeout".into(), value: "9s".into(), flag: "--stop-timeout".into() };
    let request = RunOptions { file: Some(file.0.clone()), overrides: vec![flag], mode: Some("a".into()), ..RunOptions::default() };
    let main = resolve(&request, &Environment::new([("MODE", "b"), ("PORTCULLIS_PROCESS__DRAIN_DELAY", "4s")])).unwrap().main.unwrap();
    assert_eq!((main.stop_timeout, main.drain_delay), (Duration::from_secs(9), Duration::from_secs(4)));
    let wrong = Override { key: "process.stop_timeout".into(), value: "9".into(), flag: "--stop-timeout".into() };
    let problems = resolve(&RunOptions { overrides: vec![wrong], ..request }, &Environment::new([("A", "b")])).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "--stop-timeout: `stop_timeout` in [process] is the bare number `9`; write it with its unit, such as `60s` or `500ms`"
    );
}
