//! How many instances, for example `3`, or which numbers, for example `5..8`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;

/// The maximum count.
const MOST: u32 = 1000;
/// The end of the highest range.
const HIGHEST: u32 = 1_000_000;

/// The numbers of instances: from 0, or a range that excludes its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub Range<u32>);

impl Numbers {
    /// The numbers of a text; none if it is neither a count nor a range within the bounds.
    fn parse(text: &str) -> Option<Self> {
        let (from, below) = text.split_once("..").unwrap_or(("0", text));
        let (from, below): (u32, u32) = (from.trim().parse().ok()?, below.trim().parse().ok()?);
        let fits = below <= HIGHEST && below.checked_sub(from)? <= MOST;
        fits.then_some(Self(from..below))
    }
}

impl Visitor<'_> for Numbers {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        self.visit_str("")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        let wanted = format!("expected a whole number from 0 to {MOST}, or a range such as `5..8` for 5, 6 and 7");
        Self::parse(text).ok_or_else(|| E::custom(format!("is `{SHOWN}`; {wanted}")))
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(0..0))
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.start {
            0 => serializer.serialize_u32(self.0.end),
            start => serializer.collect_str(&format_args!("{start}..{}", self.0.end)),
        }
    }
}

impl JsonSchema for Numbers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Numbers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": MOST },
            { "type": "string", "pattern": r"^\s*[0-9]+\s*\.\.\s*[0-9]+\s*$" },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_begins_with_0_and_a_range_where_it_says() {
        for (text, range) in [
            ("3", Some(0..3)),
            (" 0 ", Some(0..0)),
            ("1000", Some(0..1000)),
            ("5..8", Some(5..8)),
            ("5 .. 8", Some(5..8)),
            ("7..7", Some(7..7)),
            ("999000..1000000", Some(999_000..1_000_000)),
            ("1001", None),
            ("0..1001", None),
            ("8..5", None),
            ("999999..1000001", None),
            ("-1", None),
            ("5..", None),
            ("..5", None),
            ("5..=8", None),
            ("", None),
        ] {
            assert_eq!(Numbers::parse(text).map(|numbers| numbers.0), range, "{text:?}");
        }
    }
}
