//! The parts of a section that are read separately.

use super::{Depth, Section};
use crate::config::interpolate::Text;
use crate::config::node::Node;

/// What [`truth`] accepts, for messages.
pub const TRUTHS: &str = "`true` or `false` (or 1, yes, on, 0, no, off)";

/// A text as a boolean, in any case; none if it is neither. Every boolean that may come from a variable is read by this function.
pub fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "" | "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

impl<'c> Section<'c> {
    /// A string.
    pub fn text(&self, key: &str) -> Option<Text> {
        self.context.text(self.node(key)?, &self.what(key), self.depth)
    }

    /// A list.
    pub fn list(&self, key: &str) -> Option<Vec<Node>> {
        self.context.list(self.node(key)?, &self.what(key))
    }

    /// Whether a list is written that has no item. Items that are wrong, or have a variable that is not read, count.
    pub fn is_empty_list(&self, key: &str) -> bool {
        self.node(key).and_then(|node| self.context.list_quietly(node)).is_some_and(|items| items.is_empty())
    }

    /// A section below this one.
    pub fn table(&self, key: &str) -> Option<Section<'c>> {
        self.table_at(key, self.depth)
    }

    /// A section below this one, read at another depth.
    pub fn table_at(&self, key: &str, depth: Depth) -> Option<Section<'c>> {
        self.context.open(self.node(key)?, &self.below(key), depth)
    }
}
