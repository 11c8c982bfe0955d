//! `[modes.NAME]`: a process that the container may be, and what it is in some cases.

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

/// What a mode has to do with the migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Migrate {
    /// It migrates before it starts, where migrations are on.
    #[default]
    Run,
    /// It waits until another one has migrated.
    Wait,
    /// It does neither.
    Off,
}

/// What a mode has beside the keys of its process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModeKeys {
    /// The command of the process; `[]` where the run ends after the migration.
    pub command: Command,
    /// Lists of cases by name, for `{ first = "NAME" }` in the command.
    pub groups: Groups,
    /// What it has to do with the migration.
    pub migrate: Migrate,
    /// The startup check: the process is not ready until it passes.
    pub started: Deferred<Started>,
    /// What is different in some cases; the first whose `when` holds is taken.
    pub variants: Deferred<Vec<ModeVariant>>,
    /// Variables of this mode, above `[env]`.
    pub env: Deferred<Variables>,
    /// Checks of this mode alone, in place of those of the same name in `[checks]`.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
}

/// A process that the container may be. Its keys stand above those of `[process]`, and options of the command line above both.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "mode", deny_unknown_fields)]
pub struct Mode {
    /// What a mode has.
    #[serde(flatten)]
    pub own: ModeKeys,
    /// What every process has.
    #[serde(flatten)]
    pub process: ProcessKeys,
    /// What the main process has.
    #[serde(flatten)]
    pub main: MainKeys,
}
crate::union!(Mode { own: ModeKeys, process: ProcessKeys, main: MainKeys });

/// What a mode is in one case.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["when"]))]
pub struct ModeVariant {
    /// The case.
    pub when: Deferred<Condition>,
    /// Variables, above those of the mode.
    pub set: Deferred<Variables>,
    /// The command in place of the mode's.
    pub command: Command,
    /// The startup check in place of the mode's.
    pub started: Deferred<Started>,
    /// No process is started in this case: the run ends, after the migration where there is one.
    pub refuse: Option<Refuse>,
}

/// How a run without a process ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["message"]))]
pub struct Refuse {
    /// The exit code.
    pub code: Number<1, 255>,
    /// What to do instead; it is logged.
    pub message: Maybe<Text>,
}

impl Default for Refuse {
    fn default() -> Self {
        Self { code: const { Number::of(64) }, message: Maybe(None) }
    }
}
