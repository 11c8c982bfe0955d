//! Each preset as in a container, with stand-ins for its programs; and as the base of a file.

use crate::support::child::polite;
use crate::support::{Certificates, Http, MariaDb, Portcullis, Postgres, Proxy, Redis, StandIns, eventually, own_address, secs};

/// Its preset, its variables, its arguments, and the resulting calls (a check runs before its lock and under it); `PORT` stands for the
/// port that answers.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

const ROWS: [Row; 13] = [
    (
        "celery",
        &[("CELERY_APP", "app.celery"), ("CELERY_CONCURRENCY", "3")],
        &["-E"],
        &["celery -A app.celery worker --loglevel INFO --concurrency 3 -E"],
    ),
    (
        "celery",
        &[("MODE", "beat"), ("CELERY_APP", "app.celery"), ("LOG_LEVEL", "DEBUG"), ("CELERY_OPTIONS", "-s /tmp/x")],
        &[],
        &["celery -A app.celery beat --loglevel DEBUG -s /tmp/x"],
    ),
    (
        "django",
        &[("DJANGO_PROJECT", "site"), ("WEB_CONCURRENCY", "2"), ("MIGRATION_ENABLED", "true")],
        &["--preload"],
        &[
            "python manage.py migrate --check",
            "python manage.py migrate --check",
            "python manage.py migrate --noinput",
            "gunicorn --bind 0.0.0.0:PORT --workers 2 site.wsgi:application --preload",
        ],
    ),
    ("django", &[("DJANGO_PROJECT", "site"), ("MODE", "worker"), ("MIGRATION_ENABLED", "true")], &[], &["celery -A site worker"]),
    (
        "gunicorn",
        &[("GUNICORN_APP", "app:app"), ("WEB_CONCURRENCY", "2"), ("GUNICORN_OPTIONS", "-k gevent"), ("MIGRATION_ENABLED", "true")],
        &[],
        &["flask db upgrade", "gunicorn --bind 0.0.0.0:PORT --workers 2 --timeout 200 -k gevent app:app"],
    ),
    ("node", &[("MIGRATION_ENABLED", "true")], &["--verbose"], &["npm run migrate", "node server.js --verbose"]),
    (
        "node",
        &[("MODE", "worker"), ("WORKER_ENTRY", "jobs.js"), ("NODE_ARGS", "--max-old-space-size=64")],
        &[],
        &["node --max-old-space-size=64 jobs.js"],
    ),
    (
        "rails",
        &[("MIGRATION_ENABLED", "true")],
        &[],
        &[
            "bundle exec rails db:abort_if_pending_migrations",
            "bundle exec rails db:abort_if_pending_migrations",
            "bundle exec rails db:migrate",
            "bundle exec puma --bind tcp://0.0.0.0:PORT",
        ],
    ),
    ("rails", &[("MODE", "worker"), ("SIDEKIQ_OPTIONS", "-c 5")], &[], &["bundle exec sidekiq -c 5"]),
    (
        "ragflow",
        &[("WS", "2"), ("HOSTNAME", "one")],
        &["--init-superuser"],
        &[
            "python3 -c from api.db.db_models import init_database_tables; init_database_tables()",
            "python3 api/ragflow_server.py --init-superuser",
            "python3 rag/svr/sync_data_source.py",
            "python3 rag/svr/task_executor.py -i one_0 -t common",
            "python3 rag/svr/task_executor.py -i one_1 -t common",
        ],
    ),
    ("ragflow", &[("MODE", "executor"), ("HOSTNAME", "one")], &[], &["python3 rag/svr/task_executor.py -i one_0 -t common"]),
    ("dify", &[("MODE", "job")], &["create-tenant"], &["flask create-tenant"]),
    ("dify@0.15.3", &[("MODE", "beat")], &[], &["celery -A app.celery beat --loglevel INFO"]),
];

/// Programs keep running, except those that migrate, check or are run by hand; a check reports that there is work.
const DO: &str = r#"case "$*" in *--check|*abort_if*) exit 1 ;; *migrate*|"db upgrade"|"-c from"*|create-tenant) exit 0 ;; esac
"#;

#[test]
fn every_preset_runs_its_programs() {
    for (preset, variables, arguments, calls) in ROWS {
        let app = Http::answering(200, "{\"status\": \"green\"}");
        let programs = StandIns::new(&["bundle", "celery", "flask", "gunicorn", "node", "npm", "python", "python3"]);
        let here = format!("127.0.0.1:{}", app.port);
        let mut run = programs.run_beside_others(preset, arguments).env("PORT", app.port.to_string());
        for program in ["bundle", "celery", "flask", "gunicorn", "node", "npm", "python", "python3"] {
            run = run.env(&format!("DO_{program}"), format!("{DO}{}", polite()));
        }
        // The dependencies that these presets name by default.
        let named: &[&str] = match preset {
            "ragflow" => &["DB", "REDIS", "DOC_ENGINE", "STORAGE"],
            "dify" | "dify@0.15.3" => &["DB", "REDIS"],
            _ => &[],
        };
        for name in named {
            let scheme = if ["DB", "REDIS"].contains(name) { "tcp" } else { "http" };
            run = run.env(&format!("PORTCULLIS_CHECKS__{name}"), format!("{{ url = \"{scheme}://{here}\", variants = [] }}"));
        }
        if !named.is_empty() {
            run = run.env("PORTCULLIS_HEARTBEAT__ENABLED", "false");
        }
        if preset == "ragflow" {
            run = run.env("PORTCULLIS_MODES__SERVER__STARTED__URL", format!("tcp://{here}"));
        }
        if preset == "ragflow" || variables.contains(&("MIGRATION_ENABLED", "true")) {
            run = run.env("PORTCULLIS_MIGRATIONS__LOCK", "none");
        }
        for (name, value) in variables {
            run = run.env(name, *value);
        }
        let mut run = run.start();
        if calls == ["flask create-tenant"] {
            run.exits(0);
        } else {
            run.until_status("/readyz", 200, secs(60));
            run.until_stdout("ready", secs(20));
            // Each has to have set its traps.
            let stay = calls
                .iter()
                .filter(|call| !["--check", "abort_if", "migrate", "db upgrade", "-c from"].iter().any(|word| call.contains(word)));
            let stay = stay.count();
            eventually("its modules are there, too", secs(20), || (run.said().0.matches("ready").count() >= stay).then_some(()));
            run.signal(15);
            run.exits(0);
        }
        let mut made: Vec<String> =
            programs.calls().iter().map(|call| call.words.join(" ").replace(&app.port.to_string(), "PORT")).collect();
        // Behind the migration the server and the modules say in any order that they run.
        if let Some(running) = made.get_mut(1..).filter(|_| preset == "ragflow") {
            running.sort();
        }
        assert_eq!(made, calls, "{preset} {variables:?}");
    }
}

/// What hosted databases and the libraries of these languages put into the URL is no reason to stop.
#[test]
fn presets_take_the_url_of_a_hosted_database() {
    let certificates = Certificates::make();
    let mut server = Postgres::reserve();
    server.certificate(&certificates, "server");
    server.access("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    server.launch();
    server.until_up();
    for (preset, program) in [("node", "node"), ("django", "gunicorn")] {
        for parameter in
            ["ssl=true", "sslmode=no-verify", "sslaccept=accept_invalid_certs", "sslmode=require&pgbouncer=true&connection_limit=1"]
        {
            let app = Http::answering(200, "");
            let programs = StandIns::new(&[program]);
            let run = programs.run_beside_others(preset, &[]).env("PORT", app.port.to_string()).env("DJANGO_PROJECT", "site");
            let run = run.env(&format!("DO_{program}"), polite()).env("DATABASE_URL", format!("{}?{parameter}", server.url()));
            let mut run = run.start();
            run.until_status("/readyz", 200, secs(60));
            assert_eq!(run.get("/healthz").json()["status"], "ok", "{preset} {parameter}");
            run.until_stdout("ready", secs(20));
            run.signal(15);
            run.exits(0);
        }
    }
}

/// RAGFlow's preset as it stands: the logins, databases, paths and ports that its own services have, and its lock and its heartbeat.
#[test]
fn ragflow_waits_for_its_own_servers_migrates_under_its_lock_and_beats() {
    let (mariadb, redis) = (MariaDb::start("infini_rag_flow", &[]), Redis::with_password("infini_rag_flow"));
    mariadb.sql(
        "CREATE DATABASE rag_flow; CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY 'infini_rag_flow'; GRANT ALL ON *.* TO root@'127.0.0.1'; \
         ALTER USER root@localhost IDENTIFIED BY 'infini_rag_flow'",
    );
    let (search, store) = (Http::answering(200, "{\"status\": \"yellow\"}"), Http::answering(200, ""));
    let here = own_address();
    let servers = [(3306, mariadb.port), (6379, redis.port), (9200, search.port), (9000, store.port)];
    let doors: Vec<_> = servers.into_iter().map(|(port, server)| Proxy::at((here, port), server)).collect();
    let app = Http::answering(200, "");
    let programs = StandIns::new(&["python3"]);
    let mut run =
        programs.run_beside_others("ragflow", &[]).env("PORTCULLIS_MODES__SERVER__STARTED__URL", format!("tcp://127.0.0.1:{}", app.port));
    let tell = "case \"$*\" in \"-c from\"*) echo tables; exit 0 ;; esac\n".to_owned() + &polite();
    for name in ["MYSQL_HOST", "REDIS_HOST", "ES_HOST", "MINIO_HOST"] {
        run = run.env(name, here.to_string());
    }
    for name in ["DB", "REDIS", "DOC_ENGINE", "STORAGE"] {
        run = run.env(&format!("PORTCULLIS_CHECKS__{name}__INTERVAL"), "200ms").env(&format!("PORTCULLIS_CHECKS__{name}__TIMEOUT"), "1s");
    }
    run = run.env("DO_python3", tell).env("HOSTNAME", "one");
    let mut run = run.start();
    run.until_status("/healthz", 200, secs(60));
    let reported = run.get("/v1/system/healthz").json();
    let keys: Vec<&String> = reported.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["db", "redis", "doc_engine", "storage", "status"]);
    assert!(reported.as_object().unwrap().values().all(|value| value == "ok"), "{reported}");
    run.until_stdout("tables", secs(20));
    let requested: String = search.seen().concat();
    assert!(requested.contains("GET /_cluster/health ") && requested.to_lowercase().contains("authorization: basic "), "{requested}");
    assert!(store.seen().concat().contains("GET /minio/health/live "), "{:?}", store.seen());
    // In the database that RAGFlow uses, which is number 1.
    let key = |number: &str| {
        let words = ["-p", &redis.port.to_string(), "-a", "infini_rag_flow", "-n", number, "GET", "server_service_status"];
        let output = std::process::Command::new("redis-cli").args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    eventually("it beats", secs(20), || (key("1") == "ready").then_some(()));
    assert_eq!(key("0"), "");
    // Each of the four is missed under its name when its door is shut, and found again when that opens.
    search.set(200, "{\"status\": \"red\"}");
    store.set(503, "");
    doors[..2].iter().for_each(Proxy::freeze);
    eventually("all four are missed", secs(60), || {
        let reported = run.get("/healthz").json();
        ["db", "redis", "doc_engine", "storage"].iter().all(|name| reported[*name] == "nok").then_some(())
    });
    assert_eq!(run.get("/readyz").code, 200, "health, not readiness");
    search.set(200, "{\"status\": \"green\"}");
    store.set(200, "");
    doors.iter().for_each(Proxy::thaw);
    run.until_status("/healthz", 200, secs(60));
    run.signal(15);
    run.exits(0);
    assert_eq!(key("1"), "");
}

#[test]
fn a_preset_is_listed_in_a_line_and_means_the_same_as_a_file() {
    let list = Portcullis::new().args(["preset"]).output().exits(0).stdout;
    let names: Vec<&str> = list.lines().map(|line| line.split_once("  ").expect("a name and a line").0.trim()).collect();
    let alone: Vec<&str> = names.iter().copied().filter(|name| !name.contains('@')).collect();
    assert_eq!(alone, ["celery", "dify", "django", "gunicorn", "node", "ragflow", "rails"]);
    let versions: Vec<&str> = names.iter().copied().filter(|name| name.starts_with("dify@")).collect();
    assert!(names.len() == alone.len() + versions.len() && versions.contains(&"dify@0.6.16"), "{names:?}");
    for name in names {
        let text = Portcullis::new().args(["preset", name]).output().exits(0).stdout;
        let plan = |run: Portcullis, more: &[&str]| {
            let run = run.env("GUNICORN_APP", "a:a").env("CELERY_APP", "a").env("DJANGO_PROJECT", "a").env("PORTCULLIS_INSTANCE_ID", "one");
            run.without("PORTCULLIS_HEALTH__LISTEN")
                .without("PORTCULLIS_HEALTH__SOCKET")
                .args(["plan", "--json"].iter().chain(more))
                .output()
                .exits(0)
                .stdout
        };
        // Where each value comes from differs, and nothing else.
        let plan = |run: Portcullis, more: &[&str]| {
            let mut plan: serde_json::Value = serde_json::from_str(&plan(run, more)).unwrap();
            plan.as_object_mut().unwrap().remove("origins");
            plan
        };
        assert_eq!(plan(Portcullis::new().config(&text), &[]), plan(Portcullis::new(), &["--preset", name]), "{name}");
    }
    Portcullis::new().args(["preset", "gunicon"]).output().exits(64).says(&["did you mean `gunicorn`?"]);
    let of = |name: &str| Portcullis::new().args(["preset", name]).output().exits(0).stdout;
    assert_eq!(of("dify@1.9.1"), of("dify@1.9.0"), "the nearest one at or below");
    Portcullis::new().args(["preset", "dify@0.6.15"]).output().exits(64).says(&["the first one is `dify@0.6.16`"]);
}
