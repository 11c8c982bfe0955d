//! Values with a rule of their own: what they take, and what the schema says of them. None ever prints what it was given.

pub mod process;
pub mod signal;
mod size;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::config::interpolate::{Piece, Text};
use crate::config::reader::{SHOWN, own_way};
use crate::secret::{MASK, Secret};
pub use size::Size;

/// Milliseconds of a day: longer than any pause that is meant.
pub const DAY: u64 = 24 * 60 * 60 * 1000;
/// Milliseconds of a year: longer than any wait that is meant.
pub const YEAR: u64 = 365 * DAY;

/// A bound as a person says it: `humantime` has a year as `11months 30days 3h 50m 24s`.
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
    /// For a default outside its own bounds; it is called in `const { }`, so that the compiler finds it.
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
        Err(E::custom("is a bare number; write it with its unit, as `60s` or `500ms`"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        self.visit_i64(0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        if text.trim().parse::<f64>().is_ok() {
            return Err(E::custom(format!("is the bare number `{SHOWN}`; write it with its unit, as `60s` or `500ms`")));
        }
        let length = humantime::parse_duration(text.trim())
            .map_err(|_| E::custom(format!("is `{SHOWN}`, not a duration as `60s`, `500ms` or `30m`")))?;
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

    /// The bounds of a duration cannot be said by a pattern: they stand in words.
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
    /// For a default outside its own bounds; it is called in `const { }`, so that the compiler finds it.
    pub const fn of(number: i64) -> Self {
        assert!(L <= number && number <= M, "a default outside its own bounds");
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number in the type that is wanted; its bounds have to lie within those of the type.
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
        Err(E::custom(format!("is `{SHOWN}`; a whole number from {L} to {M} is wanted")))
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

/// A value for which an empty text is the same as none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maybe<T>(pub Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Maybe<Text> {
    /// The text that was written, if it says something.
    pub fn value(&self) -> Option<String> {
        self.0.as_ref().map(Text::value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Maybe<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_none<E: de::Error>(self) -> Result<Maybe<T>, E> {
                Ok(Maybe(None))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Maybe<T>, D::Error> {
                T::deserialize(deserializer).map(Some).map(Maybe)
            }
        }
        deserializer.deserialize_newtype_struct(own_way::MAYBE, Either(PhantomData))
    }
}

impl<T: Serialize> Serialize for Maybe<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Maybe<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Maybe{}", T::schema_name()).into()
    }

    /// A string takes the empty text anyhow.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        if value.get("type").is_some_and(|kind| kind == "string") && value.get("pattern").is_none() {
            return value;
        }
        json_schema!({ "anyOf": [value, { "const": "" }] })
    }

    fn _schemars_private_is_option() -> bool {
        true
    }
}

/// A text as the engine hands it over: three strings for each of its pieces.
struct Pieces;

impl<'de> Visitor<'de> for Pieces {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        let mut pieces = Vec::new();
        while let (Some(value), Some(shown), Some(by)) = (seq.next_element()?, seq.next_element()?, seq.next_element::<String>()?) {
            pieces.push(Piece { value, shown, interpolated: !by.is_empty() });
        }
        Ok(Text::of(pieces))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(own_way::TEXT, Pieces)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// The schema of a string.
macro_rules! is_text {
    ($($name:ty),+) => { $(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                "Text".into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    )+ };
}
is_text!(Text, Secret);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self::new(text.value()))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A text for which a number or a boolean may stand, as `database = 1` of a Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalar(pub Text);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(own_way::SCALAR, Pieces).map(Self)
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

/// One item, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<OneOrMore<T>, D::Error> {
                T::deserialize(deserializer).map(|one| OneOrMore(vec![one]))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<OneOrMore<T>, D::Error> {
                Vec::deserialize(deserializer).map(OneOrMore)
            }
        }
        deserializer.deserialize_newtype_struct(own_way::ONE_OR_MORE, Either(PhantomData))
    }
}

impl<T: Serialize> Serialize for OneOrMore<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMore{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item }] })
    }
}

/// A table whose keys are names, in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// One of the words of `T` where it stands elsewhere than in the configuration, as in a parameter of a URL; else the words there are.
pub fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, &'static [&'static str]> {
    T::deserialize(de::IntoDeserializer::<Words>::into_deserializer(text)).map_err(|Words(words)| words)
}

/// What is wrong with a word: it is none of these.
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

/// A value that is declared here and read by itself, because it decides how deep it is read, or what is laid over it.
#[derive(Clone, Debug)]
pub struct Part<T>(PhantomData<T>);

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Self(PhantomData))
    }
}

impl<T> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<T: JsonSchema> JsonSchema for Part<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A struct of groups of keys that stand beside each other in one table: derive `Serialize` and `JsonSchema` with `flatten` on each
/// group; a tuple reads it.
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
