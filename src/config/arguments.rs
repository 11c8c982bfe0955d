//! `[[arguments]]`, `[options]`, `[[refuse]]` and `[[warn]]`: how the arguments of the container are used, and when a start is refused or a
//! warning is logged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::values::{Deferred, Maybe, Number, Scalar};

/// When a rule applies, and what it makes of the arguments.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RuleKeys {
    /// When the rule applies; without it always. A rule with `run` and without `command` applies only if there are arguments.
    pub when: Deferred<Condition>,
    /// The mode to start, for example `${@1}`; `--mode` on the command line overrides it.
    pub mode: Maybe<Text>,
    /// How many arguments are removed at the beginning.
    pub drop: Number<0, 1000>,
    /// Words to insert before the remaining arguments.
    pub prepend: Vec<Text>,
}

impl Default for RuleKeys {
    fn default() -> Self {
        Self { when: Deferred::default(), mode: Maybe(None), drop: const { Number::of(0) }, prepend: Vec::new() }
    }
}

/// The ad-hoc command that a rule runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdHocKeys {
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
}

/// How a rule refuses the start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefuseKeys {
    /// The start is refused and this text is logged; it should say what to do instead.
    pub refuse: Maybe<Text>,
    /// With `refuse`: the exit code; 0 if the refusal is not a failure.
    pub code: Number<0, 255>,
}

impl Default for RefuseKeys {
    fn default() -> Self {
        Self { refuse: Maybe(None), code: const { Number::of(64) } }
    }
}

/// What happens to arguments that the mode's command does not take.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestKeys {
    /// Whether arguments that the mode's command does not take are dropped.
    pub ignore: bool,
    /// Whether arguments that the mode's command does not take are appended to it.
    pub append: bool,
}

/// A rule for the container's arguments. It has at most one of `mode`, `run` and `refuse`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "rule", deny_unknown_fields)]
pub struct Rule {
    /// When it applies, and what it makes of the arguments.
    #[serde(flatten)]
    pub own: RuleKeys,
    /// With `run`.
    #[serde(flatten)]
    pub ad_hoc: AdHocKeys,
    /// With `refuse`.
    #[serde(flatten)]
    pub refusal: RefuseKeys,
    /// With `ignore` or `append`.
    #[serde(flatten)]
    pub rest: RestKeys,
}
crate::union!(Rule { own: RuleKeys, ad_hoc: AdHocKeys, refusal: RefuseKeys, rest: RestKeys });

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
    /// The exit code; if several refusals apply, that of the first. 0: the refusal is not a failure.
    pub code: Number<0, 255>,
}

impl Default for RefusalSection {
    fn default() -> Self {
        Self { when: Deferred::default(), message: Maybe(None), code: const { Number::of(64) } }
    }
}

/// A case in which a warning is logged.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "warning", deny_unknown_fields, extend("required" = ["when", "message"]))]
pub struct WarningSection {
    /// The case.
    pub when: Deferred<Condition>,
    /// The warning.
    pub message: Maybe<Text>,
}
