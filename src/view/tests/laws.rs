//! What holds for every snapshot and every request.

use proptest::prelude::*;
use serde_json::Value;

use super::ask;
use crate::state::snapshot::arbitrary::{PRIVATE, snapshot};
use crate::state::snapshot::{Level, Status};
use crate::view::{Canonical, LONGEST_BODY, Request, route};

const PATHS: [&str; 20] = [
    "/",
    "/?hold",
    "/actuator",
    "/actuator/info",
    "/actuator/health",
    "/actuator/health/startup",
    "/actuator/health/modules/c0",
    "/c0/actuator/health",
    "/health",
    "/status",
    "/status?verbose",
    "/healthz",
    "/v1/system/healthz",
    "/livez",
    "/readyz",
    "/startupz",
    "/livez?verbose",
    "/readyz?verbose&exclude=c1&exclude=x",
    "/readyz/c0",
    "/metrics",
];

proptest! {
    #[test]
    fn the_code_follows_the_verdict((snapshot, look) in snapshot()) {
        for (path, holds) in [
            ("/livez", snapshot.verdict(Level::Live, look)),
            ("/startupz", snapshot.verdict(Level::Started, look)),
            ("/readyz", snapshot.verdict(Level::Ready, look)),
            ("/healthz", snapshot.overall(look) == Status::Up),
            ("/api/v1/system/healthz/", snapshot.overall(look) == Status::Up),
            ("/actuator/health", snapshot.overall(look) == Status::Up),
            ("/actuator/health/liveness", snapshot.verdict(Level::Live, look)),
            ("/actuator/health/livenessState", snapshot.verdict(Level::Live, look)),
            ("/actuator/health/readiness", snapshot.verdict(Level::Ready, look)),
            ("/health", snapshot.overall(look) == Status::Up),
            ("/metrics", true),
            ("/status", true),
            ("/actuator", true),
            ("/actuator/info", true),
            ("/", true),
        ] {
            let bad = if path.contains("actuator") || path == "/health" { 503 } else { 500 };
            for accept in ["", "application/json", "text/html, */*;q=0.1", "application/openmetrics-text", "text/plain", "application/vnd.spring-boot.actuator.v2+json"] {
                let expected = if holds { 200 } else { bad };
                for authorized in [false, true] {
                    prop_assert_eq!(ask(&snapshot, look, &format!("GET {path}"), accept, authorized).status, expected, "{}", path);
                }
            }
        }
    }

    #[test]
    fn the_document_agrees_with_itself((snapshot, look) in snapshot(), authorized in any::<bool>()) {
        let body: Value = serde_json::from_str(&ask(&snapshot, look, "GET /healthz", "", authorized).body).unwrap();
        let body = body.as_object().unwrap();
        let failing: Vec<_> = body.iter().filter(|(key, value)| *key != "status" && *value == "nok").map(|(key, _)| key).collect();
        let explained: Vec<_> = body.get("_meta").and_then(Value::as_object).map(|meta| meta.keys().collect()).unwrap_or_default();
        prop_assert_eq!(body["status"] == "ok", failing.is_empty());
        prop_assert_eq!(body.contains_key("_meta"), !failing.is_empty());
        prop_assert_eq!(failing, explained);
    }

    #[test]
    fn private_words_need_authorization((snapshot, look) in snapshot()) {
        for path in PATHS {
            for accept in ["", "text/plain"] {
                prop_assert!(!ask(&snapshot, look, &format!("GET {path}"), accept, false).body.contains(PRIVATE), "{}", path);
            }
        }
    }

    #[test]
    fn spring_says_what_counts_below_what_it_says_above((snapshot, look) in snapshot(), authorized in any::<bool>()) {
        let response = ask(&snapshot, look, "GET /actuator/health", "application/json", authorized);
        let body: Value = serde_json::from_str(&response.body).unwrap();
        let parts = body["components"].as_object().unwrap();
        let mut names: Vec<&String> = parts.keys().collect();
        names.sort();
        prop_assert_eq!(names, parts.keys().collect::<Vec<_>>());
        for (name, part) in parts {
            let alone = ask(&snapshot, look, &format!("GET /actuator/health/{name}"), "application/json", authorized);
            prop_assert_eq!(&serde_json::from_str::<Value>(&alone.body).unwrap(), part, "{}", name);
            prop_assert_eq!(alone.status == 200, part["status"] == "UP", "{}", name);
        }
        prop_assert!(body["status"] != "UP" || parts.values().all(|part| part["status"] == "UP"), "{}", body);
    }

    #[test]
    fn every_document_is_one((snapshot, look) in snapshot(), authorized in any::<bool>()) {
        for path in ["/actuator", "/actuator/info", "/actuator/health", "/health", "/status", "/status?verbose"] {
            let body = ask(&snapshot, look, &format!("GET {path}"), "", authorized).body;
            prop_assert!(serde_json::from_str::<Value>(&body).is_ok_and(|body| body.is_object()), "{}", body);
        }
        let page = ask(&snapshot, look, "GET /", "", authorized).body;
        for tag in ["section", "article", "details", "summary", "div", "span", "svg", "header", "h1", "h2", "h3", "p", "ul", "li", "b"] {
            let (opened, closed) = (page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count(), page.matches(&format!("</{tag}>")).count());
            prop_assert_eq!(opened, closed, "{} in {}", tag, page);
        }
    }

    #[test]
    fn a_request_and_its_canonical_form_get_the_same_response((snapshot, look) in snapshot(), authorized in any::<bool>(), accept in 0_usize..6, query in "(verbose|hold|exclude=c1|[a-z=&%]{0,12}|&){0,4}") {
        let accept = ["", "application/json", "text/html, */*;q=0.1", "application/openmetrics-text", "text/plain", "application/vnd.spring-boot.actuator.v2+json"][accept];
        for path in PATHS.iter().map(|path| path.split_once('?').map_or(*path, |(path, _)| path)).chain(["/actuator/health/modules/%630", "/nowhere"]) {
            let request = Request { method: "GET", path, query: &query, accept, authorized, ..Request::default() };
            if let Some(canonical) = Canonical::of(&request) {
                prop_assert_eq!(route(&snapshot, look, &request), route(&snapshot, look, &canonical.request()), "{}?{}", path, query);
                prop_assert_eq!(Canonical::of(&canonical.request()), Some(canonical));
            }
        }
    }

    #[test]
    fn asking_again_or_for_the_head_alone_changes_nothing((snapshot, look) in snapshot(), authorized in any::<bool>()) {
        for path in PATHS {
            let first = ask(&snapshot, look, &format!("GET {path}"), "", authorized);
            prop_assert_eq!(&first, &ask(&snapshot, look, &format!("GET {path}"), "", authorized));
            prop_assert_eq!(&first, &ask(&snapshot, look, &format!("HEAD {path}"), "", authorized));
        }
    }

    #[test]
    fn no_sample_stands_twice((snapshot, look) in snapshot(), openmetrics in any::<bool>()) {
        let accept = if openmetrics { "application/openmetrics-text" } else { "" };
        let body = ask(&snapshot, look, "GET /metrics", accept, false).body;
        let mut samples: Vec<&str> = body.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let count = samples.len();
        samples.sort_unstable();
        samples.dedup();
        prop_assert_eq!(samples.len(), count);
        prop_assert_eq!(body.ends_with("# EOF\n"), openmetrics);
    }

    #[test]
    fn any_target_is_answered((snapshot, look) in snapshot(), method in "[A-Z]{1,8}", path in "(/[a-z%/0-9\u{e4}]{0,20})|(/(livez|readyz|metrics|status|actuator|actuator/health)/?)", query in ".{0,40}") {
        let response = ask(&snapshot, look, &format!("{method} {path}?{query}"), &query, false);
        prop_assert!(matches!(response.status, 200 | 204 | 404 | 405 | 500 | 503));
        let of_kubernetes = ["/livez", "/readyz", "/startupz"].iter().any(|endpoint| path.starts_with(endpoint));
        prop_assert!(response.body.len() <= LONGEST_BODY || !of_kubernetes, "{}", path);
    }
}
