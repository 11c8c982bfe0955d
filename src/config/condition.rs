//! `when`: tests of variables, arguments, files and users, and how several tests are combined.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::reader::truth;
use crate::config::values::{Deferred, Maybe, Position};

// It is read test by test, in `plan::resolve::condition`.
/// One test, or a list of conditions; the list holds if one of them holds.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, rename = "condition")]
pub enum Condition {
    /// One test.
    Test(Box<Test>),
    /// Holds if one of them holds.
    Any(#[schemars(length(min = 1))] Vec<Condition>),
}

/// One test: a variable or an argument with one comparison, a file or a directory with one property, or one of the other subjects.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "test", deny_unknown_fields)]
pub struct Test {
    /// What is tested.
    #[serde(flatten)]
    pub subject: Subject,
    /// The comparison of its value.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// The property of a file or a directory.
    #[serde(flatten)]
    pub property: Property,
}
crate::union!(Test { subject: Subject, comparison: Comparison, property: Property });

/// The subject of a test; exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subject {
    /// The variable whose value is compared; an unset variable is empty.
    pub var: Maybe<Text>,
    /// The argument whose value is compared: the first is 1, the last is -1, and `any` is one of them; one that is not there is empty.
    pub argument: Option<Position>,
    /// The file whose property is tested; links are followed, and a directory does not count as a file.
    pub file: Maybe<Text>,
    /// The directory whose property is tested; links are followed.
    pub directory: Maybe<Text>,
    /// Whether there are arguments after the options of portcullis (`true`), or none (`false`).
    pub args: Option<bool>,
    /// Whether portcullis runs as root (`true`), or as another user (`false`).
    pub root: Option<bool>,
    /// The user that portcullis runs as, by name or by number.
    pub user: Maybe<Text>,
    /// A command; the test holds if it exits with 0 within 10 seconds.
    #[schemars(length(min = 1))]
    pub command: Vec<Text>,
    /// A condition of `[conditions]`, by its name.
    pub condition: Maybe<Text>,
    /// Conditions that all have to hold.
    #[schemars(length(min = 1))]
    pub all: Deferred<Vec<Condition>>,
    /// Conditions of which at least one has to hold, as in a list.
    #[schemars(length(min = 1))]
    pub any: Deferred<Vec<Condition>>,
    /// A condition that must not hold.
    pub not: Deferred<Condition>,
}

/// The comparison of a variable or of an argument; exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Comparison {
    /// The value is this text.
    pub eq: Option<Text>,
    /// The value is any other text.
    pub ne: Option<Text>,
    /// The value is this text, in upper or lower case.
    pub ieq: Option<Text>,
    /// The value begins with this text.
    pub prefix: Option<Text>,
    /// The value ends with this text.
    pub suffix: Option<Text>,
    /// The value contains this text. Of a file: its first 16 MiB contain this text; of a directory: it has an entry of this name.
    pub contains: Option<Text>,
    /// The value is a number less than this one; what is no number is neither less nor more.
    pub lt: Option<Text>,
    /// The value is this number or less.
    pub le: Option<Text>,
    /// The value is a number greater than this one.
    pub gt: Option<Text>,
    /// The value is this number or more.
    pub ge: Option<Text>,
    /// Whether it is set, even to an empty text (`true`), or not set at all (`false`), as with `${X+y}`; for an argument: whether it
    /// exists.
    pub set: Option<bool>,
    /// Whether the value is not empty (`true`), or empty (`false`).
    pub nonempty: Option<bool>,
    /// Whether the value is `1`, `true`, `yes` or `on` in any case (`true`), or anything else (`false`).
    pub truthy: Option<bool>,
    /// The value is one of these texts.
    #[schemars(length(min = 1))]
    pub one_of: Vec<Text>,
}

/// The property of a file or a directory; exactly one of these, or `contains`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Property {
    /// Whether it exists (`true`), or not (`false`).
    pub exists: Option<bool>,
    /// Whether it is empty (`true`), or not (`false`); a missing one counts as empty.
    pub empty: Option<bool>,
    /// Whether portcullis may execute the file (`true`), or may not (`false`).
    pub executable: Option<bool>,
    /// Whether portcullis may read it (`true`), or may not, because it is not there for one (`false`).
    pub readable: Option<bool>,
    /// The same of writing: a directory, for what is made in it.
    pub writable: Option<bool>,
}

/// The number that a value is compared with, the orders that pass, and the words for it.
type NumberTest<'c> = (&'c Option<Text>, fn(Ordering) -> bool, &'static str);

impl Comparison {
    /// Whether `value` passes, `None` being an unset one; true without any comparison.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let (is_set, value) = (value.is_some(), value.unwrap_or_default());
        let text = |wanted: &Option<Text>, passes: &dyn Fn(&str) -> bool| wanted.as_ref().is_none_or(|text| passes(&text.value()));
        text(&self.eq, &|wanted| value == wanted)
            && text(&self.ne, &|wanted| value != wanted)
            && text(&self.ieq, &|wanted| value.to_lowercase() == wanted.to_lowercase())
            && text(&self.prefix, &|wanted| value.starts_with(wanted))
            && text(&self.suffix, &|wanted| value.ends_with(wanted))
            && text(&self.contains, &|wanted| value.contains(wanted))
            && self.numbers().into_iter().all(|(wanted, passes, _)| {
                wanted.as_ref().is_none_or(|wanted| number(value).zip(number(&wanted.value())).is_some_and(|(a, b)| passes(a.cmp(&b))))
            })
            && self.set.is_none_or(|wanted| is_set == wanted)
            && self.nonempty.is_none_or(|wanted| value.is_empty() != wanted)
            && self.truthy.is_none_or(|wanted| truth(value).unwrap_or(false) == wanted)
            && (self.one_of.is_empty() || self.one_of.iter().any(|text| text.value() == value))
    }

    /// The comparisons of numbers, and how each is told.
    fn numbers(&self) -> [NumberTest<'_>; 4] {
        [
            (&self.lt, Ordering::is_lt, "is less than"),
            (&self.le, Ordering::is_le, "is at most"),
            (&self.gt, Ordering::is_gt, "is greater than"),
            (&self.ge, Ordering::is_ge, "is at least"),
        ]
    }

    /// Whether numbers are compared, and this is none.
    pub fn wants_number(&self, value: &str) -> bool {
        number(value).is_none() && self.numbers().iter().any(|(wanted, ..)| wanted.is_some())
    }

    /// The comparison as the end of a sentence, as in "`X` begins with `-`".
    pub fn words(&self) -> String {
        let shown = |text: &Text| format!("`{}`", text.shown());
        let texts = [
            ("is", &self.eq),
            ("is not", &self.ne),
            ("is, in any case,", &self.ieq),
            ("begins with", &self.prefix),
            ("ends with", &self.suffix),
            ("contains", &self.contains),
        ];
        let numbers = self.numbers().map(|(text, _, verb)| (verb, text));
        let text = texts.into_iter().chain(numbers).find_map(|(verb, text)| text.as_ref().map(|text| format!("{verb} {}", shown(text))));
        let is = |wanted: bool, word: &str| if wanted { format!("is {word}") } else { format!("is not {word}") };
        text.or_else(|| self.set.map(|wanted| is(wanted, "set")))
            .or_else(|| self.nonempty.map(|wanted| is(!wanted, "empty")))
            .or_else(|| self.truthy.map(|wanted| is(wanted, "true")))
            .unwrap_or_else(|| format!("is one of {}", self.one_of.iter().map(shown).collect::<Vec<_>>().join(", ")))
    }
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}
