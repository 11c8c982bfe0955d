//! The Dify article's `/health`: deep, one key a check with `healthy` or `unhealthy`, 200 or 503.

use serde_json::{Map, Value};

use super::bounded::{Member, cut};
use super::{JSON, Response};
use crate::state::snapshot::{Look, Snapshot, Status};

/// The document: `status`, every check that counts, `version`.
pub fn render(snapshot: &Snapshot, look: Look) -> Response {
    const FRAME: usize = 128;
    let word = |healthy| Value::from(if healthy { "healthy" } else { "unhealthy" });
    let up = snapshot.overall(look) == Status::Up;
    let counted = snapshot.checks.iter().filter(|check| check.affects.health());
    let members = counted.map(|check| {
        let passes = check.effective(look.now).0.passes();
        Member { name: check.name.clone(), fails: !passes, value: word(passes) }
    });
    let (checks, left_out) = cut(members.collect(), FRAME);
    let mut body = Map::new();
    body.insert("status".to_owned(), word(up));
    body.extend(checks);
    body.insert("version".to_owned(), Value::from(snapshot.service.version));
    if left_out > 0 {
        body.insert("_left_out".to_owned(), Value::from(left_out));
    }
    Response::new(if up { 200 } else { 503 }, JSON, Value::Object(body).to_string())
}
