//! The Dify article's `/health`: deep, one key a check with `healthy` or `unhealthy`, 200 or 503.

use serde_json::{Map, Value};

use super::{JSON, Response};
use crate::state::snapshot::{Look, Snapshot, Status};

/// The document: `status`, every check that counts, `version`.
pub fn render(snapshot: &Snapshot, look: Look) -> Response {
    let word = |healthy| Value::from(if healthy { "healthy" } else { "unhealthy" });
    let up = snapshot.overall(look) == Status::Up;
    let counted = snapshot.checks.iter().filter(|check| check.affects.health());
    let mut body = Map::new();
    body.insert("status".to_owned(), word(up));
    body.extend(counted.map(|check| (check.name.clone(), word(check.effective(look.now).0.passes()))));
    body.insert("version".to_owned(), Value::from(snapshot.service.version));
    Response::new(if up { 200 } else { 503 }, JSON, Value::Object(body).to_string())
}
