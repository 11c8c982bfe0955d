//! Modules with real processes: Koupleless' scenarios, order of start and stop, ends and restarts, floods, and no leftovers.

mod first;
mod floods;
mod orders;
mod own;
mod ragflow;

use crate::support::{Portcullis, Running, Stopwatch, eventually, process, secs, wait};
use std::time::Duration;

/// A child that says its name and what it gets, blocks, and takes `seconds` to end after TERM. Its state is in files: it is up by its
/// check while `NAME.up` is there, and ends with the number that `NAME.end` holds.
const CHILD: &str = r#"#!/bin/sh
trap 'echo "term $1"; [ -n "$2" ] && sleep "$2"; echo "end $1"; exit 0' TERM
echo "begin $1"
while :; do
  [ -s "$1.end" ] && { read -r code < "$1.end"; rm "$1.end"; echo "dies $1"; exit "$code"; }
  sleep 0.02
done
"#;

/// A run of a main process and these modules; `"@"` in the tables is the child, `DIR` its directory.
fn run(tables: &str) -> Running {
    prepared(tables).start()
}

fn prepared(tables: &str) -> Portcullis {
    let run = Portcullis::new();
    let (child, dir) = (run.script("child", CHILD).display().to_string(), run.dir().display().to_string());
    let tables = tables.replace("\"@\"", &format!("\"{child}\"")).replace("DIR", &dir);
    run.config(&format!("mode = \"api\"\n[modes.api]\ncommand = [\"{child}\", \"main\"]\n{tables}"))
}

fn up(run: &Running, name: &str) {
    std::fs::write(run.dir().join(format!("{name}.up")), "").unwrap();
}

fn end(run: &Running, name: &str, code: u8) {
    // Read whole or not at all.
    let path = run.dir().join(format!("{name}.end"));
    std::fs::write(path.with_extension("part"), format!("{code}\n")).unwrap();
    std::fs::rename(path.with_extension("part"), path).unwrap();
}

#[track_caller]
fn until(run: &Running, path: &str, status: &str) {
    let what = format!("{path} is {status}");
    let watch = Stopwatch::start();
    loop {
        let answer = run.get(path);
        if answer.json()["status"] == status {
            return;
        }
        assert!(watch.elapsed() < secs(30), "never {what}: {}\n{}", answer.body, run.streams().1);
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The lines of stdout so far that begin with one of the words.
fn lines(run: &Running, words: &[&str]) -> Vec<String> {
    let said = run.streams().0;
    said.lines().filter(|line| words.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
}

const HEALTH: &str = "/actuator/health";

/// Koupleless' table (its manual, "Health Check"), with modules whose start counts and modules whose start does not.
#[test]
fn the_scenarios_of_koupleless() {
    for counts in [true, false] {
        let by_counting = |counted, not| if counts { counted } else { not };
        let module = |name: &str, start: &str| {
            format!(
                "[modules.{name}]\ncommand = [\"@\", \"{name}\"]\nstart = \"{start}\"\nrestart = \"never\"\nstartup_affects_health = {counts}\n\
                 [modules.{name}.started]\nurl = \"file://DIR/{name}.up\"\n"
            )
        };
        // Scenarios 1 and 2: the base alone, and with modules that start with it.
        let run = run(&(module("static", "with-main")
            + &module("fails", "with-main")
            + &module("hot", "on-demand")
            + &module("bad", "on-demand")));
        run.until_stdout("begin static", secs(20));
        run.until_stdout("begin fails", secs(20));
        run.until_status("/readyz", 200, secs(20));
        until(&run, HEALTH, by_counting("UNKNOWN", "UP"));
        until(&run, "/actuator/health/modules/static", "UNKNOWN");
        up(&run, "static");
        until(&run, "/actuator/health/modules/static", "UP");
        end(&run, "fails", 3);
        until(&run, "/actuator/health/modules/fails", "DOWN");
        until(&run, HEALTH, by_counting("DOWN", "UP"));
        run.beside(["stop", "fails"]).exits(0);
        until(&run, HEALTH, "UP");

        // Scenario 3: a module that is started hot, and one that fails to.
        let main = run.child_pid("child main");
        let order = |words: &[&str]| run.beside(words.iter().copied().chain(["--timeout", "100ms"]));
        order(&["start", "hot"]);
        run.until_stdout("begin hot", secs(20));
        until(&run, HEALTH, by_counting("UNKNOWN", "UP"));
        up(&run, "hot");
        until(&run, "/actuator/health/modules/hot", "UP");
        until(&run, HEALTH, "UP");
        order(&["start", "bad"]);
        run.until_stdout("begin bad", secs(20));
        end(&run, "bad", 3);
        until(&run, "/actuator/health/modules/bad", "DOWN");
        until(&run, HEALTH, by_counting("DOWN", "UP"));
        run.beside(["stop", "bad"]).exits(0);
        until(&run, HEALTH, "UP");

        // Scenario 5: it is installed anew. First, because scenario 4 ends it.
        std::fs::remove_file(run.dir().join("hot.up")).unwrap();
        order(&["restart", "hot"]);
        until(&run, HEALTH, by_counting("UNKNOWN", "UP"));
        up(&run, "hot");
        until(&run, "/actuator/health/modules/hot", "UP");
        until(&run, HEALTH, "UP");

        // Scenario 4: whatever its start counted for, its running does.
        end(&run, "hot", 3);
        until(&run, HEALTH, "DOWN");
        assert_eq!(run.get("/readyz").code, 200, "health, not readiness");
        assert_eq!(run.child_pid("child main"), main);
    }
}

#[test]
fn modules_start_in_order_once_the_others_are_up_and_stop_in_the_reverse() {
    let mut run = run("[modules.last]\ncommand = [\"@\", \"last\", \"0.2\"]\nafter = [\"middle\"]\n\
         [modules.middle]\ncommand = [\"@\", \"middle\", \"0.2\"]\nafter = [\"main\"]\nstarted = { url = \"file://DIR/middle.up\" }\n\
         [modules.beside]\ncommand = [\"@\", \"beside\"]\n");
    run.until_stdout("begin middle", secs(20));
    run.until_stdout("begin beside", secs(20));
    assert!(!run.streams().0.contains("begin last"), "started is not up");
    up(&run, "middle");
    run.until_stdout("begin last", secs(20));
    run.until_stdout("begin main", secs(20));
    run.signal(15);
    run.exits(0);
    let stops = lines(&run, &["term", "end"]);
    assert_eq!(stops, ["term last", "end last", "term middle", "end middle", "term main", "end main", "term beside", "end beside"]);
    run.leaves_nothing();
}

#[test]
fn a_module_that_hangs_is_killed_within_the_deadline_and_the_process_is_stopped_all_the_same() {
    let mut run = run(
        "[process]\nstop_timeout = \"2s\"\n[modules.deaf]\ncommand = [\"sh\", \"-c\", \"trap '' TERM; echo begin deaf; while :; do sleep 0.1; done\"]\nafter = [\"main\"]\n",
    );
    run.until_stdout("begin deaf", secs(20));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() >= secs(1) && watch.elapsed() < secs(8), "{:?}", watch.elapsed());
    assert_eq!(lines(&run, &["term", "end"]), ["term main", "end main"]);
    run.leaves_nothing();
}

#[test]
fn leftovers_of_a_module_are_gone_once_it_is_stopped() {
    let run = run(
        "[modules.messy]\ncommand = [\"sh\", \"-c\", \"(trap '' TERM; exec sleep 1000) & echo begin messy; wait\"]\nstop_timeout = \"500ms\"\n",
    );
    run.until_stdout("begin messy", secs(20));
    let sleeper = eventually("the helper runs", secs(20), || {
        run.descendants().into_iter().find(|pid| process::command_line(*pid).contains("sleep 1000"))
    });
    run.beside(["stop", "messy"]).exits(0);
    assert!(!process::alive(sleeper));
    assert!(process::alive(run.child_pid("child main")));
}

#[test]
fn the_end_of_a_module_means_what_on_exit_says() {
    for (on_exit, status) in [("ignore", "UP"), ("degrade", "DOWN")] {
        let mut run = run(&format!("[modules.one]\ncommand = [\"@\", \"one\"]\nrestart = \"never\"\non_exit = \"{on_exit}\"\n"));
        run.until_stdout("begin one", secs(20));
        run.until_status("/readyz", 200, secs(20));
        until(&run, HEALTH, "UP");
        end(&run, "one", 7);
        until(&run, "/actuator/health/modules/one", "DOWN");
        until(&run, HEALTH, status);
        end(&run, "main", 4);
        run.exits(4);
    }
    let mut run = run("[modules.one]\ncommand = [\"@\", \"one\"]\non_exit = \"stop-all\"\n");
    run.until_stdout("begin one", secs(20));
    run.until_stdout("begin main", secs(20));
    end(&run, "one", 7);
    run.exits(7);
    assert!(run.streams().1.contains("module one stops everything"), "{}", run.streams().1);
    assert_eq!(lines(&run, &["term", "end"]), ["term main", "end main"], "the process is stopped as by TERM");
    run.leaves_nothing();
}

#[test]
fn a_module_is_restarted_by_its_policy() {
    for (policy, code, again) in
        [("never", 1, false), ("on-failure", 0, false), ("on-failure", 1, true), ("on-failure", 125, false), ("always", 0, true)]
    {
        let run = run(&format!(
            "[modules.one]\ncommand = [\"@\", \"one\"]\nrestart = \"{policy}\"\nrestart_delay = \"50ms\"\nrestart_limit = 1\n"
        ));
        run.until_stdout("begin one", secs(20));
        run.until_status("/readyz", 200, secs(20));
        end(&run, "one", code);
        if again {
            eventually("it runs again", secs(20), || (lines(&run, &["begin one"]).len() == 2).then_some(()));
            until(&run, HEALTH, "UP");
            assert!(run.get("/metrics").body.contains("portcullis_module_restarts_total{module=\"one\"} 1"));
            end(&run, "one", code);
        }
        until(&run, HEALTH, "DOWN");
        assert_eq!(lines(&run, &["begin one"]).len(), if again { 2 } else { 1 }, "{policy} {code}");
    }
}

#[test]
fn a_module_that_ends_at_once_is_not_restarted_without_a_pause() {
    let run = run("[modules.hasty]\ncommand = [\"sh\", \"-c\", \"echo begin hasty\"]\nrestart = \"always\"\nrestart_delay = \"0s\"\n");
    eventually("it was started again", secs(20), || (lines(&run, &["begin hasty"]).len() >= 3).then_some(()));
    // 0, 20, 40, 80, 160, 320, 640 and 1280 ms, each less a fifth at most: the tenth start comes after two seconds.
    wait::never("it comes too often", Duration::from_millis(1500), || lines(&run, &["begin hasty"]).len() > 9);
}

#[test]
fn sockets_that_were_passed_on_are_the_process_alone() {
    let run = Portcullis::new();
    let wrapper = run.script("wrapper", "#!/bin/sh\nexport LISTEN_FDS=1 LISTEN_PID=$$\nexec 7</dev/null\nexec \"$@\"\n");
    let tell = "[ -e /proc/$$$$/fd/7 ] && has=has || has=lacks; echo NAME $$has it, $${LISTEN_FDS:-none}; exec sleep 1000";
    let command = |name: &str| format!("command = [\"sh\", \"-c\", \"{}\"]\n", tell.replace("NAME", name));
    let tables = format!("mode = \"api\"\n[modes.api]\n{}[modules.one]\n{}", command("main"), command("one"));
    let run = run.config(&tables).through(&wrapper.display().to_string()).start();
    run.until_stdout("main has it, 1", secs(20));
    run.until_stdout("one lacks it, none", secs(20));
}

#[test]
fn a_check_can_probe_whether_a_module_runs() {
    let run = run("[checks.worker]\nurl = \"process:one\"\ninterval = \"100ms\"\nfailure_threshold = 1\n\
         [modules.one]\ncommand = [\"@\", \"one\"]\nrestart = \"never\"\naffects = \"none\"\n");
    run.until_stdout("begin one", secs(20));
    until(&run, "/actuator/health/worker", "UP");
    end(&run, "one", 0);
    until(&run, "/actuator/health/worker", "DOWN");
    assert!(run.get("/healthz").body.contains("\"worker\""));
}

#[test]
fn a_module_may_report_itself_that_it_is_up() {
    let run = run(
        "[modules.one]\ncommand = [\"sh\", \"-c\", \"until [ -e one.up ]; do sleep 0.02; done; echo >&4; exec sleep 1000\"]\nstarted = { notify_fd = 4 }\n",
    );
    run.until_status("/readyz", 200, secs(20));
    until(&run, HEALTH, "UNKNOWN");
    up(&run, "one");
    until(&run, HEALTH, "UP");
}

#[test]
fn every_view_shows_the_modules() {
    let run = run("[modules.good]\ncommand = [\"@\", \"good\"]\nversion = \"1.2.0\"\nweb_path = \"/good\"\n\
         [modules.bad]\ncommand = [\"/nowhere/bad\"]\nstartup_affects_health = false\n[modules.hot]\ncommand = [\"@\", \"hot\"]\nstart = \"on-demand\"\n");
    run.until_stdout("begin good", secs(20));
    run.until_status("/readyz", 200, secs(20));
    until(&run, "/actuator/health/modules/bad", "DOWN");
    let health = run.get(HEALTH).json();
    assert_eq!((&health["status"], &health["components"]["arkBizAggregate"]["status"]), (&"UP".into(), &"UP".into()), "{health}");
    let modules = &run.get("/actuator/info").json()["arkBizInfo"];
    assert_eq!(
        modules[1],
        serde_json::json!({ "bizName": "good", "bizVersion": "1.2.0", "bizState": "ACTIVATED", "webContextPath": "/good" })
    );
    assert_eq!((&modules[2]["bizState"], &modules[3]["bizState"]), (&"BROKEN".into(), &"RESOLVED".into()));
    let status = run.get_over_socket("/status?verbose").body;
    assert!(status.contains("cannot start /nowhere/bad"), "{status}");
    let reported = run.get("/status?verbose").body;
    assert!(!reported.contains("/nowhere/bad"), "a detail for an unauthorized reader: {reported}");
    let metrics = run.get("/metrics").body;
    for line in
        ["portcullis_module_up{module=\"good\"} 1", "portcullis_module_up{module=\"bad\"} 0", "portcullis_module_up{module=\"hot\"} 0"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
    let page = run.get("/").body;
    assert!(
        page.contains("good</strong>: up") && page.contains("bad</strong>: failed") && page.contains("hot</strong>: not started"),
        "{page}"
    );
    let healthz = run.get("/healthz").body;
    assert!(!healthz.contains("good") && !healthz.contains("bad"), "they join when they fail and count: {healthz}");
    let terminal = run.beside(["status"]).exits(0).stdout;
    assert!(terminal.contains("bad   failed"), "{terminal}");
}

#[test]
fn fifty_modules_start_and_stop_within_the_deadline_and_leave_nothing() {
    let mut run = run("[modules.many]\ncommand = [\"@\", \"many\"]\ninstances = 50\nafter = [\"main\"]\n");
    run.until_status("/readyz", 200, secs(20));
    eventually("all are up", secs(60), || {
        let info = run.get("/actuator/info").json();
        let up = info["arkBizInfo"].as_array().unwrap().iter().filter(|module| module["bizState"] == "ACTIVATED").count();
        (up == 51 && lines(&run, &["begin many"]).len() == 50).then_some(())
    });
    until(&run, HEALTH, "UP");
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() < secs(9), "{:?}", watch.elapsed());
    assert_eq!(lines(&run, &["end"]).len(), 51);
    run.leaves_nothing();
}

#[test]
fn errors_of_modules_are_reported_together() {
    let tables = "[checks.two]\nurl = \"process:nobody\"\n[modules.one]\ncommand = [\"x\"]\nafter = [\"two\", \"mian\"]\ninstances = -1\n[modules.two]\ncommand = [\"x\", { args = true }]\n\
         after = [\"one\"]\n[modules.main]\ncommand = []\non_exit = \"stop\"\nstop_on = \"HUP\"\n";
    let output = Portcullis::new().config(&format!("[modes.api]\ncommand = [\"true\"]\n{tables}")).args(["plan"]).output().exits(78);
    let said = output.stderr;
    for words in [
        "`after` in [modules.one] names the unknown module `mian`; did you mean `main`?",
        "modules wait for each other in a circle: `one` after `two` after `one`",
        "the container's arguments are the main process'",
        "`instances` in [modules.one] is `-1`",
        "a module cannot be named `main`",
        "`command` in [modules.main] contains no program",
        "`on_exit` in [modules.main] is `stop`",
        "unknown key `stop_on` in [modules.main]",
        "two of the checks and modules are named `two`",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    // Whether a module of that name is missing is known only if the modules themselves are valid.
    let asks = "refers to the module `nobody`";
    assert!(!said.contains(asks), "{said}");
    let right = "[modes.api]\ncommand = [\"true\"]\n[checks.two]\nurl = \"process:nobody\"\n[modules.one]\ncommand = [\"x\"]\n";
    let said = Portcullis::new().config(right).args(["plan"]).output().exits(78).stderr;
    assert!(said.contains(asks), "{said}");
}
