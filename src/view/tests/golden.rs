//! The bytes of every view in known situations.

use super::ask;
use super::fixtures::{WORDS, all, named};
use crate::outcome::{Class, Outcome};
use crate::plan::Affects;
use crate::state::check::Check;
use crate::state::snapshot::{Snapshot, Stage, Step};
use crate::view::LONGEST_BODY;

#[test]
fn codes_in_every_situation() {
    let rows = [
        ("no checks", [200, 200, 200, 200]),
        ("waiting", [200, 500, 500, 500]),
        ("all up", [200, 200, 200, 200]),
        ("redis degraded", [200, 200, 200, 200]),
        ("redis down", [200, 200, 200, 500]),
        ("redis down for readiness", [200, 200, 500, 500]),
        ("stale", [200, 200, 200, 500]),
        ("wedged", [500, 200, 500, 500]),
        ("draining", [200, 200, 500, 500]),
        ("failed", [500, 500, 500, 500]),
        ("module failed", [200, 200, 200, 200]),
    ];
    for ((name, snapshot, look), (row, codes)) in all().into_iter().zip(rows) {
        assert_eq!(name, row);
        let told =
            ["/livez", "/startupz", "/readyz", "/healthz"].map(|path| ask(&snapshot, look, &format!("GET {path}"), "", false).status);
        assert_eq!(told, codes, "{name}");
    }
}

/// The API server's own test table: two checks, `ping` and `bad`.
#[test]
fn the_api_servers_bytes() {
    let (up, look) = named("no checks");
    let stage = Stage { name: "bad".to_owned(), step: Step::Down, counts: true, began: None, ended: None };
    let bad = Snapshot { stages: vec![stage], started: false, ..up.clone() };
    for (snapshot, target, status, body) in [
        (&up, "", 200, "ok"),
        (&up, "?verbose", 200, "[+]ping ok\nstartupz check passed\n"),
        (&up, "?verbose=false", 200, "[+]ping ok\nstartupz check passed\n"),
        (&up, "?exclude=dontexist", 200, "ok"),
        (&bad, "?exclude=bad", 200, "ok"),
        (&bad, "?verbose=true&exclude=bad", 200, "[+]ping ok\n[+]bad excluded: ok\nstartupz check passed\n"),
        (
            &up,
            "?verbose=true&exclude=dontexist",
            200,
            "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \"dontexist\"\nstartupz check passed\n",
        ),
        (
            &bad,
            "?exclude=z&exclude=a,b&exclude=z",
            500,
            "[+]ping ok\n[-]bad failed: reason withheld\nwarn: some health checks cannot be excluded: no matches for \"a,b\",\"z\"\nstartupz check failed\n",
        ),
        (&bad, "", 500, "[+]ping ok\n[-]bad failed: reason withheld\nstartupz check failed\n"),
        (&bad, "/bad", 500, "internal server error: peer not ready\n"),
        (&bad, "/ping", 200, "ok"),
    ] {
        let response = ask(snapshot, look, &format!("GET /startupz{target}"), "", false);
        assert_eq!((response.status, response.body.as_str()), (status, body), "{target}");
        assert_eq!(response.content_type, "text/plain; charset=utf-8");
    }
}

#[test]
fn ready_says_what_is_not() {
    let (snapshot, look) = named("redis down for readiness");
    let body = "[+]ping ok\n[+]scheduler ok\n[+]supervisor ok\n[+]startup ok\n[+]shutdown ok\n[-]redis failed: reason withheld\n[+]app ok\nreadyz check failed\n";
    assert_eq!(ask(&snapshot, look, "GET /readyz", "", true).body, body);
}

#[test]
fn healthz() {
    for (name, authority, body) in [
        ("no checks", false, r#"{"status":"ok"}"#),
        ("all up", false, r#"{"db":"ok","redis":"ok","app":"ok","status":"ok"}"#),
        (
            "redis down",
            false,
            r#"{"db":"ok","redis":"nok","app":"ok","status":"nok","_meta":{"redis":{"elapsed":"5.2","error":"authentication failed"}}}"#,
        ),
        (
            "stale",
            true,
            r#"{"db":"nok","redis":"ok","app":"ok","status":"nok","_meta":{"db":{"elapsed":"3.0","error":"result is stale"}}}"#,
        ),
        (
            "waiting",
            false,
            r#"{"db":"ok","redis":"nok","app":"nok","startup":"nok","status":"nok","_meta":{"redis":{"elapsed":"20.0","error":"name resolution failed"},"app":{"elapsed":"0.0","error":"not checked yet"},"startup":{"elapsed":"101000.0","error":"waiting"}}}"#,
        ),
    ] {
        let (snapshot, look) = named(name);
        let response = ask(&snapshot, look, "GET /healthz", "", authority);
        assert_eq!(response.body, body, "{name}");
        assert_eq!(response.content_type, "application/json");
    }
    let (snapshot, look) = named("redis down");
    let told = ask(&snapshot, look, "GET /healthz", "", true).body;
    assert!(told.ends_with(&format!(r#""_meta":{{"redis":{{"elapsed":"5.2","error":"{WORDS}"}}}}}}"#)), "{told}");
}

#[test]
fn a_long_body_names_the_failures_and_counts_the_rest() {
    let (mut snapshot, look) = named("all up");
    snapshot.checks = (0..400)
        .map(|index| {
            let mut check = Check::event(&format!("a-check-with-a-rather-long-name-{index:03}"), "tcp", Affects::Readiness);
            let elapsed = std::time::Duration::ZERO;
            check.feed(look.now, if index == 399 { Outcome::failed(Class::Refused, "", elapsed) } else { Outcome::passed(elapsed) });
            check
        })
        .collect();
    for (path, end) in [("/readyz", " more\nreadyz check failed\n"), ("/healthz", "}")] {
        let body = ask(&snapshot, look, &format!("GET {path}"), "", false).body;
        assert!(body.len() <= LONGEST_BODY && body.len() > LONGEST_BODY - 200, "{}", body.len());
        assert!(body.contains("name-399") && body.ends_with(end), "{body}");
        if path == "/healthz" {
            let shown = body.matches("name-").count() - body.matches(r#""error""#).count();
            assert!(body.contains(&format!(r#""_left_out":{}"#, 400 - shown)), "{body}");
        } else {
            let shown = body.lines().filter(|line| line.starts_with('[')).count();
            assert!(body.contains(&format!("and {} more\n", 405 - shown)), "{body}");
        }
    }
}

const METRICS: &str = r#"# HELP portcullis_build_info Build of portcullis.
# TYPE portcullis_build_info gauge
portcullis_build_info{version="0.3.1"} 1
# HELP portcullis_phase Lifecycle phase, one is 1.
# TYPE portcullis_phase gauge
portcullis_phase{phase="init"} 0
portcullis_phase{phase="waiting"} 1
portcullis_phase{phase="migrating"} 0
portcullis_phase{phase="starting"} 0
portcullis_phase{phase="running"} 0
portcullis_phase{phase="draining"} 0
portcullis_phase{phase="stopped"} 0
portcullis_phase{phase="failed"} 0
# HELP portcullis_live 1 if /livez would answer 200.
# TYPE portcullis_live gauge
portcullis_live 1
# HELP portcullis_ready 1 if /readyz would answer 200.
# TYPE portcullis_ready gauge
portcullis_ready 0
# HELP portcullis_started 1 if /startupz would answer 200.
# TYPE portcullis_started gauge
portcullis_started 0
# HELP portcullis_check_state State of a check after thresholds and staleness, one is 1.
# TYPE portcullis_check_state gauge
portcullis_check_state{check="db",state="unknown"} 0
portcullis_check_state{check="db",state="up"} 1
portcullis_check_state{check="db",state="degraded"} 0
portcullis_check_state{check="db",state="down"} 0
portcullis_check_state{check="redis",state="unknown"} 1
portcullis_check_state{check="redis",state="up"} 0
portcullis_check_state{check="redis",state="degraded"} 0
portcullis_check_state{check="redis",state="down"} 0
# HELP portcullis_check_consecutive_failures Failures in a row.
# TYPE portcullis_check_consecutive_failures gauge
portcullis_check_consecutive_failures{check="db"} 0
portcullis_check_consecutive_failures{check="redis"} 2
# HELP portcullis_check_duration_seconds Duration of the last run.
# TYPE portcullis_check_duration_seconds gauge
portcullis_check_duration_seconds{check="db"} 0.004
portcullis_check_duration_seconds{check="redis"} 0.02
# HELP portcullis_check_last_run_timestamp_seconds When the check last finished.
# TYPE portcullis_check_last_run_timestamp_seconds gauge
portcullis_check_last_run_timestamp_seconds{check="db"} 1760000095
portcullis_check_last_run_timestamp_seconds{check="redis"} 1760000096
# HELP portcullis_check_last_success_timestamp_seconds When the check last passed.
# TYPE portcullis_check_last_success_timestamp_seconds gauge
portcullis_check_last_success_timestamp_seconds{check="db"} 1760000095
# HELP portcullis_check_runs_total Check runs by outcome; class is a fixed vocabulary.
# TYPE portcullis_check_runs_total counter
portcullis_check_runs_total{check="db",class="ok"} 1
portcullis_check_runs_total{check="redis",class="ok"} 0
portcullis_check_runs_total{check="redis",class="dns"} 2
# HELP portcullis_child_restarts_total Restarts of the supervised process.
# TYPE portcullis_child_restarts_total counter
portcullis_child_restarts_total 0
# HELP portcullis_heartbeat_writes_total Readiness heartbeats written to Redis.
# TYPE portcullis_heartbeat_writes_total counter
portcullis_heartbeat_writes_total{result="ok"} 3
portcullis_heartbeat_writes_total{result="error"} 0
# HELP portcullis_start_time_seconds Start of portcullis since the epoch.
# TYPE portcullis_start_time_seconds gauge
portcullis_start_time_seconds 1760000000
"#;

#[test]
fn metrics() {
    let (mut snapshot, look) = named("waiting");
    snapshot.checks.truncate(2);
    let text = ask(&snapshot, look, "GET /metrics", "*/*", false);
    assert_eq!(text.body, METRICS);
    assert_eq!(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.headers, [("vary", "Accept")]);
    let open = ask(&snapshot, look, "GET /metrics", "application/openmetrics-text", false);
    assert_eq!(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let mut expected = METRICS.replace("# TYPE portcullis_build_info gauge", "# TYPE portcullis_build info");
    expected = expected.replace("# HELP portcullis_build_info", "# HELP portcullis_build");
    for counter in ["check_runs", "child_restarts", "heartbeat_writes"] {
        for mark in ["HELP", "TYPE"] {
            expected = expected.replace(&format!("# {mark} portcullis_{counter}_total"), &format!("# {mark} portcullis_{counter}"));
        }
    }
    for unit in ["check_duration", "check_last_run_timestamp", "check_last_success_timestamp", "start_time"] {
        let kind = format!("# TYPE portcullis_{unit}_seconds gauge\n");
        expected = expected.replace(&kind, &format!("{kind}# UNIT portcullis_{unit}_seconds seconds\n"));
    }
    assert_eq!(open.body, expected + "# EOF\n");
}

#[test]
fn metrics_come_in_the_form_that_is_liked_best() {
    let (snapshot, look) = named("all up");
    for (accept, openmetrics) in [
        ("", false),
        ("*/*", false),
        ("application/json", false),
        ("application/openmetrics-text", true),
        ("application/openmetrics-text;version=0.0.1", false),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.8", false),
        ("*/*, application/openmetrics-text; version=\"1.0.0\"", false),
        ("application/openmetrics-text;q=nonsense, text/plain", false),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            true,
        ),
    ] {
        let kind = ask(&snapshot, look, "GET /metrics", accept, false).content_type;
        assert_eq!(kind.starts_with("application/openmetrics-text"), openmetrics, "{accept}");
    }
}
