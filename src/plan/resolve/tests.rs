//! Whole configurations and their plans.

mod arguments;
mod argv;
mod dify;
mod faults;
mod files;
mod items;
mod modules;
mod planted;
mod presets;
mod process;
mod variables;
mod variants;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::preset;
use crate::exit::Exit;
use crate::plan::process::StartSign;
use crate::plan::target::Target;
use crate::plan::{LockPlan, SocketName};

/// A configuration file that is gone when the test is over.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("portcullis-resolve-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn try_with(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Plan, Problems> {
    let file = File::new(toml);
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    resolve(&RunOptions { file: Some(file.0.clone()), arguments, ..RunOptions::default() }, &Environment::new(variables.iter().copied()))
}

fn with(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Plan {
    try_with(toml, variables, arguments).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let problems = try_with(toml, variables, arguments).err().map(|problems| problems.to_string()).unwrap_or_default();
    let temp = format!("{}/portcullis-resolve-", std::env::temp_dir().display());
    let place = |line: &str| match line.strip_prefix(&temp).and_then(|rest| rest.split_once(".toml")) {
        Some((_, rest)) => format!("p{rest}"),
        None => line.to_owned(),
    };
    problems.lines().map(place).collect()
}

fn argv(plan: &Plan) -> Vec<&str> {
    plan.main.as_ref().map(|main| main.command.argv.words().iter().map(crate::plan::argv::Word::value).collect()).unwrap_or_default()
}

fn bare_environment(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Plan, Problems> {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    resolve(&RunOptions { arguments, ..RunOptions::default() }, &Environment::new(variables.iter().copied()))
}

#[test]
fn nothing_but_a_command_is_enough() {
    let plan = bare_environment(&[], &["sleep", "1"]).unwrap();
    assert_eq!((argv(&plan), plan.checks.len()), (vec!["sleep", "1"], 0));
    assert!(plan.heartbeat.is_none() && plan.migration.is_none());
    assert_eq!(plan.remarks, ["no heartbeat: no Redis is configured to write it to"]);
    assert_eq!(plan.notices, Vec::<String>::new(), "nothing is amiss");
    assert_eq!((plan.service.name.as_str(), plan.service.instance.as_str(), plan.service.mode), ("app", "localhost", None));
    let health = plan.health.unwrap();
    assert_eq!(health.listen[0].0.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[::]:8051", "0.0.0.0:8051"]);
    assert_eq!((health.socket, health.required), (Some(SocketName::Abstract("portcullis/8051".into())), true));
    let missing = bare_environment(&[], &[]).unwrap_err();
    assert_eq!(missing.exit(), Exit::Config);
    assert_eq!(missing.to_string(), "no command to run: write it after the options (`portcullis run -- COMMAND`), or configure [modes]");
}

#[test]
fn the_environment_alone_drives_a_run_without_a_file() {
    let variables = [
        ("DB_HOST", "db"),
        ("DB_PASSWORD", "p@ss:w/rd?#"),
        ("DB_DATABASE", "dify"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "tcp://10.0.0.1:6380"),
        ("MODE", "worker"),
        ("MIGRATION_ENABLED", "true"),
        ("PORTCULLIS_MIGRATIONS__COMMAND", r#"["flask", "db", "upgrade"]"#),
        ("PORTCULLIS_CHECKS__DB__WAIT", "5s"),
    ];
    let plan = bare_environment(&variables, &["serve"]).unwrap();
    let shown: Vec<String> = plan.checks.iter().map(|check| format!("{} {} {:?}", check.name, check.target, check.wait)).collect();
    assert_eq!(shown, ["db postgres://postgres@db:5432/dify 5s", "redis redis://cache:6380/0 60s"]);
    let Target::Postgres(db) = &plan.checks[0].target else { panic!("postgres") };
    assert_eq!(db.password.as_ref().unwrap().expose(), "p@ss:w/rd?#");
    assert_eq!(plan.heartbeat.unwrap().key, "worker_service_status");
    assert_eq!(plan.migration.unwrap().process.command.argv.to_string(), "flask db upgrade");
    assert_eq!(plan.notices, ["REDIS_PORT is `tcp://10.0.0.1:6380`, as Kubernetes sets it; port 6380 is used"]);
    let without = variables.into_iter().filter(|(name, _)| !name.ends_with("COMMAND")).collect::<Vec<_>>();
    let problem = bare_environment(&without, &["serve"]).unwrap_err().to_string();
    assert!(
        problem.ends_with(
            "variable PORTCULLIS_MIGRATIONS__COMMAND: `command` in [migrations] is missing: migrations are enabled; name the command that migrates, for example `[\"flask\", \"db\", \"upgrade\"]`"
        ),
        "{problem}"
    );
}

/// The example of the documentation.
const EXAMPLE: &str = r#"
service = "api"
mode = "${MODE:-api}"

[checks.db]
url = "postgres://${DB_USERNAME}:${DB_PASSWORD}@${DB_HOST}:${DB_PORT:-5432}/${DB_DATABASE}"
wait = "60s"
affects = "health"

[checks.redis]
url = "redis://:${REDIS_PASSWORD}@${REDIS_HOST}:${REDIS_PORT:-6379}/${REDIS_DB:-0}"

[checks.doc_engine]
url = "http://es:9200/_cluster/health"
expect = { status = 200, json = { "/status" = ["green", "yellow"] } }

[migrations]
enabled = "${MIGRATION_ENABLED:-false}"
command = ["flask", "db", "upgrade"]
lock = "db"
lock_timeout = "30m"
timeout = "0s"

[modes.api]
command = ["gunicorn", "--bind", "${DIFY_BIND_ADDRESS:-0.0.0.0}:${DIFY_PORT:-5001}", "app:app"]
migrate = "run"
[modes.api.started]
url = "http://127.0.0.1:${DIFY_PORT:-5001}/health"
within = "120s"
[modes.worker]
command = ["celery", "-A", "app.celery", "worker"]
[modes.migration]
command = []

[heartbeat]
url = "redis://redis:6379/0"
key = "api_service_status"
ttl = "60s"
every = "20s"

[health]
listen = "0.0.0.0:8051"
socket = "@portcullis/8051"
details = "when-authorized"
token = "${PORTCULLIS_HEALTH_TOKEN:-}"

[process]
stop_signal = "TERM"
stop_timeout = "8s"
drain_delay = "0s"
"#;

const EXAMPLE_VARIABLES: [(&str, &str); 5] =
    [("DB_USERNAME", "u"), ("DB_PASSWORD", "p"), ("DB_HOST", "db"), ("DB_DATABASE", "x"), ("REDIS_HOST", "cache")];

fn example(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    EXAMPLE_VARIABLES.into_iter().chain([("REDIS_PASSWORD", "")]).chain(more.iter().copied()).collect()
}

#[test]
fn the_documented_example_resolves() {
    let plan = with(EXAMPLE, &example(&[("MIGRATION_ENABLED", "true"), ("PORTCULLIS_HEALTH_TOKEN", "let-me-see")]), &[]);
    assert_eq!(argv(&plan), ["gunicorn", "--bind", "0.0.0.0:5001", "app:app"]);
    let main = plan.main.as_ref().unwrap();
    assert_eq!((main.stop_signal, main.stop_timeout), (Some(15), Duration::from_secs(8)));
    let started = main.started.as_ref().unwrap();
    let StartSign::Answers { target, .. } = &started.sign else { panic!("a URL is probed: {started:?}") };
    assert_eq!((target.to_string().as_str(), started.within), ("http://127.0.0.1:5001/health", Duration::from_secs(120)));
    let Target::Http(http) = &plan.checks[2].target else { panic!("http") };
    assert_eq!(http.expect.status, [200]);
    assert_eq!(http.expect.json, [("/status".to_owned(), vec!["green".into(), "yellow".into()])]);
    assert!(matches!(&plan.migration.as_ref().unwrap().lock, LockPlan::Postgres { target, .. } if target.database == "x"));
    assert_eq!(plan.health.as_ref().unwrap().token.as_ref().unwrap().expose(), "let-me-see");
    assert_eq!(plan.notices, Vec::<String>::new());

    let worker = with(EXAMPLE, &example(&[("MODE", "worker")]), &[]);
    assert_eq!(
        (argv(&worker), worker.migration.is_none(), worker.service.name.as_str()),
        (vec!["celery", "-A", "app.celery", "worker"], true, "api")
    );
    let migration = with(EXAMPLE, &example(&[("MODE", "migration"), ("MIGRATION_ENABLED", "true")]), &[]);
    assert!(migration.main.is_none() && migration.migration.is_some());
}

#[test]
fn a_mode_that_has_nothing_to_do_or_is_unknown_is_refused() {
    let nothing = problems(EXAMPLE, &example(&[("MODE", "migration")]), &[]);
    assert_eq!(
        nothing,
        [
            "mode `migration` has no command, there is no step, and migrations are off, so there is nothing to do; enable them by `enabled` in [migrations]"
        ]
    );
    let unknown = problems(EXAMPLE, &example(&[("MODE", "Worker")]), &[]);
    assert_eq!(unknown, ["p:3:8: unknown mode `Worker`; did you mean `worker`? known: `api`, `worker`, `migration`"]);
    let fallback = format!("mode_fallback = \"api\"\n{EXAMPLE}");
    assert_eq!(argv(&with(&fallback, &example(&[("MODE", "Worker")]), &[]))[0], "gunicorn");
}

#[test]
fn all_problems_of_a_file_come_at_once_each_with_its_place() {
    let toml = r#"
serv = "api"
[checks.db]
url = "postgres://db:x5432/a"
waits = "5s"
interval = 5
affects = "helth"
[checks.app]
url = "exec:a | b"
[checks.web]
url = "htp://h/"
method = "GET"
[checks.live]
url = "tcp://db:1"
affects = "liveness"
[checks.pg]
kind = "postgres"
host = "db"
sslmode = "verify-ful"
path = "/x"
[modules.beat]
command = []
[migrations]
command = "flask db upgrade"
check = ["x"]
[modes.a]
command = ["x", 5, { splt = "y" }, "${UNSET}", "$HOME", { first = "g" }]
migrate = "later"
stop_signal = "TERMINATE"
[modes.b]
command = ["${UNSET}"]
started = { within = "5s" }
[heartbeat]
url = "tcp://h:1"
ttl = "10s"
every = "10s"
[health]
listen = "80x51"
details = "sometimes"
"#;
    let expected = [
        "p:2:1: unknown key `serv`; did you mean `service`?",
        "p:4:7: `url` in [checks.db] has a port that is not a number from 1 to 65535; in a password `@`, `:`, `/`, `?` and `#` have to be percent-encoded",
        "p:5:1: unknown key `waits` in [checks.db]; did you mean `wait`?",
        "p:6:12: `interval` in [checks.db] is a bare number; write it with its unit, such as `60s` or `500ms`",
        "p:7:11: `affects` in [checks.db] is `helth` (did you mean `health`?); expected one of `none`, `health`, `readiness`, `liveness`",
        "p:8:9: a check cannot be named `app`: the name is reserved",
        "p:9:7: `url` in [checks.app] has to be plain words, without shell syntax, or a list such as `exec:[\"test\", \"-e\", \"/a b\"]`",
        "p:11:7: `url` in [checks.web] is of the unknown kind `htp`; did you mean `http`?",
        "p:15:11: `affects` in [checks.live] is `liveness`, but its target is outside the container: an outage there would kill every replica; \
         write `i_know = true` if you really want this",
        "p:19:11: `sslmode` in [checks.pg] has the unknown sslmode `verify-ful`; did you mean `verify-full`?",
        "p:20:8: `path` in [checks.pg] has no effect for a target of kind postgres",
        "p:22:11: `command` in [modules.beat] contains no program",
        "p:24:11: the command in [migrations] is a string; expected a list such as `[\"flask\", \"db\", \"upgrade\"]`: no shell splits a string",
        "p:27:17: [modes.a] has a number where an argument is expected: a string, `{ split = … }`, `{ words = … }`, `{ first = … }`, `{ args = true }` or `{ when = …, then = […] }`",
        "p:27:20: [modes.a] has a table where an argument is expected: a string, `{ split = … }`, `{ words = … }`, `{ first = … }`, `{ args = true }` or `{ when = …, then = […] }`",
        "p:27:36: an argument in [modes.a]: UNSET is not set; set it, or give a default: `${UNSET:-…}`",
        "p:27:48: an argument in [modes.a]: `$HOME` is not interpolated: write `${HOME}` for the variable, `$$HOME` for the text",
        "p:27:67: `first` in [modes.a] names the unknown group `g`",
        "p:28:11: `migrate` in [modes.a] is `later`; expected one of `run`, `wait`, `off`",
        "p:29:15: `stop_signal` in [modes.a] is `TERMINATE`, not a signal as `TERM` or `15`",
        "p:32:1: `url` in [modes.b.started] is missing: name the target by `url`, or by `kind`, `host` and `port`",
        "p:34:7: `url` in [heartbeat] is of kind tcp; expected a redis",
        "p:36:9: `every` in [heartbeat] is 10s, not shorter than the expiry of 10s",
        "p:38:10: `listen` in [health] is `80x51`, not an address such as `0.0.0.0:8051`, `[::]:8051` or `:8051`",
        "p:39:11: `details` in [health] is `sometimes`; expected one of `never`, `when-authorized`, `always`",
    ];
    let found = problems(toml, &[("MODE", "a")], &[]);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// The constructs that replace a shell, as in Dify's worker.
const CONSTRUCTS: &str = r#"
[env]
PLAIN = "1"
NUMBER = 5
[env.default]
LANG = "C.UTF-8"
PYTHONIOENCODING = "utf-8"
[modes.worker]
command = ["celery", { split = "-P ${POOL:-gevent}" }, { first = "concurrency" }, "", { split = "${EMPTY:- }" },
  { when = { var = "VERBOSE", ieq = "true" }, then = ["-v"] }]
env = { PLAIN = "2" }
[modes.worker.groups]
concurrency = [
  { when = { var = "CONCURRENCY", nonempty = true }, then = ["-c", { split = "${CONCURRENCY}" }] },
  { when = { var = "AUTO", ieq = "true" }, then = ["--autoscale=${MAX:-${@nproc}},${MIN:-1}"] },
  { then = ["-c", "1"] },
]
[modes.job]
command = ["flask", { args = true, min_args = 1 }]
[modes.api]
command = ["gunicorn"]
[[modes.api.variants]]
when = { var = "DEBUG", eq = "true" }
set = { HOST = "${ADDRESS:-0.0.0.0}" }
command = ["python", "-m", "app"]
"#;

#[test]
fn the_lock_is_that_of_the_only_database() {
    let two = "[checks.a]\nurl = 'postgres://a/x'\n[checks.b]\nurl = 'postgres://b/x'\n[checks.c]\nurl = 'tcp://c:1'\n[migrations]\ncommand = ['x']\n";
    assert_eq!(
        problems(two, &[], &["y"]),
        ["p:7:2: `lock` in [migrations] finds several databases; name the one whose database is migrated: `a`, `b`"]
    );
    let lock = |lock: &str| problems(&format!("{two}lock = '{lock}'\n"), &[], &["y"]);
    assert_eq!(lock("b"), Vec::<String>::new());
    assert_eq!(lock("none"), Vec::<String>::new());
    assert_eq!(lock("c"), ["p:9:8: `lock` in [migrations] names `c`, which is not a database or redis check and cannot hold the lock"]);
    assert_eq!(lock("d"), ["p:9:8: `lock` in [migrations] names the unknown check `d`; known: `a`, `b`, `auto`, `none`"]);
}

#[test]
fn bare_keeps_mode_migration_and_process_alone() {
    let file = File::new(EXAMPLE);
    let request = RunOptions { file: Some(file.0.clone()), bare: true, ..RunOptions::default() };
    let plan = resolve(&request, &Environment::new([("MIGRATION_ENABLED", "true")])).unwrap();
    assert!(plan.checks.is_empty() && plan.heartbeat.is_none() && plan.health.is_none());
    assert!(matches!(plan.migration.unwrap().lock, LockPlan::None));
    assert!(plan.main.unwrap().started.is_none());
}

#[test]
fn secret_files_reach_the_child_only_on_request() {
    let secret = File::new("from-a-file\n");
    let path = secret.0.to_str().unwrap();
    let variables = [("API_SECRET_FILE", path), ("NO_FILE", "/nowhere/at-all")];
    assert!(with("", &variables, &["x"]).main.unwrap().command.env.is_empty());
    let main = with("[env]\nexpand_files = ['API_SECRET', 'NOT_SET']\n", &variables, &["x"]).main.unwrap();
    assert_eq!(
        (main.command.env[0].0.as_str(), main.command.env[0].1.value(), main.command.env[0].1.shown()),
        ("API_SECRET", "from-a-file", "***")
    );
    assert_eq!((main.command.env.len(), main.command.env_remove), (1, vec!["API_SECRET_FILE".to_owned()]));
    for (value, problem) in [
        (
            "true",
            "p:2:16: `expand_files` in [env] is a boolean; the variables that come from a file are listed by name, for example `expand_files = [\"DB_PASSWORD\"]`",
        ),
        ("['NO_FILE']", "p:2:17: `expand_files` in [env] names `NO_FILE`; name the variable that gets its value, `NO`"),
        (
            "['NO']",
            "p:2:17: `expand_files` in [env]: cannot read /nowhere/at-all, which NO_FILE names: No such file or directory (os error 2)",
        ),
        ("['BOTH']", "p:2:17: `expand_files` in [env]: both BOTH and BOTH_FILE are set; unset one of them"),
    ] {
        let variables = [variables.as_slice(), &[("BOTH", "x"), ("BOTH_FILE", path)]].concat();
        assert_eq!(problems(&format!("[env]\nexpand_files = {value}\n"), &variables, &["x"]), [problem], "{value}");
    }
}

#[test]
fn a_password_from_parts_stands_above_the_url() {
    let toml = "[checks.db]\nurl = 'postgresql+psycopg2://me:old@db/x?sslmode=disable&options=-c%20a&foo=1'\npassword = 'new-password'\nport = 5433\n";
    let plan = with(toml, &[], &["x"]);
    let Target::Postgres(db) = &plan.checks[0].target else { panic!("postgres") };
    assert_eq!((db.to_string().as_str(), db.password.as_ref().unwrap().expose()), ("postgres://me@db:5433/x", "new-password"));
    assert_eq!(plan.notices[0], "`url` in [checks.db]: the parameter `foo` is ignored");
}

#[test]
fn headers_of_an_http_check_are_kept_and_masked() {
    let toml = "[checks.es]\nurl = 'http://me:hidden-pw@es:9200/a?key=hidden-key'\nmethod = 'HEAD'\nbearer = '${ES_TOKEN}'\nheaders = { X-A = 'b' }\n\
                expect = { status = [200, 204], body = 'ok' }\n";
    let problem = problems(&toml.replace("X-A", "Authorization"), &[("ES_TOKEN", "hidden-token")], &["x"]);
    assert_eq!(problem, ["p:4:10: `bearer` in [checks.es], from ES_TOKEN, and the header `Authorization` exclude each other"]);
    let plan = with(toml, &[("ES_TOKEN", "hidden-token")], &["x"]);
    let Target::Http(http) = &plan.checks[0].target else { panic!("http") };
    assert_eq!(
        (http.shown.as_str(), http.method.as_str(), http.expect.status.as_slice()),
        ("http://es:9200/a", "HEAD", [200, 204].as_slice())
    );
    assert_eq!(http.url.expose(), "http://me:hidden-pw@es:9200/a?key=hidden-key");
    assert_eq!(http.headers.last().unwrap().1.expose(), "Bearer hidden-token");
    assert!(!format!("{plan:?}").contains("hidden"), "{plan:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_password_of_any_characters_reaches_its_server(password in "[^\0]{1,20}") {
        let toml = "[checks.a]\nurl = 'postgres://${U}:${PW}@h/x'\n[checks.b]\nurl = 'redis://:${PW}@h/0'\n[checks.c]\nkind = 'redis'\nhost = 'h'\npassword = '${PW}'\n";
        let plan = with(toml, &[("U", "me"), ("PW", &password)], &["x"]);
        for check in &plan.checks {
            let found = match &check.target {
                Target::Postgres(target) => target.password.clone(),
                Target::Redis(target) => target.password.clone(),
                other => panic!("{other}"),
            };
            let found = found.unwrap();
            prop_assert_eq!(found.expose(), password.as_str());
        }
    }

    #[test]
    fn any_text_is_answered_and_never_panics(text in "([a-z]{1,4} ?= ?[\"'\\[{]?[$a-z{}0-9:/ ]{0,8}[\"'\\]}]?\n|\\[(checks|modes|env|health)(\\.[a-z]{1,2})?\\]\n){0,6}") {
        let _ = try_with(&text, &[], &["x"]);
    }
}

#[test]
fn a_spaced_check_that_cannot_pass_in_time_is_a_problem_and_one_question_a_notice() {
    let toml = |keys: &str| format!("[checks.web]\nurl = 'http://web/'\ninterval = '30s'\n{keys}[modes.api]\ncommand = ['serve']\n");
    let notices =
        |keys: &str| with(&toml(keys), &[("MODE", "api")], &[]).notices.iter().filter(|notice| notice.contains("check web")).count();
    let wrong = |keys: &str| problems(&toml(keys), &[("MODE", "api")], &[]).join("\n");
    assert!(
        wrong("success_threshold = 3\n").contains("is too short for 3 successes (`success_threshold`) of a check that is probed every 30s")
    );
    assert_eq!(notices("success_threshold = 3\nwait = '70s'\n"), 0);
    assert_eq!((notices("wait = '30s'\n"), notices("wait = '31s'\n"), notices("wait = '0s'\n")), (1, 0, 0));
}
