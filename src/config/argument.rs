//! The items of a command: a word, or a table that produces words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::values::{Deferred, Named, Number};

/// A command line, item by item; no shell is involved. It is read separately, because for an unused item only the form is checked.
pub type Command = Deferred<Vec<Argument>>;

/// Lists of cases by name; `first` takes the first case whose condition holds.
pub type Groups = Deferred<Named<Vec<Case>>>;

// It is read by the key that names its form, in `plan::resolve::argv`.
/// One item of a command.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "argument")]
pub enum Argument {
    /// One word, unchanged.
    Word(Text),
    /// The words of a text.
    Split(Split),
    /// The words of a command line.
    Words(Words),
    /// The first case of a group that holds.
    First(First),
    /// The arguments of the container.
    Arguments(Arguments),
    /// Items that are used if a condition holds.
    Case(Case),
}

/// The words of a text.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["split"]))]
pub struct Split {
    /// The text, which is split at blanks; a blank text gives no words.
    pub split: Option<Text>,
    /// If it does not hold, the item produces nothing.
    pub when: Deferred<Condition>,
}

/// The words of a command line that somebody wrote for a shell.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["words"]))]
pub struct Words {
    /// The command line. Quotes, `\\`, `$NAME` and `${NAME}` mean what they mean in a shell, but that a value stays one word; what only a
    /// shell can do, as a `|`, is an error.
    pub words: Option<Text>,
    /// Where it does not hold, the item gives nothing.
    pub when: Deferred<Condition>,
}

/// The first case of a group that holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["first"]))]
pub struct First {
    /// The group, by its name in `groups`.
    pub first: Option<Text>,
    /// If it does not hold, the item produces nothing.
    pub when: Deferred<Condition>,
}

/// The arguments of the container.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["args"]))]
pub struct Arguments {
    /// Whether the arguments after the options of portcullis are inserted here.
    pub args: bool,
    /// With fewer arguments than this, the run ends with 64.
    pub min_args: Number<0, 1000>,
    /// If it does not hold, the item produces nothing.
    pub when: Deferred<Condition>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { args: true, min_args: const { Number::of(0) }, when: Deferred::default() }
    }
}

/// Items that are used if a condition holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["then"]))]
pub struct Case {
    /// The items.
    pub then: Deferred<Vec<Argument>>,
    /// If it does not hold, they produce nothing.
    pub when: Deferred<Condition>,
}
