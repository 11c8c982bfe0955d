//! Any variables: the presets compared with the script's rules, which are written here as a program.

use super::{NEWEST, OLD, Outcome, PROGRAMS, Variables, start};
use crate::support::{Exit, StandIns};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What the script reads, and some that it does not.
const NAMES: [&str; 24] = [
    "MIGRATION_ENABLED",
    "DEBUG",
    "LANG",
    "LC_ALL",
    "PYTHONIOENCODING",
    "DIFY_BIND_ADDRESS",
    "DIFY_PORT",
    "SERVER_WORKER_AMOUNT",
    "SERVER_WORKER_CLASS",
    "SERVER_WORKER_CONNECTIONS",
    "GUNICORN_TIMEOUT",
    "CELERY_WORKER_POOL",
    "CELERY_WORKER_CLASS",
    "CELERY_AUTO_SCALE",
    "CELERY_MAX_WORKERS",
    "CELERY_MIN_WORKERS",
    "CELERY_WORKER_AMOUNT",
    "CELERY_WORKER_CONCURRENCY",
    "MAX_TASKS_PER_CHILD",
    "LOG_LEVEL",
    "CELERY_QUEUES",
    "CELERY_WORKER_QUEUES",
    "CELERY_PREFETCH_MULTIPLIER",
    "DEPLOYMENT_EDITION",
];

/// Values that a shell would take apart, or take for something else; without those of file names, which are never expanded here.
const VALUES: [&str; 14] =
    ["", "true", "TRUE", "false", "4", "CLOUD", " ", "a b", "\t7\n-E  x ", "$(id)", "${HOME}", "`id`;&&|<>", "'\"\\", "naïve 数据"];

fn environment() -> impl Strategy<Value = Variables> {
    let one = (prop::sample::select(NAMES.to_vec()), prop::sample::select(VALUES.to_vec()));
    prop::collection::vec(one, 0..16).prop_map(|pairs| super::variables(&pairs))
}

/// The script's `${NAME:-default}`.
fn or<'a>(given: &'a Variables, name: &str, default: &'a str) -> &'a str {
    given.get(name).map(String::as_str).filter(|value| !value.is_empty()).unwrap_or(default)
}

/// A command line from words, of which those with `~` before them are not quoted in the script.
fn line(words: &[&str]) -> Vec<String> {
    let taken_apart = |word: &str| word.split([' ', '\t', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    words.iter().flat_map(|word| word.strip_prefix('~').map_or_else(|| vec![(*word).to_owned()], taken_apart)).collect()
}

/// What the script does with these variables and no arguments.
fn script(preset: &str, given: &Variables) -> Outcome {
    let newest = preset == NEWEST;
    let get = |name: &str, default: &str| or(given, name, default).to_owned();
    let loose = |name: &str, default: &str| format!("~{}", or(given, name, default));
    let exact = |name: &str, value: &str| given.get(name).is_some_and(|found| found == value);
    let mut environment = given.clone();
    for (name, value) in [("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("PYTHONIOENCODING", "utf-8")].into_iter().filter(|_| newest) {
        environment.insert(name.to_owned(), get(name, value));
    }
    let mut calls = Vec::new();
    let mut environments = Vec::new();
    if exact("MIGRATION_ENABLED", "true") {
        calls.push(line(&["flask", "upgrade-db"]));
        environments.push(environment.clone());
    }
    let (host, port) = (get("DIFY_BIND_ADDRESS", "0.0.0.0"), get("DIFY_PORT", "5001"));
    let level = loose("LOG_LEVEL", "INFO");
    let amount = || ["-c".to_owned(), loose("CELERY_WORKER_AMOUNT", "1")];
    let scale = || {
        let most = or(given, "CELERY_MAX_WORKERS", PROCESSORS);
        [format!("~--autoscale={most},{}", or(given, "CELERY_MIN_WORKERS", "1")), "~".to_owned()]
    };
    let scales = or(given, "CELERY_AUTO_SCALE", "").to_lowercase() == "true";
    calls.push(match or(given, "MODE", "api") {
        "worker" if newest => {
            let pool = loose("CELERY_WORKER_POOL", or(given, "CELERY_WORKER_CLASS", "gevent"));
            let concurrency = match or(given, "CELERY_WORKER_CONCURRENCY", "") {
                "" if scales => scale(),
                "" => amount(),
                concurrency => ["-c".to_owned(), format!("~{concurrency}")],
            };
            let own = if exact("DEPLOYMENT_EDITION", "CLOUD") { CLOUD } else { COMMUNITY };
            let queues = loose("CELERY_WORKER_QUEUES", or(given, "CELERY_QUEUES", own));
            let (children, prefetch) = (loose("MAX_TASKS_PER_CHILD", "50"), or(given, "CELERY_PREFETCH_MULTIPLIER", "1"));
            let prefetch = format!("~--prefetch-multiplier={prefetch}");
            let head = line(&["celery", "-A", "celery_entrypoint.celery", "worker", "-P", &pool, &concurrency[0], &concurrency[1]]);
            [head, line(&["--max-tasks-per-child", &children, "--loglevel", &level, "-Q", &queues, &prefetch])].concat()
        }
        "worker" => {
            let (class, queues) = (loose("CELERY_WORKER_CLASS", "gevent"), loose("CELERY_QUEUES", "dataset,mail,ops_trace,app_deletion"));
            let concurrency = if scales { scale() } else { amount() };
            line(&[
                "celery",
                "-A",
                "app.celery",
                "worker",
                "-P",
                &class,
                &concurrency[0],
                &concurrency[1],
                "--loglevel",
                &level,
                "-Q",
                &queues,
            ])
        }
        "beat" => line(&["celery", "-A", "app.celery", "beat", "--loglevel", &level]),
        _ if exact("DEBUG", "true") && newest => {
            environment.insert("HOST".to_owned(), host);
            environment.insert("PORT".to_owned(), port);
            line(&["python", "-m", "app"])
        }
        _ if exact("DEBUG", "true") => line(&["flask", "run", &format!("~--host={host}"), &format!("~--port={port}"), "--debug"]),
        _ => {
            let class = if newest { "geventwebsocket.gunicorn.workers.GeventWebSocketWorker" } else { "gevent" };
            let head = if newest { &["gunicorn", "--no-control-socket"][..] } else { &["gunicorn"] };
            let (bind, amount, class) = (format!("{host}:{port}"), loose("SERVER_WORKER_AMOUNT", "1"), loose("SERVER_WORKER_CLASS", class));
            let (connections, timeout) = (loose("SERVER_WORKER_CONNECTIONS", "10"), loose("GUNICORN_TIMEOUT", "200"));
            let tail = [
                "--bind",
                &bind,
                "--workers",
                &amount,
                "--worker-class",
                &class,
                "--worker-connections",
                &connections,
                "--timeout",
                &timeout,
            ];
            let app = if newest { "app:socketio_app" } else { "app:app" };
            [line(head), line(&tail), line(&[app])].concat()
        }
    });
    environments.push(environment);
    Outcome { calls, environments, exit: Exit::Code(0) }
}

const PROCESSORS: &str = "5";
const COMMUNITY: &str = "api_token,dataset,dataset_summary,priority_dataset,priority_pipeline,pipeline,mail,ops_trace,app_deletion,app_rbac,plugin,workflow_storage,conversation,workflow,schedule_poller,schedule_executor,triggered_workflow_dispatcher,trigger_refresh_publisher,trigger_refresh_executor,retention,workflow_based_app_execution";
const CLOUD: &str = "api_token,dataset,dataset_summary,priority_dataset,priority_pipeline,pipeline,mail,ops_trace,app_deletion,app_rbac,plugin,workflow_storage,conversation,workflow_professional,workflow_team,workflow_sandbox,schedule_poller,schedule_executor,triggered_workflow_dispatcher,trigger_refresh_publisher,trigger_refresh_executor,retention,workflow_based_app_execution";

#[test]
fn whatever_the_variables_are_the_presets_do_what_the_script_does() {
    for mode in [None, Some(""), Some("api"), Some("worker"), Some("beat")] {
        for preset in [NEWEST, OLD] {
            let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
            let law = runner.run(&environment(), |mut given| {
                // What nproc(1) says is the machine's affair otherwise.
                given.insert("OMP_NUM_THREADS".to_owned(), PROCESSORS.to_owned());
                given.extend(mode.map(|mode| ("MODE".to_owned(), mode.to_owned())));
                let (outcome, output) = start(preset, &given, &["ignored"], &StandIns::new(&PROGRAMS));
                prop_assert_eq!(&outcome, &script(preset, &given), "{:?}", output);
                Ok(())
            });
            law.unwrap_or_else(|why| panic!("{preset}, MODE {mode:?}: {why}"));
        }
    }
}
