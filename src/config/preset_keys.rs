//! The keys of a document that describe its preset.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;

/// The keys that are removed from a document before anything else is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PresetKeys {
    /// The preset below this document.
    pub extends: Option<Text>,
    /// Dotted names of the parts of that preset that are left out, for example `modes.job`.
    pub without: Vec<Text>,
    /// How a preset detects the version of its application.
    pub preset: PresetTable,
}

/// How a preset detects the version of its application; a difference is a warning.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PresetTable {
    /// Files that contain the application's version; the first version that is found counts.
    pub version_files: Vec<VersionFile>,
    /// A package that is installed beside the application.
    pub needs: Vec<Need>,
}

/// A file that contains the application's version.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionFile {
    /// The file.
    pub file: Text,
    /// The beginning of the line that contains the version; the version follows it.
    pub after: Text,
}

/// A package that is installed beside the application, detected by the name of a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// A path in which `*` matches any part of a name; the last `*` matches the version.
    pub file: Text,
    /// The minimum version.
    pub least: Text,
}
