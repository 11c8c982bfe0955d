//! The names and numbers of signals, as people write them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use nix::sys::signal::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;
use crate::exit::signal_name;
use crate::sys;

/// SIGRTMIN as in Docker and glibc; that of musl is 35, and a container's STOPSIGNAL must not depend on our libc.
const FIRST_REAL_TIME: i32 = 34;

/// The number of `TERM`, `SIGTERM`, `15` or `RTMIN+3`.
fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = name.parse::<i32>() {
        return Some(number).filter(|number| (1..=sys::LAST_SIGNAL).contains(number));
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<u8>().ok()? };
        return Some(FIRST_REAL_TIME + i32::from(offset)).filter(|number| *number <= sys::LAST_SIGNAL);
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// A signal: its number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalNumber(pub i32);

impl Visitor<'_> for SignalNumber {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        number(text).map(Self).ok_or_else(|| E::custom(format!("is `{SHOWN}`, not a signal as `TERM` or `15`")))
    }
}

impl<'de> Deserialize<'de> for SignalNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(0))
    }
}

impl Serialize for SignalNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(signal_name(self.0).trim_start_matches("SIG").trim_start_matches("signal "))
    }
}

impl JsonSchema for SignalNumber {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SignalNumber".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Signals that are sent as another signal, for example `{ TERM = "QUIT" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rewrites(pub BTreeMap<SignalNumber, SignalNumber>);

impl<'de> Visitor<'de> for Rewrites {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        let mut wrong = Vec::new();
        while let Some((name, signal)) = map.next_entry::<String, _>()? {
            match number(&name) {
                Some(number) => drop(self.0.insert(SignalNumber(number), signal)),
                None => wrong.push(format!("`{name}`")),
            }
        }
        let wrong = wrong.join(", ");
        if wrong.is_empty() { Ok(self) } else { Err(de::Error::custom(format!("names {wrong}, which is no signal as `TERM` or `15`"))) }
    }
}

impl<'de> Deserialize<'de> for Rewrites {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl JsonSchema for Rewrites {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rewrites".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let signal = generator.subschema_for::<SignalNumber>();
        json_schema!({ "type": "object", "additionalProperties": signal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_in_each_usual_way() {
        for (text, expected) in [("TERM", 15), ("sigterm", 15), ("15", 15), ("QUIT", 3), ("64", 64), ("WINCH", 28)] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        assert_eq!(number("RTMIN+3"), Some(37));
        for text in ["", "0", "65", "TERMS", "RTMIN+99", "RTMIN+2147483647", "RTMIN+-5", "RTMINx"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
