//! One check on the page, with its last half hour as a strip.

use std::fmt::Write;

use super::escape;
use crate::clock::Moment;
use crate::state::check::Check;
use crate::state::snapshot::{Assessed, Look};
use crate::view::summary::{self, bucket, last_try, mark};
use crate::view::time;

/// Appends the whole of it.
pub(super) fn check(html: &mut String, assessed: &Assessed<'_>, look: Look, authority: bool) {
    let Assessed { check, state, counts, .. } = *assessed;
    let (class, mark) = (state.word(), mark(state));
    let (name, kind) = (escape(&check.name), check.kind);
    let _ = write!(html, "<article><h3 class=\"{class}\"><b>{mark}</b> {name} <small>{kind}");
    if authority && !check.target.is_empty() {
        let _ = write!(html, ", {}", escape(&check.target));
    }
    let _ = write!(html, "</small></h3><p>{}", escape(&summary::verdict(assessed, look, authority)));
    if let Some(tried) = last_try(check, look) {
        let _ = write!(html, ", {tried}");
    }
    if check.failures > 1 {
        let _ = write!(html, ", {} failures in a row", check.failures);
    }
    html.push_str(if counts { "</p>" } else { ", not counted for health</p>" });
    // What is told by events has no runs whose absence would mean anything.
    if check.stale_after.is_some() {
        strip(html, check, look.now);
    }
    html.push_str("</article>");
}

fn strip(html: &mut String, check: &Check, now: Moment) {
    html.push_str("<div class=\"strip\">");
    for (age, seen) in check.history.seen(now) {
        let class = match (seen.passed, seen.failed) {
            (0, 0) => {
                html.push_str("<i></i>");
                continue;
            }
            (_, 0) => "ok",
            (0, _) => "bad",
            _ => "mixed",
        };
        let (begin, text) = (time::clock(now.wall.saturating_sub(age)), bucket(seen).1);
        let _ = write!(
            html,
            "<details name=\"bucket\" class=\"{class}\"><summary title=\"{begin} {text}\"></summary><p>{begin} UTC: {text}</p></details>"
        );
    }
    html.push_str("</div><div class=\"axis\"><span>30 minutes ago</span><span>now</span></div>");
}
