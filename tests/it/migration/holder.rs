//! The holder and the replicas after it: hand-overs, leftovers of an earlier migration, a lost lock.

use super::{TABLE, migration, replica};
use crate::support::child::stubborn;
use crate::support::postgres::PASSWORD;
use crate::support::{Exit, Portcullis, Postgres, Stopwatch, eventually, process, secs, slow, wait};
use std::process::{Child, Command};

/// The key of the lock `default`, as PostgreSQL takes it.
const KEY: &str = "5028648633260024730";

/// A migration that locks a table in a session of the role `app`, over TCP as an application's driver does.
fn blocking(server: &Postgres, before: &str) -> String {
    format!(
        "echo migrating\n{before} psql -h 127.0.0.1 -p {} -U app -d app -w -X -q -c \
         \"BEGIN; LOCK TABLE runs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600); COMMIT\"\n",
        server.port
    )
}

fn as_app(run: Portcullis) -> Portcullis {
    run.env("PGPASSWORD", PASSWORD)
}

fn prepared() -> Postgres {
    let server = Postgres::start();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app");
    server
}

fn sessions(server: &Postgres, like: &str) -> String {
    server.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{like}%'"))
}

fn until_locked(server: &Postgres) {
    let sql = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'runs'::regclass AND granted";
    eventually("the migration has locked the table", secs(60), || (server.psql(sql) == "1").then_some(()));
}

fn end_lock_sessions(server: &Postgres, instance: &str) {
    let sql =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-lock:%:{instance}:%'");
    assert!(server.psql(&sql).contains('t'), "no session of {instance}'s lock");
}

/// A session of the role `app` that queues inside the server for our lock and keeps it.
fn thief(server: &Postgres) -> Child {
    let mut command = Command::new("psql");
    command.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "app", "-d", "app", "-w", "-X", "-q"]);
    command.args(["-c", &format!("SELECT pg_advisory_lock({KEY}), pg_sleep(600)")]).env("PGPASSWORD", PASSWORD);
    let child = command.spawn().expect("start psql");
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    eventually("the thief queues", secs(30), || (server.psql(sql) == "1").then_some(()));
    child
}

fn end(mut child: Child) {
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn a_lock_that_was_lost_in_a_gap_lets_nothing_continue() {
    let server = prepared();
    let mut run = replica(&server, "first", "echo migrating; while [ ! -e go ]; do sleep 0.1; done\n", "").start();
    run.until_stdout("migrating", secs(60));
    let migration = run.child_pid("migrate");
    run.signal(libc::SIGSTOP);
    eventually("it stands still", secs(20), || process::stands_still(run.pid()).then_some(()));
    end_lock_sessions(&server, "first");
    // The migration itself succeeds meanwhile; it is unknown who else had the lock by then.
    std::fs::write(run.dir().join("go"), "").unwrap();
    eventually("the migration is over", secs(20), || (!process::alive(migration)).then_some(()));
    wait::never("it runs", secs(13), || !process::stands_still(run.pid()));
    run.signal(libc::SIGCONT);
    run.exits(76);
    assert!(!run.streams().1.contains("starting the process"), "{}", run.streams().1);
    run.leaves_nothing();
}

#[test]
fn a_clean_hand_over_takes_no_time_and_an_unclean_one_settles() {
    let server = prepared();
    let mut first = replica(&server, "first", &stubborn().replace("ready", "migrating"), "").start();
    first.until_stdout("migrating", secs(60));
    let second = replica(&server, "second", "sleep 2\n", "").start();
    second.until_stderr("first at 127.0.0.1 holds the migration lock, connected for ", secs(60));
    second.until_stderr("waiting behind portcullis-lock:45c95949:first:", secs(60));
    let third = replica(&server, "third", "true\n", "").start();
    third.until_stderr("waiting behind portcullis-lock:45c95949:first:", secs(60));
    let child = first.child_pid("migrate");
    first.signal(9);
    assert_eq!(first.wait_exit(secs(20)), Exit::Signal(9));
    let watch = Stopwatch::start();
    eventually("the killed replica's migration is gone", secs(10), || (!process::alive(child)).then_some(()));
    let settles = || [&second, &third].iter().any(|run| run.get("/status").body.contains(r#""role":"settling""#));
    eventually("one of them settles", secs(20), || settles().then_some(()));
    for run in [&second, &third] {
        run.until_status("/readyz", 200, secs(60));
    }
    assert!(watch.elapsed() >= secs(8) && watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    let settled = [&second, &third].iter().filter(|run| run.streams().1.contains("disappeared without releasing it")).count();
    assert_eq!(settled, 1, "a replica that came after a clean end did not wait");
}

#[test]
fn a_killed_migration_client_takes_its_session_along() {
    let server = prepared();
    let mut run = as_app(replica(&server, "one", &blocking(&server, "exec"), "")).start();
    until_locked(&server);
    assert_eq!(sessions(&server, "portcullis-mig:45c95949:one:"), "1", "it bears the lock's name");
    process::send(run.child_pid("psql"), 9);
    run.exits(137);
    eventually("the server has ended the session", secs(10), || (sessions(&server, "portcullis-mig:") == "0").then_some(()));
    assert_eq!(server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
}

#[test]
fn the_session_of_a_killed_holder_is_gone_before_the_next_one_migrates() {
    let server = prepared();
    let mut holder = as_app(replica(&server, "holder", &blocking(&server, ""), "")).start();
    until_locked(&server);
    let next = replica(&server, "next", &migration(&server, "0"), "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:holder:", secs(60));
    holder.signal(9);
    holder.wait_exit(secs(20));
    drop(holder);
    next.until_status("/readyz", 200, secs(60));
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
}

#[test]
fn a_session_that_outlives_its_client_is_ended_after_half_a_minute_and_no_other_is() {
    if !slow("a_session_that_outlives_its_client_is_ended_after_half_a_minute_and_no_other_is") {
        return;
    }
    let server = prepared();
    let mut bystander = Command::new("psql");
    bystander.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "app", "-d", "app", "-w", "-X", "-c", "SELECT pg_sleep(600)"]);
    let bystander = bystander.env("PGPASSWORD", PASSWORD).env("PGAPPNAME", "portcullis-mig:ffffffff:other:00000001").spawn().unwrap();
    eventually("another lock's migration runs", secs(30), || (sessions(&server, "portcullis-mig:ffffffff") == "1").then_some(()));
    let holder = as_app(replica(&server, "holder", &blocking(&server, "env -u PGOPTIONS"), "")).env("PORTCULLIS_LOG", "debug");
    let mut holder = holder.start();
    until_locked(&server);
    let next = replica(&server, "next", &migration(&server, "0"), "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:holder:", secs(60));
    // Whose it is, its holder says every few seconds; nothing but the next such word says that the one who queues has heard it.
    holder.until_stderr("a session of the migration is directly connected", secs(30));
    wait::never("the holder ends by itself", secs(6), || !holder.runs());
    holder.signal(9);
    holder.wait_exit(secs(20));
    drop(holder);
    let watch = Stopwatch::start();
    eventually("it is waited for", secs(30), || next.get("/status").body.contains(r#""role":"fencing""#).then_some(()));
    next.until_status("/readyz", 200, secs(120));
    assert!(watch.elapsed() >= secs(30), "{:?}", watch.elapsed());
    assert!(next.streams().1.contains("ending the sessions of an earlier migration"));
    assert_eq!(sessions(&server, "portcullis-mig:ffffffff"), "1", "another lock's session was ended");
    end(bystander);
}

#[test]
fn leftovers_in_a_migrations_group_end_before_the_lock_is_released() {
    let server = prepared();
    // It ignores TERM, so that only KILL ends it.
    let script = "(trap '' TERM; while :; do sleep 1; done) > /dev/null 2>&1 &\necho left $!\n";
    let run = replica(&server, "one", script, "").start();
    run.until_stdout("left", secs(60));
    let pid: i32 = run.streams().0.lines().find_map(|line| line.strip_prefix("left ")?.parse().ok()).unwrap();
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    wait::never("the lock is free and somebody works", secs(3), || server.psql(sql) == "0" && process::alive(pid));
    run.until_status("/readyz", 200, secs(60));
    assert!(!process::alive(pid));
}

#[test]
fn a_lock_session_that_is_ended_is_regained_if_no_replica_waits_for_it() {
    let server = prepared();
    let run = replica(&server, "one", &migration(&server, "3"), "").start();
    eventually("it migrates", secs(60), || (server.psql("SELECT count(*) FROM runs") == "1").then_some(()));
    end_lock_sessions(&server, "one");
    run.until_stderr("the migration lock is regained", secs(20));
    run.until_status("/readyz", 200, secs(60));
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
}

#[test]
fn a_lock_session_that_is_ended_while_another_replica_queues_lets_no_two_migrate_at_once() {
    let server = prepared();
    let mut holder = replica(&server, "holder", &migration(&server, "3"), "").start();
    eventually("it migrates", secs(60), || (server.psql("SELECT count(*) FROM runs") == "1").then_some(()));
    let next = replica(&server, "next", &migration(&server, "0.1"), "").start();
    next.until_stderr("waiting behind portcullis-lock:45c95949:holder:", secs(60));
    end_lock_sessions(&server, "holder");
    next.until_status("/readyz", 200, secs(60));
    let events = server.psql("SELECT string_agg(event, ' ' ORDER BY id) FROM runs");
    if holder.streams().1.contains("the migration lock is regained") {
        assert_eq!(events, "begin end begin end");
        holder.until_status("/readyz", 200, secs(30));
    } else {
        // The one who queues was quicker: the holder has stopped while he settled.
        holder.exits(76);
        assert_eq!(events, "begin begin end");
    }
}

#[test]
fn a_lock_that_another_replica_got_stops_the_migration_with_76() {
    let server = prepared();
    let mut run = replica(&server, "one", &crate::support::child::talker(&[], 0).replace("ready", "migrating"), "").start();
    run.until_stdout("migrating", secs(60));
    let thief = thief(&server);
    end_lock_sessions(&server, "one");
    let watch = Stopwatch::start();
    run.exits(76);
    assert!(watch.elapsed() < secs(15), "{:?}", watch.elapsed());
    assert_eq!(run.streams().0, "migrating\ngot 15\n");
    run.leaves_nothing();
    end(thief);
}

#[test]
fn a_migration_that_may_go_on_without_its_lock_does() {
    let server = prepared();
    let run = replica(&server, "one", &migration(&server, "3"), "on_lock_lost = \"continue\"").start();
    eventually("it migrates", secs(60), || (server.psql("SELECT count(*) FROM runs") == "1").then_some(()));
    let thief = thief(&server);
    end_lock_sessions(&server, "one");
    run.until_status("/readyz", 200, secs(60));
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
    end(thief);
}

#[test]
fn an_index_is_built_concurrently_while_five_replicas_queue() {
    let server = prepared();
    server.psql("INSERT INTO runs (event) SELECT 'row' FROM generate_series(1, 1000)");
    let check = "check = \"SELECT count(*) = 1 FROM pg_indexes WHERE indexname = 'by_event'\"";
    let script =
        format!("{} -c 'SELECT pg_sleep(2)' -c 'CREATE INDEX CONCURRENTLY by_event ON runs (event)' > /dev/null\n", server.psql_line());
    let runs: Vec<_> = (0..6).map(|number| replica(&server, &format!("replica-{number}"), &script, check).start()).collect();
    let watch = Stopwatch::start();
    for run in &runs {
        run.until_status("/readyz", 200, secs(120));
    }
    assert!(watch.elapsed() < secs(60), "{:?}", watch.elapsed());
    assert_eq!(server.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_event'::regclass"), "t");
}
