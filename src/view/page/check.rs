//! One check on the page, with its last half hour as a strip.

use std::fmt::Write;

use super::escape;
use crate::clock::Moment;
use crate::outcome::ErrorKind;
use crate::state::check::history::{Bucket, History};
use crate::state::snapshot::{Assessed, Look};
use crate::view::summary::{self, bucket, last_try, mark};
use crate::view::time;

/// Appends the check; `late`: the checks no longer run, so its data is old.
pub(super) fn check(html: &mut String, assessed: &Assessed<'_>, look: Look, authorized: bool, late: bool) {
    let Assessed { check, state, counts, kind: why } = *assessed;
    let (class, mark) = (state.word(), mark(state));
    let is_old = check.stale_after.is_some() && (late || why == ErrorKind::Stale);
    let (name, kind) = (escape(&check.name), check.kind);
    html.push_str(if is_old { "<article class=\"old\">" } else { "<article>" });
    let _ = write!(html, "<h3 class=\"{class}\"><b>{mark}</b> {name} <small>{kind}");
    if authorized && !check.target.is_empty() {
        let _ = write!(html, ", {}", escape(&check.target));
    }
    html.push_str(if is_old { "</small> <em>old</em></h3>" } else { "</small></h3>" });
    let _ = write!(html, "<p>{}", escape(&summary::verdict(assessed, look, authorized)));
    if let Some(tried) = last_try(check, look) {
        let _ = write!(html, ", {tried}");
    }
    if check.failures > 1 {
        let _ = write!(html, ", {} failures in a row", check.failures);
    }
    html.push_str(if counts { "</p>" } else { ", not counted for health</p>" });
    // A check that is set by events has no runs that could be missing.
    if check.stale_after.is_some() {
        strip(html, &check.history, look.now, bucket);
    }
    html.push_str("</article>");
}

/// The last half hour twice: thirty buckets of one minute, and fifteen of two for touch screens. The style shows one of them.
pub(super) fn strip(html: &mut String, history: &History, now: Moment, words: fn(Bucket) -> (char, String)) {
    html.push_str("<div class=\"history\">");
    for (size, each) in [("fine", 2), ("coarse", 4)] {
        let _ = write!(html, "<div class=\"strip {size}\">");
        for (age, seen) in history.grouped(now, each) {
            let class = match (seen.passed, seen.failed) {
                (0, 0) => {
                    html.push_str("<i></i>");
                    continue;
                }
                (_, 0) => "ok",
                (0, _) => "bad",
                _ => "mixed",
            };
            let (begin, text) = (time::clock(now.wall.saturating_sub(age)), words(seen).1);
            let _ = write!(
                html,
                "<details name=\"bucket\" class=\"{class}\"><summary title=\"{begin} {text}\"></summary><p>From {begin} UTC {text}</p></details>"
            );
        }
        html.push_str("</div>");
    }
    html.push_str("<div class=\"axis\"><span>30 minutes ago</span><span>now</span></div></div>");
}
