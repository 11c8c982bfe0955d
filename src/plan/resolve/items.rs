//! Several texts, from a list or from the parts of one text.

use crate::config::items::Parts;
use crate::config::node::Value;
use crate::config::reader::{Depth, Section};

/// A text, and whether no part of it may be shown.
pub(super) type Item = (String, bool);

/// The texts of `key` that are not empty; none where it is not there or wrong.
pub(super) fn read(section: &Section<'_>, key: &str, depth: Depth) -> Vec<Item> {
    let (context, what) = (section.context(), section.what(key));
    let Some(node) = section.node(key) else { return Vec::new() };
    if let Value::Table(_) = node.value {
        let parts: Parts = section.table_at(key, depth).map(|mut parts| parts.declared()).unwrap_or_default();
        let Some(text) = parts.split else { return Vec::new() };
        let at = parts.at.map(|at| at.value()).filter(|at| !at.is_empty());
        let value = text.value();
        let split: Vec<&str> = at.as_ref().map_or_else(|| value.split_whitespace().collect(), |at| value.split(at.as_str()).collect());
        let items = split.into_iter().map(str::trim).filter(|part| !part.is_empty());
        return items.map(|part| (part.to_owned(), text.is_secret())).collect();
    }
    let items = context.list(node, &what).unwrap_or_default();
    let texts = items.iter().filter_map(|item| context.text(item, &what, depth));
    texts.filter(|text| !text.is_empty()).map(|text| (text.value(), text.is_secret())).collect()
}
