//! Every kind by its URL and by its parts, and what is wrong with those that are.

use crate::config::source::Environment;
use crate::plan::resolve::{Request, resolve, targets};
use crate::plan::target::{ServerRole, SslMode, Target, Verify};

fn target(url: &str) -> Target {
    let (mut found, notices) = targets(&[url.to_owned()], &Environment::new::<&str, &str>([])).unwrap_or_else(|why| panic!("{url}: {why}"));
    assert_eq!(notices, Vec::<String>::new(), "{url}");
    found.remove(0)
}

fn problem(url: &str) -> String {
    targets(&[url.to_owned()], &Environment::new::<&str, &str>([])).err().unwrap_or_else(|| panic!("{url} is taken")).to_string()
}

#[test]
fn every_kind_is_shown_without_its_secrets() {
    for (url, kind, shown) in [
        ("tcp://db:5432", "tcp", "tcp://db:5432"),
        ("unix:///run/app.sock", "unix", "unix:///run/app.sock"),
        ("file:///etc/ready", "file", "file:///etc/ready"),
        ("dns://db.internal", "dns", "dns://db.internal"),
        ("exec:pg_isready -q", "exec", "exec:pg_isready -q"),
        ("exec:[\"test\", \"-d\", \"/a b\"]", "exec", "exec:test -d '/a b'"),
        ("disk:///data?free=1GiB", "disk", "disk:///data?free=1073741824"),
        ("http://u:secret@h/a?key=secret", "http", "http://h/a"),
        ("https://h/a", "http", "https://h/a"),
        ("grpc://h:50051/api.v1.Api", "grpc", "grpc://h:50051/api.v1.Api"),
        ("grpcs://h:50051", "grpc", "grpcs://h:50051"),
        ("postgresql+psycopg://u:secret@h/x", "postgres", "postgres://u@h:5432/x"),
        ("mysql+pymysql://u:secret@h/x?charset=utf8mb4", "mysql", "mysql://u@h:3306/x"),
        ("mariadb://u:secret@h:3307", "mysql", "mysql://u@h:3307/"),
        ("redis://:secret@h", "redis", "redis://h:6379/0"),
        ("rediss://u:secret@h/2", "redis", "rediss://u@h:6379/2"),
        ("redis+unix://:secret@/run/redis.sock?db=3", "redis", "redis:///run/redis.sock/3"),
        ("redis+sentinel://:secret@a,b:26380/main/1", "redis+sentinel", "redis+sentinel://a:26379,b:26380/main/1"),
        ("redis+cluster://:secret@a:7000,b:7001", "redis+cluster", "redis+cluster://a:7000,b:7001"),
        ("redis+ready://:secret@h/0?service=api&min=2", "redis+ready", "redis+ready://h:6379/0?key=api_service_status&min=2"),
    ] {
        let target = target(url);
        assert_eq!((target.kind(), target.to_string().as_str()), (kind, shown), "{url}");
        assert!(!format!("{target:?}").contains("secret"), "{url}");
    }
}

#[test]
fn sslmode_means_what_libpq_means() {
    for (parameters, mode, verify) in [
        ("", SslMode::Prefer, Verify::Nothing),
        ("sslmode=disable", SslMode::Disable, Verify::Nothing),
        ("sslmode=allow", SslMode::Allow, Verify::Nothing),
        ("sslmode=require", SslMode::Require, Verify::Nothing),
        ("sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Verify::Chain),
        ("sslmode=verify-ca", SslMode::Require, Verify::Chain),
        ("sslmode=verify-full&sslrootcert=system", SslMode::Require, Verify::Full),
    ] {
        let Target::Postgres(postgres) = target(&format!("postgres://u@h/x?{parameters}")) else { panic!("postgres") };
        assert_eq!((postgres.sslmode, postgres.tls.verify, postgres.role), (mode, verify, ServerRole::Any), "{parameters}");
    }
    let Target::Mysql(mysql) = target("mysql://u@h/x?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem") else { panic!("mysql") };
    assert_eq!((mysql.sslmode, mysql.tls.verify), (SslMode::Require, Verify::Full));
}

#[test]
fn what_is_wrong_is_said_of_the_target_by_its_number() {
    for (url, words) in [
        ("tcp://db", "target 1: `url` names no port"),
        ("tcp://a:1,b:2", "names several hosts"),
        ("file://relative/path", "wants three slashes"),
        ("disk:///", "names no room"),
        ("disk:///?free=lots", "no size"),
        ("redis+sentinel://a:26379", "does not name the master"),
        ("redis+ready://h/0", "names no service"),
        ("redis+ready://h/0?service=api&min=0", "not a whole number"),
        ("redis+cluster://a/3", "only number 0"),
        ("postgres://h/x?sslmode=verify", "unknown sslmode"),
        ("postgres://h/x?sslpassword=x", "not supported yet"),
        ("exec:", "names no command"),
        ("exec:a | b", "need no shell"),
        ("process:", "none here"),
        ("process:worker", "none here"),
        ("rediz://h", "did you mean `redis`?"),
    ] {
        let problem = problem(url);
        assert!(problem.contains(words), "{url}: {problem}");
    }
}

#[test]
fn parts_of_another_kind_are_named() {
    let file = std::env::temp_dir().join(format!("portcullis-parts-{}.toml", std::process::id()));
    let parts = "[checks.a]\nkind = 'redis'\nhost = 'h'\nexpect = { status = 200 }\nca = '/ca.pem'\n[checks.b]\ntargets = []\n\
                 [[checks.c.targets]]\nurl = 'tcp://h:1'\n[modes.x]\ncommand = ['x']\n";
    std::fs::write(&file, parts).unwrap();
    let request = Request { file: Some(file.clone()), mode: Some("x".to_owned()), ..Request::default() };
    let problems = resolve(&request, &Environment::new::<&str, &str>([])).err().unwrap().to_string();
    std::fs::remove_file(&file).unwrap();
    for words in [
        "`expect` in [checks.a] means nothing to a target of kind redis",
        "`ca` in [checks.a] has no use without TLS",
        "`targets` in [checks.b] names no target",
        "is of kind tcp; several targets have to be of kind http",
    ] {
        assert!(problems.contains(words), "{words} is not in:\n{problems}");
    }
}
