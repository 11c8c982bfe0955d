//! A module's own settings: its user, environment and directory, and its checks.

use super::{HEALTH, run, until};
use crate::support::{Http, eventually, root, secs};

#[test]
fn a_module_has_its_own_environment_and_directory() {
    let tables = "[env]\nSHARED = \"for all\"\n[modules.one]\ninstances = 2\nworking_directory = \"/\"\n\
         command = [\"sh\", \"-c\", \"echo said $$0 $$OWN $$SHARED $$PWD; exec sleep 1000\", \"number ${@instance}\"]\n\
         env = { OWN = \"own-${@instance}\" }\n";
    let run = run(tables);
    for number in [0, 1] {
        run.until_stdout(&format!("said number {number} own-{number} for all /\n"), secs(20));
    }
}

#[test]
fn a_module_has_its_own_user() {
    if !root("a_module_has_its_own_user") {
        return;
    }
    // `id` shows the groups too; what is run before is the user's own, home and all.
    let module = |name: &str, user: &str, after: &str| {
        let tell = "echo said $$0 $$(id -u) $$(id -g) $$(id -G) $$HOME; exec sleep 1000";
        format!("[modules.{name}]\ncommand = [\"sh\", \"-c\", \"{tell}\", \"{name}\"]\n{user}after = [\"{after}\"]\n")
    };
    let tables = "[process]\nuser = \"65533:65533\"\n".to_owned()
        + &module("other", "user = \"65534:65534\"\n", "main")
        + &module("named", "user = \"nobody\"\n", "other")
        + &module("common", "", "named");
    let mut run = run(&tables);
    run.until_stdout("said other 65534 65534 65534 /", secs(20));
    run.until_stdout("said named 65534 65534 65534 /nonexistent\n", secs(20));
    run.until_stdout("said common 65533 65533 65533 /", secs(20));
    let main = crate::support::process::status(run.child_pid("child main"), "Uid");
    assert!(main.split_whitespace().all(|id| id == "65533"), "{main}");
    run.signal(15);
    run.exits(0);
    run.leaves_nothing();
}

#[test]
fn a_check_of_a_module_is_probed_while_it_runs_and_ends_with_it() {
    let http = Http::answering(200, "");
    let check = format!("url = \"http://127.0.0.1:{}/\"\ninterval = \"100ms\"\nfailure_threshold = 2\n", http.port);
    let mut run = run(&format!(
        "[modules.one]\ncommand = [\"@\", \"one\"]\nstart = \"on-demand\"\n[modules.one.checks.store]\n{check}\
         [modules.two]\ncommand = [\"@\", \"two\"]\n"
    ));
    run.until_stdout("begin two", secs(20));
    until(&run, HEALTH, "UP");
    assert_eq!((http.seen().len(), run.get("/actuator/health/one.store").code), (0, 404), "it is not probed before its module runs");

    run.beside(["start", "one"]).exits(0);
    until(&run, "/actuator/health/one.store", "UP");
    until(&run, HEALTH, "UP");
    http.set(500, "");
    until(&run, "/actuator/health/one.store", "DOWN");
    until(&run, HEALTH, "DOWN");
    assert_eq!(run.get("/readyz").code, 200, "health, not readiness");
    assert_eq!(run.get("/actuator/health/modules/one").json()["status"], "DOWN", "its check is its health");
    assert_eq!(run.get("/actuator/info").json()["arkBizInfo"][1]["bizState"], "ACTIVATED", "its process runs all the same");
    let healthz = run.until_status("/healthz", 500, secs(20));
    assert!(healthz.body.contains("one.store"), "{}", healthz.body);
    let status = run.beside(["status"]).exits(0).stdout;
    assert!(status.lines().any(|line| line.contains("one.store") && line.contains("down")), "{status}");
    assert!(run.get("/metrics").body.contains("check=\"one.store\""), "{}", run.get("/metrics").body);

    // Once stopped, it no longer counts, and nothing is probed.
    run.beside(["stop", "one"]).exits(0);
    until(&run, HEALTH, "UP");
    run.until_status("/healthz", 200, secs(20));
    eventually("its check is gone", secs(20), || (run.get("/actuator/health/one.store").code == 404).then_some(()));
    for path in ["/healthz", "/status", "/metrics", "/", "/actuator/health"] {
        assert!(!run.get(path).body.contains("one.store"), "{path}: {}", run.get(path).body);
    }
    let requested = http.seen().len();
    crate::support::wait::never("it is probed", std::time::Duration::from_millis(300), || http.seen().len() > requested + 1);

    // A new start asks anew, from the beginning.
    http.set(200, "");
    run.beside(["start", "one"]).exits(0);
    until(&run, "/actuator/health/one.store", "UP");
    run.signal(15);
    run.exits(0);
}
