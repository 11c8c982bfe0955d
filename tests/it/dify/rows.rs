//! One row per case: the variables, the arguments, and the expected result, written by hand.

use super::{NEWEST, OLD, PROGRAMS, reported, start, variables};
use crate::support::StandIns;

const API: &str = "gunicorn --no-control-socket --bind 0.0.0.0:5001 --workers 1 --worker-class geventwebsocket.gunicorn.workers.GeventWebSocketWorker --worker-connections 10 --timeout 200 app:socketio_app";
const OLD_API: &str = "gunicorn --bind 0.0.0.0:5001 --workers 1 --worker-class gevent --worker-connections 10 --timeout 200 app:app";
const QUEUES: &str = "api_token,dataset,dataset_summary,priority_dataset,priority_pipeline,pipeline,mail,ops_trace,app_deletion,app_rbac,plugin,workflow_storage,conversation,workflow,schedule_poller,schedule_executor,triggered_workflow_dispatcher,trigger_refresh_publisher,trigger_refresh_executor,retention,workflow_based_app_execution";
const BEAT: &str = "celery -A app.celery beat --loglevel INFO";

/// The newest worker's command line with these parts in place of the defaults.
fn worker(pool: &str, concurrency: &str, children: &str, level: &str, queues: &str, prefetch: &str) -> String {
    format!(
        "celery -A celery_entrypoint.celery worker -P {pool} {concurrency} --max-tasks-per-child {children} --loglevel {level} -Q {queues} --prefetch-multiplier={prefetch}"
    )
}

fn plain_worker() -> String {
    worker("gevent", "-c 1", "50", "INFO", QUEUES, "1")
}

fn old_worker(pool: &str, concurrency: &str, level: &str, queues: &str) -> String {
    format!("celery -A app.celery worker -P {pool} {concurrency} --loglevel {level} -Q {queues}")
}

/// Starts each case and compares its only call.
fn one_call(preset: &str, mode: &str, cases: &[(&[(&str, &str)], String)]) {
    for (given, line) in cases {
        let mut given = given.to_vec();
        given.push(("MODE", mode));
        assert_eq!(reported(preset, &given, &[]), (vec![line.clone()], 0), "{given:?}");
    }
}

#[test]
fn each_mode_of_the_newest_has_its_command() {
    for (mode, line) in [("", API), ("api", API), ("worker", &plain_worker()), ("beat", BEAT)] {
        assert_eq!(reported(NEWEST, &[("MODE", mode)], &["ignored"]), (vec![line.to_owned()], 0), "{mode}");
        let migrating = [("MODE", mode), ("MIGRATION_ENABLED", "true")];
        assert_eq!(reported(NEWEST, &migrating, &[]), (vec!["flask upgrade-db".to_owned(), line.to_owned()], 0), "{mode}");
    }
    assert_eq!(reported(NEWEST, &[], &[]).0, [API]);
    assert_eq!(reported(NEWEST, &[("MODE", "job")], &["create-tenant", "--email", "a@b"]).0, ["flask create-tenant --email a@b"]);
    let migration = [("MODE", "migration"), ("MIGRATION_ENABLED", "true")];
    assert_eq!(reported(NEWEST, &migration, &[]), (vec!["flask upgrade-db".to_owned()], 0));
}

#[test]
fn each_mode_of_0_15_3_has_its_command() {
    let worker = old_worker("gevent", "-c 1", "INFO", "dataset,mail,ops_trace,app_deletion");
    for (mode, line) in [("", OLD_API), ("api", OLD_API), ("worker", &worker), ("beat", BEAT)] {
        assert_eq!(reported(OLD, &[("MODE", mode)], &["ignored"]), (vec![line.to_owned()], 0), "{mode}");
        let migrating = [("MODE", mode), ("MIGRATION_ENABLED", "true")];
        assert_eq!(reported(OLD, &migrating, &[]), (vec!["flask upgrade-db".to_owned(), line.to_owned()], 0), "{mode}");
    }
}

#[test]
fn modes_that_the_script_serves_by_mistake_are_refused() {
    for mode in ["API", "Worker", "websocket", "worker ", " worker", "api,worker", "-x"] {
        for preset in [NEWEST, OLD] {
            assert_eq!(reported(preset, &[("MODE", mode)], &[]), (vec![], 78), "{preset} {mode}");
            assert_eq!(reported(preset, &[("MODE", mode), ("PORTCULLIS_MODE_FALLBACK", "api")], &[]).1, 0, "{preset} {mode}");
        }
    }
    for mode in ["job", "migration"] {
        assert_eq!(reported(OLD, &[("MODE", mode)], &[]), (vec![], 78), "{mode} came later");
    }
    for enabled in ["", "false", "TRUE", "1"] {
        assert_eq!(reported(NEWEST, &[("MODE", "migration"), ("MIGRATION_ENABLED", enabled)], &[]), (vec![], 78), "{enabled}");
    }
}

#[test]
fn only_true_migrates() {
    for value in ["", "false", "TRUE", "True", "1", "yes", "on", " true", "true "] {
        for (preset, line) in [(NEWEST, API), (OLD, OLD_API)] {
            assert_eq!(reported(preset, &[("MIGRATION_ENABLED", value)], &[]), (vec![line.to_owned()], 0), "{preset} {value}");
        }
    }
}

#[test]
fn a_migration_that_fails_is_the_end_with_its_own_code() {
    for preset in [NEWEST, OLD] {
        for mode in ["api", "worker", "beat"] {
            for (act, code) in
                [("exit 1", 1), ("exit 75", 75), ("exit 124", 124), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
            {
                let given = [("MODE", mode), ("MIGRATION_ENABLED", "true"), ("DO_flask", act)];
                assert_eq!(reported(preset, &given, &[]), (vec!["flask upgrade-db".to_owned()], code), "{preset} {mode} {act}");
            }
        }
    }
    for mode in ["migration", "job"] {
        let given = [("MODE", mode), ("MIGRATION_ENABLED", "true"), ("DO_flask_upgrade_db", "exit 3")];
        assert_eq!(reported(NEWEST, &given, &["create-tenant"]), (vec!["flask upgrade-db".to_owned()], 3), "{mode}");
    }
}

#[test]
fn the_process_own_end_is_the_exit_code() {
    for (mode, program, old) in [("api", "gunicorn", true), ("worker", "celery", true), ("beat", "celery", true), ("job", "flask", false)] {
        for (act, code) in [("exit 1", 1), ("exit 3", 3), ("exit 70", 70), ("exit 255", 255), ("kill -9 $$", 137), ("kill -2 $$", 130)] {
            for preset in [NEWEST, OLD].into_iter().take(if old { 2 } else { 1 }) {
                let act = (&*format!("DO_{program}"), act);
                assert_eq!(reported(preset, &[("MODE", mode), act], &["cmd"]).1, code, "{preset} {mode} {act:?}");
            }
        }
    }
}

#[test]
fn a_missing_program_is_127_and_one_without_permission_126() {
    for (mode, program) in [("api", "gunicorn"), ("worker", "celery"), ("beat", "celery"), ("job", "flask")] {
        let others: Vec<&str> = PROGRAMS.into_iter().filter(|name| *name != program).collect();
        let (outcome, _) = start(NEWEST, &variables(&[("MODE", mode)]), &["cmd"], &StandIns::new(&others));
        assert_eq!((outcome.calls.len(), outcome.exit), (0, crate::support::Exit::Code(127)), "{mode}");
        let programs = StandIns::new(&PROGRAMS);
        programs.not_executable(program);
        let (outcome, _) = start(NEWEST, &variables(&[("MODE", mode)]), &["cmd"], &programs);
        assert_eq!((outcome.calls.len(), outcome.exit), (0, crate::support::Exit::Code(126)), "{mode}");
    }
    let given = variables(&[("MIGRATION_ENABLED", "true")]);
    let (outcome, _) = start(NEWEST, &given, &[], &StandIns::new(&["gunicorn"]));
    assert_eq!((outcome.calls.len(), outcome.exit), (0, crate::support::Exit::Code(127)));
}

#[test]
fn a_job_without_a_command_is_an_error_after_the_migration() {
    let programs = StandIns::new(&PROGRAMS);
    let (outcome, output) = start(NEWEST, &variables(&[("MODE", "job")]), &[], &programs);
    assert_eq!((outcome.calls.len(), outcome.exit), (0, crate::support::Exit::Code(1)));
    output.says(&["job mode was given no command", "create-tenant", "exit code 1"]);
    assert_eq!(reported(NEWEST, &[("MODE", "job"), ("MIGRATION_ENABLED", "true")], &[]), (vec!["flask upgrade-db".to_owned()], 1));
}

#[test]
fn arguments_of_a_job_arrive_as_they_are() {
    let odd: [&[&str]; 9] = [
        &["cmd", "two words", " lead", "trail ", "a\tb"],
        &["cmd", "", "x"],
        &[""],
        &["cmd", "*", "?"],
        &["cmd", "'", "\"", "\\", "$HOME", "$(id)", "`id`", "a\nb"],
        &["--", "--help"],
        &["cmd", "naïve", "数据集", "🚪"],
        &["-x"],
        &["upgrade-db"],
    ];
    for arguments in odd {
        let (outcome, _) = start(NEWEST, &variables(&[("MODE", "job")]), arguments, &StandIns::new(&PROGRAMS));
        assert_eq!(outcome.calls, [[&["flask"], arguments].concat()]);
    }
}

#[test]
fn debug_serves_by_python_and_in_0_15_3_by_flask() {
    let bound =
        [("DEBUG", "true"), ("DIFY_PORT", "7001"), ("DIFY_BIND_ADDRESS", "127.0.0.1"), ("HOST", "9.9.9.9"), ("LANG", "C"), ("LC_ALL", "C")];
    let (outcome, _) = start(NEWEST, &variables(&bound), &[], &StandIns::new(&PROGRAMS));
    assert_eq!(outcome.calls, [["python", "-m", "app"]]);
    let mut expected = variables(&bound);
    expected.extend(variables(&[("HOST", "127.0.0.1"), ("PORT", "7001"), ("PYTHONIOENCODING", "utf-8")]));
    assert_eq!(outcome.environments, [expected]);
    assert_eq!(reported(OLD, &bound, &[]).0, ["flask run --host=127.0.0.1 --port=7001 --debug"]);
    for value in ["", "false", "TRUE", "1"] {
        assert_eq!(reported(NEWEST, &[("DEBUG", value)], &[]).0, [API], "{value}");
        assert_eq!(reported(OLD, &[("DEBUG", value)], &[]).0, [OLD_API], "{value}");
    }
    for (mode, line) in [("worker", plain_worker()), ("beat", BEAT.to_owned())] {
        assert_eq!(reported(NEWEST, &[("MODE", mode), ("DEBUG", "true")], &[]).0, [line]);
    }
}

#[test]
fn the_locale_is_set_only_where_it_is_unset_or_empty_and_only_by_the_newest() {
    let image = [("LANG", "en_US.UTF-8"), ("LC_ALL", "en_US.UTF-8"), ("PYTHONIOENCODING", "utf-8")];
    let defaults = variables(&[("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("PYTHONIOENCODING", "utf-8")]);
    let odd = [("a.b", "1"), ("A-B", "2"), ("1X", "3"), ("MULTI", "a\nb\n\nc"), ("EMPTY", ""), ("WEIRD", "café ☃")];
    for mode in ["api", "worker", "beat", "job"] {
        for given in [&image[..], &[("LANG", ""), ("LC_ALL", ""), ("PYTHONIOENCODING", "")], &[("LANG", "de_DE.UTF-8")], &odd, &[]] {
            let mut given = variables(given);
            given.extend(variables(&[("MODE", mode), ("MIGRATION_ENABLED", "true")]));
            let (outcome, output) = start(NEWEST, &given, &["cmd"], &StandIns::new(&PROGRAMS));
            let mut expected = given.clone();
            for (name, value) in &defaults {
                if given.get(name).is_none_or(String::is_empty) {
                    expected.insert(name.clone(), value.clone());
                }
            }
            assert_eq!(outcome.environments, [expected.clone(), expected], "{given:?} {output:?}");
            if mode != "job" {
                let (outcome, _) = start(OLD, &given, &[], &StandIns::new(&PROGRAMS));
                assert_eq!(outcome.environments, [given.clone(), given.clone()], "as given");
            }
        }
    }
}

#[test]
fn every_variable_of_the_api_has_its_place() {
    let newest = |bind: &str, workers: &str, class: &str, connections: &str, timeout: &str| {
        format!(
            "gunicorn --no-control-socket --bind {bind} --workers {workers} --worker-class {class} --worker-connections {connections} --timeout {timeout} app:socketio_app"
        )
    };
    let class = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker";
    let cases: [(&[(&str, &str)], String); 12] = [
        (&[("DIFY_PORT", "8080")], newest("0.0.0.0:8080", "1", class, "10", "200")),
        (&[("DIFY_BIND_ADDRESS", "[::]")], newest("[::]:5001", "1", class, "10", "200")),
        (&[("DIFY_BIND_ADDRESS", "${HOME}")], newest("${HOME}:5001", "1", class, "10", "200")),
        (&[("SERVER_WORKER_AMOUNT", "4")], newest("0.0.0.0:5001", "4", class, "10", "200")),
        (&[("SERVER_WORKER_CLASS", "gevent")], newest("0.0.0.0:5001", "1", "gevent", "10", "200")),
        (&[("SERVER_WORKER_CLASS", "gevent --preload")], newest("0.0.0.0:5001", "1", "gevent --preload", "10", "200")),
        (&[("SERVER_WORKER_CLASS", "$(id);`id`|&<>\"'\\")], newest("0.0.0.0:5001", "1", "$(id);`id`|&<>\"'\\", "10", "200")),
        (&[("SERVER_WORKER_CLASS", "g*")], newest("0.0.0.0:5001", "1", "g*", "10", "200")),
        (&[("SERVER_WORKER_CONNECTIONS", "1000")], newest("0.0.0.0:5001", "1", class, "1000", "200")),
        (&[("GUNICORN_TIMEOUT", "360 --graceful-timeout 30")], newest("0.0.0.0:5001", "1", class, "10", "360 --graceful-timeout 30")),
        (&[("GUNICORN_TIMEOUT", ""), ("DIFY_PORT", "")], newest("0.0.0.0:5001", "1", class, "10", "200")),
        (&[("CELERY_QUEUES", "x"), ("LOG_LEVEL", "DEBUG")], newest("0.0.0.0:5001", "1", class, "10", "200")),
    ];
    one_call(NEWEST, "api", &cases);
    let old = |bind: &str, middle: &str| format!("gunicorn --bind {bind} {middle} app:app");
    let cases: [(&[(&str, &str)], String); 3] = [
        (
            &[("DIFY_BIND_ADDRESS", "10.0.0.5")],
            old("10.0.0.5:5001", "--workers 1 --worker-class gevent --worker-connections 10 --timeout 200"),
        ),
        (
            &[("SERVER_WORKER_AMOUNT", "8"), ("SERVER_WORKER_CONNECTIONS", "50"), ("GUNICORN_TIMEOUT", "600")],
            old("0.0.0.0:5001", "--workers 8 --worker-class gevent --worker-connections 50 --timeout 600"),
        ),
        (
            &[("SERVER_WORKER_CLASS", "sync -k x")],
            old("0.0.0.0:5001", "--workers 1 --worker-class sync -k x --worker-connections 10 --timeout 200"),
        ),
    ];
    one_call(OLD, "api", &cases);
}

#[test]
fn every_variable_of_the_worker_has_its_place() {
    let cloud = QUEUES.replace(",workflow,", ",workflow_professional,workflow_team,workflow_sandbox,");
    let of = |pool: &str, concurrency: &str| worker(pool, concurrency, "50", "INFO", QUEUES, "1");
    let queues = |queues: &str| worker("gevent", "-c 1", "50", "INFO", queues, "1");
    let scaled = [("CELERY_AUTO_SCALE", "tRuE"), ("CELERY_MAX_WORKERS", "9")];
    let cases: [(&[(&str, &str)], String); 24] = [
        (&[("CELERY_WORKER_CLASS", "prefork")], of("prefork", "-c 1")),
        (&[("CELERY_WORKER_CLASS", "prefork"), ("CELERY_WORKER_POOL", "threads")], of("threads", "-c 1")),
        (&[("CELERY_WORKER_CLASS", "prefork"), ("CELERY_WORKER_POOL", "")], of("prefork", "-c 1")),
        (&[("CELERY_WORKER_AMOUNT", "4")], of("gevent", "-c 4")),
        (&[("CELERY_WORKER_AMOUNT", "4"), ("CELERY_WORKER_CONCURRENCY", "12")], of("gevent", "-c 12")),
        (&[("CELERY_WORKER_AMOUNT", "5"), ("CELERY_WORKER_CONCURRENCY", "")], of("gevent", "-c 5")),
        (&scaled, of("gevent", "--autoscale=9,1")),
        (&[scaled[0], scaled[1], ("CELERY_MIN_WORKERS", "3")], of("gevent", "--autoscale=9,3")),
        (&[scaled[0], scaled[1], ("CELERY_WORKER_CONCURRENCY", "2")], of("gevent", "-c 2")),
        (&[("CELERY_AUTO_SCALE", "true"), ("OMP_NUM_THREADS", "3")], of("gevent", "--autoscale=3,1")),
        (&[("CELERY_AUTO_SCALE", "1"), ("CELERY_MAX_WORKERS", "9")], of("gevent", "-c 1")),
        (&[("MAX_TASKS_PER_CHILD", "7")], worker("gevent", "-c 1", "7", "INFO", QUEUES, "1")),
        (&[("MAX_TASK_PRE_CHILD", "7")], plain_worker()),
        (&[("LOG_LEVEL", "DEBUG")], worker("gevent", "-c 1", "50", "DEBUG", QUEUES, "1")),
        (&[("LOG_LEVEL", "")], plain_worker()),
        (&[("LOG_LEVEL", "INFO -E")], worker("gevent", "-c 1", "50", "INFO -E", QUEUES, "1")),
        (&[("CELERY_PREFETCH_MULTIPLIER", "4 -E")], worker("gevent", "-c 1", "50", "INFO", QUEUES, "4 -E")),
        (&[("CELERY_QUEUES", "dataset, mail")], queues("dataset, mail")),
        (&[("CELERY_QUEUES", "q2"), ("CELERY_WORKER_QUEUES", "q1"), ("DEPLOYMENT_EDITION", "CLOUD")], queues("q1")),
        (&[("CELERY_QUEUES", "q2"), ("CELERY_WORKER_QUEUES", "")], queues("q2")),
        (&[("DEPLOYMENT_EDITION", "CLOUD")], queues(&cloud)),
        (&[("DEPLOYMENT_EDITION", "cloud")], queues(QUEUES)),
        (&[("EDITION", "CLOUD")], queues(QUEUES)),
        (&[("CELERY_QUEUES", "$(id),`id`;true&&x")], queues("$(id),`id`;true&&x")),
    ];
    one_call(NEWEST, "worker", &cases);
    let four = "dataset,mail,ops_trace,app_deletion";
    let cases: [(&[(&str, &str)], String); 7] = [
        (&[("CELERY_WORKER_CLASS", "solo"), ("CELERY_WORKER_POOL", "threads")], old_worker("solo", "-c 1", "INFO", four)),
        (&[("CELERY_WORKER_AMOUNT", "4"), ("CELERY_WORKER_CONCURRENCY", "9")], old_worker("gevent", "-c 4", "INFO", four)),
        (&[scaled[0], scaled[1], ("CELERY_WORKER_CONCURRENCY", "2")], old_worker("gevent", "--autoscale=9,1", "INFO", four)),
        (&[("LOG_LEVEL", "DEBUG"), ("MAX_TASKS_PER_CHILD", "7")], old_worker("gevent", "-c 1", "DEBUG", four)),
        (&[("CELERY_QUEUES", "q2"), ("CELERY_WORKER_QUEUES", "q1")], old_worker("gevent", "-c 1", "INFO", "q2")),
        (&[("DEPLOYMENT_EDITION", "CLOUD"), ("EDITION", "CLOUD")], old_worker("gevent", "-c 1", "INFO", four)),
        (&[("CELERY_PREFETCH_MULTIPLIER", "4")], old_worker("gevent", "-c 1", "INFO", four)),
    ];
    one_call(OLD, "worker", &cases);
    for preset in [NEWEST, OLD] {
        let level = |level: &str| format!("celery -A app.celery beat --loglevel {level}");
        let cases: [(&[(&str, &str)], String); 3] = [
            (&[("LOG_LEVEL", "WARNING")], level("WARNING")),
            (&[("LOG_LEVEL", "INFO -s /tmp/sched")], level("INFO -s /tmp/sched")),
            (&[("CELERY_QUEUES", "x"), ("CELERY_WORKER_AMOUNT", "9"), ("DEBUG", "true")], level("INFO")),
        ];
        one_call(preset, "beat", &cases);
    }
}
