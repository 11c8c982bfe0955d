//! A secret in every field that takes one appears nowhere, at any log level.

use crate::support::child::polite;
use crate::support::portcullis::Output;
use crate::support::postgres::percent;
use crate::support::{Http, MariaDb, Portcullis, Postgres, Redis, Running, eventually, free_port, secs};
use std::fmt::Write;

/// Every secret of the configuration holds this word.
const CANARY: &str = "canary7f3a9";

/// The ports of the servers, none of which likes the password that it is given.
struct Ports {
    http: u16,
    redis: u16,
    postgres: u16,
    mysql: u16,
    nobody: u16,
}

impl Ports {
    fn of(http: &Http, redis: &Redis, postgres: &Postgres, mysql: u16) -> Self {
        Self { http: http.port, redis: redis.port, postgres: postgres.port, mysql, nobody: free_port() }
    }
}

/// Every field that takes a secret, with one in it.
fn file(ports: &Ports, child: &str) -> String {
    let port = |name: &str, port: u16| (format!("@{name}@"), port.to_string());
    let values = [
        port("HTTP", ports.http),
        port("REDIS", ports.redis),
        port("POSTGRES", ports.postgres),
        port("MYSQL", ports.mysql),
        port("NOBODY", ports.nobody),
        ("@CANARY@".to_owned(), CANARY.to_owned()),
        ("@CHILD@".to_owned(), child.to_owned()),
    ];
    values.iter().fold(include_str!("secrets/every_secret.toml").to_owned(), |file, (name, value)| file.replace(name, value))
}

fn run(ports: &Ports) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_LOG", "trace");
    let child = run.script("child", &polite()).display().to_string();
    let token = run.file("token", &format!("{CANARY}-11\n"));
    run.file("broken.pem", &format!("-----BEGIN PRIVATE KEY-----\n{CANARY}+35\n-----END PRIVATE KEY-----\n"));
    let text = file(ports, &child);
    let url = format!("postgres://app:{}@127.0.0.1:{}/app", percent(&format!("{CANARY}-12 @/")), ports.postgres);
    run.config(&text)
        .env("DB_PASSWORD", format!("{CANARY}-13 p@ss/w?rd"))
        .env("API_KEY", format!("{CANARY}-14"))
        .env("FILE_TOKEN_FILE", token)
        .env("DATABASE_URL", url)
}

/// Another command, with the endpoint of the run and its token.
fn beside(run: &Running, args: &[&str]) -> Output {
    let other = Portcullis::new().args(args).without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    let other = other.env("PORTCULLIS_LOG", "trace").env("PORTCULLIS_HEALTH__TOKEN", format!("{CANARY}-9"));
    other.env("PORTCULLIS_HEALTH__SOCKET", format!("@{}", run.socket)).output()
}

#[track_caller]
fn clean(what: &str, text: &str) {
    let found: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(found.is_empty(), "{what} holds a secret:\n{}", found.join("\n"));
}

#[test]
fn no_secret_is_in_a_plan() {
    let (http, redis, postgres) = (Http::answering(401, CANARY), Redis::reserve(), Postgres::reserve());
    for args in [&["plan"][..], &["plan", "--json"]] {
        let plan = run(&Ports::of(&http, &redis, &postgres, free_port())).args(args).output().exits(0);
        clean("stdout", &plan.stdout);
        clean("stderr", &plan.stderr);
        for name in ["mysql", "sentinel", "several", "worker", "script", "OF_MODE", "MODULE_SECRET"] {
            assert!(plan.stdout.contains(name), "{name} is not in the plan:\n{}", plan.stdout);
        }
    }
}

/// Every path of every view, those of one check, module or group too.
fn paths(names: &[&str]) -> Vec<String> {
    let whole = [
        "/healthz",
        "/livez?verbose",
        "/readyz?verbose",
        "/startupz?verbose",
        "/metrics",
        "/status",
        "/status?verbose",
        "/",
        "/?hold",
        "/health",
        "/actuator",
        "/actuator/info",
        "/actuator/health",
        "/actuator/health/liveness",
        "/actuator/health/readiness",
        "/actuator/health/modules",
        "/actuator/health/modules/worker",
        "/nosuch",
    ];
    let of_one = names.iter().flat_map(|name| [format!("/readyz/{name}"), format!("/actuator/health/{name}")]);
    whole.map(str::to_owned).into_iter().chain(of_one).collect()
}

#[test]
fn no_secret_is_in_a_log_line_or_an_answer() {
    let (http, redis, postgres) = (Http::answering(401, CANARY), Redis::with_password("right"), Postgres::start());
    let mariadb = MariaDb::start("right", &[]);
    let ports = Ports::of(&http, &redis, &postgres, mariadb.port);
    let names = [
        "db",
        "db_interpolated",
        "db_parts",
        "db_whole",
        "redis",
        "nobody",
        "web",
        "mysql",
        "sentinel",
        "cluster",
        "tls",
        "grpc",
        "registry",
        "script",
        "several",
        "dify",
        "worker.own",
    ];
    for format in ["text", "json"] {
        let mut run = run(&ports).env("PORTCULLIS_LOG_FORMAT", format).start();
        run.until_stdout("ready", secs(20));
        run.until_status("/healthz", 500, secs(20));
        let shown = |name: &str| format!("portcullis_check_state{{check=\"{name}\",state=\"down\"}} 1");
        eventually("every check has failed", secs(40), || {
            let metrics = run.get("/metrics").body;
            names.iter().all(|name| metrics.contains(&shown(name))).then_some(())
        });
        let mut answers = String::new();
        for path in paths(&names) {
            writeln!(answers, "{path}: {:?}", run.get(&path)).unwrap();
            writeln!(answers, "{path} over the socket: {:?}", run.get_over_socket(&path)).unwrap();
            writeln!(answers, "{path} with the token: {:?}", run.ask("GET", &path, &format!("Authorization: Bearer {CANARY}-9\r\n")))
                .unwrap();
        }
        clean("an answer", &answers);
        for args in [&["healthcheck"][..], &["status"], &["status", "--json"], &["restart", "worker"], &["stop", "worker"]] {
            let output = beside(&run, args);
            clean(&format!("{args:?}"), &format!("{output:?}"));
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{args:?} says something");
        }
        let url = format!("redis://:{CANARY}-36@127.0.0.1:{}/0", ports.redis);
        for args in [&["ready", "api", "--url", &url][..], &["wait", "--timeout", "0s", &url], &["wait", "--json", "--timeout", "0s", &url]]
        {
            clean(&format!("{args:?}"), &format!("{:?}", beside(&run, args).exits(69)));
        }
        run.signal(15);
        run.exits(0);
        let (stdout, stderr) = run.streams();
        clean("stdout", &stdout);
        clean("stderr", &stderr);
        assert!(stderr.lines().count() > 3, "nothing was logged:\n{stderr}");
    }
}

#[test]
fn no_secret_is_in_what_a_reload_says() {
    let (http, redis, postgres) = (Http::answering(401, CANARY), Redis::reserve(), Postgres::reserve());
    let mut run = run(&Ports::of(&http, &redis, &postgres, free_port())).start();
    run.until_stdout("ready", secs(20));
    run.until_status("/startupz", 200, secs(20));
    let path = run.dir().join("portcullis.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    // The reports about a check, a module, a change that is not possible, and an error; each once with another secret in its place.
    for (old, new, code) in [
        ("-20@", "-40@", 0),
        ("-29", "-41", 0),
        ("-8@", "-42@", 79),
        ("-34", "-43", 79),
        ("-10", "-44", 79),
        ("url = \"mysql://", "url = \"nosuch://", 78),
    ] {
        let (old, new) = (old.replace('-', &format!("{CANARY}-")), new.replace('-', &format!("{CANARY}-")));
        assert!(written.contains(&old), "{old}");
        std::fs::write(&path, written.replace(&old, &new)).unwrap();
        let output = beside(&run, &["reload"]).exits(code);
        clean("reload", &format!("{output:?}"));
        std::fs::write(&path, &written).unwrap();
        if code == 0 {
            clean("reload", &format!("{:?}", beside(&run, &["reload"]).exits(0)));
        }
    }
    run.signal(15);
    run.exits(0);
    clean("stderr", &run.streams().1);
}

#[test]
fn no_secret_is_in_a_message_about_a_wrong_configuration() {
    for wrong in [
        format!("[checks.db]\nurl = \"postgres://app:{CANARY}@db:notaport/app\"\n"),
        format!("[checks.db]\nurl = \"nosuch://app:{CANARY}@db/app\"\n"),
        format!("[checks.db]\nurl = \"postgres://app:{CANARY}@db/app\"\npasword = \"{CANARY}\"\n"),
        format!("[health]\ntoken = [\"{CANARY}\"]\n"),
        format!("[health]\ntoken = \"{CANARY}\"\" # broken\n"),
    ] {
        let output = Portcullis::new().config(&wrong).env("PORTCULLIS_LOG", "trace").output().exits(78);
        clean("stderr", &output.stderr);
        clean("stdout", &output.stdout);
    }
    // A secret variable where no secret belongs is masked wherever that field is shown.
    let odd = [
        "[process]\nuser = \"${DB_PASSWORD}\"",
        "[process]\nworking_directory = \"/${DB_PASSWORD}\"",
        "[process]\nstop_signal = \"${DB_PASSWORD}\"",
        "[process]\numask = \"${DB_PASSWORD}\"",
        "[process]\nlimits = { nofile = \"${DB_PASSWORD}\" }",
        "[process]\nrewrite = { TERM = \"${DB_PASSWORD}\" }",
        "[process]\nstop_timeout = \"${DB_PASSWORD}\"",
        "[process]\nrestart = \"${DB_PASSWORD}\"",
        "[checks.web]\nurl = \"http://127.0.0.1:1/\"\nmethod = \"${DB_PASSWORD}\"\nwait = \"0s\"",
        "[checks.web]\nurl = \"http://127.0.0.1:1/\"\nexpect = { body = \"${DB_PASSWORD}\" }\nwait = \"100ms\"",
        "[checks.web]\nurl = \"https://127.0.0.1:1/\"\nca = \"/${DB_PASSWORD}\"\nwait = \"100ms\"",
        "[checks.file]\nurl = \"file:///${DB_PASSWORD}\"\nwait = \"100ms\"",
        "[health]\nlisten = \"${DB_PASSWORD}\"",
        "[health]\nsocket = \"/nosuch/${DB_PASSWORD}\"",
        "[migrations]\nenabled = true\nlock = \"${DB_PASSWORD}\"\ncommand = [\"true\"]",
        "[migrations]\nenabled = true\nlock = \"none\"\ncommand = [\"/nosuch/${DB_PASSWORD}\"]",
        "[migrations]\nenabled = true\nlock = \"none\"\ncommand = [\"sh\", \"-c\", \"exit 3\", \"${DB_PASSWORD}\"]",
        "[modules.one]\ncommand = [\"/nosuch/${DB_PASSWORD}\"]\non_exit = \"stop-all\"",
    ];
    let mut reported = String::new();
    for odd in odd {
        let modes = "mode = \"api\"\n[modes.api]\ncommand = [\"/nosuch/${DB_PASSWORD}\"]\n";
        for args in [&["run"][..], &["plan"], &["plan", "--json"]] {
            let run = Portcullis::new().config(&format!("{modes}{odd}\n")).env("DB_PASSWORD", CANARY).env("PORTCULLIS_LOG", "trace");
            let own = [("listen", "PORTCULLIS_HEALTH__LISTEN"), ("socket", "PORTCULLIS_HEALTH__SOCKET")];
            let own = own.into_iter().find(|(key, _)| odd.starts_with(&format!("[health]\n{key}")));
            let run = own.into_iter().fold(run, |run, (_, variable)| run.without(variable));
            let output = run.args(args).output();
            let _ = writeln!(reported, "{}{}", output.stdout, output.stderr);
        }
    }
    clean("a run or a plan", &reported);
}

#[test]
fn the_child_gets_what_is_hidden_from_everybody_else() {
    let config = "mode = \"api\"\n[env]\nGIVEN = \"${DB_PASSWORD}\"\n[modes.api]\ncommand = [\"sh\", \"-c\", \"echo $$GIVEN $$1\", \"sh\", \"${DB_PASSWORD}\"]\n";
    let run = Portcullis::new().config(config).env("DB_PASSWORD", CANARY).env("PORTCULLIS_LOG", "trace");
    let output = run.output().exits(0);
    assert_eq!(output.stdout, format!("{CANARY} {CANARY}\n"));
    clean("stderr", &output.stderr);
}
