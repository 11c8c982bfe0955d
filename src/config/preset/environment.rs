//! The configuration of a run without file and preset: the environment configures it, as with the script that it replaces.
//!
//! A dependency is waited for and watched if its host is set; the process is the command line. It cannot be printed or extended, so it is not
//! TOML: parsing that was an eighth of each such start.

use std::sync::Arc;

use crate::config::node::{Entry, Node, Table, Value};
use crate::config::origin::{ENVIRONMENT, Origin};
use Test::{IsTrue, Nonempty};
use Written::{Any, Text};

/// A value as it would be written.
enum Written {
    Text(&'static str),
    /// A condition that holds if one of these tests does.
    Any(&'static [Test]),
}

/// A test of the variable of this name.
enum Test {
    Nonempty(&'static str),
    IsTrue(&'static str),
}

/// A Redis of the `REDIS_*` variables, with Sentinels, a Cluster and TLS by Dify's names.
const HAS_REDIS: Written = Any(&[Nonempty("REDIS_HOST"), IsTrue("REDIS_USE_SENTINEL"), IsTrue("REDIS_USE_CLUSTERS")]);

/// Each key with its sections; its line is its position here.
static LINES: [(&str, Written); 14] = [
    ("version", Text("${VERSION:-}")),
    ("checks.db.when", Any(&[Nonempty("DB_HOST")])),
    ("checks.db.kind", Text("postgres")),
    ("checks.db.host", Text("${DB_HOST}")),
    ("checks.db.port", Text("${DB_PORT:-5432}")),
    ("checks.db.user", Text("${DB_USERNAME:-${DB_USER:-postgres}}")),
    ("checks.db.password", Text("${DB_PASSWORD:-}")),
    ("checks.db.database", Text("${DB_DATABASE:-${DB_NAME:-}}")),
    ("checks.redis.when", HAS_REDIS),
    ("checks.redis.variables", Text("REDIS")),
    ("migrations.enabled", Text("${MIGRATION_ENABLED:-false}")),
    ("heartbeat.when", HAS_REDIS),
    ("heartbeat.check", Text("redis")),
    ("health.token", Text("${PORTCULLIS_HEALTH_TOKEN:-}")),
];

/// The configuration as a tree.
pub(super) fn tree() -> Table {
    let (name, mut tree): (Arc<str>, _) = (ENVIRONMENT.into(), Table::default());
    for (line, (path, written)) in (1..).zip(&LINES) {
        put(&mut tree, path, written.node(&Origin::Preset { name: name.clone(), line, column: 1 }));
    }
    tree
}

/// The text of this line; empty for a condition.
pub(super) fn text(line: u32) -> &'static str {
    match LINES.get((line as usize).saturating_sub(1)) {
        Some((_, Text(text))) => text,
        _ => "",
    }
}

/// Puts a value at `path`, creating tables on the way.
fn put(table: &mut Table, path: &str, node: Node) {
    let (key, below) = path.split_once('.').map_or((path, None), |(key, below)| (key, Some(below)));
    let origin = node.origin.clone();
    let entry = |node| Entry { key: key.to_owned(), origin: origin.clone(), node };
    let Some(below) = below else { return table.insert(entry(node)) };
    if table.get(key).is_none() {
        table.insert(entry(Node { value: Value::Table(Table::default()), origin: origin.clone() }));
    }
    if let Some(Value::Table(section)) = table.get_mut(key).map(|entry| &mut entry.node.value) {
        put(section, below, node);
    }
}

impl Written {
    fn node(&self, origin: &Origin) -> Node {
        match self {
            Text(text) => Node { value: Value::String((*text).to_owned()), origin: origin.clone() },
            Any([one]) => one.node(origin),
            Any(tests) => Node { value: Value::List(tests.iter().map(|test| test.node(origin)).collect()), origin: origin.clone() },
        }
    }
}

impl Test {
    fn node(&self, origin: &Origin) -> Node {
        let (name, key, value) = match self {
            Nonempty(name) => (name, "nonempty", Value::Boolean(true)),
            IsTrue(name) => (name, "ieq", Value::String("true".to_owned())),
        };
        let entry = |key: &str, value| {
            let node = Node { value, origin: origin.clone() };
            Entry { key: key.to_owned(), origin: origin.clone(), node }
        };
        let table = [entry("var", Value::String((*name).to_owned())), entry(key, value)].into_iter().collect();
        Node { value: Value::Table(table), origin: origin.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_its_section_and_knows_its_text() {
        let tree = tree();
        let keys: Vec<&str> = tree.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["version", "checks", "migrations", "heartbeat", "health"]);
        let Some(Value::Table(checks)) = tree.get("checks").map(|entry| &entry.node.value) else { panic!("a table") };
        let Some(Value::Table(db)) = checks.get("db").map(|entry| &entry.node.value) else { panic!("a table") };
        let Some(Origin::Preset { line, .. }) = db.get("port").map(|entry| entry.node.origin.clone()) else { panic!("a preset") };
        assert_eq!(text(line), "${DB_PORT:-5432}");
        assert!(matches!(db.get("when").unwrap().node.value, Value::Table(_)));
    }
}
