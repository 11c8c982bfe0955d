//! Merges one table over another.

use super::{Entry, Node, Table, Value, parse_inline};

/// Keys that are parts of a `url`.
const URL_PARTS: [&str; 13] =
    ["kind", "host", "port", "user", "username", "password", "database", "path", "query", "tls", "sslmode", "check", "variables"];

/// What the entries of a table are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// Keys of a section.
    Keys,
    /// Variables by name, with `default` among them for a table of further ones.
    Variables,
    /// Values by name: a table is one of several forms of a value, and half of one says nothing.
    Values,
}

impl Entries {
    /// What is in the table at `key`; none where it is replaced as a whole.
    fn below(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Keys, "env") => Some(Self::Variables),
            (Self::Keys, "set" | "conditions" | "options") | (Self::Variables, "default") => Some(Self::Values),
            (Self::Variables | Self::Values, _) | (Self::Keys, "when") => None,
            (Self::Keys, _) => Some(Self::Keys),
        }
    }
}

/// Lays `upper` over `lower`: tables are merged, anything else is replaced, and so is an address given anew, a condition, and the table that
/// says what a variable is.
pub fn merge(lower: &mut Table, upper: Table) {
    lay(lower, upper, Entries::Keys);
}

fn lay(lower: &mut Table, upper: Table, entries: Entries) {
    if entries == Entries::Keys && upper.get("url").is_some() {
        lower.retain(|entry| !URL_PARTS.contains(&entry.key.as_str()));
    } else if entries == Entries::Keys && upper.get("check").is_some() {
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
            (Value::Table(below), Node { value: Value::Table(above), origin }) => match entries.below(&entry.key) {
                Some(entries) => lay(below, above, entries),
                None => *present = Entry { key: entry.key, origin: entry.origin, node: Node { value: Value::Table(above), origin } },
            },
            (_, node) => *present = Entry { key: entry.key, origin: entry.origin, node },
        }
    }
}
