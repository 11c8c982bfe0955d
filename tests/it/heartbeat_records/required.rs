//! `heartbeat.required`: without its heartbeat a replica is not ready in any view; other replicas are not affected.

use super::{KEY, replica, until_key};
use crate::support::redis::Reply;
use crate::support::{Portcullis, Redis, Running, eventually, process, secs};

const REQUIRED: &str = "PORTCULLIS_HEARTBEAT__REQUIRED";

/// What every view says of a replica that is well but for its heartbeat.
fn is_not_ready(run: &Running) {
    let ready = run.until_status("/readyz", 500, secs(30));
    assert!(ready.body.contains("[-]heartbeat failed: reason withheld"), "{}", ready.body);
    assert_eq!((run.get("/livez").code, run.get("/startupz").code), (200, 200));
    assert_eq!((run.get("/readyz/heartbeat").code, run.get("/readyz/app").code), (500, 200));
    let refused = |healthz: &serde_json::Value| healthz["_meta"]["heartbeat"]["error"] == "connection refused";
    let healthz = eventually("the reason is reported", secs(30), || Some(run.get("/healthz").json()).filter(refused));
    assert_eq!((&healthz["heartbeat"], &healthz["status"]), (&"nok".into(), &"nok".into()));
    let actuator = run.get("/actuator/health").json();
    assert_eq!((&actuator["status"], &actuator["components"]["heartbeat"]["status"]), (&"DOWN".into(), &"DOWN".into()), "{actuator}");
    assert_eq!(run.get("/actuator/health/readiness").json()["status"], "OUT_OF_SERVICE");
    assert_eq!(run.get("/health").json()["heartbeat"], "unhealthy");
    let status = run.get("/status?verbose").json();
    assert_eq!(
        (&status["ready"], &status["live"], status["checks"]["heartbeat"]["records"].is_array()),
        (&false.into(), &true.into(), true)
    );
    let metrics = run.get("/metrics").body;
    for line in ["portcullis_ready 0", "portcullis_live 1", "portcullis_check_state{check=\"heartbeat\",state=\"down\"} 1"] {
        assert!(metrics.lines().any(|other| other == line), "{line} is not in {metrics}");
    }
    for reported in [run.get("/").body, run.beside(["status"]).stdout] {
        assert!(reported.contains("heartbeat: connection refused"), "{reported}");
    }
    let requested = run.beside(["healthcheck", "--level", "ready"]).exits(1);
    assert!(requested.stdout.contains("heartbeat"), "{}", requested.stdout);
}

/// What the record says of the replica: its status, and why it is not up.
fn record(redis: &Redis) -> (String, serde_json::Value) {
    let Reply::Text(payload) = redis.command(&["HGET", &format!("portcullis:{{{KEY}}}:i:one"), "p"]) else { panic!("no payload") };
    let said: serde_json::Value = serde_json::from_str(&payload).unwrap();
    (said["state"].as_str().unwrap_or_default().to_owned(), said["reason"].clone())
}

#[test]
fn without_its_heartbeat_it_is_not_ready_and_the_process_is_not_affected() {
    let mut redis = Redis::reserve();
    let mut run = replica(&redis.url(), "one", "").env(REQUIRED, "true").start();
    run.until_stdout("ready", secs(30));
    let child = run.child_pid("child");
    run.until_stderr("not ready: not accepting traffic", secs(30));
    assert!(!run.streams().1.contains("ready: accepting traffic"), "{}", run.streams().1);
    run.until_stderr("is not written yet, and without it this replica is not ready: connection refused", secs(30));
    is_not_ready(&run);
    for round in 0..2 {
        redis.restart();
        run.until_status("/readyz", 200, secs(30));
        until_key(&redis, Some("ready"));
        let reported = run.streams().1.matches(" ready: accepting traffic").count();
        assert_eq!(reported, round + 1, "{}", run.streams().1);
        // The first beat that was written tells nothing of those that were not: the next one comes in 20 s.
        assert_eq!(record(&redis), ("UP".to_owned(), serde_json::Value::Null), "round {round}");
        let well = run.get("/healthz").json();
        assert!(well["status"] == "ok" && well.get("heartbeat").is_none(), "{well}");
        assert!(run.beside(["status"]).stdout.contains("SERVING"), "round {round}");
        redis.stop();
        run.until_stderr("expires within 1m, and without it this replica is not ready: ", secs(30));
        is_not_ready(&run);
        assert!(process::alive(child) && run.child_pid("child") == child, "round {round}");
    }
    assert_eq!(run.streams().0, "ready\n");
    run.signal(15);
    run.exits(0);
}

#[test]
fn by_default_the_readiness_does_not_know_the_heartbeat() {
    let redis = Redis::reserve();
    let run = replica(&redis.url(), "one", "").start();
    run.until_stderr("is not written yet: connection refused", secs(30));
    run.until_status("/readyz", 200, secs(30));
    assert_eq!(run.get("/readyz/heartbeat").code, 404);
    let metrics = run.get("/metrics").body;
    assert!(!metrics.contains("check=\"heartbeat\""), "{metrics}");
}

#[test]
fn the_plan_reports_it_and_the_name_is_reserved() {
    let file = "[heartbeat]\nurl = \"redis://redis\"\nrequired = true\n[modes.api]\ncommand = [\"true\"]\n";
    let plan = |file: &str, more: &[&str]| Portcullis::new().config(file).env("MODE", "api").args(["plan"].iter().chain(more)).output();
    let reported = plan(file, &[]).exits(0).stdout;
    assert!(reported.lines().any(|line| line.starts_with("required = true  # ")), "{reported}");
    let reported: serde_json::Value = serde_json::from_str(&plan(file, &["--json"]).exits(0).stdout).unwrap();
    assert_eq!(reported["values"]["heartbeat"]["required"], true);
    plan(&format!("{file}[checks.heartbeat]\nurl = \"tcp://db:1\"\n"), &[]).exits(78).says(&["`heartbeat`", "reserved"]);
}
