//! Merges one table over another.

use super::{Entry, Node, Table, Value, parse_inline};

/// Keys that are parts of a `url`.
const URL_PARTS: [&str; 13] =
    ["kind", "host", "port", "user", "username", "password", "database", "path", "query", "tls", "sslmode", "check", "variables"];

/// Merges `upper` over `lower`: tables are merged, anything else is replaced; a new address replaces the whole old one.
pub fn merge(lower: &mut Table, upper: Table) {
    if upper.get("url").is_some() {
        lower.retain(|entry| !URL_PARTS.contains(&entry.key.as_str()));
    } else if upper.get("check").is_some() {
        lower.retain(|entry| entry.key != "url" && !URL_PARTS.contains(&entry.key.as_str()));
    }
    for entry in upper {
        let Some(present) = lower.get_mut(&entry.key) else {
            lower.insert(entry);
            continue;
        };
        let node = match entry.node {
            Node { value: Value::String(text), origin } if origin.verbatim() && matches!(present.node.value, Value::Table(_)) => {
                parse_inline(&text, &origin).unwrap_or(Node { value: Value::String(text), origin })
            }
            node => node,
        };
        match (&mut present.node.value, node) {
            (Value::Table(below), Node { value: Value::Table(above), .. }) => merge(below, above),
            (_, node) => *present = Entry { key: entry.key, origin: entry.origin, node },
        }
    }
}
