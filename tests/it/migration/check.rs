//! A completed migration is not repeated: checks in both forms, modes that wait, verification, retries.

use super::{TABLE, file, migration, replica};
use crate::support::child::polite;
use crate::support::{Portcullis, Postgres, Stopwatch, eventually, secs};
use std::path::Path;

const CURRENT: &str = "check = \"SELECT CASE WHEN EXISTS (SELECT 1 FROM runs WHERE event = 'end') THEN 0 ELSE 1 END\"";

/// The role of the check may read the table.
fn prepared() -> Postgres {
    let server = Postgres::start();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app");
    server
}

fn runs(server: &Postgres) -> String {
    server.psql("SELECT count(*) FROM runs WHERE event = 'begin'")
}

#[test]
fn of_twenty_replicas_at_once_one_migrates_and_nineteen_skip() {
    let server = prepared();
    let script = migration(&server, "2");
    let mut replicas: Vec<_> = (0..20).map(|number| replica(&server, &format!("replica-{number}"), &script, CURRENT).start()).collect();
    for run in &replicas {
        run.until_status("/readyz", 200, secs(180));
        run.until_stdout("ready", secs(60));
    }
    assert_eq!(runs(&server), "1");
    assert_eq!(server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    let skipped = replicas.iter().filter(|run| run.streams().1.contains("the migration is skipped")).count();
    assert_eq!(skipped, 19);
    for run in &mut replicas {
        run.signal(15);
    }
    for run in &mut replicas {
        run.exits(0);
    }
}

#[test]
fn a_schema_that_is_current_needs_no_lock() {
    let server = prepared();
    server.psql("INSERT INTO runs (event) VALUES ('end')");
    // Then the lock of another application is not in the way.
    let mut other = replica(&server, "other", &crate::support::child::stubborn().replace("ready", "migrating"), "").start();
    other.until_stdout("migrating", secs(60));
    let run = replica(&server, "one", "exit 9\n", CURRENT).start();
    run.until_status("/readyz", 200, secs(60));
    run.until_stderr("the migration is skipped", secs(10));
    other.signal(9);
    other.wait_exit(secs(20));
}

#[test]
fn a_schema_that_is_ahead_is_left_alone_with_a_warning() {
    let server = Postgres::start();
    let run = replica(&server, "one", "exit 9\n", "check = \"SELECT 2\"").start();
    run.until_status("/readyz", 200, secs(60));
    run.until_stderr("ahead of this replica", secs(10));
}

#[test]
fn a_statement_that_fails_means_that_there_is_work_to_do() {
    let server = Postgres::start();
    let run = replica(&server, "one", "echo migrated\n", "check = \"SELECT version FROM no_such_table\"").start();
    run.until_stdout("migrated", secs(60));
    run.until_stderr("the check's statement failed (ERROR 42P01", secs(10));
    run.until_status("/readyz", 200, secs(60));
}

#[test]
fn a_check_that_is_a_command_skips_by_its_status() {
    let server = prepared();
    let script = migration(&server, "1");
    let question = format!("test \"$({} -c \"SELECT count(*) FROM runs WHERE event = 'end'\")\" -gt 0\n", server.psql_line());
    let replicas: Vec<_> = (0..5)
        .map(|number| {
            let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", format!("replica-{number}")).env("MIGRATION_ENABLED", "true");
            let (migrate, child) = (run.script("migrate", &script), run.script("child", &polite()));
            let check = run.script("check", &question);
            let config = file(&server, &migrate, &child, &format!("check = [\"{}\"]", check.display()));
            run.config(&config).start()
        })
        .collect();
    for run in &replicas {
        run.until_status("/readyz", 200, secs(120));
    }
    assert_eq!(runs(&server), "1");
}

#[test]
fn a_mode_that_waits_starts_after_another_has_migrated() {
    let server = prepared();
    let waiting = |name: &str, more: &str| {
        let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name).env("MIGRATION_ENABLED", "true");
        let child = run.script("child", &polite());
        let config = file(&server, Path::new("/no/such/migration"), &child, more).replace("migrate = \"run\"", "migrate = \"wait\"");
        run.config(&config)
    };
    waiting("late", &format!("{CURRENT}\nlock_timeout = \"1s\"")).output().exits(75).says(&["another replica"]);
    let worker = waiting("worker", CURRENT).start();
    worker.until_stderr("whose mode migrates", secs(60));
    assert_eq!(worker.get("/readyz").code, 500);
    let one = replica(&server, "one", &migration(&server, "1"), CURRENT).start();
    one.until_status("/readyz", 200, secs(60));
    let watch = Stopwatch::start();
    worker.until_status("/readyz", 200, secs(60));
    assert!(watch.elapsed() < secs(10), "{:?}", watch.elapsed());
    assert_eq!(runs(&server), "1");
}

#[test]
fn a_failed_verification_is_a_failure() {
    let server = Postgres::start();
    replica(&server, "one", "true\n", "verify = \"SELECT 1\"").output().exits(1).says(&["its verification failed"]);
    let verify = Portcullis::new();
    let path = verify.script("verify", "exit 5\n");
    replica(&server, "two", "true\n", &format!("verify = [\"{}\"]", path.display()))
        .output()
        .exits(5)
        .says(&["its verification ended with status 5"]);
    let run = replica(&server, "three", "true\n", "verify = \"SELECT true\"").start();
    run.until_status("/readyz", 200, secs(60));
}

#[test]
fn a_failed_command_is_retried_up_to_its_limit() {
    let server = Postgres::start();
    let script = "echo try >> tries\ntest $(wc -l < tries) -ge 2\n";
    let run = replica(&server, "one", script, "retries = 1").start();
    run.until_status("/readyz", 200, secs(60));
    run.until_stderr("running it again, attempt 2", secs(10));
    assert!(run.get("/status").body.contains("\"attempt\":2"), "{}", run.get("/status").body);
    replica(&server, "two", "exit 3\n", "retries = 1").output().exits(3);
}

#[test]
fn the_role_and_the_holder_are_reported_while_it_waits() {
    let server = prepared();
    let mut holder = replica(&server, "holder", &migration(&server, "600"), "").start();
    eventually("the holder migrates", secs(60), || (runs(&server) == "1").then_some(()));
    assert!(holder.get("/status").body.contains(r#""migration":{"role":"holder","lock":"postgres""#), "{}", holder.get("/status").body);
    let waiter = replica(&server, "waiter", "true\n", "").start();
    waiter.until_stderr("portcullis-lock:45c95949:holder:", secs(60));
    let reported = waiter.get("/status").body;
    assert!(reported.contains(r#""role":"waiter""#) && !reported.contains("127.0.0.1"), "{reported}");
    let reported = waiter.get_over_socket("/status?verbose").body;
    assert!(reported.contains(r#""instance":"holder","addr":"127.0.0.1""#), "{reported}");
    assert_eq!(waiter.get("/livez").code, 200);
    holder.signal(15);
    holder.exits(143);
    waiter.until_status("/readyz", 200, secs(60));
}

#[test]
fn the_check_looks_where_the_applications_url_looks() {
    let server = Postgres::start();
    server.psql(
        "CREATE SCHEMA tenant; CREATE TABLE tenant.state (n int); INSERT INTO tenant.state VALUES (0); GRANT ALL ON SCHEMA tenant TO app",
    );
    server.psql("CREATE TABLE public.state (n int); INSERT INTO public.state VALUES (1)");
    server.psql("ALTER TABLE tenant.state OWNER TO app; ALTER TABLE public.state OWNER TO app");
    for parameters in ["options=-csearch_path%3Dtenant", "schema=tenant", "currentSchema=tenant"] {
        let url = format!("{}?{parameters}", server.url());
        let run = Portcullis::new().env("MIGRATION_ENABLED", "true");
        let (migrate, child) = (run.script("migrate", "exit 9\n"), run.script("child", &polite()));
        let config = file(&server, &migrate, &child, "check = \"SELECT n FROM state\"").replace(&server.url(), &url);
        let run = run.config(&config).start();
        run.until_status("/readyz", 200, secs(60));
        run.until_stderr("the migration is skipped", secs(10));
    }
    // Without it the other table is read.
    replica(&server, "one", "exit 9\n", "check = \"SELECT n FROM state\"").output().exits(9);
}
