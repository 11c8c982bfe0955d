//! `[[arguments]]`, `[options]`, `[[refuse]]` and `[[warn]]`: what becomes of the arguments of the container, and when nothing is started or
//! something is to be said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::values::{Deferred, Maybe, Number, Scalar};

/// What becomes of the arguments in one case. A rule has one of `mode`, `run` and `refuse`, or none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "rule", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Rule {
    /// The case; a rule without it always holds. One with `run` and no `command` holds only where there are arguments.
    pub when: Deferred<Condition>,
    /// The mode that is started, as `${@1}`; `--mode` on the command line stands above it.
    pub mode: Maybe<Text>,
    /// How many arguments are taken off at the beginning.
    pub drop: Number<0, 1000>,
    /// Words that are put before the remaining arguments.
    pub prepend: Vec<Text>,
    /// Whether the remaining arguments are a command of one's own, as with `run --exec`.
    pub run: bool,
    /// With `run`: the command, where it is not the remaining arguments alone; `{ args = true }` stands for them.
    pub command: Command,
    /// With `run`: variables of the command, above those of the mode.
    pub env: Deferred<Variables>,
    /// With `run`: whether the command waits for the checks first.
    pub wait: bool,
    /// With `run`: the user that the command runs as, in place of the mode's.
    pub user: Maybe<Text>,
    /// Nothing is started, and this is logged: what to do instead.
    pub refuse: Maybe<Text>,
    /// With `refuse`: the exit code; 0 where that nothing is started is no failure.
    pub code: Number<0, 255>,
    /// Whether arguments that the mode's command does not take are left out.
    pub ignore: bool,
    /// Whether arguments that the mode's command does not take are appended to it.
    pub append: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            when: Deferred::default(),
            mode: Maybe(None),
            drop: const { Number::of(0) },
            prepend: Vec::new(),
            run: false,
            command: Deferred::default(),
            env: Deferred::default(),
            wait: false,
            user: Maybe(None),
            refuse: Maybe(None),
            code: const { Number::of(64) },
            ignore: false,
            append: false,
        }
    }
}

// It is read by its form, in `plan::resolve::arguments`.
/// What an option among the arguments becomes.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "option")]
pub enum OptionSection {
    /// The variable that gets its value, from `--name VALUE` or `--name=VALUE`.
    Variable(Text),
    /// The same in writing, or a flag.
    Keys(OptionKeys),
}

/// An option in writing; `variable` or `flag`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields)]
pub struct OptionKeys {
    /// The variable that gets the option's value.
    pub variable: Maybe<Text>,
    /// The variable that is set where the option is there; it takes no value.
    pub flag: Maybe<Text>,
    /// With `flag`: what the variable is set to; by default `true`.
    pub value: Option<Scalar>,
}

/// A case in which nothing is started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "refusal", deny_unknown_fields, extend("required" = ["when", "message"]))]
pub struct RefusalSection {
    /// The case.
    pub when: Deferred<Condition>,
    /// What to do instead; it is logged.
    pub message: Maybe<Text>,
    /// The exit code; that of the first refusal that holds is the one. 0: that nothing is started is no failure.
    pub code: Number<0, 255>,
}

impl Default for RefusalSection {
    fn default() -> Self {
        Self { when: Deferred::default(), message: Maybe(None), code: const { Number::of(64) } }
    }
}

/// A case in which something is to be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "warning", deny_unknown_fields, extend("required" = ["when", "message"]))]
pub struct WarningSection {
    /// The case.
    pub when: Deferred<Condition>,
    /// What is logged as a warning.
    pub message: Maybe<Text>,
}
