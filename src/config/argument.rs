//! The items of a command: a word, or a table that gives words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::values::{Deferred, Named, Number};

/// A command line, item by item; there is no shell. It is read by itself, because an item that is not used is looked at for its form alone.
pub type Command = Deferred<Vec<Argument>>;

/// Lists of cases by name, from which `first` takes the first that holds.
pub type Groups = Deferred<Named<Vec<Case>>>;

// It is read by the key that names its form, in `plan::resolve::argv`.
/// One item of a command.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "argument")]
pub enum Argument {
    /// One word, as it is.
    Word(Text),
    /// The words of a text.
    Split(Split),
    /// The words of a command line.
    Words(Words),
    /// The first case of a group that holds.
    First(First),
    /// The arguments of the container.
    Arguments(Arguments),
    /// Items that are used where a condition holds.
    Case(Case),
}

/// The words of a text.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["split"]))]
pub struct Split {
    /// The text that is split at blanks; none of it where it is blank.
    pub split: Option<Text>,
    /// Where it does not hold, the item gives nothing.
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
    /// Where it does not hold, the item gives nothing.
    pub when: Deferred<Condition>,
}

/// The arguments of the container.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["args"]))]
pub struct Arguments {
    /// Whether the arguments behind the options of portcullis stand here.
    pub args: bool,
    /// With fewer arguments than this the run ends with 64.
    pub min_args: Number<0, 1000>,
    /// Where it does not hold, the item gives nothing.
    pub when: Deferred<Condition>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { args: true, min_args: const { Number::of(0) }, when: Deferred::default() }
    }
}

/// Items that are used where a condition holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline, deny_unknown_fields, extend("required" = ["then"]))]
pub struct Case {
    /// The items.
    pub then: Deferred<Vec<Argument>>,
    /// Where it does not hold, they give nothing.
    pub when: Deferred<Condition>,
}
