//! The parts of a list or a table, one after the other.

use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

use super::{Fault, FaultKind, PathSegment, Reader};
use crate::config::node::{Entry, Node, Table, Value};

impl<'a> Reader<'a> {
    /// The values below.
    fn below(self, node: &'a Node) -> Self {
        Self { node, group: None, ..self }
    }

    /// A table with only `known` keys.
    pub(super) fn refuse_unknown(table: &Table, known: &[&'static str]) -> Result<(), Fault> {
        let all = table.iter().all(|entry| known.contains(&entry.key.as_str()));
        if all { Ok(()) } else { Err(Fault::new(FaultKind::Unknown(known.to_vec()))) }
    }
}

/// The groups of a union: each gets the same table.
pub(super) struct Groups<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) left: usize,
}

impl<'de> SeqAccess<'de> for Groups<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.reader).map(Some)
    }
}

/// The items of a list without holes; the indices of the others stay.
pub(super) struct Items<'a> {
    reader: Reader<'a>,
    nodes: &'a [Node],
    next: usize,
}

impl<'a> Items<'a> {
    pub(super) fn new(reader: Reader<'a>, nodes: &'a [Node]) -> Self {
        Self { reader, nodes, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        while let Some(node) = self.nodes.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !matches!(node.value, Value::Hole) {
                return seed.deserialize(self.reader.below(node)).map(Some).map_err(|fault| fault.within(PathSegment::Item(index)));
            }
        }
        Ok(None)
    }
}

/// The entries of a table: those of these keys, or all.
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Entry>,
    keys: Option<&'static [&'static str]>,
    now: Option<&'a Entry>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(reader: Reader<'a>, table: &'a Table, keys: Option<&'static [&'static str]>) -> Self {
        Self { reader, rest: table.iter(), keys, now: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let keys = self.keys;
        let wanted =
            |entry: &&Entry| !matches!(entry.node.value, Value::Hole) && keys.is_none_or(|keys| keys.contains(&entry.key.as_str()));
        self.now = self.rest.find(wanted);
        self.now.map(|entry| seed.deserialize(entry.key.as_str().into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some(entry) = self.now.take() else { return Err(Fault::new(FaultKind::Open)) };
        seed.deserialize(self.reader.below(&entry.node)).map_err(|fault| fault.within(PathSegment::Key(entry.key.clone())))
    }
}
