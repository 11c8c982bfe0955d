//! Several texts: a list of them, or the parts of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;

// It is read by its form, in `plan::resolve::items`.
/// Several texts.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub enum Items {
    /// These.
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
