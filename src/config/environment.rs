//! `[env]`: the variables of every process that is started.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::values::{Named, Scalar};

/// Variables by name, each a text; a number or a boolean stands for its text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Variables(pub Named<Scalar>);

impl JsonSchema for Variables {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<Scalar>();
        json_schema!({ "type": "object", "propertyNames": { "pattern": "^[^=]+$" }, "additionalProperties": value })
    }
}

// It is read by itself, in `plan::resolve::variables`: beside its two keys stand names.
/// The variables of every process that is started, above those of portcullis itself.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "environment", inline)]
pub struct Environment {
    /// Variables for what is unset or empty.
    #[schemars(default)]
    pub default: Variables,
    /// The variables that are set from the file that `NAME_FILE` names, as `["DB_PASSWORD"]`; `NAME_FILE` itself is then not handed on.
    #[schemars(default)]
    pub expand_files: Vec<Text>,
    /// Variables; a mode's or a module's own stand above them.
    #[schemars(flatten)]
    pub names: Variables,
}
