//! Many replicas: killed at random behind a pooler, each migrates once and ends no session of the application; ten replicas hand over
//! quickly.

use super::databases::elsewhere;
use super::pooler::{application, prepared, psql};
use crate::support::mariadb::MariaDb;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{Exit, MySql, Postgres, Running, Stopwatch, eventually, secs, slow, wait};
use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

fn at(port: u16, more: &str) -> String {
    format!("[checks.db]\nurl = \"postgres://app:{}@127.0.0.1:{port}/app\"\n{more}", percent(PASSWORD))
}

/// Numbers that look random and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Twenty rounds of three replicas whose migration is one version each; in each round one of them is killed at a random moment.
fn killed_twenty_times(server: &Postgres, pooler: &PgBouncer, seed: u64) {
    server.psql("CREATE TABLE version (n int PRIMARY KEY); ALTER TABLE version OWNER TO app; INSERT INTO version VALUES (0)");
    let mut dice = Dice(seed);
    let (mut settled, mut waited) = (0, 0);
    let mut sessions: Vec<(u32, Child)> = Vec::new();
    for round in 1..=20 {
        // The application: short transactions, and now and then one that lasts longer than a leftover is waited for.
        let mut short: Vec<Child> = vec![application(pooler, "SELECT pg_sleep(0.3)"), application(pooler, "SELECT 1")];
        let insert = format!("BEGIN; INSERT INTO version VALUES ({round}); SELECT pg_sleep(0.8); COMMIT");
        let script = format!("{0} -c 'SELECT 1' >/dev/null\n{0} -v ON_ERROR_STOP=1 -c \"{insert}\" >/dev/null\n", psql(pooler));
        let check = format!("check = \"SELECT max(n) >= {round} FROM version\"");
        let start = |name: &str| elsewhere(name, &script, &at(pooler.port, ""), &check).env("PGPASSWORD", PASSWORD).start();
        let mut runs: Vec<Running> = (0..3).map(|number| start(&format!("replica-{round}-{number}"))).collect();
        let victim = usize::try_from(dice.below(3)).unwrap();
        wait::never("a moment passes", Duration::from_millis(dice.below(2500)), || false);
        short.push(application(pooler, "SELECT pg_sleep(0.2)"));
        if round % 5 == 2 {
            sessions.push((round, application(pooler, "SELECT pg_sleep(45)")));
        }
        runs[victim].signal(9);
        assert_eq!(runs[victim].wait_exit(secs(20)), Exit::Signal(9));
        runs[victim] = start(&format!("replica-{round}-again"));
        for run in &runs {
            run.until_status("/readyz", 200, secs(120));
            settled += usize::from(run.streams().1.contains("disappeared without releasing it"));
            waited += usize::from(run.streams().1.contains("may belong to an earlier migration"));
            assert!(!run.streams().1.contains("ending the sessions"), "{}", run.streams().1);
        }
        assert_eq!(server.psql(&format!("SELECT count(*) FROM version WHERE n = {round}")), "1");
        for mut session in short {
            assert!(session.wait().expect("wait for psql").success(), "round {round}: a session of the application was ended");
        }
    }
    for (round, mut session) in sessions {
        assert!(session.wait().expect("wait for psql").success(), "round {round}: a long session of the application was ended");
    }
    assert_eq!(server.psql("SELECT count(*), max(n) FROM version"), "21|20");
    eprintln!("twenty kills: {settled} successors settled, {waited} waited for sessions that may have been a migration's");
}

#[test]
fn twenty_kills_behind_a_pooler_that_lends_names_cost_no_other_client_its_session() {
    if slow("twenty_kills_behind_a_pooler_that_lends_names_cost_no_other_client_its_session") {
        let server = prepared();
        killed_twenty_times(&server, &PgBouncer::with(&server, "default_pool_size = 12\n"), 0x9e37_79b9_7f4a_7c15);
    }
}

#[test]
fn twenty_kills_behind_a_current_pooler_cost_no_other_client_its_session() {
    let server = prepared();
    if let Some(pooler) =
        PgBouncer::current("twenty_kills_behind_a_current_pooler_cost_no_other_client_its_session", &server, "default_pool_size = 12\n")
    {
        killed_twenty_times(&server, &pooler, 0x2545_f491_4f6c_dd1d);
    }
}

/// Ten replicas that queue behind a first one hand the lock over to each other: from its release to the last start, in the time given.
fn hands_over(place: &str, check: &str) {
    let mut runs: BTreeMap<usize, Running> = BTreeMap::new();
    // Its migration ends when the others queue.
    let first = elsewhere("replica-0", "echo migrating\nwhile [ ! -e go ]; do sleep 0.02; done\n", check, "").start();
    first.until_stdout("migrating", secs(60));
    let go = first.dir().join("go");
    runs.insert(0, first);
    for number in 1..10 {
        runs.insert(number, elsewhere(&format!("replica-{number}"), "true\n", check, "").start());
    }
    for run in runs.values().filter(|run| !run.streams().1.contains("running the migration")) {
        run.until_stderr("holds the migration lock", secs(60));
    }
    let watch = Stopwatch::start();
    std::fs::write(go, "").expect("let it go");
    for run in runs.values() {
        run.until_stdout("ready", secs(120));
    }
    let took = watch.elapsed();
    eprintln!("ten replicas handed over in {took:?}: {place}");
    for run in runs.values() {
        assert!(!run.streams().1.contains("disappeared without releasing it"), "{}", run.streams().1);
    }
    assert!(took < secs(6), "{took:?}");
}

#[test]
fn ten_replicas_hand_over_in_postgres() {
    let server = Postgres::start();
    hands_over("postgres", &at(server.port, ""));
}

#[test]
fn ten_replicas_hand_over_behind_a_pooler() {
    let server = Postgres::start();
    hands_over("pgbouncer", &at(PgBouncer::before(&server).port, ""));
}

#[test]
fn ten_replicas_hand_over_in_mariadb() {
    let server = MariaDb::start("secret", &[]);
    hands_over("mariadb", &format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port));
}

#[test]
fn ten_replicas_hand_over_in_a_current_mysql() {
    let Some(server) = MySql::start("ten_replicas_hand_over_in_a_current_mysql", "secret", &[]) else { return };
    hands_over("mysql", &format!("[checks.db]\nurl = \"mysql://app:secret@127.0.0.1:{}/app\"", server.port));
}

#[test]
fn a_roles_transaction_timeout_does_not_end_the_pooled_lock() {
    let test = "a_roles_transaction_timeout_does_not_end_the_pooled_lock";
    let Some(server) = Postgres::current(test) else { return };
    server.psql("ALTER ROLE app SET transaction_timeout = '2s'");
    let Some(pooler) = PgBouncer::current(test, &server, "default_pool_size = 3\n") else { return };
    let run = elsewhere("one", "echo migrating\nsleep 7\n", &at(pooler.port, ""), "").start();
    run.until_stdout("migrating", secs(60));
    run.until_status("/readyz", 200, secs(60));
    assert!(!run.streams().1.contains("is lost"), "{}", run.streams().1);
    eventually("no lock is left", secs(10), || {
        (server.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0").then_some(())
    });
}
