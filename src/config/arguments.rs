//! `[[arguments]]`, `[options]`, `[[refuse]]` and `[[warn]]`: what becomes of the arguments of the container, and when nothing is started or
//! something is to be said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::values::{Deferred, Maybe, Number, Scalar};

/// A rule for the container's arguments. It has at most one of `mode`, `run` and `refuse`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "rule", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Rule {
    /// When the rule applies; without it always. A rule with `run` and without `command` applies only if there are arguments.
    pub when: Deferred<Condition>,
    /// The mode to start, for example `${@1}`; `--mode` on the command line overrides it.
    pub mode: Maybe<Text>,
    /// How many arguments are removed at the beginning.
    pub drop: Number<0, 1000>,
    /// Words to insert before the remaining arguments.
    pub prepend: Vec<Text>,
    /// Whether the remaining arguments are an ad-hoc command, as with `run --exec`.
    pub run: bool,
    /// With `run`: the command, if it is more than the remaining arguments; `{ args = true }` inserts them.
    pub command: Command,
    /// With `run`: variables of the command; they override those of the mode.
    pub env: Deferred<Variables>,
    /// With `run`: whether the command waits for the checks first.
    pub wait: bool,
    /// With `run`: the user of the command, instead of the mode's.
    pub user: Maybe<Text>,
    /// The start is refused and this text is logged; it should say what to do instead.
    pub refuse: Maybe<Text>,
    /// With `refuse`: the exit code; 0 where that nothing is started is no failure.
    pub code: Number<0, 255>,
    /// Whether arguments that the mode's command does not take are dropped.
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
/// The variable that an option among the arguments sets.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "option")]
pub enum OptionSection {
    /// The variable that gets the value of `--name VALUE` or `--name=VALUE`.
    Variable(Text),
    /// The long form, or a flag.
    Keys(OptionKeys),
}

/// The long form of an option; `variable` or `flag`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields)]
pub struct OptionKeys {
    /// The variable that gets the option's value.
    pub variable: Maybe<Text>,
    /// The variable that is set if the option is given; the option takes no value.
    pub flag: Maybe<Text>,
    /// With `flag`: the value of the variable; by default `true`.
    pub value: Option<Scalar>,
}

/// A case in which the start is refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "refusal", deny_unknown_fields, extend("required" = ["when", "message"]))]
pub struct RefusalSection {
    /// When the start is refused.
    pub when: Deferred<Condition>,
    /// The text that is logged; it should say what to do instead.
    pub message: Maybe<Text>,
    /// The exit code; if several refusals apply, that of the first. 0: that nothing is started is no failure.
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
