//! What holds for every snapshot, whatever is asked.

use proptest::prelude::*;
use serde_json::Value;

use super::ask;
use crate::state::snapshot::arbitrary::{PRIVATE, snapshot};
use crate::state::snapshot::{Level, Status};
use crate::view::LONGEST_BODY;

const PATHS: [&str; 9] = [
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
            ("/metrics", true),
        ] {
            for accept in ["", "application/json", "text/html, */*;q=0.1", "application/openmetrics-text"] {
                let expected = if holds { 200 } else { 500 };
                prop_assert_eq!(ask(&snapshot, look, &format!("GET {path}"), accept, false).status, expected, "{}", path);
            }
        }
    }

    #[test]
    fn the_document_agrees_with_itself((snapshot, look) in snapshot(), authority in any::<bool>()) {
        let body: Value = serde_json::from_str(&ask(&snapshot, look, "GET /healthz", "", authority).body).unwrap();
        let body = body.as_object().unwrap();
        let failing: Vec<_> = body.iter().filter(|(key, value)| *key != "status" && *value == "nok").map(|(key, _)| key).collect();
        let explained: Vec<_> = body.get("_meta").and_then(Value::as_object).map(|meta| meta.keys().collect()).unwrap_or_default();
        prop_assert_eq!(body["status"] == "ok", failing.is_empty());
        prop_assert_eq!(body.contains_key("_meta"), !failing.is_empty());
        prop_assert_eq!(failing, explained);
    }

    #[test]
    fn private_words_need_authority((snapshot, look) in snapshot()) {
        for path in PATHS {
            prop_assert!(!ask(&snapshot, look, &format!("GET {path}"), "", false).body.contains(PRIVATE), "{}", path);
        }
    }

    #[test]
    fn asking_again_or_for_the_head_alone_changes_nothing((snapshot, look) in snapshot(), authority in any::<bool>()) {
        for path in PATHS {
            let first = ask(&snapshot, look, &format!("GET {path}"), "", authority);
            prop_assert_eq!(&first, &ask(&snapshot, look, &format!("GET {path}"), "", authority));
            prop_assert_eq!(&first, &ask(&snapshot, look, &format!("HEAD {path}"), "", authority));
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
    fn any_target_is_answered((snapshot, look) in snapshot(), method in "[A-Z]{1,8}", path in "(/[a-z%/0-9\u{e4}]{0,20})|(/(livez|readyz|metrics)/?)", query in ".{0,40}") {
        let response = ask(&snapshot, look, &format!("{method} {path}?{query}"), &query, false);
        prop_assert!(matches!(response.status, 200 | 204 | 404 | 405 | 500));
        prop_assert!(response.body.len() <= LONGEST_BODY);
    }
}
