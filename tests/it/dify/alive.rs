//! The additions of the presets to the script: real waits, a locked migration, a visible start, health and heartbeat.

use super::{NEWEST, OLD, PROGRAMS};
use crate::support::child::polite;
use crate::support::postgres::PASSWORD;
use crate::support::{Http, MariaDb, Portcullis, Postgres, Redis, StandIns, eventually, process, secs};

/// Dify's container with these servers, as its compose file names them; its programs print `ready` and stay.
fn container(preset: &str, programs: &StandIns, mode: &str, redis: &Redis) -> Portcullis {
    let run = programs.run_beside_others(preset, &[]).env("MODE", mode).env("REDIS_HOST", "127.0.0.1");
    let run = run.env("REDIS_PORT", redis.port.to_string());
    run.env("DO_gunicorn", polite()).env("DO_celery", polite()).env("PORTCULLIS_MODES__API__CHECKS__HTTP__INTERVAL", "100ms")
}

fn on_postgres(run: Portcullis, server: &Postgres) -> Portcullis {
    let run = run.env("DB_TYPE", "postgresql").env("DB_HOST", "127.0.0.1").env("DB_PORT", server.port.to_string());
    run.env("DB_USERNAME", "app")
        .env("DB_PASSWORD", PASSWORD)
        .env("DB_DATABASE", "app")
        .env("DB_EXTRAS", "options=-c%20work_mem=4MB&sslmode=prefer")
}

fn until_key(redis: &Redis, key: &str, value: Option<&str>) {
    eventually(&format!("{key} is {value:?}"), secs(60), || (redis.get(key).as_deref() == value).then_some(()));
}

#[test]
fn the_api_waits_migrates_one_at_a_time_starts_by_its_own_health_and_announces_itself() {
    for preset in [NEWEST, OLD] {
        let server = Postgres::start();
        server.psql("CREATE TABLE runs (id serial, event text)");
        let (mut redis, app) = (Redis::reserve(), Http::answering(503, "{}"));
        let sql = "INSERT INTO runs (event) VALUES ('begin');\nSELECT pg_sleep(0.3);\nINSERT INTO runs (event) VALUES ('end');";
        let migrate = format!("{} >/dev/null <<'SQL'\n{sql}\nSQL\n", server.psql_line());
        let programs = [StandIns::new(&PROGRAMS), StandIns::new(&PROGRAMS)];
        let mut runs: Vec<_> = (programs.iter().enumerate())
            .map(|(number, programs)| {
                let run = on_postgres(container(preset, programs, "api", &redis), &server).env("MIGRATION_ENABLED", "true");
                let run = run.env("PORTCULLIS_INSTANCE_ID", format!("api-{number}")).env("DO_flask_upgrade_db", &migrate);
                run.env("DIFY_PORT", app.port.to_string()).start()
            })
            .collect();
        for (run, programs) in runs.iter().zip(&programs) {
            run.until_stderr(&format!("127.0.0.1:{}", redis.port), secs(30));
            assert_eq!(programs.calls(), [], "nothing before Redis is there");
        }
        redis.launch();
        for (run, programs) in runs.iter().zip(&programs) {
            run.until_stdout("ready", secs(60));
            assert_eq!(run.get("/readyz").code, 500, "the server does not serve yet");
            let lines: Vec<_> = programs.calls().iter().map(|call| call.words[..2].join(" ")).collect();
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[0], "flask upgrade-db");
            assert!(lines[1].starts_with("gunicorn --"), "{lines:?}");
        }
        assert_eq!(server.psql("SELECT string_agg(event, ' ' ORDER BY id) FROM runs"), "begin end begin end");
        assert_eq!(redis.get("api_service_status"), None);
        assert!(app.seen().iter().all(|head| head.starts_with("GET /health ")), "{:?}", app.seen());
        app.set(200, "{}");
        for run in &runs {
            run.until_status("/readyz", 200, secs(30));
            assert!(run.beside(["healthcheck"]).exits(0).stdout.starts_with("healthy"));
            let health = run.get("/healthz").json();
            assert_eq!(
                (&health["db"], &health["redis"], &health["http"], &health["status"]),
                (&"ok".into(), &"ok".into(), &"ok".into(), &"ok".into())
            );
        }
        until_key(&redis, "api_service_status", Some("ready"));
        app.set(500, "{}");
        for run in &mut runs {
            run.until_status("/readyz", 500, secs(30));
            assert!(run.runs());
            run.beside(["healthcheck", "--level", "ready"]).exits(1);
        }
        until_key(&redis, "api_service_status", None);
        app.set(200, "{}");
        until_key(&redis, "api_service_status", Some("ready"));
        for run in &mut runs {
            run.signal(15);
            run.exits(0);
        }
        assert_eq!(redis.get("api_service_status"), None);
    }
}

#[test]
fn a_worker_is_as_healthy_as_its_broker_and_does_not_pass_for_the_api() {
    for (preset, mode) in [(NEWEST, "worker"), (NEWEST, "beat"), (OLD, "worker")] {
        let (server, redis, mut broker) = (Postgres::start(), Redis::start(), Redis::with_password("broker/pw"));
        let programs = StandIns::new(&PROGRAMS);
        let url = format!("redis://:broker%2Fpw@127.0.0.1:{}/1", broker.port);
        let run = on_postgres(container(preset, &programs, mode, &redis), &server).env("CELERY_BROKER_URL", url);
        let mut run = run.env(&format!("PORTCULLIS_MODES__{}__CHECKS__BROKER__INTERVAL", mode.to_uppercase()), "100ms").start();
        run.until_status("/readyz", 200, secs(60));
        run.until_stdout("ready", secs(10));
        let pid = run.child_pid("celery");
        until_key(&redis, &format!("{mode}_service_status"), Some("ready"));
        assert_eq!(redis.get("api_service_status"), None);
        broker.stop();
        run.until_status("/readyz", 500, secs(30));
        assert_eq!(run.get("/healthz").json()["broker"], "nok");
        until_key(&redis, &format!("{mode}_service_status"), None);
        assert!(run.runs() && process::alive(pid), "the worker reconnects by itself");
        broker.launch();
        run.until_status("/readyz", 200, secs(30));
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn mysql_is_waited_for_and_holds_the_lock_of_the_migration() {
    let (server, redis) = (MariaDb::start("my'pw", &[]), Redis::start());
    for (preset, kind) in [(NEWEST, "mysql"), (NEWEST, "oceanbase"), (OLD, "mysql+pymysql")] {
        let programs = StandIns::new(&PROGRAMS);
        let configured = |run: Portcullis| {
            let run = run.env("DB_TYPE", kind).env("SQLALCHEMY_DATABASE_URI_SCHEME", kind).env("DB_HOST", "127.0.0.1");
            let run = run.env("DB_PORT", server.port.to_string()).env("DB_USERNAME", "app").env("DB_PASSWORD", "my'pw");
            run.env("DB_DATABASE", "app").env("MIGRATION_ENABLED", "true")
        };
        let plan =
            configured(container(preset, &programs, "worker", &redis)).args(["plan", "--json", "--preset", preset]).output().exits(0);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
        let order = plan["order"].to_string();
        let lock = order.split("under the lock ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let sql = format!("SELECT CONCAT('held ', IS_USED_LOCK('{lock}') IS NOT NULL)");
        let asks = format!("mariadb --no-defaults -uroot -N -B --socket={} -e \"{sql}\"", server.socket().display());
        let mut run = configured(container(preset, &programs, "worker", &redis)).env("DO_flask_upgrade_db", asks).start();
        run.until_status("/readyz", 200, secs(60));
        run.until_stdout("held 1", secs(10));
        run.until_stdout("ready", secs(10));
        run.signal(15);
        run.exits(0);
        assert_eq!(programs.calls()[0].words, ["flask", "upgrade-db"]);
    }
}
