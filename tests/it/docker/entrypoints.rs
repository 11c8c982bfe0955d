//! Entrypoints of others in real containers, as `docker/entrypoints` has them: on the Debian of docker/example with real servers, and in an
//! image of nothing else. Their programs are stand-ins without a shell.

use crate::support::{Shop, eventually, secs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program that stands for all of an image's, linked statically.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program-of-images");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/docker/images/program/program.rs");
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2021", "-C", "target-feature=+crt-static", "-C", "opt-level=s", "-o"]).arg(&path).arg(source);
        assert!(rustc.status().expect("run rustc").success(), "rustc");
        path
    })
}

/// One image: its configuration, the base below it, and where its programs lie.
struct Image<'a> {
    name: &'a str,
    base: &'a str,
    directory: &'a str,
    user: &'a str,
    programs: &'a [&'a str],
}

impl Image<'_> {
    fn build(&self, shop: &Shop) {
        let context = shop.directory().join(self.name);
        let root = context.join("root");
        for name in self.programs {
            let path = root.join(name.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).expect("create a directory of the image");
            fs::copy(program(), path).expect("copy the program");
        }
        let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/entrypoints").join(self.name).join("portcullis.toml");
        fs::copy(configuration, root.join("portcullis.toml")).expect("copy the configuration");
        let Self { base, directory, user, .. } = self;
        let text = format!(
            "FROM {base}\nCOPY --from=portcullis /portcullis /portcullis\nCOPY root/ /\nWORKDIR {directory}\nUSER {user}\n\
             ENV PATH=/opt/netbox/venv/bin:/usr/local/bin:/usr/bin:/bin\n\
             HEALTHCHECK --interval=1s --timeout=10s --start-period=90s --retries=1 CMD [\"/portcullis\", \"healthcheck\"]\n\
             ENTRYPOINT [\"/portcullis\", \"run\", \"-c\", \"/portcullis.toml\", \"--\"]\n"
        );
        fs::write(context.join("Dockerfile"), text).expect("write the Dockerfile");
        shop.docker(&["build", "--network", "none", "--tag", self.name, context.to_str().expect("a path of ours")]);
    }
}

/// The calls that a container's programs made: when, and how.
fn calls(shop: &Shop, name: &str) -> Vec<(String, u64, String)> {
    let logs = shop.container(name).logs();
    let call = |line: &str| {
        let (what, rest) = line.strip_prefix("call ")?.split_once(' ')?;
        let (at, words) = rest.split_once(' ')?;
        Some((what.to_owned(), at.parse().ok()?, words.to_owned()))
    };
    logs.lines().filter_map(call).collect()
}

/// How they began, in order.
fn begun(shop: &Shop, name: &str) -> Vec<String> {
    calls(shop, name).into_iter().filter(|(what, ..)| what == "begin").map(|(.., words)| words).collect()
}

/// Waits until so many calls have begun.
fn until_begun(shop: &Shop, name: &str, count: usize) -> Vec<String> {
    eventually(&format!("{name} has made {count} calls"), secs(90), || Some(begun(shop, name)).filter(|calls| calls.len() >= count))
}

/// `portcullis plan` in a container of its own; it does nothing.
fn plan(shop: &Shop, options: &[&str], image: &str, arguments: &[&str]) -> String {
    let words =
        [&["run", "--rm", "--network", "none", "--entrypoint", "/portcullis"], options, &[image, "plan", "-c", "/portcullis.toml", "--"]];
    shop.docker(&[&words.concat()[..], arguments].concat())
}

fn compose(shop: &Shop, text: &str) {
    fs::write(shop.directory().join("docker-compose.yml"), text).expect("write the compose file");
}

const DB: &str =
    "  db:\n    image: postgres:17\n    environment: { POSTGRES_USER: app, POSTGRES_PASSWORD: \"p w:%/@\", POSTGRES_DB: app }\n";

#[test]
fn cookiecutter_django_waits_for_its_database_and_runs_what_its_roles_run() {
    let name = "cookiecutter_django_waits_for_its_database_and_runs_what_its_roles_run";
    let Some(shop) = Shop::with_servers(name, "django", ["postgres:17", "redis:8"]) else { return };
    let programs = ["/usr/local/bin/python", "/usr/local/bin/gunicorn", "/usr/local/bin/celery"];
    Image { name: "cookiecutter-django", base: "debian:bookworm-slim", directory: "/app", user: "101:101", programs: &programs }
        .build(&shop);
    let variables =
        "POSTGRES_HOST: db, POSTGRES_PORT: \"5432\", REDIS_URL: \"redis://redis:6379/0\", CELERY_FLOWER_USER: f, CELERY_FLOWER_PASSWORD: g";
    let service = |role: &str| {
        format!(
            "  {role}:\n    image: cookiecutter-django\n    command: [\"/start{}\"]\n    environment: {{ {variables}, STAYS: \"gunicorn,worker,flower\" }}\n",
            if role == "web" { String::new() } else { format!("-{role}") }
        )
    };
    let roles = ["web", "celeryworker", "flower"].map(service).concat();
    compose(&shop, &format!("version: \"2.4\"\nservices:\n{DB}  redis:\n    image: redis:8\n{roles}"));
    let plan = plan(&shop, &["-e", "POSTGRES_HOST=db", "-e", "POSTGRES_PORT=5432"], "cookiecutter-django", &["/start"]);
    assert!(plan.contains("wait for postgres") && plan.contains("collectstatic"), "{plan}");

    shop.compose(&["up", "--detach", "--no-build", "web", "celeryworker"]);
    eventually("the web waits", secs(60), || shop.container("web_1").logs().contains("waiting for postgres").then_some(()));
    assert!(begun(&shop, "web_1").is_empty() && begun(&shop, "celeryworker_1").is_empty(), "nothing is done before the database is there");
    shop.compose(&["up", "--detach", "--no-build"]);
    let web = until_begun(&shop, "web_1", 3);
    let wanted = [
        "python /app/manage.py collectstatic --noinput",
        "python /app/manage.py compress",
        "gunicorn config.wsgi --bind 0.0.0.0:5000 --chdir=/app",
    ];
    assert_eq!(web, wanted);
    assert_eq!(until_begun(&shop, "celeryworker_1", 1), ["celery -A config.celery_app worker -l INFO"]);
    let flower =
        ["celery -A config.celery_app inspect ping", "celery -A config.celery_app -b redis://redis:6379/0 flower --basic_auth=f:g"];
    assert_eq!(until_begun(&shop, "flower_1", 2), flower);
    for role in ["web_1", "celeryworker_1", "flower_1"] {
        assert_eq!(shop.container(role).until_health("healthy")["Output"], "healthy\n", "{role}");
    }
    shop.compose(&["down", "--volumes"]);
    assert_eq!(shop.docker(&["ps", "--all", "--quiet"]), "");
    shop.close();
}

#[test]
fn netbox_migrates_one_replica_after_the_other_and_configures_unit() {
    let Some(shop) =
        Shop::with_servers("netbox_migrates_one_replica_after_the_other_and_configures_unit", "netbox", ["postgres:17", "redis:8"])
    else {
        return;
    };
    let programs = ["/opt/netbox/netbox/manage.py", "/usr/local/bin/unitd", "/usr/local/bin/curl"];
    Image { name: "netbox", base: "debian:bookworm-slim", directory: "/opt/netbox/netbox", user: "0:0", programs: &programs }.build(&shop);
    let variables =
        "DB_HOST: db, DB_USER: app, DB_NAME: app, DB_PASSWORD: \"p w:%/@\", STAYS: unitd, FAILS: \"--check\", SLOW: \"migrate --no-input\"";
    compose(&shop, &format!("version: \"2.4\"\nservices:\n{DB}  web:\n    image: netbox\n    environment: {{ {variables} }}\n"));
    shop.compose(&["up", "--detach", "--no-build", "--scale", "web=2"]);
    let mut migrations: Vec<(u64, u64)> = ["web_1", "web_2"]
        .map(|web| {
            assert_eq!(shop.container(web).until_health("healthy")["Output"], "healthy\n");
            let calls = calls(&shop, web);
            let at = |what: &str, word: &str| {
                let found = calls.iter().find(|(kind, _, words)| kind == what && words.contains(word));
                found.unwrap_or_else(|| panic!("no {what} of {word} in {calls:#?}")).1
            };
            let order = ["migrate --no-input", "trace_paths", "remove_stale_contenttypes", "clearsessions", "reindex", "unitd"];
            let times = order.map(|word| at("begin", word));
            assert!(times.is_sorted(), "{calls:#?}");
            assert!(calls.iter().any(|(.., words)| words.contains("--request PUT")), "Unit gets its configuration: {calls:#?}");
            (at("begin", "migrate --no-input"), at("end", "reindex"))
        })
        .into();
    migrations.sort_unstable();
    let [(_, first), (second, _)] = migrations[..] else { panic!("two replicas") };
    assert!(first <= second, "the second one has the lock of the database once the first one is through: {migrations:?}");
    shop.compose(&["down", "--volumes"]);
    shop.close();
}

#[test]
fn langfuse_waits_for_both_databases_and_migrates_both() {
    let Some(shop) = Shop::with_servers("langfuse_waits_for_both_databases_and_migrates_both", "langfuse", ["postgres:17", "redis:8"])
    else {
        return;
    };
    // ClickHouse's migration is a script of its own, that the image has for `sh`.
    let programs = ["/usr/local/bin/prisma", "/usr/local/bin/node", "/usr/local/bin/sh"];
    Image { name: "langfuse", base: "debian:bookworm-slim", directory: "/app", user: "0:0", programs: &programs }.build(&shop);
    let variables = "DATABASE_HOST: db, DATABASE_USERNAME: app, DATABASE_NAME: app, DATABASE_PASSWORD: \"p w:%/@\", CLICKHOUSE_URL: \"http://clickhouse:8123\"";
    let clickhouse = "  clickhouse:\n    image: debian:bookworm-slim\n    command: [\"sh\", \"-c\", \"cd /tmp && touch ping && exec python3 -m http.server 8123\"]\n";
    compose(
        &shop,
        &format!(
            "version: \"2.4\"\nservices:\n{DB}{clickhouse}  web:\n    image: langfuse\n    working_dir: /app\n    environment: {{ {variables}, STAYS: \"./web/server.js\", FAILS: cleanup }}\n    volumes: [\"packages:/app/packages/shared\"]\nvolumes: {{ packages: }}\n"
        ),
    );
    shop.compose(&["up", "--detach", "--no-build", "db", "web"]);
    eventually("the web waits", secs(60), || shop.container("web_1").logs().contains("waiting for clickhouse").then_some(()));
    shop.compose(&["up", "--detach", "--no-build"]);
    let url = "postgresql://app:p%20w%3A%25%2F%40@db/app";
    assert_eq!(
        until_begun(&shop, "web_1", 4),
        [
            format!("prisma db execute --url {url} --file ./packages/shared/scripts/cleanup.sql"),
            "prisma migrate deploy --schema=./packages/shared/prisma/schema.prisma".to_owned(),
            "sh ./clickhouse/scripts/up.sh".to_owned(),
            "node ./web/server.js --keepAliveTimeout 110000".to_owned(),
        ]
    );
    assert_eq!(shop.container("web_1").until_health("healthy")["Output"], "healthy\n");
    shop.compose(&["down", "--volumes"]);
    shop.close();
}

#[test]
fn rails_is_planned_and_run_in_an_image_of_nothing_else() {
    let Some(shop) = Shop::with_servers("rails_is_planned_and_run_in_an_image_of_nothing_else", "rails", ["postgres:17", "redis:8"]) else {
        return;
    };
    Image { name: "rails", base: "scratch", directory: "/rails", user: "1000:1000", programs: &["/rails/bin/rails", "/rails/bin/thrust"] }
        .build(&shop);
    let arguments = ["./bin/thrust", "./bin/rails", "server"];
    let plan = plan(&shop, &[], "rails", &arguments);
    assert!(plan.contains("./bin/rails db:prepare") && plan.contains("./bin/thrust ./bin/rails server"), "{plan}");
    shop.docker(
        &[&["run", "--detach", "--read-only", "--network", "none", "--name", "rails_web_1", "-e", "STAYS=thrust", "rails"], &arguments[..]]
            .concat(),
    );
    assert_eq!(until_begun(&shop, "web_1", 2), ["./bin/rails db:prepare", "./bin/thrust ./bin/rails server"]);
    assert_eq!(shop.container("web_1").until_health("healthy")["Output"], "healthy\n");
    shop.docker(&["stop", "--time", "10", "rails_web_1"]);
    assert_eq!(shop.container("web_1").state()["ExitCode"], 143, "{}", shop.container("web_1").logs());
    // A command of one's own prepares nothing, and one that is not there is named before anything is done.
    assert!(shop.docker(&["run", "--rm", "--network", "none", "rails", "./bin/rails", "console"]).contains("./bin/rails console"));
    assert_eq!(shop.code(&["run", "--rm", "--network", "none", "rails", "./bin/none"]), Some(127));
    shop.docker(&["rm", "--force", "rails_web_1"]);
    shop.close();
}
