//! `[env]`: the variables of every process that is started.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::items::Items;
use crate::config::values::{Deferred, Maybe, Named, Scalar, Span};

/// Variables by name. Each is a text (a number or a boolean is accepted), a table that says where the value comes from, or a list of these; the first
/// item of a list whose `when` holds applies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Variables(pub Named<Scalar>);

/// Where the value of a variable comes from: exactly one of `value`, `url`, `generate`, `command`, `glob`, `file` and `unset`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "assigned", deny_unknown_fields)]
pub struct Assigned {
    /// The text itself.
    pub value: Option<Scalar>,
    /// A URL; each `${}` in it is percent-encoded for its place.
    pub url: Option<Text>,
    /// A generated secret: `hex:32` (bytes), `base64:32` (bytes) or `alnum:32` (letters and digits).
    pub generate: Option<Text>,
    /// The file that keeps the generated secret: created once, with mode 0600, and read by every later start and by every replica that shares it.
    /// Without it, each start generates a new one.
    pub keep: Maybe<Text>,
    /// The standard output of this command, without the newline at its end; 64 KiB at most. It runs before anything else.
    pub command: Command,
    /// How long that command may take.
    pub timeout: Span<1, 600_000>,
    /// The first path, in alphabetical order, that matches this pattern with `*`; unset if there is none.
    pub glob: Option<Text>,
    /// The contents of this file, without the newline at its end.
    pub file: Option<Text>,
    /// Whether the variable is removed.
    pub unset: bool,
    /// Only if the variable is unset or empty.
    pub default: bool,
    /// Only if this condition holds.
    pub when: Deferred<Condition>,
}

impl Default for Assigned {
    fn default() -> Self {
        Self {
            value: None,
            url: None,
            generate: None,
            keep: Maybe(None),
            command: Deferred::default(),
            timeout: const { Span::of(10_000) },
            glob: None,
            file: None,
            unset: false,
            default: false,
            when: Deferred::default(),
        }
    }
}

/// What happens to a variable of `expand_files` if both the variable and `NAME_FILE` are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Conflict {
    /// It is an error.
    #[default]
    Error,
    /// The file is used.
    File,
    /// The variable is used.
    Variable,
}

/// The keys of `[env]` that are not variables.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conflicts {
    /// As in [`EnvironmentSection`].
    pub expand_files_conflict: Conflict,
}

impl JsonSchema for Variables {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, table) = (generator.subschema_for::<Scalar>(), generator.subschema_for::<Assigned>());
        let one = serde_json::json!([text, table]);
        let value = json_schema!({ "anyOf": [text, table, { "type": "array", "minItems": 1, "items": { "anyOf": one } }] });
        json_schema!({ "type": "object", "propertyNames": { "pattern": "^[^=]+$" }, "additionalProperties": value })
    }
}

// `plan::resolve::variables` reads it separately, because other names may follow its two keys.
/// The variables of every process that is started; they override those of portcullis' own environment. Every `${}` in the configuration can use them,
/// in the order in which they are written.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "environment", inline)]
pub struct EnvironmentSection {
    /// Files of `NAME=value` lines in shell syntax: `export`, quotes, comments and `$NAME` are supported; anything that needs a shell is an
    /// error. A missing file is skipped. Their variables are set before all others.
    #[schemars(default)]
    pub files: Deferred<Items>,
    /// Variables for what is unset or empty; an unused one is not evaluated.
    #[schemars(default)]
    pub default: Variables,
    /// The variables that are set from the file that `NAME_FILE` names, as `["DB_PASSWORD", "POSTGRES_*"]`: names, or patterns for the names whose
    /// `NAME_FILE` is set. A `NAME_FILE` that names a file is not passed on; an empty one names none, and stays as it is.
    #[schemars(default)]
    pub expand_files: Vec<Text>,
    /// What happens if both `NAME` and `NAME_FILE` are set.
    #[schemars(default)]
    pub expand_files_conflict: Conflict,
    /// Variables; those of a mode or a module override them.
    #[schemars(flatten)]
    pub names: Variables,
}
