//! The errors of a value, which serde passes up to the section.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::SHOWN;

/// One segment of the path from a section to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config::reader) enum PathSegment {
    /// Of a table.
    Key(String),
    /// Of a list.
    Item(usize),
}

/// Why a value cannot be read.
#[derive(Debug)]
pub(in crate::config::reader) enum FaultKind {
    /// The error, as the rest of a sentence that begins with the key; several for a text with several wrong variables.
    Messages(Vec<String>),
    /// A key of a table that is none of these.
    Unknown(Vec<&'static str>),
    /// A key is missing.
    Missing(&'static str),
    /// It contains a variable and only its form is checked; or an error was reported there before.
    Open,
    /// A variable or an option contains a list or a table as text; with the message if it does not.
    Unfold(String),
}

/// The error, with its place below the section. It is a pointer, because every key of every section passes it on.
#[derive(Debug)]
pub(in crate::config::reader) struct Fault(Box<(Vec<PathSegment>, FaultKind)>);

impl Fault {
    pub(super) fn new(kind: FaultKind) -> Self {
        Self(Box::new((Vec::new(), kind)))
    }

    pub(super) fn message(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Messages(vec![text.into()]))
    }

    pub(super) fn within(mut self, step: PathSegment) -> Self {
        self.0.0.insert(0, step);
        self
    }

    /// The path from the section to the value, and why the value cannot be read.
    pub(in crate::config::reader) fn into_parts(self) -> (Vec<PathSegment>, FaultKind) {
        *self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.1)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::message(text.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::new(FaultKind::Missing(field))
    }

    /// The engine refuses unknown keys before serde sees them; this is for the words of an enum with its own visitor.
    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Fault::message(format!("is `{SHOWN}`; expected one of {}", listed(known)))
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Str(_) => "a string",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            _ => "a number",
        };
        Fault::message(format!("is {found}; expected {}", named(wanted)))
    }
}

/// What a visitor of serde expects, in our words.
pub(super) fn named(wanted: &dyn Expected) -> String {
    match wanted.to_string().as_str() {
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "any valid JSON value" => "a value that JSON has".to_owned(),
        other => other.to_owned(),
    }
}

pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
