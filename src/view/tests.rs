//! Every view on known snapshots, byte by byte, and its laws on random ones.

mod fixtures;
mod golden;
mod headline;
mod http;
mod laws;
mod long;
mod openapi;
mod seeds;
mod start;

use super::{Request, Response, route};
use crate::state::snapshot::{Look, Snapshot};

/// A request as one reads it: `GET /readyz?verbose`.
fn ask(snapshot: &Snapshot, look: Look, line: &str, accept: &str, authorized: bool) -> Response {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    route(snapshot, look, &Request { method, path, query, accept, authorized, ..Request::default() })
}
