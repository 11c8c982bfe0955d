//! Which of the arguments is meant.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;

/// More arguments than anybody gives.
const MOST: i64 = 1000;

/// One argument by its number, from 1 or from the last one by -1, or any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The one of this number.
    At(i64),
    /// Any of them.
    Any,
}

impl Visitor<'_> for Position {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or `any`")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self, E> {
        let found = Some(Self::At(number)).filter(|_| (-MOST..=MOST).contains(&number));
        found.ok_or_else(|| E::custom(format!("is `{SHOWN}`; expected a whole number from -{MOST} to {MOST}, or `any`,")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        match text.trim() {
            "any" => Ok(Self::Any),
            text => text.parse().map_or_else(|_| self.visit_i64(i64::MAX), |number| self.visit_i64(number)),
        }
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self::Any)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(number) => serializer.serialize_i64(*number),
            Self::Any => serializer.serialize_str("any"),
        }
    }
}

impl JsonSchema for Position {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": -MOST, "maximum": MOST }, { "const": "any" }] })
    }
}
