//! Value types with their own rules: how they are parsed, and their schema. None of them prints the given value.

mod mode;
mod numbers;
mod position;
pub mod process;
mod shape;
pub mod signal;
mod size;
mod switch;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;
pub use mode::FileMode;
pub use numbers::Numbers;
pub use position::Position;
pub use shape::{Deferred, Maybe, Named, OneOrMore};
pub use size::Size;
pub use switch::{Gate, Switch};
pub use text::Scalar;

/// Milliseconds of a day: longer than any sensible pause.
pub const DAY: u64 = 24 * 60 * 60 * 1000;
/// Milliseconds of a year: longer than any sensible wait.
pub const YEAR: u64 = 365 * DAY;

/// A bound in readable form: `humantime` prints a year as `11months 30days 3h 50m 24s`.
fn bound(milliseconds: u64) -> String {
    match milliseconds / DAY {
        days @ 2.. if milliseconds.is_multiple_of(DAY) => format!("{days} days"),
        _ => humantime::format_duration(Duration::from_millis(milliseconds)).to_string(),
    }
}

/// A duration between two bounds in milliseconds, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const LEAST: u64, const MOST: u64>(pub Duration);

impl<const L: u64, const M: u64> Span<L, M> {
    /// This many milliseconds, for a default.
    ///
    /// # Panics
    ///
    /// If a default is outside its own bounds; it is called in `const { }`, so that the compiler finds it.
    pub const fn of(milliseconds: u64) -> Self {
        assert!(L <= milliseconds && milliseconds <= M, "a default outside its own bounds");
        Self(Duration::from_millis(milliseconds))
    }
}

impl<const L: u64, const M: u64> Visitor<'_> for Span<L, M> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Err(E::custom("is a bare number; write it with its unit, such as `60s` or `500ms`"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        self.visit_i64(0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        if text.trim().parse::<f64>().is_ok() {
            return Err(E::custom(format!("is the bare number `{SHOWN}`; write it with its unit, such as `60s` or `500ms`")));
        }
        let length = humantime::parse_duration(text.trim())
            .map_err(|_| E::custom(format!("is `{SHOWN}`, not a duration such as `60s`, `500ms` or `30m`")))?;
        let [least, most] = [L, M].map(Duration::from_millis);
        if (least..=most).contains(&length) {
            return Ok(Self(length));
        }
        let [least, most] = [L, M].map(bound);
        Err(E::custom(format!("is `{SHOWN}`; from {least} to {most} is possible")))
    }
}

impl<'de, const L: u64, const M: u64> Deserialize<'de> for Span<L, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(Duration::ZERO))
    }
}

impl<const L: u64, const M: u64> Serialize for Span<L, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<const L: u64, const M: u64> JsonSchema for Span<L, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Span{L}to{M}").into()
    }

    /// A pattern cannot express the bounds of a duration, so the description has them.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let [least, most] = [L, M].map(bound);
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[0-9][0-9A-Za-zµ\s]*[A-Za-z]\s*$",
            "x-range": format!("{least} to {most}"),
        })
    }
}

/// A whole number between two bounds, written as a number or as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const LEAST: i64, const MOST: i64>(i64);

impl<const L: i64, const M: i64> Number<L, M> {
    /// This number, for a default.
    ///
    /// # Panics
    ///
    /// If a default is outside its own bounds; it is called in `const { }`, so that the compiler finds it.
    pub const fn of(number: i64) -> Self {
        assert!(L <= number && number <= M, "a default outside its own bounds");
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number as another type; its bounds have to be within those of the type.
    pub fn to<T: TryFrom<i64>>(self) -> Option<T> {
        T::try_from(self.0).ok()
    }
}

impl<const L: i64, const M: i64> Visitor<'_> for Number<L, M> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self, E> {
        if (L..=M).contains(&number) { Ok(Self(number)) } else { self.visit_f64(0.0) }
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        Err(E::custom(format!("is `{SHOWN}`; expected a whole number from {L} to {M}")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        text.trim().parse().map_or_else(|_| self.visit_f64(0.0), |number| self.visit_i64(number))
    }
}

impl<'de, const L: i64, const M: i64> Deserialize<'de> for Number<L, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(0))
    }
}

impl<const L: i64, const M: i64> Serialize for Number<L, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<const L: i64, const M: i64> JsonSchema for Number<L, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number{L}to{M}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": L, "maximum": M })
    }
}

/// A TCP port.
pub type Port = Number<1, 65_535>;

/// One of the words of `T` outside of the configuration, for example in a parameter of a URL; else the list of words.
pub fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, &'static [&'static str]> {
    T::deserialize(de::IntoDeserializer::<Words>::into_deserializer(text)).map_err(|Words(words)| words)
}

/// The error for a word that is none of these.
#[derive(Debug)]
struct Words(&'static [&'static str]);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl std::error::Error for Words {}

impl de::Error for Words {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self(known)
    }
}

/// A struct of groups of keys that share one table: derive `Serialize` and `JsonSchema` with `flatten` on each group; a tuple reads it.
#[macro_export]
macro_rules! union {
    ($name:ident { $($member:ident: $group:ty),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <($($group,)+)>::deserialize(deserializer).map(|($($member,)+)| Self { $($member),+ })
            }
        }
    };
}
