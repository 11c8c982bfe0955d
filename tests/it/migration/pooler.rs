//! Behind a pooler that lends a server's session with its name to one client after another: no such session is mistaken for a migration's.

use super::{TABLE, file};
use crate::support::child::{polite, stubborn};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::PASSWORD;
use crate::support::{Exit, Portcullis, Postgres, Running, Stopwatch, eventually, secs, slow};
use std::process::{Child, Command, Stdio};

/// Which way the lock goes to the server.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    Pooled,
    Direct,
}

/// A replica whose migration connects through the pooler.
pub(super) fn through(server: &Postgres, pooler: &PgBouncer, lock: Lock, name: &str, script: &str, more: &str) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name).env("MIGRATION_ENABLED", "true").env("PGPASSWORD", PASSWORD);
    let (migrate, child) = (run.script("migrate", script), run.script("child", &polite()));
    let config = file(server, &migrate, &child, more);
    match lock {
        Lock::Pooled => run.config(&config.replace(&server.url(), &pooler.url())),
        Lock::Direct => run.config(&config),
    }
}

/// A command line of psql that connects through the pooler.
pub(super) fn psql(pooler: &PgBouncer) -> String {
    format!("psql -h 127.0.0.1 -p {} -U app -d app -w -X -q -A -t", pooler.port)
}

/// The application: a session that bears no name, at work for so long.
pub(super) fn application(pooler: &PgBouncer, sql: &str) -> Child {
    let mut command = Command::new("psql");
    command.args(["-h", "127.0.0.1", "-p", &pooler.port.to_string(), "-U", "app", "-d", "app", "-w", "-X", "-q", "-c", sql]);
    command.env("PGPASSWORD", PASSWORD).env("PGAPPNAME", "").stdout(Stdio::null()).spawn().expect("start psql")
}

pub(super) fn prepared() -> Postgres {
    let server = Postgres::start();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app; GRANT ALL ON SEQUENCE runs_id_seq TO app");
    server
}

#[test]
fn an_idle_session_that_a_pooler_keeps_under_the_migrations_name_is_not_a_leftover() {
    let server = prepared();
    let pooler = PgBouncer::before(&server);
    let script = format!("{} -c \"INSERT INTO runs (event) VALUES ('run')\"\n", psql(&pooler));
    let first = through(&server, &pooler, Lock::Pooled, "first", &script, "").start();
    first.until_status("/readyz", 200, secs(60));
    let kept = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-mig:%:first:%' AND state = 'idle'";
    assert_eq!(server.psql(kept), "1", "the pooler keeps it");
    let watch = Stopwatch::start();
    let second = through(&server, &pooler, Lock::Pooled, "second", &script, "lock_timeout = \"20s\"").start();
    second.until_status("/readyz", 200, secs(60));
    assert!(watch.elapsed() < secs(10), "{:?}", watch.elapsed());
    assert!(!second.streams().1.contains("sessions"), "{}", second.streams().1);
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
}

#[test]
fn the_end_of_a_leftover_is_seen_under_the_pooled_lock() {
    let server = prepared();
    let pooler = PgBouncer::before(&server);
    let mut left = Command::new("psql");
    left.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "app", "-d", "app", "-w", "-X", "-q", "-c", "SELECT pg_sleep(5)"]);
    left.env("PGPASSWORD", PASSWORD).env("PGAPPNAME", "portcullis-mig:45c95949:earlier:00000001").stdout(Stdio::null());
    let mut left = left.spawn().expect("start psql");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-mig:%' AND state = 'active'";
    eventually("it is at work", secs(30), || (server.psql(sql) == "1").then_some(()));
    let watch = Stopwatch::start();
    let run = through(&server, &pooler, Lock::Pooled, "one", "true\n", "").start();
    run.until_stderr("may belong to an earlier migration", secs(30));
    run.until_status("/readyz", 200, secs(60));
    assert!(watch.elapsed() < secs(25), "{:?}", watch.elapsed());
    assert!(run.streams().1.contains("no session of an earlier migration is at work any more"), "{}", run.streams().1);
    assert!(left.wait().expect("wait for psql").success(), "it was ended");
}

/// A holder's migration leaves a session in the pooler, which lends it to the application; then the holder is killed.
fn lent(lock: Lock) {
    let server = prepared();
    // Options of libpq's are nothing that pgbouncer 1.18 knows.
    let pooler = PgBouncer::with(&server, "default_pool_size = 4\nignore_startup_parameters = options\n");
    let script = format!("{} -c 'SELECT 1'\n{}", psql(&pooler), stubborn().replace("ready", "migrating"));
    let mut holder = through(&server, &pooler, lock, "holder", &script, "").start();
    holder.until_stdout("migrating", secs(60));
    let mut application = application(&pooler, "SELECT pg_sleep(50)");
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(50)%' AND application_name LIKE 'portcullis-mig:%:holder:%'";
    eventually("the application has a session under the migration's name", secs(30), || (server.psql(sql) == "1").then_some(()));
    let next = through(&server, &pooler, lock, "next", "true\n", "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:holder:", secs(60));
    holder.signal(9);
    assert_eq!(holder.wait_exit(secs(20)), Exit::Signal(9));
    drop(holder);
    next.until_stderr("may belong to an earlier migration", secs(30));
    next.until_status("/readyz", 200, secs(90));
    assert!(application.wait().expect("wait for psql").success(), "a session of the application was ended; {}", next.streams().1);
}

#[test]
fn a_session_that_the_pooler_lends_to_the_application_is_left_alone() {
    if slow("a_session_that_the_pooler_lends_to_the_application_is_left_alone") {
        lent(Lock::Pooled);
    }
}

#[test]
fn a_session_that_the_pooler_lends_is_left_alone_by_a_lock_that_goes_past_it() {
    if slow("a_session_that_the_pooler_lends_is_left_alone_by_a_lock_that_goes_past_it") {
        lent(Lock::Direct);
    }
}

/// None of them took a clean end for an unclean one.
#[track_caller]
pub(super) fn none_settled(runs: &[Running]) {
    for run in runs {
        let said = run.streams().1;
        assert!(!said.contains("disappeared without releasing it"), "{said}");
    }
}

#[test]
fn a_container_that_ends_after_its_migration_ends_cleanly_behind_a_pooler() {
    let server = prepared();
    let pooler = PgBouncer::before(&server);
    let job = through(&server, &pooler, Lock::Pooled, "job", "echo migrating\nsleep 2\n", "").env("PORTCULLIS_MODE", "migration");
    let config = std::fs::read_to_string(job.dir().join("portcullis.toml")).unwrap() + "[modes.migration]\ncommand = []\n";
    let mut job = job.config(&config).start();
    job.until_stdout("migrating", secs(60));
    let next = through(&server, &pooler, Lock::Pooled, "next", "true\n", "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:job:", secs(60));
    job.exits(0);
    let watch = Stopwatch::start();
    next.until_status("/readyz", 200, secs(60));
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    none_settled(&[next]);
}

#[test]
fn a_holder_that_is_killed_behind_a_pooler_still_has_a_successor_that_settles() {
    let server = prepared();
    let pooler = PgBouncer::before(&server);
    let mut holder = through(&server, &pooler, Lock::Pooled, "holder", &stubborn().replace("ready", "migrating"), "").start();
    holder.until_stdout("migrating", secs(60));
    let next = through(&server, &pooler, Lock::Pooled, "next", "true\n", "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:holder:", secs(60));
    holder.signal(9);
    holder.wait_exit(secs(20));
    drop(holder);
    next.until_stderr("disappeared without releasing it", secs(30));
    next.until_status("/readyz", 200, secs(60));
}

#[test]
fn timeouts_of_a_role_do_not_end_the_lock() {
    let server = prepared();
    for (setting, value) in
        [("statement_timeout", "1s"), ("lock_timeout", "1s"), ("idle_in_transaction_session_timeout", "2s"), ("idle_session_timeout", "2s")]
    {
        server.psql(&format!("ALTER ROLE app SET {setting} = '{value}'"));
    }
    let pooler = PgBouncer::before(&server);
    let runs = [Lock::Pooled, Lock::Direct].map(|lock| {
        let run = through(&server, &pooler, lock, "one", "echo migrating\nsleep 7\n", &format!("lock_name = \"{}\"", lock as u8)).start();
        run.until_stdout("migrating", secs(60));
        run
    });
    for run in runs {
        run.until_status("/readyz", 200, secs(60));
        assert!(!run.streams().1.contains("is lost"), "{}", run.streams().1);
    }
}

#[test]
fn a_pool_of_one_connection_is_named_after_ten_seconds() {
    if !slow("a_pool_of_one_connection_is_named_after_ten_seconds") {
        return;
    }
    let server = prepared();
    let pooler = PgBouncer::with(&server, "default_pool_size = 1\n");
    let script = format!("echo migrating\n{} -c 'SELECT 1'\n", psql(&pooler));
    let run = through(&server, &pooler, Lock::Pooled, "one", &script, "").start();
    run.until_stdout("migrating", secs(60));
    let watch = Stopwatch::start();
    run.until_stderr("its pool has to be of two connections at least", secs(40));
    assert!(watch.elapsed() > secs(8), "{:?}", watch.elapsed());
}

#[test]
fn a_lock_key_that_the_tool_uses_itself_is_reported_after_ten_seconds() {
    if !slow("a_lock_key_that_the_tool_uses_itself_is_reported_after_ten_seconds") {
        return;
    }
    let server = prepared();
    let pooler = PgBouncer::before(&server);
    let script = format!("echo migrating\n{} -c 'SELECT pg_advisory_lock(72707369)'\n", server.psql_line());
    let run = through(&server, &pooler, Lock::Direct, "one", &script, "lock_key = 72707369").start();
    run.until_stderr("the tool takes the key 72707369 by itself", secs(60));
}
