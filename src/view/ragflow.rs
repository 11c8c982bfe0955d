//! RAGFlow's `/healthz`: one key a check with `ok` or `nok`, the verdict, and why each failure fails.

use serde_json::{Map, Value, json};

use super::{JSON, Response, words};
use crate::state::snapshot::{Level, Look, Snapshot, Status};

/// One line of the document.
struct Entry<'a> {
    name: &'a str,
    /// Why it fails and how many milliseconds that took to find out; none when it passes.
    failure: Option<(String, &'a str)>,
}

/// The deep answer: 200 when all that counts is up, else 500. Its keys stand in the documented order: checks, `status`, `_meta`.
pub fn render(snapshot: &Snapshot, look: Look, authority: bool) -> Response {
    let entries = entries(snapshot, look, authority);
    let up = snapshot.overall(look) == Status::Up;
    Response::new(if up { 200 } else { 500 }, JSON, document(&entries, up))
}

fn entries(snapshot: &Snapshot, look: Look, authority: bool) -> Vec<Entry<'_>> {
    let milliseconds = |time: std::time::Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    let counted = snapshot.checks.iter().filter(|check| check.affects.health());
    let mut entries: Vec<Entry<'_>> = counted
        .map(|check| {
            let (state, class) = check.effective(look.now);
            let elapsed = check.last().map(|record| record.elapsed).unwrap_or_default();
            let failure = (!state.passes()).then(|| (milliseconds(elapsed), words(check, class, authority)));
            Entry { name: &check.name, failure }
        })
        .collect();
    // What portcullis says of itself appears only when it fails: RAGFlow's readers know their dependencies.
    for item in snapshot.items(Level::Deep, look).into_iter().filter(|item| !item.passes) {
        if !entries.iter().any(|entry| entry.name == item.name) {
            let why = if item.name == "startup" { snapshot.phase.word() } else { item.class.public() };
            entries.push(Entry { name: item.name, failure: Some((milliseconds(look.now.since(snapshot.started_at)), why)) });
        }
    }
    entries
}

fn document(entries: &[Entry<'_>], up: bool) -> String {
    let mut body = Map::new();
    let mut meta = Map::new();
    for entry in entries {
        body.insert(entry.name.to_owned(), Value::from(if entry.failure.is_some() { "nok" } else { "ok" }));
        if let Some((elapsed, error)) = &entry.failure {
            meta.insert(entry.name.to_owned(), json!({ "elapsed": elapsed, "error": error }));
        }
    }
    body.insert("status".to_owned(), Value::from(if up { "ok" } else { "nok" }));
    if !meta.is_empty() {
        body.insert("_meta".to_owned(), Value::Object(meta));
    }
    Value::Object(body).to_string()
}
