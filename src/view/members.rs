//! A JSON object whose keys are names, in the order in which they were collected.

use serde::{Serialize, Serializer};

/// The members. Names are unique: those of checks and of steps are, and they share none.
pub(super) struct Members<'a, T>(Vec<(&'a str, T)>);

impl<T> Members<'_, T> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a, T> FromIterator<(&'a str, T)> for Members<'a, T> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Members<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Members<'_, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Members".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}
