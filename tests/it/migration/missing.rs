//! A missing database: its class, and a migration that creates it.

use super::databases::elsewhere;
use crate::support::mariadb::MariaDb;
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{Portcullis, Postgres, secs};

fn check(server: &Postgres, database: &str, more: &str) -> String {
    format!("[checks.db]\nurl = \"postgres://app:{}@127.0.0.1:{}/{database}\"\n{more}", percent(PASSWORD), server.port)
}

const READY: &str = "missing_database = \"ready\"";

#[test]
fn a_missing_database_has_its_own_class_and_ends_the_wait_if_configured() {
    let server = Postgres::start();
    let reported = elsewhere("one", "true\n", &check(&server, "nowhere", "fail_fast = true"), "").output().exits(69);
    reported.says(&["no such database", "[missing]", "3D000", "missing_database"]);
}

#[test]
fn a_migration_creates_the_database_in_one_replica_while_the_others_wait() {
    let server = Postgres::start();
    server.psql("ALTER ROLE app CREATEDB");
    let line = format!(
        "PGPASSWORD='{}' psql -h 127.0.0.1 -p {} -U app -X -q -A -t -v ON_ERROR_STOP=1",
        PASSWORD.replace('\'', r"'\''"),
        server.port
    );
    let script = format!(
        "echo migrating\n{line} -d postgres -c 'CREATE DATABASE shop' && {line} -d shop -c 'CREATE TABLE done AS SELECT true AS ok'\n"
    );
    let lock = "check = \"SELECT ok FROM done\"";
    let runs: Vec<_> =
        (0..3).map(|number| elsewhere(&format!("replica-{number}"), &script, &check(&server, "shop", READY), lock).start()).collect();
    for run in &runs {
        run.until_status("/readyz", 200, secs(120));
        run.until_status("/healthz", 200, secs(30));
    }
    let migrated = runs.iter().filter(|run| run.streams().0.contains("migrating")).count();
    assert_eq!(migrated, 1, "it would have failed a second time");
    assert_eq!(server.try_psql("shop", "SELECT ok FROM done").unwrap(), "t");
    drop(runs);
    // Once it was there, its end is a failure.
    let run = elsewhere("late", &script, &check(&server, "shop", &format!("{READY}\ninterval = \"200ms\"")), lock).start();
    run.until_status("/healthz", 200, secs(60));
    server.psql("DROP DATABASE shop WITH (FORCE)");
    run.until_status("/healthz", 500, secs(30));
    run.until_stderr("no such database", secs(10));
}

#[test]
fn a_migration_creates_the_database_in_mariadb() {
    let server = MariaDb::start("secret", &[]);
    server.sql("GRANT ALL ON shop.* TO app@'%'");
    let line = format!("mariadb --no-defaults -h 127.0.0.1 -P {} -uapp -psecret", server.port);
    let script = format!("echo migrating\n{line} -e 'CREATE DATABASE shop; CREATE TABLE shop.done AS SELECT 0 AS ok'\n");
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/shop\"\n{READY}", server.port);
    let lock = "check = \"SELECT ok FROM done\"";
    let runs: Vec<_> = (0..3).map(|number| elsewhere(&format!("replica-{number}"), &script, &check, lock).start()).collect();
    for run in &runs {
        run.until_status("/readyz", 200, secs(120));
    }
    assert_eq!(runs.iter().filter(|run| run.streams().0.contains("migrating")).count(), 1);
}

#[test]
fn only_databases_can_be_missing() {
    let run = Portcullis::new().config("[checks.x]\nurl = \"tcp://127.0.0.1:1\"\nmissing_database = \"ready\"\n").command(["true"]);
    run.output().exits(78).says(&["applies only to a check of a postgres or mysql database"]);
}
