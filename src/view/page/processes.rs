//! The processes on the page: the main one and the modules, each with a strip of its ends, if any.

use std::fmt::Write;

use super::check::strip;
use super::escape;
use crate::state::snapshot::{Child, Look, Snapshot};
use crate::view::summary::{self, ends, has_ended, mark};

/// Appends the modules, if any.
pub(super) fn modules(html: &mut String, snapshot: &Snapshot, look: Look, authorized: bool) {
    if snapshot.modules.is_empty() {
        return;
    }
    html.push_str("<section><h2>Modules</h2><ul>");
    for module in snapshot.modules.iter() {
        let state = summary::module_mark(module);
        let (class, mark) = (state.word(), mark(state));
        let counts = if module.counts { "" } else { ", start not counted for health" };
        let (name, words) = (escape(&module.name), escape(&summary::module(module, authorized)));
        let _ = write!(html, "<li class=\"{class}\"><b>{mark}</b> <strong>{name}</strong>: {words}{counts}");
        strip_of_ends(html, &module.child, look);
        html.push_str("</li>");
    }
    html.push_str("</ul></section>");
}

/// Appends the main process and the heartbeat.
pub(super) fn process(html: &mut String, snapshot: &Snapshot, look: Look, authorized: bool) {
    let words = escape(&summary::process(snapshot, authorized));
    let _ = write!(html, "<section><h2>Process</h2><p>{words}</p>");
    strip_of_ends(html, &snapshot.child, look);
    html.push_str("</section>");
    if let Some(heartbeat) = summary::heartbeat(snapshot, look) {
        let class = match (snapshot.heartbeat.trouble, snapshot.heartbeat.last_written) {
            (Some(_), _) => "down",
            (None, Some(_)) => "up",
            (None, None) => "unknown",
        };
        let (mark, words) = heartbeat.split_once(' ').unwrap_or_default();
        let _ = write!(html, "<section><h2>Heartbeat in Redis</h2><p class=\"{class}\"><b>{mark}</b> {words}</p></section>");
    }
}

fn strip_of_ends(html: &mut String, child: &Child, look: Look) {
    if has_ended(child, look) {
        strip(html, &child.ends, look.now, ends);
    }
}
