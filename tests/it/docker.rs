//! Docker's HEALTHCHECK, run by a real engine, in an image without a shell, a network, a user and a writable directory.

mod compose;
mod dify;
mod entrypoints;
mod swarm;
mod ways;

use crate::support::docker::newest;
use crate::support::{Engine, Stopwatch, eventually, secs};
use serde_json::Value;

const CONFIG: &str = "service = \"api\"\n[checks.flag]\nurl = \"file:///flags/up\"\ninterval = \"200ms\"\nfailure_threshold = 2\n";

/// Waits in a child, and ends on TERM with a distinctive code.
const APP: [&str; 4] = ["/busybox", "sh", "-c", "trap 'exit 7' TERM; echo ready; /busybox sleep 1000 & wait"];

/// The instruction as people write it, with a clock of this engine's age: it has no interval for the start.
fn healthcheck(options: &str) -> String {
    format!("--interval=1s --timeout=10s {options} CMD [\"/portcullis\",\"healthcheck\"]")
}

#[track_caller]
fn says(run: &Value, code: i32, output: &str) {
    assert_eq!((&run["ExitCode"], &run["Output"]), (&code.into(), &output.into()), "{run}");
}

#[test]
fn docker_sees_it_healthy_and_unhealthy_and_healthy_again() {
    let Some(engine) = Engine::start("docker_sees_it_healthy_and_unhealthy_and_healthy_again") else { return };
    let container = engine.run(CONFIG, &healthcheck("--start-period=60s --retries=2"), &APP);
    container.raise("up");
    says(&container.until_health("healthy"), 0, "healthy\n");
    container.lower("up");
    says(&container.until_health("unhealthy"), 1, "not healthy: flag: not there\n");
    let state = container.state();
    assert_eq!(state["Status"], "running", "the engine alone does not restart it: {state}");
    container.raise("up");
    says(&container.until_health("healthy"), 0, "healthy\n");
}

#[test]
fn docker_calls_it_starting_while_it_waits() {
    let Some(engine) = Engine::start("docker_calls_it_starting_while_it_waits") else { return };
    let container = engine.run(CONFIG, &healthcheck("--start-period=120s --retries=1"), &APP);
    let state = eventually("docker has probed three times", secs(60), || {
        let state = container.state();
        (state["Health"]["Log"].as_array()?.len() >= 3).then_some(state)
    });
    assert_eq!((&state["Health"]["Status"], &state["Health"]["FailingStreak"]), (&"starting".into(), &0.into()), "{state}");
    says(&newest(&state), 1, "not healthy: flag: not there, app: not checked yet, startup: waiting\n");
    assert!(!container.logs().contains("ready\n"), "{}", container.logs());
    container.raise("up");
    says(&container.until_health("healthy"), 0, "healthy\n");
}

#[test]
fn docker_stop_ends_in_time_with_the_code_of_the_app() {
    let Some(mut engine) = Engine::start("docker_stop_ends_in_time_with_the_code_of_the_app") else { return };
    let container = engine.run(CONFIG, &healthcheck("--retries=2"), &APP);
    container.raise("up");
    container.until_health("healthy");
    let watch = Stopwatch::start();
    container.docker(&["stop", "--time", "10"]);
    let took = watch.elapsed();
    let state = container.state();
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &7.into()), "{state}\n{}", container.logs());
    assert!(took < secs(8), "{took:?}, so that it was not KILL after the 10 s of docker");
    // While waiting there is no app that could have a code.
    let container = engine.run(CONFIG, &healthcheck("--start-period=60s"), &APP);
    eventually("docker has probed", secs(30), || newest(&container.state())["ExitCode"].as_i64());
    let watch = Stopwatch::start();
    container.docker(&["stop", "--time", "10"]);
    let state = container.state();
    assert_eq!(state["ExitCode"], 143, "{state}\n{}", container.logs());
    assert!(watch.elapsed() < secs(8), "{:?}", watch.elapsed());
    // One that runs on is ended with its engine.
    engine.run(CONFIG, &healthcheck("--retries=2"), &APP);
    engine.end();
}

#[test]
fn docker_inspect_shows_one_public_line() {
    let Some(engine) = Engine::start("docker_inspect_shows_one_public_line") else { return };
    let toml = "service = \"api\"\n[checks.flag]\nurl = \"file:///flags/up\"\ninterval = \"200ms\"\n\
        [checks.redis]\nurl = \"redis://admin:hunter2@127.0.0.1:6379/0\"\ninterval = \"200ms\"\n";
    let container = engine.run(toml, &healthcheck("--retries=2"), &APP);
    container.until_health("unhealthy");
    let state = eventually("both have failed", secs(30), || {
        let state = container.state();
        let said = newest(&state)["Output"].as_str()?.to_owned();
        (said.contains("flag: not there") && said.contains("redis: connection refused")).then_some(state)
    });
    for run in state["Health"]["Log"].as_array().expect("a log") {
        let said = run["Output"].as_str().expect("its output");
        assert!(said.starts_with("not healthy: ") && said.ends_with('\n') && said.lines().count() == 1 && said.len() <= 512, "{run}");
    }
    for secret in ["hunter2", "admin", "6379", "/flags"] {
        assert!(!state.to_string().contains(secret), "{secret} in {state}");
    }
}

#[test]
fn docker_notices_a_hanging_portcullis_in_time() {
    let Some(engine) = Engine::start("docker_notices_a_hanging_portcullis_in_time") else { return };
    let container = engine.run(CONFIG, &healthcheck("--retries=2"), &APP);
    container.raise("up");
    container.until_health("healthy");
    container.docker(&["kill", "--signal", "STOP"]);
    let run = container.until_health("unhealthy");
    // -1 would say that docker had to kill the question.
    assert_eq!(run["ExitCode"], 1, "{run}");
    let said = run["Output"].as_str().unwrap_or_default();
    assert!(said.starts_with("not healthy: ") && said.contains("time") && said.lines().count() == 1, "{said:?}");
    container.docker(&["kill", "--signal", "CONT"]);
    says(&container.until_health("healthy"), 0, "healthy\n");
}
