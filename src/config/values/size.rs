//! A size in bytes, written with its unit.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;

/// Bytes, for example `500MiB` or `1.5GB`; a number without a unit is in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Parses a text; none if it is not a size.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "K" | "Ki" | "KiB" => 1 << 10,
            "M" | "Mi" | "MiB" => 1 << 20,
            "G" | "Gi" | "GiB" => 1 << 30,
            "T" | "Ti" | "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        let bytes = match number.parse::<u64>() {
            Ok(number) => number.checked_mul(factor),
            Err(_) => number.parse::<f64>().ok().map(|number| (number * factor as f64) as u64),
        };
        bytes.map(Self)
    }
}

impl Visitor<'_> for Size {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        Self::parse(text).ok_or_else(|| E::custom(format!("is `{SHOWN}`; expected a size such as `500MiB` or `1GiB`")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(0))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*[0-9]*\.?[0-9]+\s*(B|[KMGT]i?|[KMGT]iB|[kKMGT]B)?\s*$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1GiB", Some(1 << 30)),
            ("1.5 KiB", Some(1536)),
            ("2GB", Some(2_000_000_000)),
            ("99999999999999TiB", None),
            ("1 XB", None),
            ("GiB", None),
            ("", None),
        ] {
            assert_eq!(Size::parse(text).map(|size| size.0), size, "{text}");
        }
    }
}
