//! A secret in every field that takes one appears nowhere, at any log level.

use crate::support::child::polite;
use crate::support::postgres::percent;
use crate::support::{Http, Portcullis, Postgres, Redis, eventually, secs};
use std::fmt::Write;

/// Every secret of the configuration holds this word.
const CANARY: &str = "canary7f3a9";

fn file(port_of_nobody: u16, http: &Http, redis: &Redis, postgres: &Postgres, child: &str) -> String {
    let (http, redis, postgres) = (http.port, redis.port, postgres.port);
    format!(
        r#"
service = "api"
mode = "api"
[checks.db]
url = "postgres://app:{CANARY}-1@127.0.0.1:{postgres}/app"
wait = "0s"
interval = "200ms"
[checks.db_interpolated]
url = "postgres://app:${{DB_PASSWORD}}@127.0.0.1:{postgres}/app"
wait = "0s"
interval = "200ms"
[checks.db_parts]
kind = "postgres"
host = "127.0.0.1"
port = {postgres}
user = "app"
password = "{CANARY}-2"
database = "app"
wait = "0s"
interval = "200ms"
[checks.db_whole]
url = "${{DATABASE_URL}}"
wait = "0s"
[checks.redis]
url = "redis://:{CANARY}-3@127.0.0.1:{redis}/0"
wait = "0s"
interval = "200ms"
[checks.nobody]
url = "redis://user:{CANARY}-4@127.0.0.1:{port_of_nobody}/0"
wait = "0s"
[checks.web]
url = "http://user:{CANARY}-5@127.0.0.1:{http}/path?api_key={CANARY}-6"
headers = {{ Authorization = "Bearer {CANARY}-7", X-Api-Key = "${{API_KEY}}" }}
wait = "0s"
interval = "200ms"
[heartbeat]
url = "redis://:{CANARY}-8@127.0.0.1:{redis}/0"
every = "1s"
ttl = "3s"
[health]
token = "{CANARY}-9"
[env]
APP_SECRET = "{CANARY}-10"
APP_DSN = "postgres://app:${{DB_PASSWORD}}@db/app"
[modes.api]
command = ["{child}", "--password=${{DB_PASSWORD}}", "--token", "${{FILE_TOKEN}}", "--dsn", "${{DATABASE_URL}}", "--key", "${{API_KEY}}"]
"#
    )
}

fn run(http: &Http, redis: &Redis, postgres: &Postgres) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_LOG", "trace");
    let child = run.script("child", &polite()).display().to_string();
    let token = run.file("token", &format!("{CANARY}-11\n"));
    let text = file(crate::support::free_port(), http, redis, postgres, &child);
    let url = format!("postgres://app:{}@127.0.0.1:{}/app", percent(&format!("{CANARY}-12 @/")), postgres.port);
    run.config(&text)
        .env("DB_PASSWORD", format!("{CANARY}-13 p@ss/w?rd"))
        .env("API_KEY", format!("{CANARY}-14"))
        .env("FILE_TOKEN_FILE", token)
        .env("DATABASE_URL", url)
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
        let plan = run(&http, &redis, &postgres).args(args).output().exits(0);
        clean("stdout", &plan.stdout);
        clean("stderr", &plan.stderr);
    }
}

#[test]
fn no_secret_is_in_a_log_line_or_an_answer() {
    let (http, redis, postgres) = (Http::answering(401, CANARY), Redis::with_password("right"), Postgres::start());
    for format in ["text", "json"] {
        let mut run = run(&http, &redis, &postgres).env("PORTCULLIS_LOG_FORMAT", format).start();
        run.until_stdout("ready", secs(20));
        run.until_status("/healthz", 500, secs(20));
        eventually("the checks have failed", secs(20), || {
            let metrics = run.get("/metrics").body;
            (metrics.matches("state=\"down\"} 1").count() >= 4).then_some(())
        });
        let mut answers = String::new();
        let names = ["db", "db_interpolated", "db_parts", "redis", "nobody", "web"];
        let paths = ["/healthz", "/livez?verbose", "/readyz?verbose", "/startupz?verbose", "/metrics", "/status", "/", "/actuator/health"];
        for path in paths.into_iter().map(str::to_owned).chain(names.into_iter().map(|name| format!("/readyz/{name}"))) {
            writeln!(answers, "{path}: {:?}", run.get(&path)).unwrap();
            writeln!(answers, "{path} over the socket: {:?}", run.get_over_socket(&path)).unwrap();
            writeln!(answers, "{path} with the token: {:?}", run.ask("GET", &path, &format!("Authorization: Bearer {CANARY}-9\r\n")))
                .unwrap();
        }
        clean("an answer", &answers);
        clean("healthcheck", &format!("{:?}", run.beside(["healthcheck"])));
        run.signal(15);
        run.exits(0);
        let (stdout, stderr) = run.said();
        clean("stdout", &stdout);
        clean("stderr", &stderr);
        assert!(stderr.lines().count() > 3, "nothing was logged:\n{stderr}");
    }
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
}

#[test]
fn the_child_gets_what_is_hidden_from_everybody_else() {
    let config = "mode = \"api\"\n[env]\nGIVEN = \"${DB_PASSWORD}\"\n[modes.api]\ncommand = [\"sh\", \"-c\", \"echo $$GIVEN $$1\", \"sh\", \"${DB_PASSWORD}\"]\n";
    let run = Portcullis::new().config(config).env("DB_PASSWORD", CANARY).env("PORTCULLIS_LOG", "trace");
    let output = run.output().exits(0);
    assert_eq!(output.stdout, format!("{CANARY} {CANARY}\n"));
    clean("stderr", &output.stderr);
}
