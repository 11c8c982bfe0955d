//! RAGFlow's `/healthz`: one key a check with `ok` or `nok`, the verdict, and why each failure fails.

use serde_json::{Map, Value, json};

use super::{JSON, LONGEST_BODY, Response, words};
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
    let whole = document(entries.iter(), up, 0);
    let body = if whole.len() <= LONGEST_BODY { whole } else { shortened(&entries, up) };
    Response::new(if up { 200 } else { 500 }, JSON, body)
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

fn document<'a>(entries: impl Iterator<Item = &'a Entry<'a>>, up: bool, left_out: usize) -> String {
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
    if left_out > 0 {
        body.insert("_left_out".to_owned(), Value::from(left_out));
    }
    Value::Object(body).to_string()
}

/// Failures first, as many as fit, and how many are missing.
fn shortened(entries: &[Entry<'_>], up: bool) -> String {
    const FRAME: usize = 64;
    let mut chosen: Vec<&Entry<'_>> = entries.iter().collect();
    chosen.sort_by_key(|entry| entry.failure.is_none());
    let empty = document(std::iter::empty(), up, 0).len();
    let mut room = LONGEST_BODY - FRAME;
    let fits = chosen.iter().take_while(|entry| {
        let longer_by = document(std::iter::once(**entry), up, 0).len() - empty;
        room.checked_sub(longer_by).inspect(|rest| room = *rest).is_some()
    });
    let count = fits.count();
    document(chosen.iter().take(count).copied(), up, entries.len() - count)
}
