//! serde over the configuration tree. The declaration provides types, words and ranges; this module provides places, variables and unknown keys. Do
//! not use `flatten`, `tag` and `untagged` of serde for reading: they buffer the values and lose their places. Keys that several elements share are a
//! [`union!`](crate::union) instead.

mod access;
mod fault;

use std::cell::RefCell;

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::{Context, Depth, TRUTHS, truth};
use crate::config::interpolate::{Findings, Piece, Template, Text};
use crate::config::node::{Node, Table, Value};
use crate::config::problem::nearest;
use access::{Entries, Groups, Items};
pub(super) use fault::{Fault, FaultKind, PathSegment};
use fault::{listed, named};

/// A placeholder for the value in the error message of a type: the reader inserts the masked value, so no type prints a value itself.
pub const SHOWN: char = '\u{1}';

/// Names of newtypes that are read in a special way.
pub mod own_way {
    /// A text with its pieces: see [`Text`](crate::config::interpolate::Text).
    pub const TEXT: &str = "portcullis::Text";
    /// A text that may be written as a number or a boolean.
    pub const SCALAR: &str = "portcullis::Scalar";
    /// None for an empty text.
    pub const MAYBE: &str = "portcullis::Maybe";
    /// One item, or a list of items.
    pub const ONE_OR_MORE: &str = "portcullis::OneOrMore";
}

/// A value that is being read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) context: &'a Context<'a>,
    pub(super) depth: Depth,
    /// The keys that the groups of a union have requested so far; none outside of a union.
    pub(super) group: Option<&'a RefCell<Vec<&'static str>>>,
}

impl<'a> Reader<'a> {
    /// The interpolated text of a string.
    fn text(&self, text: &str) -> Result<Text, Fault> {
        if self.is_literal(text) {
            return Ok(Text::literal(text));
        }
        let template = Template::parse(text).map_err(|why| Fault::message(format!(": {why}")))?;
        if self.depth == Depth::Syntax && !template.is_literal() {
            return Err(Fault::new(FaultKind::Open));
        }
        let mut findings = Findings::default();
        let text = template.expand(self.context.environment, &mut findings);
        findings.notices.into_iter().for_each(|notice| self.context.notice(notice));
        if findings.problems.is_empty() {
            return Ok(text);
        }
        Err(Fault::new(FaultKind::Messages(findings.problems.into_iter().map(|why| format!(": {why}")).collect())))
    }

    /// Whether nothing in it is replaced.
    fn is_literal(&self, text: &str) -> bool {
        self.node.origin.verbatim() || !text.contains('$')
    }

    /// Whether only its form is checked, which is right, and it contains a variable.
    fn is_open(&self, text: &str) -> bool {
        self.depth == Depth::Syntax && !self.is_literal(text) && Template::parse(text).is_ok_and(|template| !template.is_literal())
    }

    /// Whether the interpolated text is empty.
    fn is_empty(&self, text: &str) -> Result<bool, Fault> {
        if self.is_literal(text) { Ok(text.is_empty()) } else { Ok(self.text(text)?.is_empty()) }
    }

    /// The message if `what` is expected and something else was written.
    fn wants(&self, what: &str) -> Fault {
        self.wants_as(what, "")
    }

    /// The same with an example. The text of a variable may contain the value in TOML syntax.
    fn wants_as(&self, what: &str, example: &str) -> Fault {
        let why = format!("is {}; expected {what}{example}", self.node.value.kind());
        match &self.node.value {
            Value::String(_) if self.node.origin.verbatim() && !example.is_empty() => Fault::new(FaultKind::Unfold(why)),
            Value::Hole => Fault::new(FaultKind::Open),
            _ => Fault::message(why),
        }
    }

    fn table(&self) -> Result<&'a Table, Fault> {
        match &self.node.value {
            Value::Table(table) => Ok(table),
            _ => Err(self.wants_as("a table", " such as `{ key = \"value\" }`")),
        }
    }

    /// Which of several words was written.
    fn word(&self, words: &'static [&'static str]) -> Result<&'static str, Fault> {
        let Value::String(text) = &self.node.value else {
            return Err(self.wants(&format!("one of {}", listed(words))));
        };
        let text = self.text(text)?.value();
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(word);
        }
        let near = nearest(&text, words.iter().copied()).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        Err(Fault::message(format!("is `{SHOWN}`{near}; expected one of {}", listed(words))))
    }

    /// A text in pieces: each has its value, its printable form, and a marker if a variable gave it.
    fn pieces<'de, V: Visitor<'de>>(text: Text, visitor: V) -> Result<V::Value, Fault> {
        let piece = |piece: Piece| {
            let by = if piece.interpolated { "variable" } else { "" };
            [piece.value, piece.shown, by.to_owned()]
        };
        let pieces = text.into_pieces().into_iter().flat_map(piece);
        visitor.visit_seq(de::value::SeqDeserializer::new(pieces))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => visitor.visit_string(self.text(text)?.value()),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Datetime => Err(self.wants(&named(&visitor))),
            Value::List(items) => visitor.visit_seq(Items::new(self, items)),
            Value::Table(table) => visitor.visit_map(Entries::new(self, table, None)),
            Value::Hole => Err(Fault::new(FaultKind::Open)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => {
                let flag = truth(&self.text(text)?.value());
                visitor.visit_bool(flag.ok_or_else(|| Fault::message(format!("is `{SHOWN}`; expected {TRUTHS}")))?)
            }
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            _ => Err(self.wants("`true` or `false`")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (name, &self.node.value) {
            (own_way::TEXT | own_way::SCALAR, Value::String(text)) => Self::pieces(self.text(text)?, visitor),
            (own_way::SCALAR, Value::Integer(number)) => Self::pieces(Text::literal(number.to_string()), visitor),
            (own_way::SCALAR, Value::Boolean(flag)) => Self::pieces(Text::literal(flag.to_string()), visitor),
            (own_way::TEXT | own_way::SCALAR, _) => Err(self.wants("a string")),
            // Without a fault, after each of which the section is read again.
            (own_way::MAYBE, Value::String(text)) if self.is_open(text) => visitor.visit_none(),
            (own_way::MAYBE, Value::String(text)) if self.is_empty(text)? => visitor.visit_none(),
            // `[::]:8051` begins like a list but is not one: a text that cannot be parsed as a list is one item.
            (own_way::ONE_OR_MORE, Value::String(text)) if self.node.origin.verbatim() && unfolds(text, self.node) => {
                visitor.visit_newtype_struct(self)
            }
            (own_way::ONE_OR_MORE, Value::List(_)) => visitor.visit_newtype_struct(self),
            (own_way::MAYBE | own_way::ONE_OR_MORE, _) => visitor.visit_some(self),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items::new(self, items)),
            _ => Err(self.wants_as("a list", " such as `[\"a\", \"b\"]`")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Entries::new(self, self.table()?, None))
    }

    /// In a union a struct reads only its own keys; alone it refuses all other keys, whether or not it derives `deny_unknown_fields`.
    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, keys: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let table = self.table()?;
        match self.group {
            Some(group) => group.borrow_mut().extend(keys),
            None => Self::refuse_unknown(table, keys)?,
        }
        visitor.visit_map(Entries::new(self, table, Some(keys)))
    }

    /// A tuple over a table is the union of the keys of its members; places are kept and unknown keys refused.
    fn deserialize_tuple<V: Visitor<'de>>(self, members: usize, visitor: V) -> Result<V::Value, Fault> {
        let table = self.table()?;
        let own = RefCell::default();
        let reader = Reader { group: Some(self.group.unwrap_or(&own)), ..self };
        let value = visitor.visit_seq(Groups { reader, left: members })?;
        if self.group.is_none() {
            Self::refuse_unknown(table, &own.borrow())?;
        }
        Ok(value)
    }

    /// One of several words.
    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, words: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.word(words)?.into_deserializer())
    }

    /// A part that is read separately, at its own depth.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple_struct identifier
    }
}

/// Whether the text of a variable is a list.
fn unfolds(text: &str, node: &Node) -> bool {
    matches!(crate::config::node::parse_inline(text, &node.origin), Some(Node { value: Value::List(_), .. }))
}
