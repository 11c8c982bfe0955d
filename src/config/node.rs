//! The written configuration as a tree in which every value has its place.

mod document;
mod key;
mod merge;

use std::sync::Arc;

use crate::config::origin::Origin;

pub use document::{parse_document, parse_inline};
pub use key::{dotted, quoted, written_key};
pub use merge::merge;

/// A value and where it was written. It may hold a secret, so it cannot be printed.
#[derive(Clone)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Its place.
    pub origin: Origin,
}

/// What was written.
#[derive(Clone)]
pub enum Value {
    /// A string, not yet interpolated.
    String(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or a time, which no key accepts.
    Datetime,
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
    /// A wrong value that has been reported. Its key counts as written, and the value is not read.
    Hole,
}

impl Value {
    /// The word for messages, with its article.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Hole => "wrong",
        }
    }
}

/// Keys and values in the order in which they were written. A copy shares them until one of the two is changed, because every reading of a
/// section has its own copy.
#[derive(Clone, Default)]
pub struct Table(Arc<Vec<Entry>>);

/// One key of a table.
#[derive(Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub origin: Origin,
    /// Its value.
    pub node: Node,
}

impl Table {
    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// The entry of `key`, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        let at = self.0.iter().position(|entry| entry.key == key)?;
        Arc::make_mut(&mut self.0).get_mut(at)
    }

    /// Adds `entry`, replacing one with the same key.
    pub fn insert(&mut self, entry: Entry) {
        match self.get_mut(&entry.key) {
            Some(present) => *present = entry,
            None => Arc::make_mut(&mut self.0).push(entry),
        }
    }

    /// Keeps only the entries that `keep` accepts.
    pub fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        if !self.0.iter().all(&keep) {
            Arc::make_mut(&mut self.0).retain(keep);
        }
    }

    /// Every place where `key` was written in this table and below it.
    fn places_of(&self, key: &str) -> Vec<Origin> {
        let below = |node: &Node| match &node.value {
            Value::Table(table) => table.places_of(key),
            Value::List(items) => items
                .iter()
                .filter_map(|item| if let Value::Table(table) = &item.value { Some(table.places_of(key)) } else { None })
                .flatten()
                .collect(),
            _ => Vec::new(),
        };
        self.0.iter().flat_map(|entry| below(&entry.node).into_iter().chain((entry.key == key).then(|| entry.origin.clone()))).collect()
    }

    /// Every entry, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Table {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl FromIterator<Entry> for Table {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(Arc::new(entries.into_iter().collect()))
    }
}
