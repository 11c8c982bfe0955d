//! `when`: tests of what a container was started with, and how several of them count together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::values::{Maybe, Part};

// It is read test by test, in `plan::resolve::condition`.
/// One test, or a list of conditions of which one has to hold.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "condition")]
pub enum Condition {
    /// One test.
    Test(Test),
    /// Holds when one of them does.
    Any(#[schemars(length(min = 1))] Vec<Condition>),
}

/// What is tested: a variable by one comparison, or one of the others alone.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "test", deny_unknown_fields)]
pub struct Test {
    /// What is tested.
    #[serde(flatten)]
    pub subject: Subject,
    /// What its value is compared with.
    #[serde(flatten)]
    pub comparison: Comparison,
}
crate::union!(Test { subject: Subject, comparison: Comparison });

/// What is tested; exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subject {
    /// The variable whose value is compared; one that is unset is empty.
    pub var: Maybe<Text>,
    /// Whether arguments follow the options of portcullis (`true`), or none do (`false`).
    pub args: Option<bool>,
    /// Conditions that have to hold all.
    pub all: Part<Vec<Condition>>,
}

/// How the value of a variable is compared; exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Comparison {
    /// The value is this text.
    pub eq: Option<Text>,
    /// The value is this text, in upper or lower case.
    pub ieq: Option<Text>,
    /// The value begins with this text.
    pub prefix: Option<Text>,
    /// Whether the value is not empty (`true`), or empty (`false`).
    pub nonempty: Option<bool>,
}

impl Comparison {
    /// Whether `value` passes; true for no comparison at all.
    pub fn holds(&self, value: &str) -> bool {
        let text = |wanted: &Option<Text>, passes: &dyn Fn(&str) -> bool| wanted.as_ref().is_none_or(|text| passes(&text.value()));
        text(&self.eq, &|wanted| value == wanted)
            && text(&self.ieq, &|wanted| value.to_lowercase() == wanted.to_lowercase())
            && text(&self.prefix, &|wanted| value.starts_with(wanted))
            && self.nonempty.is_none_or(|wanted| value.is_empty() != wanted)
    }
}
