//! The rules that all paths share.

use super::ask;
use super::fixtures::{further, named};

#[test]
fn methods() {
    let (snapshot, look) = named("all up");
    for path in ["/", "/healthz", "/livez", "/readyz/app", "/actuator", "/actuator/health/redis", "/health", "/status", "/metrics"] {
        let options = ask(&snapshot, look, &format!("OPTIONS {path}"), "", false);
        assert_eq!((options.status, options.body.as_str(), options.content_type), (204, "", ""));
        assert_eq!(options.headers, [("allow", "GET, HEAD, OPTIONS")]);
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "QUERY", "get"] {
            let refused = ask(&snapshot, look, &format!("{method} {path}"), "", false);
            assert_eq!((refused.status, refused.body.as_str()), (405, "method not allowed\n"), "{method}");
            assert_eq!(refused.headers, [("allow", "GET, HEAD, OPTIONS")]);
        }
    }
}

#[test]
fn paths() {
    let (snapshot, look) = named("all up");
    for (path, status) in [
        ("/healthz", 200),
        ("/healthz/", 200),
        ("/%68ealthz", 200),
        ("/%2568ealthz", 404),
        ("/healthz//", 404),
        ("//healthz", 404),
        ("/Healthz", 404),
        ("/healthz%2f", 404),
        ("/v1/system/healthz", 200),
        ("/v1/system%2Fhealthz", 404),
        ("/api/v1/system/healthz", 200),
        ("/livez/scheduler", 200),
        ("/livez/app", 404),
        ("/readyz/app/", 200),
        ("/readyz/app/more", 404),
        ("/readyz/", 200),
        ("/readyz//", 404),
        ("/metrics", 200),
        ("/%ff", 404),
        ("/", 200),
        ("//", 404),
        ("/actuator", 200),
        ("/actuator/", 200),
        ("/actuator/nothing", 404),
        ("/actuator/health/redis", 200),
        ("/actuator/health/nobody", 404),
        ("/actuator/health/redis/more", 404),
        ("/actuator/health/liveness/livenessState", 404),
        ("/actuator/health/modules", 404),
        ("/actuator/info", 200),
        ("/health", 200),
        ("/health/live", 404),
        ("/status", 200),
        ("", 404),
        ("*", 404),
        ("/nowhere", 404),
    ] {
        for method in ["GET", "HEAD"] {
            let response = ask(&snapshot, look, &format!("{method} {path}"), "", false);
            assert_eq!(response.status, status, "{path}");
        }
        if status == 404 {
            let body = if path.starts_with("/actuator/health") { "" } else { "404 page not found\n" };
            assert_eq!(ask(&snapshot, look, &format!("POST {path}"), "", false).body, body, "{path}");
        }
    }
}

#[test]
fn the_request_is_never_returned_unquoted() {
    let (snapshot, look) = named("all up");
    let body = ask(&snapshot, look, "GET /readyz?verbose&exclude=%0d%0a%22%3Cscript%3E", "", false).body;
    assert!(body.contains(r#"no matches for "\r\n\"<script>""#), "{body}");
    assert_eq!(ask(&snapshot, look, "GET /readyz/%3Cscript%3E", "", false).body, "404 page not found\n");
}

#[test]
fn a_hundred_excludes_are_all_heeded() {
    let (snapshot, look) = named("redis down for readiness");
    let more = (0..100).map(|number| format!("&exclude=nobody-{number:02}")).collect::<Vec<_>>().concat();
    let response = ask(&snapshot, look, &format!("GET /readyz?verbose&exclude=redis{more}"), "", false);
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(response.body.contains("[+]redis excluded: ok\n") && response.body.contains(r#""nobody-98","nobody-99""#), "{}", response.body);
    let none = ask(&snapshot, look, &format!("GET /readyz?exclude=nobody{more}"), "", false);
    assert!(none.status == 500 && none.body.contains("[-]redis failed"), "{}", none.body);
}

#[test]
fn foreign_words_make_no_lines_and_steer_no_terminal() {
    let (_, mut snapshot, look) = further().into_iter().find(|(name, ..)| *name == "instances").unwrap();
    let quiet = ask(&snapshot, look, "GET /", "text/plain", true).body;
    let mut instances = (**snapshot.instances.as_ref().unwrap()).clone();
    instances.listed[1].name = "api-1\n\u{2713} api-2  \u{1b}[2J\u{9b}31m up\r".to_owned();
    instances.listed[2].address = Some("10.0.0.1\nInstances  none".to_owned());
    snapshot.instances = Some(std::sync::Arc::new(instances));
    snapshot.child.status = Some("busy\nHeartbeat  \u{1b}]0;x\u{7}".to_owned());
    let response = ask(&snapshot, look, "GET /", "text/plain", true).body;
    assert_eq!(response.lines().count(), quiet.lines().count(), "{response}");
    assert!(response.contains("api-1\\n\u{2713} api-2  \\u001b[2J\\u009b31m up\\r"), "{response}");
    assert!(!response.chars().any(|c| c.is_control() && c != '\n'));
}
