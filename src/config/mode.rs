//! `[modes.NAME]`: a process that the container can run, with variants.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::{Command, Groups};
use crate::config::check::CheckSection;
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::process::{MainKeys, ProcessKeys};
use crate::config::started::Started;
use crate::config::values::{Deferred, Maybe, Named, Number};

/// How a mode takes part in the migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Migrate {
    /// It migrates before it starts, if migrations are enabled.
    #[default]
    Run,
    /// It waits until another replica has migrated.
    Wait,
    /// It does neither.
    Off,
}

/// The keys of a mode besides those of its process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModeKeys {
    /// The command of the process; `[]` to end the run after the migration.
    pub command: Command,
    /// Lists of cases by name, for `{ first = "NAME" }` in the command.
    pub groups: Groups,
    /// How it takes part in the migration.
    pub migrate: Migrate,
    /// The startup check: the process is not ready until it passes.
    pub started: Deferred<Started>,
    /// Variants of the mode; the first one whose `when` holds applies.
    pub variants: Deferred<Vec<ModeVariant>>,
    /// Variables of this mode; they override `[env]`.
    pub env: Deferred<Variables>,
    /// Checks of this mode only; they replace those of the same name in `[checks]`.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
}

/// A process that the container can run. Its keys override those of `[process]`, and options of the command line override both.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "mode", deny_unknown_fields)]
pub struct Mode {
    /// The keys of a mode.
    #[serde(flatten)]
    pub own: ModeKeys,
    /// The keys of every process.
    #[serde(flatten)]
    pub process: ProcessKeys,
    /// The keys of the main process.
    #[serde(flatten)]
    pub main: MainKeys,
}
crate::union!(Mode { own: ModeKeys, process: ProcessKeys, main: MainKeys });

/// A variant of a mode.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["when"]))]
pub struct ModeVariant {
    /// When it applies.
    pub when: Deferred<Condition>,
    /// Variables; they override those of the mode.
    pub set: Deferred<Variables>,
    /// The command, instead of the mode's.
    pub command: Command,
    /// The startup check, instead of the mode's.
    pub started: Deferred<Started>,
    /// No process is started in this case: the run ends, after the migration if there is one.
    pub refuse: Option<Refuse>,
}

/// How a run without a process ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["message"]))]
pub struct Refuse {
    /// The exit code.
    pub code: Number<1, 255>,
    /// The text that is logged; it should say what to do instead.
    pub message: Maybe<Text>,
}

impl Default for Refuse {
    fn default() -> Self {
        Self { code: const { Number::of(64) }, message: Maybe(None) }
    }
}
