//! Responses with too much data: what does not fit is counted, and one large part does not displace the small ones.

use std::time::Duration;

use serde_json::Value;

use super::ask;
use super::fixtures::named;
use crate::outcome::{EndpointResult, ErrorKind, Failure, Outcome};
use crate::plan::Affects;
use crate::state::check::Check;
use crate::view::LONGEST_BODY;

#[test]
fn one_component_of_any_size_leaves_the_others_in_spring_s_health() {
    let (mut snapshot, look) = named("redis down");
    let part = |index: usize| EndpointResult {
        name: format!("endpoint-{index}"),
        target: format!("http://dify:5001/{index}"),
        client: None,
        status: None,
        result: Err(Failure::new(ErrorKind::Timeout, &"x".repeat(300))),
        elapsed: Duration::from_millis(41),
    };
    let mut large = Check::event("a-dify", "http", Affects::Health);
    large.feed(look.now, Outcome { parts: (0..500).map(part).collect(), ..Outcome::failed(ErrorKind::Timeout, "", Duration::ZERO) });
    let few = ask(&snapshot, look, "GET /actuator/health", "application/json", true).body;
    snapshot.checks.rebuild(|checks| checks.insert(0, large.into()));
    let more = ask(&snapshot, look, "GET /actuator/health", "application/json", true).body;
    assert!(more.len() > 10 * LONGEST_BODY);
    let [few, mut more] = [few, more].map(|body| serde_json::from_str::<Value>(&body).unwrap());
    let components = more["components"].as_object_mut().unwrap();
    let large = components.shift_remove("a-dify").unwrap();
    assert_eq!(large.pointer("/details/clientReports/0/apiStatuses").and_then(Value::as_array).map(Vec::len), Some(500));
    assert_eq!(more, few);
}

#[test]
fn the_page_and_the_terminal_count_the_checks_that_do_not_fit() {
    const MOST: usize = 20_000;
    let (mut snapshot, look) = named("all up");
    snapshot.checks = (0..MOST)
        .map(|index| {
            let mut check =
                Check { stale_after: Some(Duration::from_secs(60)), ..Check::event(&format!("c-{index}"), "tcp", Affects::Health) };
            check.feed(
                look.now,
                if index == 9_999 { Outcome::failed(ErrorKind::Refused, "", Duration::ZERO) } else { Outcome::passed(Duration::ZERO) },
            );
            check.into()
        })
        .collect::<Vec<_>>()
        .into();
    for (accept, each) in [("text/html", "<article>"), ("text/plain", " tcp ")] {
        let body = ask(&snapshot, look, "GET /", accept, false).body;
        assert!(body.len() < 520 * 1024, "{accept}: {} bytes", body.len());
        let shown = body.matches(each).count();
        let left_out: usize = body.split("and ").find_map(|rest| rest.split_once(" more")?.0.parse().ok()).unwrap();
        assert_eq!((shown > 100, shown + left_out), (true, MOST), "{accept}: {shown} shown, {left_out} left out");
        assert!(body.contains("c-9999"), "what fails is shown first");
    }
}
