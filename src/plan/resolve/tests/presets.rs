//! Every preset resolved: the effects of Dify's variables, and that no preset is invalid.

use super::*;
use crate::config::node::Value;

fn of(preset: &str, variables: &[(&str, &str)]) -> Result<Plan, Problems> {
    let request = RunOptions { preset: Some(preset.to_owned()), ..RunOptions::default() };
    resolve(&request, &Environment::new(variables.iter().copied()))
}

fn targets_of(preset: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let plan = of(preset, variables).unwrap_or_else(|problems| panic!("{preset} {variables:?}: {problems}"));
    plan.checks.iter().map(|check| format!("{} {}", check.name, check.target)).collect()
}

/// What a preset needs that names no application by itself.
const NEEDED: [(&str, &str); 3] = [("GUNICORN_APP", "app:app"), ("CELERY_APP", "app"), ("DJANGO_PROJECT", "site")];

#[test]
fn every_mode_of_every_preset_can_be_planned() {
    for preset in preset::names() {
        let mut modes: Vec<String> = preset::read(preset)
            .unwrap()
            .iter()
            .filter(|entry| entry.key == "modes")
            .flat_map(|entry| {
                let Value::Table(modes) = &entry.node.value else { panic!("[modes] is a table") };
                modes.iter().map(|mode| mode.key.clone()).collect::<Vec<_>>()
            })
            .collect();
        assert!(!modes.is_empty(), "{preset}");
        modes.push(String::new());
        for mode in modes {
            let mut variables = NEEDED.to_vec();
            variables.extend([
                ("MODE", mode.as_str()),
                ("MIGRATION_ENABLED", "true"),
                ("DATABASE_URL", "postgres://a:b@db/app"),
                ("DB_HOST", "db"),
            ]);
            // The arguments are the whole command in some modes.
            let arguments =
                (mode == "command" || mode == "server" && preset == "rails").then(|| vec!["./bin/rails".into(), "server".into()]);
            let request = RunOptions { preset: Some(preset.to_owned()), arguments: arguments.unwrap_or_default(), ..RunOptions::default() };
            let environment = Environment::new(variables.iter().copied());
            let plan = resolve(&request, &environment).unwrap_or_else(|problems| panic!("{preset} {mode}: {problems}"));
            let refused = plan.refusal.is_some();
            assert!(!refused || mode == "job", "{preset} {mode}");
            assert_eq!(plan.main.is_none(), refused || mode == "migration", "{preset} {mode}");
        }
    }
}

#[test]
fn every_way_to_name_difys_database_is_understood() {
    let common = [("DB_HOST", "db"), ("DB_PASSWORD", "p@ss:w/ord%"), ("DB_USERNAME", "me"), ("DB_DATABASE", "flow")];
    for (kind, shown) in [
        ("", "postgres://me@db:5432/flow"),
        ("postgresql", "postgres://me@db:5432/flow"),
        ("mysql", "mysql://me@db:5432/flow"),
        ("oceanbase", "mysql://me@db:5432/flow"),
        ("seekdb", "mysql://me@db:5432/flow"),
    ] {
        let mut variables = common.to_vec();
        variables.push(("DB_TYPE", kind));
        for preset in ["dify", "dify@1.10.1"] {
            assert_eq!(targets_of(preset, &variables)[0], format!("db {shown}"), "{preset} {kind}");
        }
    }
    for (kind, shown) in [("", "postgres"), ("postgresql+psycopg2", "postgres"), ("mysql+pymysql", "mysql")] {
        let mut variables = common.to_vec();
        variables.push(("SQLALCHEMY_DATABASE_URI_SCHEME", kind));
        for preset in ["dify@1.10.0", "dify@0.15.3", "dify@0.6.16"] {
            assert_eq!(targets_of(preset, &variables)[0], format!("db {shown}://me@db:5432/flow"), "{preset} {kind}");
        }
    }
    for preset in ["dify", "dify@0.15.3"] {
        assert_eq!(targets_of(preset, &[])[..2], ["db postgres://postgres@localhost:5432/dify", "redis redis://localhost:6379/0"]);
        let plan = of(preset, &[("DB_EXTRAS", "sslmode=require&options=-c%20timezone%3DUTC")]).unwrap();
        assert!(matches!(&plan.checks[0].target, Target::Postgres(target) if target.sslmode == crate::plan::target::SslMode::Require));
    }
}

#[test]
fn every_way_to_name_difys_redis_and_its_broker_is_understood() {
    let sentinel = [
        ("REDIS_USE_SENTINEL", "true"),
        ("REDIS_SENTINELS", "s1:26379,s2:26380"),
        ("REDIS_SENTINEL_SERVICE_NAME", "main"),
        ("REDIS_DB", "2"),
    ];
    let cluster = [("REDIS_USE_CLUSTERS", "true"), ("REDIS_CLUSTERS", "c1:7000,c2:7001"), ("REDIS_CLUSTERS_PASSWORD", "pw")];
    for preset in ["dify", "dify@0.15.3"] {
        assert_eq!(targets_of(preset, &sentinel)[1], "redis redis+sentinel://s1:26379,s2:26380/main/2");
        assert_eq!(targets_of(preset, &cluster)[1], "redis redis+cluster://c1:7000,c2:7001");
        let plan = of(preset, &cluster).unwrap();
        assert_eq!(
            plan.heartbeat.map(|heartbeat| (heartbeat.key, heartbeat.target.to_string())),
            Some(("api_service_status".to_owned(), "redis+cluster://c1:7000,c2:7001".to_owned()))
        );
        for mode in ["worker", "beat"] {
            let broker = |variables: &[(&str, &str)]| {
                let mut all = vec![("MODE", mode)];
                all.extend(variables);
                targets_of(preset, &all).get(2).cloned()
            };
            let open = ("CELERY_BROKER_URL", "redis://:difyai123456@redis:6379/1");
            assert_eq!(broker(&[open]).as_deref(), Some("broker redis://redis:6379/1"));
            assert_eq!(broker(&[open, ("BROKER_USE_SSL", "True")]).as_deref(), Some("broker rediss://redis:6379/1"));
            assert_eq!(broker(&[open, ("BROKER_USE_SSL", "false")]).as_deref(), Some("broker redis://redis:6379/1"));
            assert_eq!(
                broker(&[("CELERY_BROKER_URL", "rediss://redis/1?ssl_cert_reqs=none")]).as_deref(),
                Some("broker rediss://redis:6379/1")
            );
            for other in ["", "amqp://guest@mq//", "sentinel://s1:26379/1;sentinel://s2:26379/1"] {
                assert_eq!(broker(&[("CELERY_BROKER_URL", other)]), None, "celery alone knows {other}");
            }
            let verified = [open, ("BROKER_USE_SSL", "1"), ("REDIS_SSL_CERT_REQS", "CERT_REQUIRED"), ("REDIS_SSL_CA_CERTS", "/ca.pem")];
            let mut all = verified.to_vec();
            all.push(("MODE", mode));
            let plan = of(preset, &all).unwrap();
            let Target::Redis(target) = &plan.checks[2].target else { panic!("a redis") };
            assert_eq!(target.tls.as_ref().map(|tls| tls.verify), Some(crate::plan::target::Verify::Full));
        }
    }
}

#[test]
fn difys_heartbeat_bears_the_prefix_of_its_keys() {
    for preset in ["dify", "dify@0.15.3"] {
        for (prefix, key) in [("", "api_service_status"), ("team-a", "team-a:api_service_status"), ("team-a:", "team-a:api_service_status")]
        {
            let heartbeat = of(preset, &[("REDIS_KEY_PREFIX", prefix)]).unwrap().heartbeat.unwrap();
            assert_eq!(heartbeat.key, key);
        }
        assert!(of(preset, &[("REDIS_KEY_PREFIX", "{a}")]).unwrap_err().to_string().contains("`prefix` in [heartbeat] contains a brace"));
        let both = [("REDIS_KEY_PREFIX", "team-a"), ("PORTCULLIS_HEARTBEAT__KEY", "mine")];
        assert_eq!(of(preset, &both).unwrap().heartbeat.unwrap().key, "mine");
    }
    let environment = Environment::new([("REDIS_KEY_PREFIX", "team-a"), ("PORTCULLIS_PRESET", "dify")]);
    let (_, key) = heartbeat_location(None, None, "worker", &environment).unwrap().unwrap();
    assert_eq!(key, "team-a:worker_service_status");
}

#[test]
fn difys_health_is_probed_where_it_binds() {
    let started = |preset: &str, variables: &[(&str, &str)]| {
        let plan = of(preset, variables).unwrap();
        let StartSign::Answers { target, .. } = plan.main.unwrap().started.unwrap().sign else { panic!("it answers") };
        let check = plan.checks.iter().find(|check| check.name == "http").map(|check| check.target.to_string());
        assert_eq!(check, Some(target.to_string()), "{variables:?}");
        target.to_string()
    };
    for preset in ["dify", "dify@0.15.3"] {
        assert_eq!(started(preset, &[]), "http://0.0.0.0:5001/health");
        assert_eq!(started(preset, &[("DIFY_BIND_ADDRESS", "10.0.0.5"), ("DIFY_PORT", "8080")]), "http://10.0.0.5:8080/health");
        assert_eq!(started(preset, &[("DIFY_BIND_ADDRESS", "[::]")]), "http://[::]:5001/health");
        assert_eq!(started(preset, &[("DIFY_BIND_ADDRESS", "::")]), "http://[::]:5001/health");
    }
    let debug = [("DEBUG", "true"), ("DIFY_PORT", "8080")];
    assert_eq!(started("dify", &debug), "http://127.0.0.1:5001/health");
    assert_eq!(started("dify@0.15.3", &debug), "http://0.0.0.0:8080/health");
}

#[test]
fn ragflows_dependencies_bear_the_names_of_its_healthz() {
    let names = |variables: &[(&str, &str)]| targets_of("ragflow", variables);
    assert_eq!(
        names(&[]),
        [
            "db mysql://root@mysql:3306/rag_flow",
            "redis redis://redis:6379/1",
            "doc_engine http://es01:9200/_cluster/health",
            "storage http://minio:9000/minio/health/live"
        ]
    );
    let others = [("DB_TYPE", "postgres"), ("DOC_ENGINE", "infinity"), ("STORAGE_IMPL", "AWS_S3")];
    assert_eq!(names(&others)[0], "db postgres://rag_flow@postgres:5432/rag_flow");
    assert_eq!(names(&others)[2..], ["doc_engine http://infinity:23820/admin/node/current"]);
    assert_eq!(names(&[("DOC_ENGINE", "opensearch")])[2], "doc_engine http://opensearch01:9201/_cluster/health");
    assert_eq!(names(&[("DOC_ENGINE", "seekdb"), ("MYSQL_PORT", "3307")])[0], "db mysql://root@mysql:3307/rag_flow");
    assert_eq!(names(&[("DOC_ENGINE", "seekdb")])[2], "doc_engine tcp://seekdb:2881");
    let gauss = [("DB_TYPE", "GaussDB"), ("GAUSSDB_METADATA_HOST", "g"), ("GAUSSDB_METADATA_PORT", "8000")];
    assert_eq!(names(&gauss)[0], "db tcp://g:8000");
    let plan = of("ragflow", &gauss).unwrap();
    assert!(matches!(plan.migration.unwrap().lock, LockPlan::Redis { .. }), "it has a login of its own kind");
}

#[test]
fn an_unknown_preset_is_answered_with_the_nearest_one() {
    let problem = of("gunicon", &[]).unwrap_err().to_string();
    assert!(problem.starts_with("--preset: unknown preset `gunicon`; did you mean `gunicorn`?"), "{problem}");
}
