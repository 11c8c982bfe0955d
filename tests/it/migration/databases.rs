//! The lock in each place that supports one: behind a pooler, on a standby, in MariaDB, in a file, in Redis.

use super::{TABLE, file, migration, replica};
use crate::support::child::{polite, stubborn};
use crate::support::mariadb::MariaDb;
use crate::support::pgbouncer::PgBouncer;
use crate::support::redis::Reply;
use crate::support::{Dir, Exit, Portcullis, Postgres, Redis, Running, Stopwatch, eventually, secs, slow};

/// A replica whose lock is somewhere else than in a PostgreSQL named `db`.
pub(super) fn elsewhere(name: &str, script: &str, checks: &str, lock: &str) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
    let (migrate, child) = (run.script("migrate", script), run.script("child", &polite()));
    let config = format!(
        "mode = \"api\"\n{checks}\n[migrations]\ncommand = [\"{}\"]\n{lock}\n[modes.api]\ncommand = [\"{}\"]\n",
        migrate.display(),
        child.display()
    );
    run.config(&config)
}

/// A migration that says when it begins and ends, in a file of its own.
fn noted(dir: &Dir) -> String {
    let notes = dir.path().join("notes");
    format!("echo begin >> {0}\nsleep 0.5\necho end >> {0}\n", notes.display())
}

/// Fails unless `count` migrations ran one after another.
#[track_caller]
fn in_series(dir: &Dir, count: usize) {
    let notes = std::fs::read_to_string(dir.path().join("notes")).unwrap_or_default();
    assert_eq!(notes, "begin\nend\n".repeat(count));
}

fn all_ready(runs: &[Running]) {
    for run in runs {
        run.until_status("/readyz", 200, secs(120));
    }
}

/// A holder that is killed while `next` queues; then the next one migrates.
fn kill_hands_over(mut holder: Running, next: &Running, held: &str) {
    next.until_stderr(held, secs(60));
    holder.signal(9);
    assert_eq!(holder.wait_exit(secs(20)), Exit::Signal(9));
    drop(holder);
    next.until_status("/readyz", 200, secs(120));
}

#[test]
fn behind_a_pooler_the_lock_is_one_of_a_transaction_and_none_is_left() {
    let server = Postgres::start();
    server.psql(TABLE);
    let pooler = PgBouncer::before(&server);
    let through = |name: &str, script: &str| {
        let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name).env("MIGRATION_ENABLED", "true");
        let (migrate, child) = (run.script("migrate", script), run.script("child", &polite()));
        let config = file(&server, &migrate, &child, "").replace(&server.url(), &pooler.url());
        run.config(&config)
    };
    let runs: Vec<_> = (0..2).map(|number| through(&format!("replica-{number}"), &migration(&server, "1")).start()).collect();
    all_ready(&runs);
    assert!(runs[0].streams().1.contains("there is a pooler in between"));
    assert_eq!(server.psql("SELECT string_agg(event, ' ' ORDER BY id) FROM runs"), "begin end begin end");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    eventually("no lock is left", secs(10), || (server.psql(locks) == "0").then_some(()));
    let settings = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'portcullis%' AND state = 'idle in transaction'";
    assert_eq!(server.psql(settings), "0");
    drop(runs);
    let holder = through("holder", &stubborn().replace("ready", "migrating")).start();
    holder.until_stdout("migrating", secs(60));
    let next = through("next", "true\n").start();
    kill_hands_over(holder, &next, "waiting behind portcullis-lock:45c95949:holder:");
    assert_eq!(server.psql(locks), "0");
}

#[test]
fn a_standby_never_grants_the_lock() {
    let mut server = Postgres::reserve();
    server.standby();
    server.launch();
    server.until_up();
    let reported = replica(&server, "one", "echo migrated\n", "lock_timeout = \"3s\"").output().exits(75);
    assert!(reported.stderr.contains("standby"), "{}", reported.stderr);
    assert_eq!(reported.stdout, "");
}

#[test]
fn mariadb_lets_one_migrate_at_a_time_and_frees_the_lock_of_the_dead() {
    let server = MariaDb::start("secret", &[]);
    let dir = Dir::new();
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port);
    let runs: Vec<_> = (0..5).map(|number| elsewhere(&format!("replica-{number}"), &noted(&dir), &check, "").start()).collect();
    all_ready(&runs);
    in_series(&dir, 5);
    let settled = runs.iter().filter(|run| run.streams().1.contains("disappeared without releasing it")).count();
    assert_eq!(settled, 0, "clean ends were taken for unclean ones");
    drop(runs);
    let holder = elsewhere("holder", &stubborn().replace("ready", "migrating"), &check, "").start();
    holder.until_stdout("migrating", secs(60));
    let next = elsewhere("next", "true\n", &check, "").start();
    kill_hands_over(holder, &next, "holds the migration lock; waiting");
    assert!(next.streams().1.contains("disappeared without releasing it"));
}

#[test]
fn mariadb_is_queried_for_pending_work() {
    let server = MariaDb::start("secret", &[]);
    server.sql("CREATE TABLE app.version (n int); INSERT INTO app.version VALUES (7)");
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port);
    let lock = |wanted: u8| format!("check = \"SELECT n <> {wanted} FROM version\"");
    elsewhere("one", "exit 9\n", &check, &lock(7)).start().until_status("/readyz", 200, secs(60));
    elsewhere("two", "exit 9\n", &check, &lock(8)).output().exits(9);
    elsewhere("three", "exit 9\n", &check, "check = \"SELECT 0 FROM missing\"").output().exits(9);
}

#[test]
fn a_connection_of_mariadb_that_is_ended_is_noticed_at_once() {
    let server = MariaDb::start("secret", &[]);
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port);
    let run = elsewhere("one", "echo migrating\nsleep 4\n", &check, "").start();
    run.until_stdout("migrating", secs(60));
    let id = server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app' ORDER BY ID DESC LIMIT 1");
    let ids = server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'");
    for id in ids.lines() {
        server.try_sql(&format!("KILL {id}")).ok();
    }
    assert!(!id.is_empty());
    run.until_stderr("the migration lock is regained", secs(20));
    run.until_status("/readyz", 200, secs(60));
}

#[test]
fn a_file_keeps_the_replicas_of_one_host_apart() {
    let dir = Dir::new();
    let path = dir.path().join("app.db.portcullis-lock");
    let lock = format!("lock = \"file://{}\"", path.display());
    let runs: Vec<_> = (0..3).map(|number| elsewhere(&format!("replica-{number}"), &noted(&dir), "", &lock).start()).collect();
    all_ready(&runs);
    in_series(&dir, 3);
    drop(runs);
    let holder = elsewhere("holder", &stubborn().replace("ready", "migrating"), "", &lock).start();
    holder.until_stdout("migrating", secs(60));
    let next = elsewhere("next", "true\n", "", &lock).start();
    kill_hands_over(holder, &next, "waiting behind portcullis-lock:file:holder:");
    let nowhere = "lock = \"file:///no/such/directory/lock\"";
    elsewhere("one", "true\n", "", nowhere).output().exits(78).says(&["/no/such/directory/lock", "check the path"]);
}

#[test]
fn redis_holds_the_lock_only_if_it_is_named() {
    let redis = Redis::start();
    let dir = Dir::new();
    let check = format!("[checks.cache]\nurl = \"{}\"", redis.url());
    elsewhere("one", "true\n", &check, "").output().exits(78).says(&["finds no postgres or mysql check"]);
    let lock = "lock = \"cache\"";
    let runs: Vec<_> = (0..3).map(|number| elsewhere(&format!("replica-{number}"), &noted(&dir), &check, lock).start()).collect();
    all_ready(&runs);
    in_series(&dir, 3);
    assert_eq!(redis.get("portcullis:{migrate:default}:lock"), None);
    let settled = runs.iter().filter(|run| run.streams().1.contains("disappeared without releasing it")).count();
    assert_eq!(settled, 0);
}

#[test]
fn a_key_of_another_tool_is_the_lock_that_is_taken() {
    let server = Postgres::start();
    let mut run = replica(&server, "one", &stubborn().replace("ready", "migrating"), "lock_key = -12345").start();
    run.until_stdout("migrating", secs(60));
    let sql = "SELECT (classid::bigint << 32 | objid::bigint)::text FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted";
    assert_eq!(server.psql(sql), "-12345");
    let next = replica(&server, "next", "true\n", "lock_key = \"-12345\"").start();
    next.until_stderr("waiting behind portcullis-lock:", secs(60));
    run.signal(9);
    run.wait_exit(secs(20));
    next.until_status("/readyz", 200, secs(60));
    let check = "[checks.cache]\nurl = \"redis://127.0.0.1:1/0\"";
    elsewhere("two", "true\n", check, "lock = \"cache\"\nlock_key = 1").output().exits(78).says(&["use `lock_name`"]);
}

/// A key as redis-py's `Lock` takes it.
const UNWRAPPED: &str = "db_upgrade_lock";

fn beside(server: &Postgres, redis: &Redis, name: &str, script: &str) -> Portcullis {
    let checks = format!("[checks.db]\nurl = \"{}\"\n[checks.cache]\nurl = \"{}\"\nwait = \"0s\"", server.url(), redis.url());
    elsewhere(name, script, &checks, "also_redis_lock = \"${REDIS_KEY_PREFIX:-}:db_upgrade_lock\"")
}

fn taken_by_hand(redis: &Redis) -> bool {
    redis.command(&["SET", UNWRAPPED, "6d9f8c5e7a", "NX", "PX", "60000"]) == Reply::Text("OK".into())
}

#[test]
fn a_container_that_migrates_by_itself_and_those_of_ours_keep_each_other_out() {
    let (server, redis, dir) = (Postgres::start(), Redis::start(), Dir::new());
    assert!(taken_by_hand(&redis));
    let mut runs: Vec<_> = (0..3).map(|number| beside(&server, &redis, &format!("replica-{number}"), &noted(&dir)).start()).collect();
    for run in &runs {
        run.until_stderr("a container that migrates without portcullis", secs(60));
    }
    assert!(!dir.path().join("notes").exists());
    redis.command(&["DEL", UNWRAPPED]);
    eventually("one of them migrates", secs(60), || dir.path().join("notes").exists().then_some(()));
    all_ready(&runs);
    in_series(&dir, 3);
    assert_eq!(redis.get(UNWRAPPED), None);
    let settled = runs.iter().filter(|run| run.streams().1.contains("disappeared without releasing it")).count();
    assert_eq!(settled, 0);
    runs.clear();
    let holder = beside(&server, &redis, "holder", &stubborn().replace("ready", "migrating")).start();
    holder.until_stdout("migrating", secs(60));
    assert!(!taken_by_hand(&redis), "it is ours");
    assert!((1..=60_000).contains(&redis.pttl(UNWRAPPED)));
    let next = beside(&server, &redis, "next", "true\n").start();
    kill_hands_over(holder, &next, "waiting behind portcullis-lock:45c95949:holder:");
    assert_eq!(redis.get(UNWRAPPED), None);
}

#[test]
fn a_second_lock_that_is_overwritten_stops_the_migration_and_one_that_is_away_does_not() {
    let (server, mut redis) = (Postgres::start(), Redis::start());
    let mut run = beside(&server, &redis, "one", &stubborn().replace("ready", "migrating")).start();
    run.until_stdout("migrating", secs(60));
    redis.command(&["SET", UNWRAPPED, "6d9f8c5e7a", "PX", "60000"]);
    run.exits(76);
    redis.command(&["DEL", UNWRAPPED]);
    let second = beside(&server, &redis, "two", "echo migrating\nsleep 12\n").start();
    second.until_stdout("migrating", secs(60));
    redis.stop();
    second.until_stderr("the second migration lock cannot be renewed", secs(20));
    redis.restart();
    eventually("it is taken again", secs(20), || redis.get(UNWRAPPED));
    second.until_status("/readyz", 200, secs(60));
}

/// A replica of a MariaDB by this address of it.
fn at(server: &MariaDb, name: &str, host: &str, script: &str) -> Running {
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@{host}:{}/app\"", server.port);
    elsewhere(name, script, &check, "").start()
}

/// Starts a holder from 127.0.0.1 whose session outlives it, has `next` queue and kills the holder; `next`, how long it took then, and how
/// many of the holder's sessions were at work when it was ready.
fn orphaned(server: &MariaDb, next: &str) -> (Running, std::time::Duration, String) {
    // A statement that waits for a row does not notice that its client is gone.
    server.sql("CREATE TABLE app.t (n int PRIMARY KEY) ENGINE=InnoDB; INSERT INTO app.t VALUES (1)");
    let mut lock = std::process::Command::new("mariadb");
    lock.args(["--no-defaults", "-uroot"]).arg(format!("--socket={}", server.socket().display()));
    let mut lock = lock
        .args(["-e", "BEGIN; UPDATE app.t SET n = 2; SELECT SLEEP(600)"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("start mariadb");
    let waits = format!("exec mariadb --no-defaults -h 127.0.0.1 -P {} -uapp -psecret app -e 'UPDATE t SET n = 3'\n", server.port);
    let locked = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'";
    eventually("the row is locked", secs(30), || (server.sql(locked) == "1").then_some(()));
    let mut holder = at(server, "holder", "127.0.0.1", &waits);
    eventually("its session is at work", secs(60), || (at_work(server) == "1").then_some(()));
    let next = at(server, "next", next, "true\n");
    next.until_stderr("holds the migration lock; waiting", secs(60));
    holder.signal(9);
    holder.wait_exit(secs(20));
    drop(holder);
    let watch = Stopwatch::start();
    next.until_status("/readyz", 200, secs(120));
    let took = watch.elapsed();
    let left = at_work(server);
    drop(lock.kill());
    drop(lock.wait());
    (next, took, left)
}

fn at_work(server: &MariaDb) -> String {
    server.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app' AND INFO LIKE 'UPDATE%'")
}

#[test]
fn a_session_left_in_mariadb_is_waited_for_and_left_alone_because_it_may_be_anybodys() {
    if !slow("a_session_left_in_mariadb_is_waited_for_and_left_alone_because_it_may_be_anybodys") {
        return;
    }
    for host in ["127.0.0.1", "[::1]"] {
        let server = MariaDb::start("secret", &["--skip-name-resolve", "--innodb-lock-wait-timeout=600", "--bind-address=*"]);
        let (next, took, left) = orphaned(&server, host);
        assert!(next.streams().1.contains("may belong to an earlier migration"), "{}", next.streams().1);
        assert_eq!(left, "1");
        assert!(took >= secs(30) && took < secs(60), "{took:?}");
    }
}

#[test]
fn a_container_that_ends_after_its_migration_ends_cleanly_in_mariadb() {
    let server = MariaDb::start("secret", &[]);
    let check = format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port);
    let job = elsewhere("job", "echo migrating\nsleep 2\nexit 3\n", &check, "");
    let mut job = job.start();
    job.until_stdout("migrating", secs(60));
    let next = elsewhere("next", "true\n", &check, "").start();
    next.until_stderr("holds the migration lock; waiting", secs(60));
    job.exits(3);
    let watch = Stopwatch::start();
    next.until_status("/readyz", 200, secs(60));
    assert!(watch.elapsed() < secs(6), "{:?}", watch.elapsed());
    assert!(!next.streams().1.contains("disappeared without releasing it"), "{}", next.streams().1);
}
