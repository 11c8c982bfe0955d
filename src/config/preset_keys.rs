//! What a document says of the preset that it lies over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;

/// The keys that the layers take out of a document before anything else is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PresetKeys {
    /// The preset that this document lies over.
    pub extends: Option<Text>,
    /// Dotted names of what is left out of that preset, as `modes.job`.
    pub without: Vec<Text>,
    /// How a preset finds out which version of its application it stands in.
    pub preset: PresetTable,
}

/// How a preset finds out which version of its application it stands in; what differs is a warning.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PresetTable {
    /// Files that say the application's version; the first that says one counts.
    pub version_files: Vec<VersionFile>,
    /// What is installed beside the application.
    pub needs: Vec<Need>,
}

/// A file that says the application's version.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionFile {
    /// The file.
    pub file: Text,
    /// What the line begins with that says the version behind it.
    pub after: Text,
}

/// What is installed beside the application, known by the name of a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// A path in which `*` is any part of a name; the last one is the version.
    pub file: Text,
    /// The version that it is to have at least.
    pub least: Text,
}
