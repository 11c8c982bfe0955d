//! A host that is lost without a word: its holder stops by itself, and only then does another one begin.

use super::{TABLE, file, replica};
use crate::support::child::polite;
use crate::support::network::Network;
use crate::support::{Exit, Portcullis, Postgres, Stopwatch, process, secs, slow};

#[test]
fn a_holder_that_is_cut_off_has_stopped_before_another_one_migrates() {
    let name = "a_holder_that_is_cut_off_has_stopped_before_another_one_migrates";
    if !slow(name) {
        return;
    }
    let Some(network) = Network::new(name) else { return };
    let mut server = Postgres::reserve();
    server.setting("listen_addresses=*");
    server.access("local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n");
    server.launch();
    server.until_up();
    server.psql(TABLE);
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", "far").env("MIGRATION_ENABLED", "true");
    let (migrate, child) =
        (run.script("migrate", &crate::support::child::stubborn().replace("ready", "migrating")), run.script("child", &polite()));
    let url = server.url().replace("127.0.0.1", &network.address);
    let config = file(&server, &migrate, &child, "").replace(&server.url(), &url);
    let mut far = run.config(&config).through(&format!("ip netns exec {}", network.name)).start();
    far.until_stdout("migrating", secs(60));
    let migration = far.child_pid("migrate");
    let near = replica(&server, "near", "echo migrating\n", "").start();
    near.until_stderr("queueing behind portcullis-lock:45c95949:far:", secs(60));
    network.cut();
    let watch = Stopwatch::start();
    assert_eq!(far.wait_exit(secs(30)), Exit::Code(76));
    let stopped = watch.elapsed();
    assert!(!process::alive(migration));
    assert!(!near.said().0.contains("migrating"), "both at once");
    near.until_stdout("migrating", secs(60));
    let began = watch.elapsed();
    near.until_status("/readyz", 200, secs(30));
    eprintln!("cut off: stopped after {stopped:?}, the next one began after {began:?}");
    assert!(stopped < secs(25) && began < secs(45) && began > secs(30), "{stopped:?} {began:?}");
}
