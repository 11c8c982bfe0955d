//! The kubelet: its requests, its thresholds and its timeouts, with a starting, ready, lost, draining and hanging portcullis.

use crate::support::child::polite;
use crate::support::kubelet::{ContainerStatus, Kubelet, Settings, manifest};
use crate::support::{Exit, Http, Portcullis, Running, secs, slow, variable};
use std::path::Path;
use std::process::Command;

/// One kubelet second takes so long here, in ms.
const SECOND: u64 = 40;

fn start(env: &[(&str, &str)], web: &Http) -> Running {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let run = run.config(&format!(
        "mode = \"api\"\n[checks.web]\nurl = \"http://127.0.0.1:{}/\"\naffects = \"readiness\"\ninterval = \"100ms\"\nfailure_threshold = 2\n\
         [modes.api]\ncommand = [\"{}\"]\n",
        web.port,
        child.display()
    ));
    env.iter().fold(run, |run, (name, value)| run.env(name, *value)).start()
}

#[test]
fn kubelet_sees_it_start_get_ready_lose_a_server_and_drain() {
    let web = Http::answering(503, "");
    let mut run = start(&[("PORTCULLIS_PROCESS__DRAIN_DELAY", "3s")], &web);
    run.until_status("/livez", 200, secs(20));
    let mut kubelet = Kubelet::new(run.port, &manifest("shop-api"), SECOND);
    // Starting: the startup probe fails and is far from its threshold; the others do not run, and the pod gets no traffic.
    let seen = kubelet.until("five failed startup probes", |kubelet| kubelet.startup.failures() >= 5);
    assert_eq!((seen.started, seen.ready, seen.killed), (false, false, false));
    assert_eq!((kubelet.liveness.runs(), kubelet.readiness.runs()), (0, 0), "they wait for the startup probe");
    // Ready.
    web.set(200, "");
    let seen = kubelet.until("ready", |kubelet| kubelet.verdict().ready);
    assert_eq!(seen, ContainerStatus { started: true, ready: true, killed: false });
    // A server that traffic needs is lost: out of the Service, but not restarted.
    web.set(503, "");
    let seen = kubelet.until("out of the Service", |kubelet| !kubelet.verdict().ready);
    assert!(!seen.killed);
    let runs = kubelet.liveness.runs();
    kubelet.until("asked for its liveness seven times more", |kubelet| kubelet.liveness.runs() > runs + 7);
    assert_eq!((kubelet.liveness.failures(), kubelet.verdict().killed), (0, false));
    web.set(200, "");
    kubelet.until("back in the Service", |kubelet| kubelet.verdict().ready);
    // The pod is deleted: TERM, and from then on only readiness is probed. The process continues to serve during the drain.
    run.signal(15);
    kubelet.terminate();
    kubelet.until("out of the Service again", |kubelet| !kubelet.verdict().ready);
    let child = run.child_pid("child");
    assert!(crate::support::process::alive(child) && run.runs(), "the process serves on while the Service hears of it");
    assert!(!run.streams().0.contains("got 15"), "{:?}", run.streams());
    run.exits(0);
    assert!(run.streams().0.contains("got 15"), "{:?}", run.streams());
}

#[test]
fn kubelet_restarts_what_never_starts() {
    let web = Http::answering(503, "");
    let mut run = start(&[], &web);
    run.until_status("/livez", 200, secs(20));
    let mut probes = manifest("shop-api");
    probes.startup.failure_threshold = 10;
    let mut kubelet = Kubelet::new(run.port, &probes, SECOND);
    let seen = kubelet.until("killed", |kubelet| kubelet.verdict().killed);
    assert_eq!((seen.started, kubelet.startup.failures()), (false, 10));
    run.signal(15);
    run.exits(143);
}

#[test]
fn kubelet_restarts_a_hung_one_after_its_threshold_and_not_before() {
    let web = Http::answering(200, "");
    let run = start(&[], &web);
    run.until_status("/readyz", 200, secs(20));
    // Each question costs a real second here.
    let mut probes = manifest("shop-worker");
    (probes.liveness.failure_threshold, probes.readiness.period) = (3, 3600);
    let mut kubelet = Kubelet::new(run.port, &probes, SECOND);
    kubelet.until("ready", |kubelet| kubelet.verdict().ready);
    run.signal(19);
    let seen = kubelet.until("two failures", |kubelet| kubelet.liveness.failures() == 2);
    assert!(!seen.killed, "the threshold is 3");
    // One answer in between begins the count anew.
    run.signal(18);
    kubelet.until("an answer", |kubelet| kubelet.liveness.failures() == 0);
    run.signal(19);
    kubelet.until("killed", |kubelet| kubelet.verdict().killed);
    assert_eq!(kubelet.liveness.failures(), 3);
    run.signal(18);
}

/// The exec probes of the beat, as the kubelet runs them: the words of the manifest, in the environment of the container; 0 passes.
#[test]
fn exec_probes_of_the_manifest_follow_the_start_the_traffic_and_the_drain() {
    let web = Http::answering(503, "");
    let mut run = start(&[("PORTCULLIS_PROCESS__DRAIN_DELAY", "60s")], &web);
    run.until_status("/livez", 200, secs(20));
    let pod = manifest("shop-beat");
    assert_eq!((pod.startup.command.len(), pod.liveness.command.len()), (4, 4), "{pod:?}");
    let passes = |probe: &Settings| {
        let words: Vec<&str> = probe.command.iter().map(String::as_str).collect();
        assert_eq!(words[0], "/portcullis");
        let output = run.beside(words[1..].iter().copied());
        assert!(output.took < secs(probe.timeout), "{words:?}: {:?} of {} s", output.took, probe.timeout);
        assert!(output.exit == Exit::Code(0) || output.exit == Exit::Code(1), "{words:?}: {output:?}");
        output.exit == Exit::Code(0)
    };
    assert_eq!((passes(&pod.startup), passes(&pod.liveness)), (false, true), "starting");
    web.set(200, "");
    run.until_status("/readyz", 200, secs(20));
    assert_eq!((passes(&pod.startup), passes(&pod.liveness)), (true, true), "ready");
    // What it needs is away: no reason to restart it.
    web.set(503, "");
    run.until_status("/readyz", 500, secs(20));
    assert!(passes(&pod.liveness), "a dependency is lost");
    web.set(200, "");
    run.until_status("/readyz", 200, secs(20));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_status("/readyz", 500, secs(20));
    assert_eq!((passes(&pod.startup), passes(&pod.liveness)), (false, true), "draining");
    run.signal(15);
    run.exits(0);
    let nobody = run.beside(["healthcheck", "--level", "live"]);
    assert_eq!(nobody.exit, Exit::Code(1), "{nobody:?}");
}

#[test]
fn the_manifest_fits_its_schema() {
    if !slow("the_manifest_fits_its_schema") {
        return;
    }
    let clients = variable("PORTCULLIS_CLIENTS").expect("scripts/test --all says where its clients are");
    let validate = Path::new(&clients).join("venv/bin/kubernetes-validate");
    for version in ["1.37", "1.30", "1.25"] {
        let mut command = Command::new(&validate);
        command.args(["--strict", "--kubernetes-version", version, "docker/example/kubernetes.yaml"]);
        let done = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("run kubernetes-validate");
        assert!(done.status.success(), "{version}: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_pods_are_given_the_time_that_a_stop_takes() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/example/portcullis.toml");
    for name in ["shop-migration-1", "shop-api", "shop-worker", "shop-beat"] {
        let pod = manifest(name);
        let run = Portcullis::new().args(["plan".into(), "--json".into(), "-c".into(), config.clone().into_os_string()]);
        let run = run.env("DB_PASSWORD", "x").env("REDIS_PASSWORD", "x").env("PORTCULLIS_PROCESS__GRACE_PERIOD", format!("{}s", pod.grace));
        let env = pod.env.iter().filter(|(name, _)| name != "PORTCULLIS_PROCESS__GRACE_PERIOD");
        let plan = env.fold(run, |run, (name, value)| run.env(name, value)).output().exits(0);
        assert!(!(plan.stdout + &plan.stderr).contains("terminationGracePeriodSeconds"), "{name}: more than {} s", pod.grace);
    }
    // The notice that this looks for is there where the time is too short.
    let run = Portcullis::new().args(["plan".into(), "--json".into(), "-c".into(), config.into_os_string()]);
    let short = run.env("DB_PASSWORD", "x").env("REDIS_PASSWORD", "x").env("PORTCULLIS_PROCESS__GRACE_PERIOD", "10s").output();
    assert!((short.stdout + &short.stderr).contains("terminationGracePeriodSeconds"));
}
