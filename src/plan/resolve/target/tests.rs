//! Every kind by its URL and by its parts, and the errors of invalid ones.

use crate::config::source::Environment;
use crate::plan::resolve::{RunOptions, resolve, targets};
use crate::plan::target::{PostgresTarget, ServerRole, SslMode, Target, Verify};

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
        ("disk:///data?free=1GiB", "disk", "disk:///data?free=1GiB"),
        ("http://u:secret@h/a?key=secret", "http", "http://h/a"),
        ("https://h/a", "http", "https://h/a"),
        ("grpc://h:50051/api.v1.Api", "grpc", "grpc://h:50051/api.v1.Api"),
        ("grpcs://h:50051", "grpc", "grpcs://h:50051"),
        ("postgresql+psycopg://u:secret@h/x", "postgres", "postgres://u@h:5432/x"),
        ("mysql+pymysql://u:secret@h/x?charset=utf8mb4", "mysql", "mysql://u@h:3306/x"),
        ("mariadb://u:secret@h:3307", "mysql", "mysql://u@h:3307/"),
        ("postgis://u:secret@h/x", "postgres", "postgres://u@h:5432/x"),
        ("psql://u:secret@h/x", "postgres", "postgres://u@h:5432/x"),
        ("mysql2://u:secret@h/x", "mysql", "mysql://u@h:3306/x"),
        ("trilogy://u:secret@h/x", "mysql", "mysql://u@h:3306/x"),
        ("valkey://:secret@h", "redis", "redis://h:6379/0"),
        ("valkeys://:secret@h", "redis", "rediss://h:6379/0"),
        ("amqp://u:secret@h", "amqp", "amqp://u@h:5672/%2F"),
        ("amqp://h//", "amqp", "amqp://guest@h:5672/%2F"),
        ("amqps://u:secret@h/a%2Fb?heartbeat=3", "amqp", "amqps://u@h:5671/a%2Fb"),
        ("mongodb://a,b:27018/x?tls=true", "mongodb", "mongodb://a:27017,b:27018"),
        ("kafka://a,b:9093", "kafka", "kafka://a:9092,b:9093"),
        ("redis://:secret@h", "redis", "redis://h:6379/0"),
        ("rediss://u:secret@h/2", "redis", "rediss://u@h:6379/2"),
        ("redis+unix://:secret@/run/redis.sock?db=3", "redis", "redis+unix:///run/redis.sock?db=3"),
        ("redis+sentinel://:secret@a,b:26380/main/1", "redis+sentinel", "redis+sentinel://a:26379,b:26380/main/1"),
        ("redis+cluster://:secret@a:7000,b:7001", "redis+cluster", "redis+cluster://a:7000,b:7001"),
        ("redis+ready://:secret@h/0?service=api&min=2", "redis+ready", "redis+ready://h:6379/0?service=api&min=2"),
        ("redis+ready://h/0?key=own", "redis+ready", "redis+ready://h:6379/0?key=own&min=1"),
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
        // The system's authorities sign for any server.
        ("sslrootcert=system", SslMode::Require, Verify::Full),
        ("sslmode=no-verify&sslrootcert=/ca.pem", SslMode::Require, Verify::Nothing),
        ("ssl=true", SslMode::Require, Verify::Nothing),
        ("ssl=require", SslMode::Require, Verify::Nothing),
        ("ssl=verify-full", SslMode::Require, Verify::Full),
        ("ssl=0", SslMode::Disable, Verify::Nothing),
        ("requiressl=1", SslMode::Require, Verify::Nothing),
        ("sslaccept=strict", SslMode::Prefer, Verify::Full),
        ("sslmode=require&sslaccept=accept_invalid_certs", SslMode::Require, Verify::Nothing),
    ] {
        let postgres = postgres(parameters);
        assert_eq!((postgres.sslmode, postgres.tls.verify, postgres.role), (mode, verify, ServerRole::Any), "{parameters}");
    }
    for (parameters, mode, verify) in [
        ("ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem", SslMode::Require, Verify::Full),
        ("tls=true", SslMode::Require, Verify::Full),
        ("tls=skip-verify", SslMode::Require, Verify::Nothing),
        ("tls=preferred", SslMode::Prefer, Verify::Nothing),
        ("useSSL=true&verifyServerCertificate=true", SslMode::Require, Verify::Chain),
        ("useSSL=false", SslMode::Disable, Verify::Nothing),
        ("ssl_verify_cert=true&ssl_verify_identity=true", SslMode::Require, Verify::Full),
        ("ssl=%7B%22rejectUnauthorized%22:true%7D", SslMode::Require, Verify::Chain),
        ("ssl=%7B%22rejectUnauthorized%22:false%7D", SslMode::Require, Verify::Nothing),
        ("sslaccept=strict", SslMode::Require, Verify::Full),
    ] {
        let Target::Mysql(mysql) = target(&format!("mysql://u@h/x?{parameters}")) else { panic!("mysql") };
        assert_eq!((mysql.sslmode, mysql.tls.verify), (mode, verify), "{parameters}");
    }
}

fn postgres(parameters: &str) -> PostgresTarget {
    let Target::Postgres(postgres) = target(&format!("postgres://u@h/x?{parameters}")) else { panic!("postgres") };
    postgres
}

#[test]
fn parameters_for_security_are_kept_or_refused() {
    assert!(postgres("channel_binding=require").demands.channel_binding);
    assert!(!postgres("channel_binding=prefer").demands.channel_binding);
    assert!(postgres("sslmode=require&sslnegotiation=direct").demands.direct_tls);
    let methods = postgres("require_auth=scram-sha-256").demands.methods.unwrap();
    assert!(methods.has("scram-sha-256") && !methods.has("password"));
    assert!(postgres("ssl_min_protocol_version=TLSv1.3").tls.newest_only);
    assert!(!postgres("ssl_min_protocol_version=TLSv1.1").tls.newest_only);
    assert_eq!(postgres("sslcertmode=disable&sslcert=/c.pem").tls.identity, None);
    let Target::Redis(redis) = target("redis://h?ssl=true&ssl_min_version=TLSv1_2") else { panic!("redis") };
    assert_eq!(redis.tls.unwrap().verify, Verify::Full);
    for url in [
        "postgres://h/x?sslmode=require&sslrootcert=system",
        "postgres://h/x?channel_binding=yes",
        "postgres://h/x?require_auth=gss",
        "postgres://h/x?require_auth=scram",
        "postgres://h/x?gssencmode=require",
        "postgres://h/x?sslcrl=/crl.pem",
        "postgres://h/x?sslcrldir=/crl",
        "postgres://h/x?sslcertmode=require",
        "postgres://h/x?sslnegotiation=direct",
        "postgres://h/x?ssl_min_protocol_version=TLSv1.4",
        "postgres://h/x?requirepeer=postgres",
        "postgres://h/x?ssl=yes-please",
        "postgres://h/x?sslmod=require",
        "mysql://h/x?ssl-crl=/crl.pem",
        "mysql://h/x?ssl-capath=/etc/ssl",
        "mysql://h/x?tls=custom",
        "mysql://h/x?ssl-fips-mode=STRICT",
        "mysql://h/x?tls-version=TLSv9",
        "mysql://h/x?useSSL=false&verifyServerCertificate=true",
        "rediss://h?ssl_validate_ocsp=true",
        "rediss://h?ssl_ca_path=/etc/ssl",
        "rediss://h?ssl_ca_data=PEM",
        "grpc://h:1?tls=true",
        "tcp://h:1?tls=true",
    ] {
        problem(url);
    }
}

#[test]
fn other_parameters_are_ignored_with_a_notice() {
    for url in [
        "postgres://h/x?sslpassword=secret",
        "postgres://h/x?pgbouncer=true&connection_limit=5",
        "postgres://h/x?sslfactory=org.postgresql.ssl.NonValidatingFactory",
        "postgres://h/x?uselibpqcompat=true",
        "mysql://h/x?ssl_disabled=false&allowMultiQueries=true",
        "redis://h?protocol=3&socket_timeout=5",
        "rediss://h?ssl_check_hostname=true",
        "grpc://h:1?pool=5",
    ] {
        let (_, notices) = targets(&[url.to_owned()], &Environment::new::<&str, &str>([])).unwrap_or_else(|why| panic!("{url}: {why}"));
        assert!(!notices.is_empty() && notices.iter().all(|notice| notice.ends_with("is ignored")), "{url}: {notices:?}");
    }
}

#[test]
fn options_and_schemas_go_with_the_session() {
    let found = postgres("options=-csearch_path%3Dtenant&application_name=x");
    assert_eq!((found.options.as_deref(), found.schemas.len()), (Some("-csearch_path=tenant"), 0));
    assert_eq!(postgres("schema=tenant").schemas, ["tenant"]);
    assert_eq!(postgres("currentSchema=a,%22b%22").schemas, ["a", "b"]);
}

#[test]
fn several_hosts_are_read_as_libpq_does() {
    let shown = |url: &str| target(url).to_string();
    assert_eq!(shown("postgres://u@a,b:5433,[::1]/x"), "postgres://u@a:5432,b:5433,[::1]:5432/x");
    assert_eq!(shown("postgres://u@/x?host=a,b&port=6000"), "postgres://u@a:6000,b:6000/x");
    assert_eq!(shown("postgres://u@/x?host=a,b&port=6000,"), "postgres://u@a:6000,b:5432/x");
    let found = postgres("hostaddr=10.0.0.1&target_session_attrs=prefer-standby&load_balance_hosts=random");
    assert_eq!((found.hosts[0].address.host.as_str(), found.hosts[0].at.unwrap().to_string().as_str()), ("h", "10.0.0.1"));
    assert_eq!((found.role, found.any_order), (ServerRole::PreferStandby, true));
    assert_eq!(shown("postgres://u@/x?hostaddr=10.0.0.1"), "postgres://u@10.0.0.1:5432/x");
    for (url, words) in [
        ("postgres://u@a,b/x?port=1,2,3", "number of ports"),
        ("postgres://u@a,b/x?hostaddr=10.0.0.1", "number of addresses"),
        ("postgres://u@a/x?hostaddr=b", "not an IP address"),
        ("postgres://u@a,/x", "names no host"),
        ("postgres://u@a,b/x?port=0", "1 to 65535"),
        ("mysql://u@a,b/x", "several hosts"),
    ] {
        let problem = problem(url);
        assert!(problem.contains(words), "{url}: {problem}");
    }
}

#[test]
fn a_redis_url_names_its_login_as_redis_py_reads_it() {
    for (url, user, password, database) in [
        ("redis://me:@h", Some("me"), None, 0),
        ("redis://me@h", Some("me"), None, 0),
        ("redis://:secret@h", None, Some("secret"), 0),
        ("redis://h?username=me&password=secret", Some("me"), Some("secret"), 0),
        ("redis://you:other@h?username=me&password=secret", Some("you"), Some("other"), 0),
        ("redis://you@h/1?password=secret&db=2", Some("you"), Some("secret"), 2),
    ] {
        let Target::Redis(redis) = target(url) else { panic!("redis") };
        let found = redis.password.as_ref().map(crate::secret::Secret::expose);
        assert_eq!((redis.username.as_deref(), found, redis.database), (user, password, database), "{url}");
    }
}

#[test]
fn errors_of_a_target_are_reported_with_its_number() {
    for (url, words) in [
        ("tcp://db", "target 1: `url` names no port"),
        ("tcp://a:1,b:2", "names several hosts"),
        ("file://relative/path", "has to have three slashes"),
        ("disk:///", "does not say how much space"),
        ("disk:///?free=lots", "not a size"),
        ("redis+sentinel://a:26379", "does not name the master"),
        ("redis+ready://h/0", "names no service"),
        ("redis+ready://h/0?service=api&min=0", "not a whole number"),
        ("redis+cluster://a/3", "only number 0"),
        ("postgres://h/x?sslmode=verify", "unknown sslmode"),
        ("exec:", "names no command"),
        ("exec:a | b", "without shell syntax"),
        ("process:", "`wait` starts none"),
        ("process:worker", "`wait` starts none"),
        ("rediz://h", "did you mean `redis`?"),
        ("https+x://h", "write `https://`"),
        ("mssql://h", "`tcp://host:port` checks whether the port accepts a connection"),
        ("kafka://h/topic", "more than `kafka://host:port`"),
        ("mongodb://h/?tlsCertificateKeyFile=/x", "not supported"),
    ] {
        let problem = problem(url);
        assert!(problem.contains(words), "{url}: {problem}");
    }
}

#[test]
fn parts_of_another_kind_are_named() {
    let file = std::env::temp_dir().join(format!("portcullis-parts-{}.toml", std::process::id()));
    let parts = "[checks.a]\nkind = 'redis'\nhost = 'h'\nexpect = { status = 200 }\nca = '/ca.pem'\n[checks.b]\ntargets = []\n\
                 [checks.c]\nca = '/ca.pem'\n[[checks.c.targets]]\nurl = 'tcp://h:1'\n[[checks.c.targets]]\nvariables = 'REDIS'\n\
                 [modes.x]\ncommand = ['x']\n";
    std::fs::write(&file, parts).unwrap();
    let request = RunOptions { file: Some(file.clone()), mode: Some("x".to_owned()), ..RunOptions::default() };
    let problems = resolve(&request, &Environment::new::<&str, &str>([])).err().unwrap().to_string();
    std::fs::remove_file(&file).unwrap();
    for words in [
        "`expect` in [checks.a] has no effect for a target of kind redis",
        "`ca` in [checks.a] has no effect without TLS",
        "`targets` in [checks.b] names no target",
        "`ca` in [checks.c] and `targets` exclude each other",
        "is of kind tcp; several targets have to be of kind http",
        "`variables` in [checks.c.targets.2] is of kind redis",
    ] {
        assert!(problems.contains(words), "{words} is not in:\n{problems}");
    }
    assert!(!problems.contains("[checks.c] names no target"), "{problems}");
}

#[test]
fn an_http_check_reads_its_redirects_and_its_proxy() {
    let http = |keys: &str| match of_http(keys) {
        Ok(Target::Http(http)) => (http.redirects, http.environment_proxy),
        other => panic!("{keys}: {other:?}"),
    };
    assert_eq!(http(""), (None, false));
    assert_eq!(http("redirects = 0"), (Some(0), false));
    assert_eq!(http("redirects = '3'\nproxy = 'environment'"), (Some(3), true));
    for (keys, words) in [
        ("redirects = 21", "`redirects` in [checks.a] is `21`; expected a whole number from 0 to 20"),
        ("proxy = 'http://p:1'", "`proxy` in [checks.a] is `http://p:1`; expected one of `environment`"),
        ("kind = 'tcp'\nproxy = 'environment'", "the url begins with"),
    ] {
        let problems = of_http(keys).unwrap_err();
        assert!(problems.contains(words), "{words} is not in:\n{problems}");
    }
}

/// The target of a check of `http://h/` with further keys.
fn of_http(keys: &str) -> Result<Target, String> {
    let variable = ("PORTCULLIS_CHECKS__A", format!("{{ url = \"http://h/\", {} }}", keys.replace('\n', ", ").replace('\'', "\"")));
    let request = RunOptions { arguments: vec!["true".into()], ..RunOptions::default() };
    let plan =
        resolve(&request, &Environment::new([(variable.0, variable.1.replace(", }", " }").as_str())])).map_err(|why| why.to_string())?;
    plan.checks.into_iter().next().map(|check| check.target).ok_or_else(|| "no check".to_owned())
}

fn by_variables(variables: &[(&str, &str)]) -> Result<(String, Target, Vec<String>), String> {
    let mut set = vec![("REDIS_USE_SENTINEL", "")];
    set.extend(variables);
    // The preset of a run without a file, which applies to all runs that name no file.
    let plan = resolve(&RunOptions { arguments: vec!["true".into()], ..RunOptions::default() }, &Environment::new(set))
        .map_err(|why| why.to_string())?;
    let check = plan.checks.into_iter().next().ok_or("no check")?;
    Ok((plan.heartbeat.ok_or("no heartbeat")?.target.to_string(), check.target, plan.notices))
}

#[test]
fn an_applications_own_variables_name_its_redis_in_every_way_it_is_run() {
    let names = ["c1:7000, c2:7001 ,c3", "s1:26380,s2"];
    let sentinel = [
        ("REDIS_USE_SENTINEL", "True"),
        ("REDIS_SENTINELS", names[1]),
        ("REDIS_SENTINEL_SERVICE_NAME", "main"),
        ("REDIS_SENTINEL_USERNAME", "watch"),
        ("REDIS_SENTINEL_PASSWORD", "secret/1"),
        ("REDIS_USERNAME", "me"),
        ("REDIS_PASSWORD", "secret@2"),
        ("REDIS_DB", "3"),
        ("REDIS_USE_CLUSTERS", "true"),
    ];
    let cluster =
        [("REDIS_USE_CLUSTERS", "true"), ("REDIS_CLUSTERS", names[0]), ("REDIS_CLUSTERS_PASSWORD", "secret"), ("REDIS_USERNAME", "x")];
    for (variables, shown) in [
        (&[("REDIS_HOST", "cache")][..], "redis://cache:6379/0"),
        (&[("REDIS_HOST", "fe80::1"), ("REDIS_PORT", "tcp://10.0.0.1:6390"), ("REDIS_DB", "2")], "redis://[fe80::1]:6390/2"),
        (&[("REDIS_HOST", "cache:6380"), ("REDIS_USERNAME", "u"), ("REDIS_PASSWORD", "secret:#/?@")], "redis://u@cache:6380/0"),
        (&[("REDIS_HOST", "cache"), ("REDIS_USE_SSL", "true")], "rediss://cache:6379/0"),
        (&sentinel, "redis+sentinel://me@s1:26380,s2:26379/main/3"),
        (&cluster, "redis+cluster://c1:7000,c2:7001,c3:6379"),
    ] {
        let (heartbeat, target, _) = by_variables(variables).unwrap_or_else(|why| panic!("{variables:?}: {why}"));
        assert_eq!((heartbeat.as_str(), target.to_string().as_str()), (shown, shown), "{variables:?}");
        assert!(!format!("{target:?}").contains("secret"), "{variables:?}");
    }
    let Ok((_, Target::Sentinel(found), _)) = by_variables(&sentinel) else { panic!("sentinels") };
    assert_eq!(found.sentinel_login.0.as_deref(), Some("watch"));
    assert_eq!(found.sentinel_login.1.as_ref().map(crate::secret::Secret::expose), Some("secret/1"));
    assert_eq!(found.master.password.as_ref().map(crate::secret::Secret::expose), Some("secret@2"));
    let Ok((_, Target::Cluster(found), _)) = by_variables(&cluster) else { panic!("a cluster") };
    assert_eq!((found.login.username, found.login.password.as_ref().map(crate::secret::Secret::expose)), (None, Some("secret")));
}

#[test]
fn variables_verify_a_certificate_only_if_they_request_it_and_that_is_reported() {
    let files = [("REDIS_SSL_CA_CERTS", "/ca.pem"), ("REDIS_SSL_CERTFILE", "/c.pem"), ("REDIS_SSL_KEYFILE", "/k.pem")];
    let with = |demands: &'static str| {
        let mut variables = vec![("REDIS_HOST", "h"), ("REDIS_USE_SSL", "1"), ("REDIS_SSL_CERT_REQS", demands)];
        variables.extend(files);
        let Ok((_, Target::Redis(target), notices)) = by_variables(&variables) else { panic!("a redis") };
        (target.tls.unwrap_or_else(|| panic!("TLS")), notices)
    };
    let (tls, notices) = with("CERT_REQUIRED");
    assert_eq!((tls.verify, tls.ca.as_deref()), (Verify::Full, Some(std::path::Path::new("/ca.pem"))));
    assert!(tls.identity.is_some_and(|identity| identity.key == std::path::Path::new("/k.pem")));
    assert!(!notices.iter().any(|notice| notice.contains("not verified")), "{notices:?}");
    for demands in ["", "CERT_NONE", "whatever"] {
        let (tls, notices) = with(demands);
        assert_eq!(tls.verify, Verify::Nothing, "{demands}");
        assert!(notices.iter().any(|notice| notice.contains("not verified")), "{notices:?}");
    }
}

#[test]
fn errors_of_variables_name_them() {
    for (variables, problem) in [
        (&[("REDIS_USE_SENTINEL", "true")][..], "REDIS_USE_SENTINEL, but REDIS_SENTINELS is not set"),
        (&[("REDIS_USE_SENTINEL", "true"), ("REDIS_SENTINELS", "a")], "but REDIS_SENTINEL_SERVICE_NAME is not set"),
        (&[("REDIS_USE_CLUSTERS", "true")], "REDIS_USE_CLUSTERS, but REDIS_CLUSTERS is not set"),
        (&[("REDIS_HOST", "a"), ("REDIS_USE_SSL", "maybe")], "REDIS_USE_SSL to be `maybe`; expected `true` or `false`"),
        (&[("REDIS_HOST", "a"), ("REDIS_PORT", "x")], "REDIS_HOST with REDIS_PORT has a port that is not a number"),
        (&[("REDIS_HOST", "a"), ("REDIS_DB", "x")], "`variables` in [checks.redis] names a database that is not a number"),
        (
            &[("REDIS_HOST", "a"), ("PORTCULLIS_CHECKS__REDIS__KIND", "redis")],
            "excludes `kind`: both say what kind of Redis it is; keep one of them",
        ),
    ] {
        let problem_text = by_variables(variables).err().unwrap_or_else(|| panic!("{variables:?} is taken"));
        assert!(problem_text.contains(problem), "{variables:?}: {problem_text}");
    }
    let over = [("REDIS_HOST", "a"), ("PORTCULLIS_CHECKS__REDIS__PASSWORD", "other"), ("PORTCULLIS_CHECKS__REDIS__DATABASE", "5")];
    assert_eq!(by_variables(&over).unwrap().0, "redis://a:6379/5", "parts lie over the variables");
}
