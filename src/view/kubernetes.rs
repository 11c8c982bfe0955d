//! The API server's `/livez`, `/readyz` and `/startupz`: text, one line a check, reasons withheld.

use std::collections::BTreeSet;

use super::{LONGEST_BODY, Response, TEXT, fit, reason};
use crate::state::snapshot::{Assessment, Level};

/// The whole endpoint: `ok`, or all lines if something fails or the query has `verbose`, with any value.
///
/// `exclude` may be repeated, each with the name of a check; unknown names are reported and do not fail.
pub(super) fn render(assessment: &Assessment<'_>, endpoint: &str, level: Level, query: &str) -> Response {
    let mut verbose = false;
    // Sets, because a query may have thousands of names for as many checks.
    let mut excluded = BTreeSet::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "verbose" => verbose = true,
            "exclude" => _ = excluded.insert(value.into_owned()),
            _ => {}
        }
    }
    let mut unmatched = excluded.clone();
    let mut passes = true;
    let mut lines: Vec<(bool, String)> = Vec::new();
    for item in assessment.items(level) {
        let name = item.name;
        if excluded.contains(name) {
            unmatched.remove(name);
            lines.push((true, format!("[+]{name} excluded: ok\n")));
        } else if item.passes {
            lines.push((true, format!("[+]{name} ok\n")));
        } else {
            passes = false;
            lines.push((false, format!("[-]{name} failed: reason withheld\n")));
        }
    }
    if passes && !verbose {
        return Response::new(200, TEXT, "ok".to_owned());
    }
    if !unmatched.is_empty() {
        let quoted: Vec<String> = unmatched.into_iter().map(|name| serde_json::Value::String(name).to_string()).collect();
        lines.push((true, format!("warn: some health checks cannot be excluded: no matches for {}\n", quoted.join(","))));
    }
    let (status, verdict) = if passes { (200, "passed") } else { (500, "failed") };
    Response::new(status, TEXT, format!("{}{endpoint} check {verdict}\n", bounded(lines)))
}

/// One check of an endpoint; none if it does not belong to the endpoint. Only the public reason is shown, never the error itself.
pub(super) fn render_one(assessment: &Assessment<'_>, level: Level, name: &str) -> Option<Response> {
    let item = assessment.items(level).into_iter().find(|item| item.name == name)?;
    Some(if item.passes {
        Response::new(200, TEXT, "ok".to_owned())
    } else {
        Response::new(500, TEXT, format!("internal server error: {}\n", reason(item.kind)))
    })
}

/// All lines in order; if they are too long together, failures first, as many as fit, and a count of the rest.
fn bounded(mut lines: Vec<(bool, String)>) -> String {
    const FRAME: usize = 64;
    let total: usize = lines.iter().map(|(_, line)| line.len()).sum();
    if total + FRAME > LONGEST_BODY {
        let (passing, failing): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(passes, _)| *passes);
        lines = failing.into_iter().chain(passing).collect();
    }
    let mut text = String::with_capacity(total.min(LONGEST_BODY));
    match fit::append(&mut text, LONGEST_BODY - FRAME, lines, |text, (_, line)| text.push_str(&line)) {
        0 => text,
        left_out => format!("{text}and {left_out} more\n"),
    }
}
