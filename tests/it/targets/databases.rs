//! PostgreSQL and MariaDB: every failing login, TLS as in libpq, a full server.

use super::{fails, passes, wait_with};
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{Certificates, MariaDb, Portcullis, Postgres, eventually, secs};

/// The same login, another database.
fn elsewhere(url: &str) -> String {
    format!("{}/nowhere", url.strip_suffix("/app").unwrap())
}

#[test]
fn a_wrong_login_is_distinguished_from_a_missing_database_and_from_a_full_server() {
    let mut server = Postgres::reserve();
    server.setting("max_connections=4");
    server.setting("superuser_reserved_connections=1");
    server.setting("max_wal_senders=0");
    server.launch();
    server.until_up();
    passes(&server.url());
    fails(&server.url_with("wrong"), &["authentication failed", "28P01", "check user, password and database"]);
    fails(&elsewhere(&server.url()), &["no such database", "3D000", "missing_database"]);
    let fast = wait_with(&["--fail-fast", "--timeout", "30s", &server.url_with("wrong")]).exits(69);
    assert!(fast.took < secs(10), "{:?}", fast.took);
    assert_eq!(fast.stderr.matches("28P01").count(), 1, "the cause is reported once: {}", fast.stderr);
    let holders: Vec<_> =
        (0..3).map(|_| Portcullis::new().sh(&format!("echo 'SELECT pg_sleep(60)' | {}", server.psql_line())).start()).collect();
    eventually("no connection is left", secs(30), || {
        server.try_psql("app", "SELECT 1").err().or_else(|| {
            (server.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()") == "3")
                .then(String::new)
        })
    });
    fails(&server.url(), &["too many connections", "53300"]);
    drop(holders);
}

#[test]
fn a_role_without_room_and_a_database_without_connections_are_distinguished() {
    let server = Postgres::start();
    server.psql("ALTER ROLE app CONNECTION LIMIT 0");
    fails(&server.url(), &["too many connections", "53300", "for role \"app\""]);
    server.psql("ALTER ROLE app CONNECTION LIMIT -1");
    passes(&server.url());
    server.psql("CREATE DATABASE nowhere OWNER app");
    server.psql("ALTER DATABASE nowhere ALLOW_CONNECTIONS false");
    let said = wait_with(&["--json", "--timeout", "0s", &elsewhere(&server.url())]).exits(69).stdout;
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["targets"][0]["class"], "missing", "{document}");
    fails(&elsewhere(&server.url()), &["no such database", "55000", "not currently accepting connections"]);
    server.psql("ALTER DATABASE nowhere ALLOW_CONNECTIONS true");
    passes(&elsewhere(&server.url()));
}

#[test]
fn sslmode_means_what_libpq_means() {
    let certificates = Certificates::make();
    let mut server = Postgres::reserve();
    server.launch();
    server.until_up();
    let url = |server: &Postgres, host: &str, parameters: &str| format!("{}?{parameters}", server.url()).replace("127.0.0.1", host);
    fails(&url(&server, "127.0.0.1", "sslmode=require"), &["tls handshake failed", "does not offer TLS"]);
    passes(&url(&server, "127.0.0.1", "sslmode=prefer"));
    server.stop();
    server.access("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    let ca = format!("sslrootcert={}", certificates.pem("ca").display());
    let own = format!("sslrootcert={}", certificates.pem("selfca").display());
    let mut with = |name: &str| {
        server.stop();
        server.certificate(&certificates, name);
        server.launch();
        server.until_up();
        let url = server.url();
        move |parameters: &str| format!("{url}?{parameters}")
    };
    let of = with("server");
    for mode in ["allow", "prefer", "require"] {
        passes(&of(&format!("sslmode={mode}")));
    }
    fails(&of("sslmode=disable"), &["28000"]);
    passes(&of(&format!("sslmode=verify-full&{ca}")));
    fails(&of("sslmode=verify-full"), &["UnknownIssuer", "sslrootcert"]);
    let of = with("other");
    passes(&of(&format!("sslmode=verify-ca&{ca}")));
    fails(&of(&format!("sslmode=verify-full&{ca}")), &["tls handshake failed", "belongs to another host"]);
    let of = with("cn");
    fails(&of(&format!("sslmode=verify-full&{ca}")), &["common name", "subjectAltName"]);
    let of = with("v1");
    passes(&of("sslmode=require"));
    fails(&of(&format!("sslmode=verify-full&{ca}")), &["version 1"]);
    let of = with("selfca");
    passes(&of("sslmode=require"));
    passes(&of(&format!("sslmode=verify-full&{own}")));
    fails(&of(&format!("sslmode=verify-ca&{ca}")), &["tls handshake failed"]);
    let mut config = Portcullis::new().config(&format!(
        "[checks.db]\nurl = \"{}\"\nsslmode = \"verify-full\"\nca = \"{}\"\n[modes.api]\ncommand = [\"echo\", \"started\"]\n",
        server.url(),
        certificates.pem("selfca").display()
    ));
    config = config.env("MODE", "api");
    assert_eq!(config.output().exits(0).stdout, "started\n");
}

#[test]
fn a_standby_answers_and_is_distinguished_from_a_primary() {
    let mut server = Postgres::reserve();
    server.standby();
    server.launch();
    server.until_up();
    passes(&server.url());
    passes(&format!("{}?target_session_attrs=standby", server.url()));
    fails(&format!("{}?target_session_attrs=read-write", server.url()), &["peer not ready", "accepts no writes"]);
}

#[test]
fn mariadb_accepts_the_login_over_tcp_tls_and_its_socket() {
    let certificates = Certificates::make();
    let options = [
        format!("--ssl-cert={}", certificates.pem("server").display()),
        format!("--ssl-key={}", certificates.key("server").display()),
        format!("--ssl-ca={}", certificates.pem("ca").display()),
        "--log-warnings=4".to_owned(),
    ];
    let server = MariaDb::start(PASSWORD, &options.each_ref().map(String::as_str));
    let url = |more: &str| format!("mysql://app:{}@127.0.0.1:{}/app{more}", percent(PASSWORD), server.port);
    let ca = certificates.pem("ca");
    passes(&url(""));
    passes(&url("?sslmode=disable"));
    passes(&url("?ssl-mode=REQUIRED"));
    passes(&url(&format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ca.display())));
    passes(&format!("mariadb://root@localhost/?unix_socket={}", server.socket().display()));
    fails(&url("?ssl-mode=VERIFY_IDENTITY"), &["UnknownIssuer"]);
    fails(&format!("mysql://app:wrong@127.0.0.1:{}/app", server.port), &["authentication failed", "1045"]);
    fails(&elsewhere(&url("")), &["authentication failed", "1044"]);
    let log = std::fs::read_to_string(server.log()).unwrap();
    let aborted: Vec<_> = log.lines().filter(|line| line.contains("Aborted") && line.contains("db: 'app'")).collect();
    assert_eq!(aborted, Vec::<&str>::new());
    assert_eq!(server.sql("SELECT count(*) FROM information_schema.processlist WHERE user = 'app'"), "0");
}

#[test]
fn a_mariadb_that_is_full_is_not_ready_and_is_again_when_one_leaves() {
    let server = MariaDb::start(PASSWORD, &["--max-connections=10", "--extra-port=0"]);
    let url = format!("mysql://app:{}@127.0.0.1:{}/app", percent(PASSWORD), server.port);
    passes(&url);
    // One that comes while our own question has the last place tries again.
    let client = format!("mariadb --no-defaults -h 127.0.0.1 -P {} -uapp app -e 'SELECT SLEEP(600)'", server.port);
    let line = format!("until {client}; do sleep 0.1; done");
    let mut holders: Vec<_> = (0..10).map(|_| Portcullis::new().env("MYSQL_PWD", PASSWORD).sh(&line).start()).collect();
    // One connection more is root's.
    let held = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%' AND USER = 'app'";
    eventually("no connection is left", secs(60), || (server.try_sql(held).ok()? == "10").then_some(()));
    fails(&url, &["too many connections", "1040", "Too many connections"]);
    holders.pop();
    eventually("one has left", secs(30), || (server.try_sql(held).ok()? == "9").then_some(()));
    passes(&url);
}
