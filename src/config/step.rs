//! `[[steps]]`: commands that run once in a start, before the process or beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::{Argument, Command};
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::items::Items;
use crate::config::values::process::Umask;
use crate::config::values::{DAY, Deferred, Maybe, Named, Number, Span, YEAR};

/// The point of the start at which something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StepAt {
    /// Before everything else: the default for files.
    Files,
    /// Before the waits for dependencies, and after the files.
    First,
    /// After the waits for dependencies.
    Ready,
    /// After the migration, before the process.
    #[default]
    Migrated,
    /// Beside the process, once it is up.
    Up,
}

impl StepAt {
    /// All points, in order.
    pub const ALL: [Self; 5] = [Self::Files, Self::First, Self::Ready, Self::Migrated, Self::Up];
}

/// What a failed step means for the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnFailure {
    /// The start ends with the exit code of the step.
    Stop,
    /// It is logged, and the start continues.
    Continue,
}

impl OnFailure {
    /// The default: a step beside a process that is up does not stop the process.
    pub const fn default_at(at: StepAt) -> Self {
        if matches!(at, StepAt::Up) { Self::Continue } else { Self::Stop }
    }
}

/// The order of the programs in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum HookOrder {
    /// Byte by byte, as `run-parts` and a loop over `*` in the C locale have it: `10-b` comes before `5-a`.
    #[default]
    Name,
    /// Numbers by their value, as `sort -V` has it: `5-a` comes before `10-b`.
    Version,
}

/// When a step or the migration runs, and in which environment; by default that of the mode.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Around {
    /// It runs only if this condition holds. Files and commands in it are tested right before it runs.
    pub when: Deferred<Condition>,
    /// The modes in which it runs; by default in all of them.
    pub modes: Deferred<Vec<Text>>,
    /// The user that it runs as, like `user` of `[process]`.
    pub user: Maybe<Text>,
    /// Variables for it only.
    pub env: Deferred<Variables>,
    /// Its working directory.
    pub working_directory: Maybe<Text>,
    /// Its file mode creation mask, in octal.
    pub umask: Option<Umask>,
}

/// What a step has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StepKeys {
    /// Its name in the log, in health responses and in metrics; by default that of its program or directory.
    pub name: Maybe<Text>,
    /// The command; or `directory`.
    pub command: Command,
    /// When it runs: `first` (before the waits), `ready` (after them), `migrated` (after the migration), `up` (beside the process).
    pub at: StepAt,
    /// The lock under which it runs, one replica at a time: the same values, and the same lock, as `lock` in `[migrations]`. Not with `at = "first"`.
    pub lock: Maybe<Text>,
    /// A command whose exit status says whether there is anything to do: 0 if there is not. It runs under the lock if there is one.
    pub check: Command,
    /// How long one command may run; after that it has failed with 124. `0s` means no limit.
    pub timeout: Span<0, YEAR>,
    /// How often a failed command is run again.
    pub retries: Number<0, 1000>,
    /// The pause before each retry.
    pub retry_delay: Span<0, DAY>,
    /// The standard input of its commands; by default empty.
    pub input: Maybe<Text>,
    /// Exit codes that count as success, besides 0.
    pub success_codes: Vec<Number<0, 255>>,
    /// What a failure means; by default `stop`, with `at = "up"` `continue`.
    pub on_failure: Option<OnFailure>,
    /// Whether it also runs before an ad-hoc command (`run --exec`).
    pub own: bool,
    /// Its command runs once for each of these items, one after another; `${@each}` is the item.
    pub each: Deferred<Items>,
    /// A directory whose programs are run, in the order of their names; nothing where it is absent. In place of `command`.
    pub directory: Maybe<Text>,
    /// The pattern, with `*` and `?`, that the names of these programs have to match; by default all names.
    pub pattern: Maybe<Text>,
    /// In which order they are run: `name`, byte by byte, or `version`, numbers by their value as `sort -V` has it.
    pub order: HookOrder,
    /// Commands that run the files that are not executable, by the end of their names, for example `{ ".php" = ["php"] }`.
    pub interpreter: Deferred<Named<Vec<Argument>>>,
    /// Whether subdirectories are included.
    pub descend: bool,
}

impl Default for StepKeys {
    fn default() -> Self {
        Self {
            name: Maybe(None),
            command: Deferred::default(),
            at: StepAt::default(),
            lock: Maybe(None),
            check: Deferred::default(),
            timeout: const { Span::of(0) },
            retries: const { Number::of(0) },
            retry_delay: const { Span::of(2_000) },
            input: Maybe(None),
            success_codes: Vec::new(),
            on_failure: None,
            own: false,
            each: Deferred::default(),
            directory: Maybe(None),
            pattern: Maybe(None),
            order: HookOrder::Name,
            interpreter: Deferred::default(),
            descend: false,
        }
    }
}

/// A command that runs once in a start, and not again when the process is restarted.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "step", deny_unknown_fields)]
pub struct StepSection {
    /// The keys of a step.
    #[serde(flatten)]
    pub own: StepKeys,
    /// When it runs, and in which environment.
    #[serde(flatten)]
    pub around: Around,
}
crate::union!(StepSection { own: StepKeys, around: Around });
