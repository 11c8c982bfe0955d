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
    /// Before the waits, which begin once its startup check has passed: a proxy that the checks go through. If it cannot start, the start fails. It
    /// is stopped last, after the main process and all other modules.
    First,
    /// With the main process.
    #[default]
    WithMain,
    /// On request, by `portcullis start NAME`.
    OnDemand,
}

/// What the end of a module means for the container, if the module is not restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnExit {
    /// Nothing.
    Ignore,
    /// The status is DOWN, as far as the module's running state counts.
    #[default]
    Degrade,
    /// Everything is stopped, with the module's exit code; `restart` is then `never` unless it is set.
    StopAll,
}

/// The keys of a module that are read before its instances.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Family {
    /// The number of instances, named `NAME-0`, `NAME-1`, …; `${@instance}` is the number of the instance. By default there is one, without
    /// a number. A range selects other numbers: `"5..8"` means 5, 6 and 7.
    pub instances: Option<Numbers>,
    /// The processes that have to be up before it is started: other modules, or `main`.
    pub after: Deferred<Vec<Text>>,
    /// The module exists only if this condition holds.
    pub when: Deferred<Condition>,
    /// When it is started.
    pub start: ModuleStart,
}

/// The keys of a module besides those of its process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModuleKeys {
    /// The command.
    pub command: Command,
    /// Lists of cases by name, for `{ first = "NAME" }` in the command.
    pub groups: Groups,
    /// Variables of this module; they override `[env]`.
    pub env: Deferred<Variables>,
    /// Whether its start counts for the status: UNKNOWN while it starts, DOWN if the start fails. By default it counts unless the module starts on
    /// demand; with `with_all_modules` of `[health]` it always counts.
    pub startup_affects_health: Option<bool>,
    /// What its running state counts for, once it has been up.
    pub affects: Affects,
    /// What its end means if it is not restarted.
    pub on_exit: OnExit,
    /// The startup check; without one it is up as soon as it runs.
    pub started: Deferred<Started>,
    /// Checks that are probed while it runs, shown as `NAME.CHECK`.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
    /// Its version, for display.
    pub version: Maybe<Text>,
    /// The path of its web pages, for display.
    pub web_path: Maybe<Text>,
}

/// A further process beside the main one. Its keys override those of `[process]`; the keys of a mode do not apply to it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "module", deny_unknown_fields, extend("required" = ["command"]))]
pub struct ModuleSection {
    /// The keys that are the same for all its instances.
    #[serde(flatten)]
    pub family: Family,
    /// The keys of a module.
    #[serde(flatten)]
    pub own: ModuleKeys,
    /// The keys of every process.
    #[serde(flatten)]
    pub process: ProcessKeys,
}
crate::union!(ModuleSection { family: Family, own: ModuleKeys, process: ProcessKeys });
