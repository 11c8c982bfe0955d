//! A host that is lost without notice: its holder stops by itself, and only then another one begins.

use super::databases::elsewhere;
use super::{TABLE, file, replica};
use crate::support::child::{polite, stubborn};
use crate::support::network::Network;
use crate::support::postgres::PASSWORD;
use crate::support::{Exit, MariaDb, Portcullis, Postgres, Running, Stopwatch, eventually, process, secs, slow};

/// A server that both sides of the link reach.
fn reachable() -> Postgres {
    let mut server = Postgres::reserve();
    server.setting("listen_addresses=*");
    server.access("local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n");
    server.launch();
    server.until_up();
    server.psql(TABLE);
    server.psql("ALTER TABLE runs OWNER TO app");
    server
}

/// The replica behind the link, that migrates by `script`.
fn far(server: &Postgres, network: &Network, script: &str) -> Running {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", "far").env("MIGRATION_ENABLED", "true").env("PGPASSWORD", PASSWORD);
    let (migrate, child) = (run.script("migrate", script), run.script("child", &polite()));
    let url = server.url().replace("127.0.0.1", &network.address);
    let config = file(server, &migrate, &child, "").replace(&server.url(), &url);
    run.config(&config).through(&format!("ip netns exec {}", network.name)).start()
}

/// Cuts `far` off while `program` migrates and `near` waits: `far` has stopped before its lock is released, and only then `near` begins.
fn cut_off(network: &Network, mut far: Running, program: &str, near: &Running) {
    let migration = far.child_pid(program);
    network.cut();
    let watch = Stopwatch::start();
    assert_eq!(far.wait_exit(secs(60)), Exit::Code(76));
    let stopped = watch.elapsed();
    assert!(!process::alive(migration));
    assert!(!near.streams().0.contains("migrating"), "both at once");
    near.until_stdout("migrating", secs(90));
    let began = watch.elapsed();
    near.until_status("/readyz", 200, secs(30));
    eprintln!("cut off: stopped after {stopped:?}, the next one began after {began:?}");
    assert!(stopped < secs(25) && began < secs(60) && began > secs(30), "{stopped:?} {began:?}");
}

#[test]
fn a_holder_that_is_cut_off_has_stopped_before_another_one_migrates() {
    let name = "a_holder_that_is_cut_off_has_stopped_before_another_one_migrates";
    if !slow(name) {
        return;
    }
    let Some(network) = Network::new(name) else { return };
    let server = reachable();
    let far = far(&server, &network, &stubborn().replace("ready", "migrating"));
    far.until_stdout("migrating", secs(60));
    let near = replica(&server, "near", "echo migrating\n", "").start();
    near.until_stderr("waiting behind portcullis-lock:45c95949:far:", secs(60));
    cut_off(&network, far, "migrate", &near);
}

#[test]
fn the_session_of_a_migration_that_is_cut_off_is_gone_before_another_one_migrates() {
    let name = "the_session_of_a_migration_that_is_cut_off_is_gone_before_another_one_migrates";
    if !slow(name) {
        return;
    }
    let Some(network) = Network::new(name) else { return };
    let server = reachable();
    let sleeps = format!(
        "echo migrating\nexec psql -h {} -p {} -U app -d app -w -X -q -c \
         \"BEGIN; LOCK TABLE runs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600); COMMIT\"\n",
        network.address, server.port
    );
    let far = far(&server, &network, &sleeps);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'portcullis-mig:45c95949:far:%'";
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'runs'::regclass AND granted";
    eventually("its session has locked the table", secs(60), || (server.psql(locked) == "1").then_some(()));
    assert_eq!(server.psql(left), "1");
    let counts = format!("echo migrating, $({} -c \"{left}\") left\n", server.psql_line());
    let near = replica(&server, "near", &counts, "").start();
    near.until_stderr("waiting behind portcullis-lock:45c95949:far:", secs(60));
    cut_off(&network, far, "psql", &near);
    assert!(near.streams().0.contains("migrating, 0 left"), "{}", near.streams().0);
    // The server noticed by itself that the client was gone: nothing had to be ended.
    assert!(!near.streams().1.contains("ending the sessions"), "{}", near.streams().1);
}

#[test]
fn a_holder_that_is_cut_off_from_mariadb_has_stopped_before_another_one_migrates() {
    let name = "a_holder_that_is_cut_off_from_mariadb_has_stopped_before_another_one_migrates";
    if !slow(name) {
        return;
    }
    let Some(network) = Network::new(name) else { return };
    let server = MariaDb::start("secret", &["--skip-name-resolve", "--bind-address=*"]);
    let check = |host: &str| format!("[checks.db]\nurl = \"mysql://app:secret@{host}:{}/app\"", server.port);
    let far = elsewhere("far", &stubborn().replace("ready", "migrating"), &check(&network.address), "");
    let far = far.through(&format!("ip netns exec {}", network.name)).start();
    far.until_stdout("migrating", secs(60));
    let near = elsewhere("near", "echo migrating\n", &check("127.0.0.1"), "").start();
    near.until_stderr("holds the migration lock; waiting", secs(60));
    cut_off(&network, far, "migrate", &near);
}
