//! `[[steps]]`: what is done once in the ordered start, before the process or beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::{Argument, Command};
use crate::config::condition::Condition;
use crate::config::environment::Variables;
use crate::config::interpolate::Text;
use crate::config::items::Items;
use crate::config::values::process::Umask;
use crate::config::values::{DAY, Deferred, Maybe, Named, Number, Span, YEAR};

/// When something is done in the ordered start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StepAt {
    /// Before everything else: where files stand by default.
    Files,
    /// Before the dependencies are waited for, and after the files.
    First,
    /// After the dependencies were waited for.
    Ready,
    /// After the migration, before the process.
    #[default]
    Migrated,
    /// Beside the process, once it is up.
    Up,
}

impl StepAt {
    /// Every time, in order.
    pub const ALL: [Self; 5] = [Self::Files, Self::First, Self::Ready, Self::Migrated, Self::Up];
}

/// What the failure of a step means for the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnFailure {
    /// The start ends with the exit code of the step.
    Stop,
    /// It is logged, and the start goes on.
    Continue,
}

impl OnFailure {
    /// What is meant where nothing is said: beside a process that is up, a step does not stop it.
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

/// When something that runs once runs, and what it finds around it; each of these by default as the mode has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Around {
    /// It runs only where this holds. Files are looked at, and commands asked, right before it.
    pub when: Deferred<Condition>,
    /// The modes in which it runs; by default in all of them.
    pub modes: Deferred<Vec<Text>>,
    /// Who it runs as, as `user` of `[process]`.
    pub user: Maybe<Text>,
    /// Variables of it alone.
    pub env: Deferred<Variables>,
    /// The directory in which it starts.
    pub working_directory: Maybe<Text>,
    /// Its file mode creation mask, in octal.
    pub umask: Option<Umask>,
}

/// What a step has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StepKeys {
    /// Its name, in the log, in health answers and in metrics; by default that of its program or directory.
    pub name: Maybe<Text>,
    /// The command; or `directory`.
    pub command: Command,
    /// When its turn is: `first` (before the waits), `ready` (after them), `migrated` (after the migration), `up` (beside the process).
    pub at: StepAt,
    /// The lock under which it runs, one replica at a time: as `lock` in `[migrations]`, and the same one. Not with `at = "first"`.
    pub lock: Maybe<Text>,
    /// A command that says by its status whether there is anything to do, under the lock where there is one: 0 says that there is not.
    pub check: Command,
    /// How long one command may run; then it has failed with 124. `0s`: no limit.
    pub timeout: Span<0, YEAR>,
    /// How often a command that failed is run again.
    pub retries: Number<0, 1000>,
    /// The pause before that.
    pub retry_delay: Span<0, DAY>,
    /// What its commands read on their standard input; by default nothing.
    pub input: Maybe<Text>,
    /// Exit codes that are a success, besides 0.
    pub success_codes: Vec<Number<0, 255>>,
    /// What its failure means; by default `stop`, beside the process `continue`.
    pub on_failure: Option<OnFailure>,
    /// Whether it runs before a command of one's own, too (`run --exec`).
    pub own: bool,
    /// Its command runs once for each of these items, one after another; `${@each}` is the item.
    pub each: Deferred<Items>,
    /// A directory whose programs are run, in the order of their names; nothing where it is absent. In place of `command`.
    pub directory: Maybe<Text>,
    /// What the name of such a program has to match, with `*` and `?`; by default every name.
    pub pattern: Maybe<Text>,
    /// In which order they are run: `name`, byte by byte, or `version`, numbers by their value as `sort -V` has it.
    pub order: HookOrder,
    /// Commands that run the files there that are not executable, by the end of their names, as `{ ".php" = ["php"] }`.
    pub interpreter: Deferred<Named<Vec<Argument>>>,
    /// Whether directories below it count, too.
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

/// Something that is done once in a start, and not again when the process is started again in place.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "step", deny_unknown_fields)]
pub struct StepSection {
    /// What a step has.
    #[serde(flatten)]
    pub own: StepKeys,
    /// When it runs, and what it finds around it.
    #[serde(flatten)]
    pub around: Around,
}
crate::union!(StepSection { own: StepKeys, around: Around });
