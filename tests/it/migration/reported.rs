//! The log of a migration is accurate: each step when it begins, and each with its own time.

use super::{TABLE, replica};
use crate::support::{Portcullis, Postgres, secs};

/// The seconds that a line names behind `words`.
fn seconds(log: &str, words: &str) -> f64 {
    let behind = log.split_once(words).unwrap_or_else(|| panic!("no `{words}` in {log}")).1;
    behind.split('s').next().unwrap_or_default().parse().unwrap_or_else(|_| panic!("no time behind `{words}` in {log}"))
}

#[test]
fn a_check_in_sql_is_reported_and_its_time_does_not_count_for_the_lock() {
    let server = Postgres::start();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app; GRANT ALL ON SEQUENCE runs_id_seq TO app");
    let script = format!("{} -c \"INSERT INTO runs (event) VALUES ('end')\"\n", server.psql_line());
    let check = "check = \"SELECT CASE WHEN EXISTS (SELECT 1 FROM runs WHERE event = 'end') THEN 0 ELSE 1 END FROM pg_sleep(0.7)\"";
    let run = replica(&server, "first", &script, check).start();
    run.until_status("/readyz", 200, secs(60));
    // The log is written by a thread of its own.
    run.until_stderr("ready: accepting traffic", secs(20));
    let log = run.streams().1;
    let steps = [
        "checking whether there is anything to migrate",
        "requesting the migration lock",
        "got the migration lock after ",
        "running the migration",
    ];
    let places: Vec<_> = steps.iter().map(|step| log.find(step).unwrap_or_else(|| panic!("no `{step}` in {log}"))).collect();
    assert!(places.is_sorted(), "{log}");
    // It is run three times: before the lock, once the lock is ours, and once it is safe to work under it.
    assert!(seconds(&log, steps[2]) < 0.7, "{log}");
}

#[test]
fn each_step_of_a_migration_is_reported_with_its_own_time() {
    let server = Postgres::start();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app; GRANT ALL ON SEQUENCE runs_id_seq TO app");
    let script = format!("sleep 1\n{} -c \"INSERT INTO runs (event) VALUES ('end')\"\n", server.psql_line());
    let dir = Portcullis::new();
    let question = format!("sleep 0.7\ntest \"$({} -c 'SELECT count(*) FROM runs')\" != 0\n", server.psql_line());
    let path = dir.script("check", &question);
    let more = format!("check = [\"{0}\"]\nverify = [\"{0}\"]", path.display());
    let first = replica(&server, "first", &script, &more).start();
    first.until_status("/readyz", 200, secs(60));
    first.until_stderr("ready: accepting traffic", secs(20));
    let log = first.streams().1;
    let steps = [
        "checking whether there is anything to migrate",
        "requesting the migration lock",
        "got the migration lock after ",
        "running the migration",
        "the migration succeeded after ",
        "the migration is done after ",
    ];
    let places: Vec<_> = steps.iter().map(|step| log.find(step).unwrap_or_else(|| panic!("no `{step}` in {log}"))).collect();
    assert!(places.is_sorted(), "{log}");
    let (got, ran, over) = (seconds(&log, steps[2]), seconds(&log, steps[4]), seconds(&log, steps[5]));
    assert!(ran >= 1.0 && (ran - over).abs() < 0.002, "the command's own time both times: {log}");
    assert!(got < 0.7, "neither the check nor the command belongs to the lock: {log}");
    // The next one finds nothing to do, and says nothing of a migration that ran.
    let second = replica(&server, "second", &script, &more).start();
    second.until_status("/readyz", 200, secs(60));
    second.until_stderr("ready: accepting traffic", secs(20));
    let log = second.streams().1;
    assert!(log.contains("checking whether there is anything to migrate"), "{log}");
    assert!(log.contains("the schema is up to date, so the migration is skipped") && !log.contains("done after"), "{log}");
}
