//! Several texts: a list, or the parts of one text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;

// `plan::resolve::items` reads it by its form.
/// Several texts.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub enum Items {
    /// A list.
    List(Vec<Text>),
    /// The parts of one text.
    Parts(Parts),
}

/// The parts of a text.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["split"]))]
pub struct Parts {
    /// The text; blanks around a part and empty parts are dropped.
    pub split: Option<Text>,
    /// The separator of the parts; by default blanks.
    pub at: Option<Text>,
}
