//! Each preset as in a container, with stand-ins for its programs; and as the base of a file.

use crate::support::child::polite;
use crate::support::{Certificates, Http, MariaDb, Portcullis, Postgres, Proxy, Redis, StandIns, eventually, own_address, secs};

/// Its preset, its variables, its arguments, the files and programs in its directory, and the resulting calls (a check runs before its
/// lock and under it); `PORT` stands for the port that answers.
struct Row {
    preset: &'static str,
    variables: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    files: &'static [&'static str],
    calls: &'static [&'static str],
}

const NONE: Row = Row { preset: "", variables: &[], arguments: &[], files: &[], calls: &[] };

const ROWS: &[Row] = &[
    Row {
        preset: "celery",
        variables: &[("CELERY_APP", "app.celery"), ("CELERY_CONCURRENCY", "3")],
        arguments: &["-E"],
        calls: &["celery -A app.celery worker --loglevel INFO --concurrency 3 -E"],
        ..NONE
    },
    Row {
        preset: "celery",
        variables: &[("MODE", "beat"), ("CELERY_APP", "app.celery"), ("LOG_LEVEL", "DEBUG"), ("CELERY_OPTIONS", "-s /tmp/x")],
        files: &["celerybeat.pid"],
        calls: &["celery -A app.celery beat --loglevel DEBUG -s /tmp/x"],
        ..NONE
    },
    Row {
        preset: "celery",
        variables: &[("MODE", "flower"), ("CELERY_APP", "app.celery")],
        calls: &["celery -A app.celery inspect ping", "celery -A app.celery flower"],
        ..NONE
    },
    Row {
        preset: "django",
        variables: &[("DJANGO_PROJECT", "site"), ("WEB_CONCURRENCY", "2"), ("MIGRATION_ENABLED", "true")],
        arguments: &["--preload"],
        calls: &[
            "python manage.py migrate --check",
            "python manage.py migrate --check",
            "python manage.py migrate --noinput",
            "gunicorn --bind 0.0.0.0:PORT --workers 2 site.wsgi:application --preload",
        ],
        ..NONE
    },
    Row {
        preset: "django",
        variables: &[
            ("DJANGO_PROJECT", "site"),
            ("WEB_CONCURRENCY", "2"),
            ("COLLECTSTATIC", "yes"),
            ("COMPRESS_ENABLED", "True"),
            ("DJANGO_SUPERUSER_USERNAME", "admin"),
        ],
        arguments: &["/start"],
        calls: &[
            "python manage.py collectstatic --noinput",
            "python manage.py compress",
            "python manage.py createsuperuser --noinput",
            "gunicorn --bind 0.0.0.0:PORT --workers 2 site.wsgi:application",
        ],
        ..NONE
    },
    Row {
        preset: "django",
        variables: &[("DJANGO_PROJECT", "site"), ("MODE", "worker"), ("MIGRATION_ENABLED", "true"), ("CELERY_CONCURRENCY", "2")],
        calls: &["celery -A site worker --concurrency 2"],
        ..NONE
    },
    Row {
        preset: "django",
        variables: &[("DJANGO_PROJECT", "site"), ("COLLECTSTATIC", "true")],
        arguments: &["/start-celerybeat"],
        files: &["celerybeat.pid"],
        calls: &["celery -A site beat"],
    },
    Row {
        preset: "django",
        variables: &[("DJANGO_PROJECT", "site"), ("CELERY_FLOWER_USER", "a"), ("CELERY_FLOWER_PASSWORD", "b c")],
        arguments: &["/start-flower"],
        calls: &["celery -A site inspect ping", "celery -A site -b  flower --basic_auth=a:b c"],
        ..NONE
    },
    Row {
        preset: "gunicorn",
        variables: &[
            ("GUNICORN_APP", "app:app"),
            ("WEB_CONCURRENCY", "2"),
            ("GUNICORN_OPTIONS", "-k gevent"),
            ("MIGRATION_ENABLED", "true"),
        ],
        calls: &["flask db upgrade", "gunicorn --bind 0.0.0.0:PORT --workers 2 --timeout 200 -k gevent app:app"],
        ..NONE
    },
    Row {
        preset: "gunicorn",
        variables: &[("GUNICORN_APP", "app:app"), ("WEB_CONCURRENCY", "2"), ("MIGRATION_ENABLED", "true")],
        files: &["alembic.ini", "prestart.sh"],
        calls: &["alembic upgrade head", "sh prestart.sh", "gunicorn --bind 0.0.0.0:PORT --workers 2 --timeout 200 app:app"],
        ..NONE
    },
    Row {
        preset: "laravel",
        variables: &[("AUTORUN_ENABLED", "true")],
        calls: &[
            "php /var/www/html/artisan storage:link",
            "php /var/www/html/artisan config:clear",
            "php /var/www/html/artisan migrate --force",
            "php /var/www/html/artisan optimize",
            "php-fpm",
        ],
        ..NONE
    },
    Row {
        preset: "laravel",
        variables: &[("MIGRATION_ENABLED", "true"), ("APP_BASE_DIR", "/srv")],
        calls: &["php /srv/artisan migrate --force", "php-fpm"],
        ..NONE
    },
    Row { preset: "laravel", variables: &[("MODE", "worker")], calls: &["php /var/www/html/artisan queue:work --tries=3"], ..NONE },
    Row { preset: "laravel", arguments: &["php", "artisan", "schedule:work"], calls: &["php artisan schedule:work"], ..NONE },
    Row {
        preset: "node",
        variables: &[("MIGRATION_ENABLED", "true")],
        arguments: &["--verbose"],
        calls: &["npm run migrate", "node server.js --verbose"],
        ..NONE
    },
    Row {
        preset: "node",
        variables: &[("MIGRATION_ENABLED", "true")],
        files: &["prisma/schema.prisma", "node_modules/.bin/prisma"],
        calls: &["prisma migrate deploy", "node server.js"],
        ..NONE
    },
    Row {
        preset: "node",
        variables: &[("MODE", "worker"), ("WORKER_ENTRY", "jobs.js"), ("NODE_ARGS", "--max-old-space-size=64")],
        calls: &["node --max-old-space-size=64 jobs.js"],
        ..NONE
    },
    Row {
        preset: "rails",
        files: &["bin/rails"],
        calls: &[
            "rails db:abort_if_pending_migrations",
            "rails db:abort_if_pending_migrations",
            "rails db:prepare",
            "rails server --binding 0.0.0.0",
        ],
        ..NONE
    },
    Row {
        preset: "rails",
        variables: &[("MIGRATION_ENABLED", "false")],
        files: &["bin/rails", "bin/thrust"],
        calls: &["thrust ./bin/rails server --binding 0.0.0.0"],
        ..NONE
    },
    Row {
        preset: "rails",
        arguments: &["./bin/thrust", "./bin/rails", "server"],
        files: &["bin/rails", "bin/thrust"],
        calls: &[
            "rails db:abort_if_pending_migrations",
            "rails db:abort_if_pending_migrations",
            "rails db:prepare",
            "thrust ./bin/rails server",
        ],
        ..NONE
    },
    Row { preset: "rails", variables: &[("MODE", "worker"), ("SIDEKIQ_OPTIONS", "-c 5")], calls: &["bundle exec sidekiq -c 5"], ..NONE },
    Row { preset: "rails", variables: &[("MODE", "worker")], files: &["bin/jobs"], calls: &["jobs"], ..NONE },
    Row {
        preset: "ragflow",
        arguments: &["--init-superuser", "--enable-adminserver", "--host-id=one"],
        calls: &[
            "python3 -c from api.db.db_models import init_database_tables as init_web_db; init_web_db()",
            "nginx",
            "python3 admin/server/admin_server.py",
            "python3 api/ragflow_server.py --init-superuser",
            "python3 rag/svr/sync_data_source.py",
            "python3 rag/svr/task_executor.py -i one_0 -t common",
        ],
        ..NONE
    },
    Row {
        preset: "ragflow",
        arguments: &["--disable-webserver", "--consumer-no-beg=4", "--consumer-no-end=6", "--host-id=one"],
        calls: &[
            "python3 -c from api.db.db_models import init_database_tables as init_web_db; init_web_db()",
            "python3 rag/svr/sync_data_source.py",
            "python3 rag/svr/task_executor.py -i one_4 -t common",
            "python3 rag/svr/task_executor.py -i one_5 -t common",
        ],
        ..NONE
    },
    Row { preset: "dify", variables: &[("MODE", "job")], arguments: &["create-tenant"], calls: &["flask create-tenant"], ..NONE },
    Row { preset: "dify@0.15.3", variables: &[("MODE", "beat")], calls: &["celery -A app.celery beat --loglevel INFO"], ..NONE },
];

const PROGRAMS: [&str; 17] = [
    "alembic", "bundle", "celery", "flask", "gunicorn", "jobs", "nginx", "node", "npm", "php", "php-fpm", "prisma", "python", "python3",
    "rails", "sh", "thrust",
];

/// What checks whether there is work, and what is over once it is done, by words of its call; everything else stays.
const ASKS: [&str; 2] = ["--check", "abort_if"];
const ONCE: [&str; 14] = [
    "migrate",
    "db upgrade",
    "upgrade head",
    "-c from",
    "create-tenant",
    "db:prepare",
    "storage:link",
    "config:clear",
    "optimize",
    "collectstatic",
    "compress",
    "createsuperuser",
    "inspect ping",
    "prestart.sh",
];

/// Programs keep running, except those that migrate, check or are run by hand; a check reports that there is work.
fn does() -> String {
    let case = |words: &[&str], code: u8| {
        let patterns: Vec<String> = words.iter().map(|words| format!("*\"{words}\"*")).collect();
        format!("{}) exit {code} ;; ", patterns.join("|"))
    };
    format!("case \"$*\" in {}{}esac\ntrap 'exit 0' 3\n{}", case(&ASKS, 1), case(&ONCE, 0), polite())
}

#[test]
fn every_preset_runs_its_programs() {
    for Row { preset, variables, arguments, files, calls } in ROWS {
        let app = Http::answering(200, "{\"status\": \"green\"}");
        let programs = StandIns::new(&PROGRAMS);
        let here = format!("127.0.0.1:{}", app.port);
        let mut run = programs.run_beside_others(preset, arguments).env("PORT", app.port.to_string());
        for name in *files {
            let path = run.dir().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match name.rsplit_once("bin/") {
                Some((_, program)) => std::os::unix::fs::symlink(programs.path().join(program), path).unwrap(),
                None => std::fs::write(path, "").unwrap(),
            }
        }
        for program in PROGRAMS {
            run = run.env(&format!("DO_{}", program.replace('-', "_")), does());
        }
        // The dependencies that these presets name by default.
        let named: &[&str] = match *preset {
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
        if *preset == "ragflow" {
            run = outside_its_image(run, &here);
        }
        if *preset == "ragflow" || variables.contains(&("MIGRATION_ENABLED", "true")) {
            run = run.env("PORTCULLIS_MIGRATIONS__LOCK", "none");
        }
        for (name, value) in *variables {
            run = run.env(name, *value);
        }
        let mut run = run.start();
        if *calls == ["flask create-tenant"] {
            run.exits(0);
        } else {
            run.until_status("/readyz", 200, secs(60));
            run.until_stdout("ready", secs(20));
            // Each has to have set its traps.
            let stay = calls.iter().filter(|call| !ASKS.iter().chain(&ONCE).any(|word| call.contains(word)));
            let stay = stay.count();
            eventually("its modules are there, too", secs(20), || (run.streams().0.matches("ready").count() >= stay).then_some(()));
            run.signal(15);
            // `sleep` stands beside modules alone, and takes no signal.
            run.exits(if arguments.contains(&"--disable-webserver") { 143 } else { 0 });
        }
        let mut made: Vec<String> =
            programs.calls().iter().map(|call| call.words.join(" ").replace(&app.port.to_string(), "PORT")).collect();
        // Behind the migration the server and the modules say in any order that they run.
        if let Some(running) = made.get_mut(1..).filter(|_| *preset == "ragflow") {
            running.sort();
        }
        assert_eq!(made, *calls, "{preset} {variables:?} {arguments:?}");
        assert!(!run.dir().join("celerybeat.pid").exists(), "the mark of a beat that was stopped is taken away");
    }
}

/// RAGFlow's preset where the files of its image are not, and its server answers elsewhere.
fn outside_its_image(run: Portcullis, server: &str) -> Portcullis {
    let run = run.env("PORTCULLIS_FILES", "[]").env("PORTCULLIS_MODULES__NGINX__COMMAND", "[\"nginx\"]");
    run.env("PORTCULLIS_MODES__SERVER__STARTED__URL", format!("tcp://{server}"))
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
    let programs = StandIns::new(&["nginx", "python3"]);
    let mut run = outside_its_image(programs.run_beside_others("ragflow", &[]), &format!("127.0.0.1:{}", app.port));
    let tell = "case \"$*\" in \"-c from\"*) echo tables; exit 0 ;; esac\n".to_owned() + &polite();
    for name in ["MYSQL_HOST", "REDIS_HOST", "ES_HOST", "MINIO_HOST"] {
        run = run.env(name, here.to_string());
    }
    for name in ["DB", "REDIS", "DOC_ENGINE", "STORAGE"] {
        run = run.env(&format!("PORTCULLIS_CHECKS__{name}__INTERVAL"), "200ms").env(&format!("PORTCULLIS_CHECKS__{name}__TIMEOUT"), "1s");
    }
    run = run.env("DO_python3", tell).env("DO_nginx", polite());
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
    assert_eq!(alone, ["celery", "dify", "django", "gunicorn", "laravel", "node", "ragflow", "rails"]);
    let versions: Vec<&str> = names.iter().copied().filter(|name| name.starts_with("dify@")).collect();
    assert!(names.len() == alone.len() + versions.len() && versions.contains(&"dify@0.6.16"), "{names:?}");
    for name in names {
        let text = Portcullis::new().args(["preset", name]).output().exits(0).stdout;
        let plan = |run: Portcullis, more: &[&str]| {
            let run = run.env("GUNICORN_APP", "a:a").env("CELERY_APP", "a").env("DJANGO_PROJECT", "a").env("PORTCULLIS_INSTANCE_ID", "one");
            let here = run.dir().display().to_string();
            let run = run.without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
            run.args(["plan", "--json"].iter().chain(more)).output().exits(0).stdout.replace(&here, "")
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
