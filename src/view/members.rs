//! A JSON object whose keys are names, in the order of its members.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// The members. Their names, those of checks and steps, are unique.
#[derive(JsonSchema)]
#[schemars(inline)]
pub(super) struct Members<'a, T>(#[schemars(with = "BTreeMap<&str, T>")] pub(super) Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Members<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
