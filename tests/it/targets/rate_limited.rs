//! A peer with its own interval is probed at most that often, whatever happens here and whichever client looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::child::polite;
use crate::support::{Http, Portcullis, Stopwatch, eventually, http, process, secs};

/// Both forms that promise an interval, each asking the server of its own; `@` is the path of a program that stays.
fn config(group: &Http, single: &Http, of_module: &Http, failure_threshold: u32) -> String {
    format!(
        r#"mode = "api"
[checks.dify]
interval = "1s"
failure_threshold = {failure_threshold}
affects = "readiness"
[[checks.dify.targets]]
url = "http://127.0.0.1:{}/v1/parameters"
bearer = "app-key-of-ours"
[checks.search]
url = "http://127.0.0.1:{}/health"
interval = "1s"
failure_threshold = {failure_threshold}
[modes.api]
command = ["@"]
[process]
restart = "always"
restart_delay = "20ms"
[modules.fails]
command = ["sleep", "0.3"]
restart = "always"
restart_delay = "20ms"
restart_max_delay = "100ms"
startup_affects_health = false
affects = "none"
[modules.fails.checks.own]
url = "http://127.0.0.1:{}/health"
interval = "1s"
"#,
        group.port, single.port, of_module.port
    )
}

/// People and programs that look at deep views without a pause, until they are dropped.
struct Viewers(Arc<AtomicBool>);

impl Viewers {
    fn of(socket: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for path in ["/healthz", "/actuator/health", "/?hold"] {
            let (socket, over) = (socket.to_owned(), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop(http::ask_abstract(&socket, path));
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
        Self(over)
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_peer_is_probed_once_an_interval_at_most_at_the_gate_in_step_before_restarts_and_after_reloads() {
    let peers = [Http::answering(500, "{}"), Http::answering(401, "{}"), Http::answering(200, "{}")];
    let [group, single, of_module] = &peers;
    let run = Portcullis::new();
    let child = run.script("child", &polite()).display().to_string();
    let text = |failure_threshold| config(group, single, of_module, failure_threshold).replace('@', &child);
    let began = Stopwatch::start();
    let mut run = run.config(&text(3)).start();
    let requested = |least: usize| {
        let before = [group, single].map(|peer| peer.seen().len());
        eventually("both are probed again", secs(60), || {
            [group, single].iter().zip(before).all(|(peer, before)| peer.seen().len() >= before + least).then_some(())
        });
    };
    let viewers = Viewers::of(&run.socket);
    requested(3);
    assert_eq!(run.get("/readyz").code, 500, "both answers keep the start waiting");
    for peer in [group, single] {
        peer.set(200, "{}");
    }
    run.until_status("/readyz", 200, secs(60));
    for _ in 0..3 {
        let pid = run.child_pid(&child);
        process::send(pid, 9);
        eventually("the process is another one", secs(60), || (run.child_pid(&child) != pid).then_some(()));
        run.until_status("/readyz", 200, secs(60));
    }
    for failure_threshold in [4, 5, 6] {
        std::fs::write(run.dir().join("portcullis.toml"), text(failure_threshold)).expect("write the configuration");
        let said = run.beside(["reload"]).exits(0).stdout;
        assert!(said.contains("dify, search changed"), "{said}");
        run.until_status("/readyz", 200, secs(60));
    }
    requested(2);
    eventually("the module's own check is probed, too", secs(60), || (of_module.seen().len() >= 2).then_some(()));
    drop(viewers);
    for peer in &peers {
        // In this order, so that probes in between do no harm.
        let (count, elapsed) = (peer.seen().len(), began.elapsed());
        assert!(count as f64 <= elapsed.as_secs_f64() + 1.0, "{count} questions in {elapsed:?}");
    }
    run.signal(15);
    run.wait_exit(secs(20));
}
