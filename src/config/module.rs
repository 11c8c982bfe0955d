//! `[modules.NAME]`: a further process beside the main one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::{Command, Groups};
use crate::config::check::{Affects, CheckSection};
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::process::ProcessKeys;
use crate::config::started::Started;
use crate::config::values::{Deferred, Maybe, Named, Numbers};

/// When a module is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ModuleStart {
    /// Before the waits, which begin once its startup check has passed: a proxy that the checks go through. Where it cannot start, the
    /// start has failed. It is stopped last, after the main process and all other modules.
    First,
    /// With the main process.
    #[default]
    WithMain,
    /// When somebody asks for it, by `portcullis start NAME`.
    OnDemand,
}

/// What the end of a module means for the whole, when it is not started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnExit {
    /// Nothing.
    Ignore,
    /// The status is DOWN, as far as the module's running affects it.
    #[default]
    Degrade,
    /// Everything is stopped, with the module's exit code; `restart` is then `never` unless it is written.
    StopAll,
}

/// What is read of a module before its instances are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Family {
    /// How many there are, named `NAME-0`, `NAME-1`, …, where `${@instance}` is the number; by default one, without a number. A range has
    /// other numbers: `"5..8"` are 5, 6 and 7.
    pub instances: Option<Numbers>,
    /// Who has to be up before it is started: other modules, and `main`.
    pub after: Deferred<Vec<Text>>,
    /// There is such a module only where it holds.
    pub when: Deferred<Condition>,
    /// When it is started.
    pub start: ModuleStart,
}

/// What a module has beside the keys of its process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleKeys {
    /// The command.
    pub command: Command,
    /// Lists of cases by name, for `{ first = "NAME" }` in the command.
    pub groups: Groups,
    /// Variables of this module, above `[env]`.
    pub env: Deferred<Variables>,
    /// Whether its start counts for the status: UNKNOWN while it starts, DOWN when that fails; by default unless it starts on demand, and with `with_all_modules` of
    /// `[health]` always.
    pub startup_affects_health: Option<bool>,
    /// What its running counts for, once it was up.
    pub affects: Affects,
    /// What its end means when it is not started again.
    pub on_exit: OnExit,
    /// The startup check; without one it is up as soon as it runs.
    pub started: Deferred<Started>,
    /// Checks that are asked while it runs, shown as `NAME.CHECK`.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
    /// Its version, for people.
    pub version: Maybe<Text>,
    /// Where its pages are, for people.
    pub web_path: Maybe<Text>,
}

/// A further process beside the main one. Its keys stand above those of `[process]`; what a mode says does not hold for it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "module", deny_unknown_fields, extend("required" = ["command"]))]
pub struct ModuleSection {
    /// What is the same for all its instances.
    #[serde(flatten)]
    pub family: Family,
    /// What a module has.
    #[serde(flatten)]
    pub own: ModuleKeys,
    /// What every process has.
    #[serde(flatten)]
    pub process: ProcessKeys,
}
crate::union!(ModuleSection { family: Family, own: ModuleKeys, process: ProcessKeys });
