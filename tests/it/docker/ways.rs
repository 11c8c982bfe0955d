//! Unusual environments that `docker run` can give to portcullis.

use crate::support::docker::newest;
use crate::support::{Engine, Stopwatch, eventually, process, secs, unique};

const CONFIG: &str = "service = \"api\"\n";
const HEALTHCHECK: &str = "--interval=1s --timeout=10s --start-period=60s --retries=2 CMD [\"/portcullis\",\"healthcheck\"]";

#[test]
fn docker_may_run_it_read_only_as_any_user_below_an_init_and_among_the_processes_of_the_host() {
    let Some(engine) = Engine::start("docker_may_run_it_read_only_as_any_user_below_an_init_and_among_the_processes_of_the_host") else {
        return;
    };
    let ways: [(&[&str], bool); 7] = [
        (&[], true),
        (&["--read-only"], true),
        (&["--user", "65534"], true),
        (&["--read-only", "--user", "65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"], true),
        (&["--init"], false),
        (&["--pid=host"], false),
        (&["--init", "--pid=host", "--read-only", "--user", "65534"], false),
    ];
    for (options, first) in ways {
        // An orphan in a session of its own, whose name shows on the host, and an app that takes TERM as its own.
        let mark = unique("orphan");
        let app = format!(
            "/busybox setsid /busybox sh -c 'while :; do /busybox sleep 1; done' {mark} & trap 'exit 7' TERM; echo ready; /busybox sleep 1000 & wait"
        );
        let container = engine.run_with(CONFIG, HEALTHCHECK, options, &["/busybox", "sh", "-c", &app]);
        assert_eq!(container.until_health("healthy")["Output"], "healthy\n", "{options:?}");
        let one = container.exec(&["/busybox", "cat", "/proc/1/cmdline"]).stdout;
        assert_eq!(one.starts_with(b"/portcullis"), first, "{options:?}: {}", String::from_utf8_lossy(&one));
        let living = || process::all().into_iter().filter(|pid| process::command_line(*pid).trim_end().ends_with(&mark)).count();
        eventually(&format!("the orphan runs with {options:?}"), secs(20), || (living() > 0).then_some(()));
        let watch = Stopwatch::start();
        container.docker(&["stop", "--time", "10"]);
        let took = watch.elapsed();
        let state = container.state();
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &7.into()), "{options:?}: {state}\n{}", container.logs());
        assert!(took < secs(8), "{options:?}: {took:?}, so that it was not KILL after the 10 s of docker");
        assert_eq!(living(), 0, "{options:?}: the orphan is gone");
        assert_eq!(newest(&state)["ExitCode"], 0, "{options:?}: {state}");
        // With --pid=host the engine itself was among the processes that portcullis saw.
        assert!(!engine.succeeds(&["version"]).is_empty());
    }
}
