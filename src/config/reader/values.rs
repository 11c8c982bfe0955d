//! The values of a section, each by its type: none for an absent key, and for a wrong one after saying so.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Depth, Keys, Section};
use crate::config::interpolate::Text;
use crate::config::node::{Node, Value};
use crate::config::problem::nearest;
use crate::secret::Secret;

/// What a text says of a truth, in any case; none where it says neither. Every boolean that may come from a variable is read by this.
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

    /// A string that says something.
    pub fn nonempty(&self, key: &str) -> Option<Text> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// A password, token or key; none when it is empty.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.nonempty(key).map(|text| Secret::new(text.value()))
    }

    /// A duration written with its unit, within `range`.
    pub fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let node = self.node(key)?;
        if matches!(node.value, Value::Integer(_) | Value::Float(_)) {
            self.problem(key, "is a bare number; write it with its unit, as `60s` or `500ms`");
            return None;
        }
        let text = self.text(key)?;
        let value = text.value();
        if value.trim().parse::<f64>().is_ok() {
            self.problem(key, format!("is the bare number `{}`; write it with its unit, as `60s` or `500ms`", text.shown()));
            return None;
        }
        match humantime::parse_duration(value.trim()) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => {
                let [least, most] = [range.start(), range.end()].map(|bound| humantime::format_duration(*bound));
                self.problem(key, format!("is `{}`; from {least} to {most} is possible", text.shown()));
                None
            }
            Err(_) => {
                self.problem(key, format!("is `{}`, not a duration as `60s`, `500ms` or `30m`", text.shown()));
                None
            }
        }
    }

    /// A whole number within `range`, written as a number or as a string.
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        let (number, shown) = match &node.value {
            Value::Integer(number) => (Some(*number), number.to_string()),
            Value::String(_) => {
                let text = self.text(key)?;
                (text.value().trim().parse().ok(), text.shown())
            }
            Value::Float(number) => (None, number.to_string()),
            value => {
                self.problem(key, format!("is {}; a number is wanted", value.kind()));
                return None;
            }
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            self.problem(key, format!("is `{shown}`; a whole number from {} to {} is wanted", range.start(), range.end()));
        }
        fits
    }

    /// A port; none for an empty string.
    pub fn port(&self, key: &str) -> Option<u16> {
        if matches!(self.node(key).map(|node| &node.value), Some(Value::String(_))) {
            self.nonempty(key)?;
        }
        self.integer(key, 1..=i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
    }

    /// A boolean, written as one or as a [word](truth) for it.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match &self.node(key)?.value {
            Value::Boolean(flag) => Some(*flag),
            Value::String(_) => {
                let text = self.text(key)?;
                let flag = truth(&text.value());
                if flag.is_none() {
                    self.problem(key, format!("is `{}`; `true` or `false` is wanted", text.shown()));
                }
                flag
            }
            value => {
                self.problem(key, format!("is {}; `true` or `false` is wanted", value.kind()));
                None
            }
        }
    }

    /// One of several words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let value = text.value();
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let near = nearest(&value, words.iter().map(|(word, _)| *word));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            self.problem(key, format!("is `{}`{near}; one of {} is wanted", text.shown(), known.join(", ")));
        }
        found
    }

    /// A list.
    pub fn list(&self, key: &str) -> Option<Vec<Node>> {
        self.context.list(self.node(key)?, &self.what(key))
    }

    /// A section below this one.
    pub fn table(&self, key: &str, keys: Option<Keys>) -> Option<Section<'c>> {
        self.table_at(key, keys, self.depth)
    }

    /// A section below this one, read at another depth.
    pub fn table_at(&self, key: &str, keys: Option<Keys>, depth: Depth) -> Option<Section<'c>> {
        self.context.open(self.node(key)?, &self.below(key), keys, depth)
    }
}
