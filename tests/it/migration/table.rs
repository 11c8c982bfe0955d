//! The lock is a row of a table, on servers with PostgreSQL's protocol but without advisory locks, and on PostgreSQL itself.

use super::databases::elsewhere;
use super::pooler::prepared;
use crate::support::child::stubborn;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{PASSWORD, percent};
use crate::support::refusing::{Refusing, Rule};
use crate::support::{Portcullis, Postgres, Stopwatch, eventually, secs, wait};

/// What CockroachDB, YugabyteDB and Aurora DSQL lack between them.
const LACKING: &[Rule] = &[
    ("advisory", "0A000"),
    ("LISTEN", "0A000"),
    ("pg_notify", "0A000"),
    ("pg_locks", "42P01"),
    ("pg_stat_activity", "42P01"),
    ("pg_backend_pid", "42883"),
    ("pg_is_in_recovery", "42883"),
    ("SET idle", "42704"),
    ("to_regproc", "42883"),
];

fn check(port: u16) -> String {
    format!("[checks.db]\nurl = \"postgres://app:{}@127.0.0.1:{port}/app\"", percent(PASSWORD))
}

fn at(port: u16, name: &str, script: &str, table: &str) -> Portcullis {
    elsewhere(name, script, &check(port), &format!("lock_table = \"{table}\""))
}

/// A server whose role may make tables.
fn server() -> Postgres {
    let server = prepared();
    server.psql("GRANT CREATE ON SCHEMA public TO app");
    server
}

#[test]
fn a_server_that_lacks_what_the_lock_needs_is_78_at_once_and_names_the_other_locks() {
    let server = prepared();
    for rule in [&[("LISTEN", "0A000")][..], &[("pg_try_advisory", "42883")], &[("pg_locks", "42501")], LACKING] {
        let rule: &'static [Rule] = Vec::leak(rule.to_vec());
        let port = Refusing::before(server.port, rule).port;
        let reported = elsewhere("one", "echo migrated\n", &check(port), "").output().exits(78);
        assert!(reported.took < secs(20), "{:?}", reported.took);
        assert_eq!(reported.stdout, "");
        reported.says(&["the server does not support what it needs (ERROR ", "`lock_table`", "lock = \"none\""]);
    }
}

#[test]
fn a_row_lets_one_migrate_at_a_time_where_there_are_no_advisory_locks_and_counts_the_holders() {
    let server = server();
    let port = Refusing::before(server.port, LACKING).port;
    let script = format!(
        "{0} -c \"INSERT INTO runs (event) VALUES ('begin $PORTCULLIS_LOCK_FENCE')\"\nsleep 0.3\n{0} -c \"INSERT INTO runs (event) VALUES ('end')\"\n",
        server.psql_line()
    );
    let runs: Vec<_> = (0..4).map(|number| at(port, &format!("replica-{number}"), &script, "My Locks").start()).collect();
    for run in &runs {
        run.until_status("/readyz", 200, secs(120));
        let said = run.streams().1;
        assert!(!said.contains("disappeared without releasing it"), "{said}");
    }
    let events = server.psql("SELECT string_agg(event, ' ' ORDER BY id) FROM runs");
    assert_eq!(events, "begin 1 end begin 2 end begin 3 end begin 4 end");
    assert_eq!(server.psql("SELECT name, owner, fence FROM \"My Locks\""), "default||4");
}

#[test]
fn a_row_behind_a_pooler_is_kept_over_its_lease_and_has_a_schema() {
    if !crate::support::slow("a_row_behind_a_pooler_is_kept_over_its_lease_and_has_a_schema") {
        return;
    }
    let server = server();
    server.psql("CREATE SCHEMA ops AUTHORIZATION app");
    let pooler = PgBouncer::before(&server);
    let holder = at(pooler.port, "holder", "echo migrating\nsleep 45\n", "ops.locks").start();
    holder.until_stdout("migrating", secs(60));
    let next = at(pooler.port, "next", "echo migrating\n", "ops.locks").start();
    next.until_stderr("portcullis-lock:table:holder:", secs(60));
    wait::never("both at once", secs(40), || next.streams().0.contains("migrating"));
    for run in [holder, next] {
        run.until_status("/readyz", 200, secs(60));
        assert!(!run.streams().1.contains("is lost"), "{}", run.streams().1);
    }
    assert_eq!(server.psql("SELECT fence FROM ops.locks"), "2");
}

#[test]
fn the_row_of_a_killed_holder_is_taken_over_when_its_lease_is_over() {
    if !crate::support::slow("the_row_of_a_killed_holder_is_taken_over_when_its_lease_is_over") {
        return;
    }
    let server = server();
    let mut holder = at(server.port, "holder", &stubborn().replace("ready", "migrating"), "locks").start();
    holder.until_stdout("migrating", secs(60));
    let next = at(server.port, "next", "true\n", "locks").start();
    next.until_stderr("portcullis-lock:table:holder:", secs(60));
    holder.signal(9);
    holder.wait_exit(secs(20));
    drop(holder);
    let watch = Stopwatch::start();
    next.until_stderr("disappeared without releasing it", secs(60));
    assert!(watch.elapsed() > secs(23), "{:?}", watch.elapsed());
    next.until_status("/readyz", 200, secs(60));
}

#[test]
fn a_row_that_another_replica_got_stops_the_migration_with_76() {
    let server = server();
    let mut run = at(server.port, "one", &crate::support::child::talker(&[], 0).replace("ready", "migrating"), "locks").start();
    run.until_stdout("migrating", secs(60));
    server.psql("UPDATE locks SET owner = 'thief', fence = fence + 1, expires_at = now() + interval '1 hour'");
    run.exits(76);
    assert_eq!(run.streams().0, "migrating\ngot 15\n");
    assert_eq!(server.psql("SELECT owner FROM locks"), "thief");
}

#[test]
fn a_row_whose_connection_is_ended_is_still_ours() {
    let server = server();
    let run = at(server.port, "one", "echo migrating\nsleep 4\n", "locks").start();
    run.until_stdout("migrating", secs(60));
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-lock:%'";
    assert_eq!(server.psql(end), "1");
    run.until_stderr("the migration lock is regained", secs(20));
    run.until_status("/readyz", 200, secs(60));
    assert_eq!(server.psql("SELECT owner, fence FROM locks"), "|1");
}

#[test]
fn a_table_that_may_not_be_made_is_78_with_the_statement_that_makes_it() {
    let server = prepared();
    server.psql("ALTER SCHEMA public OWNER TO postgres");
    at(server.port, "one", "true\n", "locks").output().exits(78).says(&["CREATE TABLE IF NOT EXISTS \"locks\"", "42501"]);
    server.psql("CREATE TABLE locks (name varchar(255) PRIMARY KEY, owner varchar(255) NOT NULL, previous_owner varchar(255) NOT NULL, fence bigint NOT NULL, expires_at timestamptz NOT NULL); GRANT SELECT, INSERT, UPDATE ON locks TO app");
    at(server.port, "one", "true\n", "locks").start().until_status("/readyz", 200, secs(60));
    eventually("it is given back", secs(10), || (server.psql("SELECT owner, fence FROM locks") == "|1").then_some(()));
}

#[test]
fn a_table_fits_only_a_lock_in_postgres() {
    let server = prepared();
    for (more, words) in [
        ("lock_table = \"a.b.c\"", "is not the name of a table"),
        ("lock_table = \"locks\"\nlock_key = 1", "two kinds of lock"),
        ("lock_table = \"locks\"\nlock = \"file:///tmp/lock\"", "the lock is of another kind"),
    ] {
        elsewhere("one", "true\n", &check(server.port), more).output().exits(78).says(&[words]);
    }
}
