//! The errors of a real pgbouncer that refuses all logins: nearly all have one SQLSTATE, so the text shows the reason.

use super::{passes, wait_with};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{Portcullis, Postgres, Running, eventually, secs};

const CURRENT: &str = "targets::poolers::a_current_pooler_s_sentences_have_their_class";

/// A server with what a pooler can be turned away for, and further lines of the pooler's file that lead there.
fn prepared() -> (Postgres, String) {
    let server = Postgres::start();
    server.psql("CREATE ROLE roomless LOGIN PASSWORD 'roomless' CONNECTION LIMIT 0");
    server.psql("CREATE ROLE barred NOLOGIN PASSWORD 'barred'");
    server.psql("CREATE DATABASE shut OWNER app");
    server.psql("ALTER DATABASE shut ALLOW_CONNECTIONS false");
    let at = format!("host=127.0.0.1 port={}", server.port);
    let databases = format!(
        "server_login_retry = 1\n[databases]\ngone = {at} dbname=gone\nshut = {at} dbname=shut\n\
         full = {at} dbname=app user=roomless password=roomless\nwrong = {at} dbname=app user=app password=wrong\n\
         barred = {at} dbname=app user=barred password=barred\n"
    );
    (server, databases)
}

/// The class and the words of the first try: the pooler makes the next one wait.
#[track_caller]
fn reports(url: &str, class: &str, words: &str) {
    let said = wait_with(&["--json", "--timeout", "0s", "--try-timeout", "20s", url]).exits(69);
    let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let target = &document["targets"][0];
    assert_eq!(target["class"], class, "{url}: {target}");
    assert!(target["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{url}: {target}");
}

fn turns_away(pooler: &PgBouncer) {
    let of = |login: &str, database: &str| format!("postgres://{login}@127.0.0.1:{}/{database}", pooler.port);
    let app = format!("app:{}", percent(PASSWORD));
    passes(&pooler.url());
    reports(&of("app:wrong", "app"), "auth", "authentication failed");
    reports(&of("nobody:wrong", "app"), "auth", "authentication failed");
    reports(&of(&app, "nowhere"), "missing", "no such database");
    // What the server says to the pooler, in the server's words.
    reports(&of(&app, "gone"), "missing", "does not exist");
    reports(&of(&app, "shut"), "missing", "not currently accepting connections");
    reports(&of(&app, "full"), "not_ready", "too many connections for role");
    reports(&of(&app, "wrong"), "auth", "authentication failed");
    reports(&of(&app, "barred"), "auth", "not permitted to log in");
}

#[test]
fn a_pooler_s_sentences_have_their_class() {
    let (mut server, databases) = prepared();
    let pooler = PgBouncer::with(&server, &databases);
    turns_away(&pooler);
    // The server goes: the pooler, which knows its greeting, lets the client in and then says why not.
    server.stop();
    eventually("it says why", secs(60), || {
        let said = wait_with(&["--timeout", "0s", "--try-timeout", "10s", &pooler.url()]).exits(69).stderr;
        (said.contains("peer not ready") && said.contains("server_login_retry")).then_some(())
    });
}

#[test]
fn a_current_pooler_s_sentences_have_their_class() {
    let (server, databases) = prepared();
    let Some(pooler) = PgBouncer::current(CURRENT, &server, &databases) else { return };
    turns_away(&pooler);
}

/// A client at work through the pooler.
fn busy(server: &Postgres, pooler: &PgBouncer) -> Running {
    let line = format!("psql -h 127.0.0.1 -p {} -U app -d app -w -X -q -c 'SELECT pg_sleep(600)'", pooler.port);
    let run = Portcullis::new().env("PGPASSWORD", PASSWORD).sh(&line).start();
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    eventually("it is at work", secs(30), || (server.psql(at_work) == "1").then_some(()));
    run
}

#[test]
fn a_pooler_without_room_is_not_ready() {
    let server = Postgres::start();
    for (settings, words) in [
        ("max_client_conn = 1\n", "no more connections allowed"),
        ("default_pool_size = 1\nmax_db_connections = 1\nquery_wait_timeout = 1\n", "query_wait_timeout"),
    ] {
        let pooler = PgBouncer::with(&server, settings);
        passes(&pooler.url());
        let client = busy(&server, &pooler);
        reports(&pooler.url(), "not_ready", words);
        drop(client);
        server
            .psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    }
}
