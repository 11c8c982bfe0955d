//! The bytes of every view in known situations.

use std::fmt::Write;
use std::time::Duration;

use super::ask;
use super::fixtures::{WORDS, all, further, named};
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::{Affects, ViewSwitch, Views};
use crate::state::check::Check;
use crate::state::snapshot::{Snapshot, Stage, StageState};
use crate::view::figures::{Figures, ProcessFigures};
use crate::view::{LONGEST_BODY, Request, Response, route};

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
        ("overdue", [200, 200, 500, 500]),
        ("stalled", [500, 200, 500, 500]),
        ("draining", [200, 200, 500, 500]),
        ("failed", [500, 500, 500, 500]),
        ("module failed", [200, 200, 200, 200]),
    ];
    for ((name, snapshot, look), (row, codes)) in all().into_iter().zip(rows) {
        assert_eq!(name, row);
        let response =
            ["/livez", "/startupz", "/readyz", "/healthz"].map(|path| ask(&snapshot, look, &format!("GET {path}"), "", false).status);
        assert_eq!(response, codes, "{name}");
    }
}

/// The API server's own test table: two checks, `ping` and `bad`.
#[test]
fn the_api_servers_bytes() {
    let (up, look) = named("no checks");
    let stage = Stage { name: "bad".to_owned(), step: StageState::Down, counts: true, began: None, ended: None, note: None };
    let bad = Snapshot { stages: vec![stage.into()].into(), started: false, ..up.clone() };
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
fn ready_reports_what_is_not_ready() {
    let (snapshot, look) = named("redis down for readiness");
    let body = "[+]ping ok\n[+]scheduler ok\n[+]supervisor ok\n[+]startup ok\n[+]shutdown ok\n[-]redis failed: reason withheld\n[+]app ok\nreadyz check failed\n";
    assert_eq!(ask(&snapshot, look, "GET /readyz", "", true).body, body);
}

#[test]
fn healthz() {
    for (name, authorized, body) in [
        ("no checks", false, r#"{"status":"ok"}"#),
        ("all up", false, r#"{"db":"ok","redis":"ok","status":"ok"}"#),
        (
            "redis down",
            false,
            r#"{"db":"ok","redis":"nok","status":"nok","_meta":{"redis":{"elapsed":"5.2","error":"authentication failed"}}}"#,
        ),
        ("stale", true, r#"{"db":"nok","redis":"ok","status":"nok","_meta":{"db":{"elapsed":"3.0","error":"result is stale"}}}"#),
        (
            "waiting",
            false,
            r#"{"db":"ok","redis":"nok","app":"nok","startup":"nok","status":"nok","_meta":{"redis":{"elapsed":"20.0","error":"name resolution failed"},"app":{"elapsed":"0.0","error":"not checked yet"},"startup":{"elapsed":"101000.0","error":"waiting"}}}"#,
        ),
    ] {
        let (snapshot, look) = named(name);
        let response = ask(&snapshot, look, "GET /healthz", "", authorized);
        assert_eq!(response.body, body, "{name}");
        assert_eq!(response.content_type, "application/json");
    }
    let (snapshot, look) = named("redis down");
    let response = ask(&snapshot, look, "GET /healthz", "", true).body;
    assert!(response.ends_with(&format!(r#""_meta":{{"redis":{{"elapsed":"5.2","error":"{WORDS}"}}}}}}"#)), "{response}");
}

#[test]
fn a_long_body_names_the_failures_and_counts_the_rest() {
    let (mut snapshot, look) = named("all up");
    snapshot.checks = (0..400)
        .map(|index| {
            let name = format!("a-check-with-a-rather-long-name-{index:03}");
            let mut check = Check { id: Some(index), ..Check::event(&name, "tcp", Affects::Readiness) };
            let elapsed = Duration::ZERO;
            check.feed(look.now, if index == 399 { Outcome::failed(ErrorKind::Refused, "", elapsed) } else { Outcome::passed(elapsed) });
            check.into()
        })
        .collect::<Vec<_>>()
        .into();
    // The kubelet truncates at 10 KiB; all other clients get every check.
    for path in ["/actuator/health", "/status", "/status?verbose", "/health", "/healthz"] {
        let body = ask(&snapshot, look, &format!("GET {path}"), "", true).body;
        assert!(snapshot.checks.iter().all(|check| body.contains(&format!("\"{}\":", check.name))), "{path}: {body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }
    let body = ask(&snapshot, look, "GET /readyz", "", false).body;
    assert!(body.len() <= LONGEST_BODY && body.len() > LONGEST_BODY - 200, "{}", body.len());
    assert!(body.contains("name-399") && body.ends_with(" more\nreadyz check failed\n"), "{body}");
    let shown = body.lines().filter(|line| line.starts_with('[')).count();
    assert!(body.contains(&format!("and {} more\n", 405 - shown)), "{body}");
}

/// The questions whose answers are kept in a file a situation: target, `Accept`, authority.
const QUESTIONS: [(&str, &str, bool); 19] = [
    ("/livez?verbose", "", false),
    ("/readyz?verbose", "", false),
    ("/startupz?verbose", "", false),
    ("/healthz", "", false),
    ("/healthz", "", true),
    ("/actuator", "", false),
    ("/actuator/info", "application/json", false),
    ("/actuator/health", "", false),
    ("/actuator/health", "application/json", true),
    ("/actuator/health", "application/vnd.spring-boot.actuator.v2+json", true),
    ("/actuator/health/redis", "", true),
    ("/actuator/health/modules/reports", "", true),
    ("/health", "", false),
    ("/status", "", false),
    ("/status?verbose", "", true),
    ("/metrics", "", false),
    ("/metrics", "application/openmetrics-text", false),
    ("/", "text/plain", false),
    ("/", "text/plain", true),
];

/// Compares with the files beside this one; where one differs, the new answers are left in the temporary directory.
#[test]
fn every_view_in_every_situation() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/view/tests/golden");
    let mut wrong = Vec::new();
    for (name, snapshot, look) in all().into_iter().chain(further()) {
        let mut text = String::new();
        for (target, accept, authorized) in QUESTIONS {
            let response = ask(&snapshot, look, &format!("GET {target}"), accept, authorized);
            let who = if authorized { " authorized" } else { "" };
            let Response { status, content_type, body, .. } = response;
            let _ = writeln!(text, ">>> GET {target} {accept}{who}\n{status} {content_type}\n{body}");
        }
        let file = format!("{}.txt", name.replace(' ', "-"));
        if std::fs::read_to_string(folder.join(&file)).unwrap_or_default() != text {
            let new = std::env::temp_dir().join(format!("portcullis-golden-{file}"));
            std::fs::write(&new, text).unwrap();
            wrong.push(format!("{} is not {}", folder.join(&file).display(), new.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_shows_what_is_wrong_and_loads_nothing() {
    let (snapshot, look) = named("redis down");
    let page = ask(&snapshot, look, "GET /", "text/html,*/*;q=0.8", false);
    assert_eq!((page.status, page.content_type), (200, "text/html; charset=utf-8"));
    for words in [
        "<h1>\u{25b2} SERVING<span>, degraded: redis</span></h1>",
        "redis: authentication failed",
        "not healthy",
        "http-equiv=\"refresh\"",
        "wait:db",
    ] {
        assert!(page.body.contains(words), "{words} in {}", page.body);
    }
    for never in ["<script", "http://", "https://", "src=", " style=", " onclick", WORDS, "api-7d9f", "node-3"] {
        assert!(!page.body.contains(never), "{never} in {}", page.body);
    }
    assert!(!ask(&snapshot, look, "GET /?hold", "", false).body.contains("http-equiv"));
    let response = ask(&snapshot, look, "GET /", "", true).body;
    assert!(response.contains(WORDS) && response.contains("on api-7d9f (host node-3)"), "{response}");
    let policy = page.headers.iter().find(|(name, _)| *name == "content-security-policy").unwrap().1;
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
}

#[test]
fn foreign_text_cannot_control_the_page_or_the_terminal() {
    let (mut snapshot, look) = named("redis down");
    snapshot.service.name = "<b>&\"'\u{1b}[2J".to_owned();
    snapshot.child.status = Some("<img src=x>\u{7}".to_owned());
    let page = ask(&snapshot, look, "GET /", "", true).body;
    assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;") && !page.contains("<img") && !page.contains("<b>&"), "{page}");
    let text = ask(&snapshot, look, "GET /", "text/plain", true).body;
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && text.ends_with('\n'), "{text}");
}

#[test]
fn a_view_that_is_switched_off_is_not_there() {
    let (snapshot, look) = named("all up");
    let none = Views::default().without(ViewSwitch::ALL.map(|(switch, _)| switch));
    for path in ["/", "/healthz", "/livez", "/readyz/app", "/actuator", "/actuator/health", "/health", "/status", "/metrics"] {
        let request = Request { method: "GET", path, views: none, ..Request::default() };
        assert_eq!(route(&snapshot, look, &request).status, 404, "{path}");
    }
    let status = Request { method: "GET", path: "/status", views: Views::default().without([ViewSwitch::Page]), ..Request::default() };
    assert_eq!(route(&snapshot, look, &status).status, 200);
}

#[test]
fn metrics_of_the_server_itself() {
    let (snapshot, look) = named("no checks");
    let mut figures = Figures::default();
    figures.requests.observe("/livez", "GET", 200, Duration::from_micros(300));
    figures.longest_turn = Duration::from_micros(1500);
    figures.process = Some(ProcessFigures {
        cpu: Duration::from_millis(1250),
        open_files: 9,
        most_files: 1024,
        virtual_memory: 4096,
        resident_memory: 2048,
        started: Duration::from_secs(1_760_000_000),
    });
    let request = Request { method: "GET", path: "/metrics", figures: Some(&figures), ..Request::default() };
    let body = route(&snapshot, look, &request).body;
    for line in [
        "# TYPE portcullis_http_request_duration_seconds histogram",
        "portcullis_http_request_duration_seconds_bucket{route=\"/livez\",method=\"GET\",status=\"200\",le=\"0.0001\"} 0",
        "portcullis_http_request_duration_seconds_bucket{route=\"/livez\",method=\"GET\",status=\"200\",le=\"0.0005\"} 1",
        "portcullis_http_request_duration_seconds_bucket{route=\"/livez\",method=\"GET\",status=\"200\",le=\"+Inf\"} 1",
        "portcullis_http_request_duration_seconds_sum{route=\"/livez\",method=\"GET\",status=\"200\"} 0.0003",
        "portcullis_loop_longest_turn_seconds 0.0015",
        "process_cpu_seconds_total 1.25",
        "process_open_fds 9",
        "process_resident_memory_bytes 2048",
        "process_start_time_seconds 1760000000",
    ] {
        assert!(body.lines().any(|other| other == line), "{line} in {body}");
    }
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
