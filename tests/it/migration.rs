//! The migration runs once at a time across replicas, and its failure ends the run.

mod check;
mod databases;
mod fleet;
mod holder;
mod loss;
mod missing;
mod pooler;
mod reported;
mod table;

use crate::support::child::polite;
use crate::support::{Exit, Portcullis, Postgres, eventually, secs};
use std::path::Path;

const TABLE: &str = "CREATE TABLE runs (id serial, event text, at timestamptz DEFAULT clock_timestamp())";

/// A migration that takes `seconds` and leaves a row at its begin and its end.
fn migration(server: &Postgres, seconds: &str) -> String {
    let sql =
        format!("INSERT INTO runs (event) VALUES ('begin');\nSELECT pg_sleep({seconds});\nINSERT INTO runs (event) VALUES ('end');\n");
    format!("{} >/dev/null <<'SQL'\n{sql}SQL\n", server.psql_line())
}

/// A replica of its own name with `script` as the migration; its process prints `ready`.
fn replica(server: &Postgres, name: &str, script: &str, more: &str) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name).env("MIGRATION_ENABLED", "true");
    let (migrate, child) = (run.script("migrate", script), run.script("child", &polite()));
    run.config(&file(server, &migrate, &child, more))
}

fn file(server: &Postgres, migrate: &Path, child: &Path, more: &str) -> String {
    let (url, migrate, child) = (server.url(), migrate.display(), child.display());
    format!(
        r#"
mode = "api"
[checks.db]
url = "{url}"
[migrations]
enabled = "${{MIGRATION_ENABLED:-false}}"
command = ["{migrate}"]
{more}
[modes.api]
command = ["{child}"]
migrate = "run"
"#
    )
}

#[test]
fn five_replicas_at_once_migrate_one_after_another_and_all_get_ready() {
    let server = Postgres::start();
    server.psql(TABLE);
    let script = migration(&server, "0.3");
    let mut runs: Vec<_> = (0..5).map(|number| replica(&server, &format!("replica-{number}"), &script, "").start()).collect();
    for run in &runs {
        run.until_status("/readyz", 200, secs(120));
        run.until_stdout("ready", secs(10));
    }
    let events = server.psql("SELECT string_agg(event, ' ' ORDER BY id) FROM runs");
    assert_eq!(events, ["begin end"; 5].join(" "));
    assert_eq!(server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    for run in &mut runs {
        run.signal(15);
        run.exits(0);
    }
}

#[test]
fn while_one_migrates_it_is_live_and_not_ready() {
    let server = Postgres::start();
    server.psql(TABLE);
    let run = replica(&server, "one", &migration(&server, "2"), "").start();
    eventually("the migration runs", secs(60), || (server.psql("SELECT count(*) FROM runs") == "1").then_some(()));
    for (path, code) in [("/livez", 200), ("/startupz", 500), ("/readyz", 500), ("/healthz", 500)] {
        assert_eq!(run.get(path).code, code, "{path}");
    }
    assert_eq!(run.streams().0, "");
    run.until_status("/readyz", 200, secs(60));
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
}

#[test]
fn a_migration_that_is_not_enabled_does_not_run() {
    let server = Postgres::start();
    let run = replica(&server, "one", "echo migrated\n", "").without("MIGRATION_ENABLED").start();
    run.until_stdout("ready", secs(60));
    assert_eq!(run.streams().0, "ready\n");
}

#[test]
fn a_failed_migration_is_the_exit_code_and_nothing_is_started() {
    let server = Postgres::start();
    let failed = replica(&server, "one", "exit 9\n", "").output().exits(9);
    assert_eq!(failed.stdout, "");
    assert!(failed.stderr.lines().last().unwrap_or_default().contains('9'), "{}", failed.stderr);
    let killed = replica(&server, "one", "kill -9 $$\n", "").output().exits(137);
    assert_eq!(killed.stdout, "");
    assert_eq!(server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
}

#[test]
fn a_migration_command_that_is_missing_is_127() {
    let server = Postgres::start();
    let run = Portcullis::new().env("MIGRATION_ENABLED", "true");
    let config = file(&server, Path::new("/no/such/migration"), Path::new("true"), "");
    run.config(&config).output().exits(127).says(&["/no/such/migration"]);
}

#[test]
fn a_lock_that_is_not_to_be_had_is_75() {
    let server = Postgres::start();
    server.psql(TABLE);
    let mut holder = replica(&server, "holder", &migration(&server, "600"), "").start();
    eventually("the holder migrates", secs(60), || (server.psql("SELECT count(*) FROM runs") == "1").then_some(()));
    let second = replica(&server, "second", &migration(&server, "0"), "lock_timeout = \"1s\"").output().exits(75);
    assert_eq!(second.stdout, "");
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "1");
    holder.signal(15);
    assert_eq!(holder.wait_exit(secs(60)), Exit::Code(143));
    holder.leaves_nothing();
}

#[test]
fn a_migration_past_its_limit_is_124() {
    let server = Postgres::start();
    server.psql(TABLE);
    let mut run = replica(&server, "one", &migration(&server, "600"), "timeout = \"1s\"").start();
    run.exits(124);
    run.leaves_nothing();
    assert_eq!(run.streams().0, "");
}

#[test]
fn term_while_migrating_reaches_the_migration_and_ends_with_143() {
    let server = Postgres::start();
    let script = crate::support::child::talker(&[], 0).replace("ready", "migrating");
    let mut run = replica(&server, "one", &script, "").start();
    run.until_stdout("migrating", secs(60));
    run.signal(15);
    run.exits(143);
    assert_eq!(run.streams().0, "migrating\ngot 15\n");
    assert_eq!(server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
}

#[test]
fn the_holder_killed_hands_the_lock_on() {
    let server = Postgres::start();
    server.psql(TABLE);
    let mut holder = replica(&server, "holder", &crate::support::child::stubborn().replace("ready", "migrating"), "").start();
    holder.until_stdout("migrating", secs(60));
    let next = replica(&server, "next", &migration(&server, "0"), "").start();
    next.until_status("/livez", 200, secs(20));
    holder.signal(9);
    assert_eq!(holder.wait_exit(secs(20)), Exit::Signal(9));
    drop(holder);
    next.until_status("/readyz", 200, secs(60));
}

#[test]
fn the_mode_migration_migrates_and_ends_with_0() {
    let server = Postgres::start();
    server.psql(TABLE);
    let run = Portcullis::new().env("MODE", "migration").env("MIGRATION_ENABLED", "true");
    let migrate = run.script("migrate", &migration(&server, "0"));
    let more = "\n[modes.migration]\ncommand = []\n";
    let config = file(&server, &migrate, Path::new("true"), "").replace("mode = \"api\"", "mode = \"${MODE}\"") + more;
    run.config(&config).output().exits(0);
    assert_eq!(server.psql("SELECT count(*) FROM runs"), "2");
}
