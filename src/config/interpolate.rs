//! `${NAME}` and its other forms: the parts of a string, and their value and printable form in an environment.

mod own;
mod parse;
mod taken;
mod trim;

use std::collections::BTreeSet;

use crate::config::source::Environment;
use crate::secret::Secret;
use own::Own;
use taken::Taken;
use trim::Trim;

/// A parsed string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Literal(String),
    Value { source: Source, otherwise: Otherwise },
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Variable(String),
    /// The argument of this number: from 1, or from -1 for the last one.
    Argument {
        name: String,
        number: i64,
    },
    Own(Own),
}

/// How a value is used, and its replacement if it is unset. With `colon`, as in `:-`, an empty value counts as unset.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Otherwise {
    /// The value; unset is an error.
    Refuse,
    /// The value; unset or empty is an error with this message.
    Message(String),
    /// The value, or this text if it is unset.
    Default { colon: bool, text: Template },
    /// This text if it is set, else nothing.
    Instead { colon: bool, text: Template },
    /// The value without the part that the pattern matches at one end; unset is an error, or empty.
    Trimmed { trim: Trim, pattern: Template, or_empty: bool },
}

/// A string after interpolation. It may contain a secret, so only its masked form can be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

/// A piece of a text with one source.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its value.
    pub value: String,
    /// Its printable form.
    pub shown: String,
    /// Whether it came from a variable, as opposed to the author of the text.
    pub interpolated: bool,
}

/// The results of an interpolation besides the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The errors.
    pub problems: Vec<String>,
    /// Notices for the operator.
    pub notices: Vec<String>,
}

impl Text {
    /// A text without interpolation.
    pub fn literal(value: impl Into<String>) -> Self {
        let value = value.into();
        Self(vec![Piece { shown: value.clone(), value, interpolated: false }])
    }

    /// A text of these pieces.
    pub const fn of(pieces: Vec<Piece>) -> Self {
        Self(pieces)
    }

    /// The text.
    pub fn value(&self) -> String {
        self.0.iter().map(|piece| piece.value.as_str()).collect()
    }

    /// The text with `***` instead of everything that looks secret.
    pub fn shown(&self) -> String {
        self.0.iter().map(|piece| piece.shown.as_str()).collect()
    }

    /// Whether a part of it is masked.
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|piece| piece.shown != piece.value)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.value.is_empty())
    }

    /// The pieces themselves, in order.
    pub fn into_pieces(self) -> Vec<Piece> {
        self.0
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

impl Template {
    /// Parses `text`; an error message if it is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        parse::until(&mut rest, 0)
    }

    /// Whether it contains no variable.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|part| matches!(part, TemplatePart::Literal(_)))
    }

    /// Its variables that are set and not empty, each once.
    pub fn set_variables(&self, environment: &Environment) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.0 {
            let TemplatePart::Value { source, otherwise } = part else { continue };
            let is_set = match source {
                Source::Variable(name) => environment.nonempty(name) || environment.nonempty(&format!("{name}_FILE")),
                Source::Argument { .. } | Source::Own(_) => true,
            };
            names.extend(source.variable().filter(|_| is_set));
            match otherwise {
                Otherwise::Default { text, .. } if !is_set => names.extend(text.set_variables(environment)),
                Otherwise::Instead { text, .. } if is_set => names.extend(text.set_variables(environment)),
                _ => {}
            }
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }

    /// The text in the form of a configuration: every variable is replaced by its value, except secrets, which stay variables. If the whole
    /// is `secret`, all of them stay.
    pub fn written_out(&self, environment: &Environment, secret: bool) -> String {
        let part = |part: &TemplatePart| match part {
            TemplatePart::Literal(text) => text.replace('$', "$$"),
            // It differs between readings of the text.
            TemplatePart::Value { source: Source::Own(own), .. } if own.is_of_a_part() => source_text(own.name()),
            TemplatePart::Value { source, otherwise } => {
                let alone = Self(vec![part.clone()]);
                let text = alone.expand(environment, &mut Findings::default());
                if !(text.is_secret() || secret && source.variable().is_some()) {
                    return text.value().replace('$', "$$");
                }
                // An unset one is replaced by its default, which may contain a secret, too.
                match source.take(otherwise, environment, &mut Findings::default()) {
                    Taken::Other(other) if !secret || other.0.is_empty() => other.written_out(environment, secret),
                    _ => otherwise.written(source.name(), environment),
                }
            }
        };
        self.0.iter().map(part).collect()
    }

    /// The same, but an unset variable without a default is empty.
    #[must_use]
    pub fn with_empty_for_unset(self) -> Self {
        let part = |part| match part {
            TemplatePart::Literal(text) => TemplatePart::Literal(text),
            TemplatePart::Value { source, otherwise } => {
                let otherwise = match otherwise {
                    Otherwise::Refuse => Otherwise::Default { colon: false, text: Self(Vec::new()) },
                    Otherwise::Default { colon, text } => Otherwise::Default { colon, text: text.with_empty_for_unset() },
                    Otherwise::Instead { colon, text } => Otherwise::Instead { colon, text: text.with_empty_for_unset() },
                    Otherwise::Trimmed { trim, pattern, .. } => {
                        Otherwise::Trimmed { trim, pattern: pattern.with_empty_for_unset(), or_empty: true }
                    }
                    message @ Otherwise::Message(_) => message,
                };
                TemplatePart::Value { source, otherwise }
            }
        };
        Self(self.0.into_iter().map(part).collect())
    }

    /// Whether it is exactly one variable.
    fn is_sole_value(&self) -> bool {
        matches!(self.0.as_slice(), [TemplatePart::Value { .. }])
    }

    /// The text in `environment`; an unavailable value is empty in it and reported in `findings`.
    pub fn expand(&self, environment: &Environment, findings: &mut Findings) -> Text {
        let mut pieces = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            match part {
                TemplatePart::Literal(value) => pieces.push(Piece { value: value.clone(), shown: value.clone(), interpolated: false }),
                TemplatePart::Value { source, otherwise } => match source.take(otherwise, environment, findings) {
                    Taken::Piece(piece) => pieces.push(piece),
                    // A default that is the whole text stays in pieces, so that its values are encoded as in any other URL.
                    Taken::Other(other) if self.is_sole_value() => return other.expand(environment, findings),
                    Taken::Other(other) => {
                        let text = other.expand(environment, findings);
                        pieces.push(Piece { value: text.value(), shown: text.shown(), interpolated: true });
                    }
                    Taken::Nothing => {}
                },
            }
        }
        Text(pieces)
    }
}

/// A reference to a value in a text.
fn source_text(name: &str) -> String {
    format!("${{{name}}}")
}

/// Whether this value, or the value of a variable of this name, has to be masked.
pub fn looks_secret(name: &str, value: &str) -> bool {
    const MARKS: [&str; 7] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "DSN"];
    let name = name.to_ascii_uppercase();
    MARKS.iter().any(|mark| name.contains(mark)) || userinfo(value).is_some()
}

/// Registers `value` as a secret, and its password if it is a URL.
pub fn remember(value: &str) {
    let _ = Secret::new(value);
    if let Some((_, password)) = userinfo(value).and_then(|userinfo| userinfo.split_once(':')) {
        let _ = Secret::new(password);
        let _ = Secret::new(percent_encoding::percent_decode_str(password).decode_utf8_lossy());
    }
}

/// The part of a URL before `@`.
fn userinfo(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(userinfo, _)| userinfo).filter(|userinfo| !userinfo.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str, variables: &[(&str, &str)]) -> (String, String, Findings) {
        let mut findings = Findings::default();
        let expanded = Template::parse(text).unwrap().expand(&Environment::new(variables.iter().copied()), &mut findings);
        (expanded.value(), expanded.shown(), findings)
    }

    #[test]
    fn each_form_gives_its_value() {
        let variables = [("A", "1"), ("E", ""), ("B", "two words")];
        for (text, value) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "1"),
            ("${E}", ""),
            ("x${A}y${B}z", "x1ytwo wordsz"),
            ("${E:-d}", "d"),
            ("${U:-}", ""),
            ("${U:-${E:-${A}}}", "1"),
            ("${U:-a${E:-b}c}", "abc"),
            ("${A:-unused ${U}}", "1"),
            ("${A:?message}", "1"),
            ("${@nproc}", "4"),
            ("${@cpus}", "4"),
            ("${@hostname}", "localhost"),
            ("${@uid}:${@gid}", "1000:1000"),
            ("${@instance:-none}${@each-none}${@each:+some}", "nonenone"),
            ("${@nproc:-1}${@nproc:+x}", "4x"),
            ("${E-d}", ""),
            ("${U-d}", "d"),
            ("${A-d}", "1"),
            ("${A:+x}", "x"),
            ("${E:+x}", ""),
            ("${U:+x}", ""),
            ("${A+x}", "x"),
            ("${E+x}", "x"),
            ("${U+x}", ""),
            ("${A:+--b=${B}}", "--b=two words"),
            ("${U:+${V}}", ""),
            ("${A+a${U-b}c}", "abc"),
            ("${A:+:}", ":"),
            ("${U:-+}${U--}", "+-"),
            ("${B#* }|${B##*o}|${B% *}|${B%%o*}", "words|rds|two|tw"),
            ("${A#x}${E%x}${B%${A:+ words}}", "1two"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("5$ and $1 a}", "5$ and $1 a}"),
            ("${U:-$$x}", "$x"),
        ] {
            let (expanded, shown, findings) = expand(text, &variables);
            assert_eq!((expanded.as_str(), shown.as_str()), (value, value), "{text}");
            assert_eq!(findings, Findings::default(), "{text}");
        }
    }

    #[test]
    fn missing_or_malformed_values_are_reported() {
        for (text, problem) in [
            ("${U}", "U is not set; set it, or give a default: `${U:-…}`"),
            ("${U:?name the database}", "U is not set: name the database"),
            ("${U#x}", "U is not set; set it, or give a default: `${U:-…}`"),
            ("${E:?name the database}", "E is not set: name the database"),
            ("${U:-${V}}", "V is not set; set it, or give a default: `${V:-…}`"),
            ("${U-${V}}", "V is not set; set it, or give a default: `${V:-…}`"),
            ("${E+${V}}", "V is not set; set it, or give a default: `${V:-…}`"),
            ("${@instance}", "`${@instance}` is the number of a module's instance; it exists only in a module with `instances`"),
            ("${@each}", "`${@each}` is the item of a step's `each`; it exists only in such a step"),
            ("${@each:?no item}", "@each is not set: no item"),
        ] {
            assert_eq!(expand(text, &[("E", "")]).2.problems, [problem], "{text}");
        }
        for (text, problem) in [
            ("${", "a `${` without its `}`"),
            ("${A", "a `${` without its `}`"),
            ("${A:-b", "a `${` without its `}`"),
            ("${}", "a `${` without a variable's name"),
            ("${1}", "a `${` without a variable's name"),
            (
                "${A?b}",
                "`${A` is followed by something unknown; the forms are `${A}`, `${A:-…}`, `${A-…}`, `${A:+…}`, `${A+…}`, `${A#…}`, `${A##…}`, `${A%…}`, `${A%%…}` and `${A:?message}`",
            ),
            (
                "${A:b}",
                "`${A` is followed by something unknown; the forms are `${A}`, `${A:-…}`, `${A-…}`, `${A:+…}`, `${A+…}`, `${A#…}`, `${A##…}`, `${A%…}`, `${A%%…}` and `${A:?message}`",
            ),
            ("${@nprocs}", "unknown `${@nprocs}`; did you mean `nproc`?"),
            ("${@}", "unknown `${@}`; known: `nproc`, `cpus`, `hostname`, `uid`, `gid`, `instance`, `each`, `index`"),
            ("${@cpu", "a `${` without its `}`"),
            ("${A+b", "a `${` without its `}`"),
            ("$HOME/x", "`$HOME` is not interpolated: write `${HOME}` for the variable, `$$HOME` for the text"),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), problem, "{text}");
        }
    }

    #[test]
    fn probable_secrets_are_masked_and_scrubbed_everywhere() {
        let variables = [("DB_PASSWORD", "interpolated-pw"), ("LINK", "redis://:in%20the%20url@h/0"), ("PLAIN", "x")];
        let (value, shown, _) = expand("a ${DB_PASSWORD} ${LINK} ${PLAIN} ${U:-${DB_PASSWORD}}", &variables);
        assert_eq!(value, "a interpolated-pw redis://:in%20the%20url@h/0 x interpolated-pw");
        assert_eq!(shown, "a *** *** x ***");
        assert_eq!(crate::secret::scrub("pw interpolated-pw, in the url"), "pw ***, ***");
        assert_eq!(expand("${EMPTY_TOKEN}", &[("EMPTY_TOKEN", "")]).1, "");
    }

    #[test]
    fn a_port_that_kubernetes_injected_is_understood() {
        let (value, _, findings) = expand("h:${REDIS_PORT:-6379}", &[("REDIS_PORT", "tcp://10.0.0.1:6380")]);
        assert_eq!(value, "h:6380");
        assert_eq!(findings.notices, ["REDIS_PORT is `tcp://10.0.0.1:6380`, as Kubernetes sets it; port 6380 is used"]);
        assert_eq!(expand("${REDIS_PORT}", &[("REDIS_PORT", "tcp://10.0.0.1:6380")]).0, "6380");
        assert_eq!(expand("${REDIS_URL}", &[("REDIS_URL", "tcp://10.0.0.1:6380")]).0, "tcp://10.0.0.1:6380");
    }

    proptest! {
        #[test]
        fn any_value_passes_unchanged_and_any_text_is_parsed_or_refused(value in "[^\0]*", text in "[$a{}:?@A_+-]{0,12}") {
            prop_assert_eq!(expand("<${X}>", &[("X", &value)]).0, format!("<{value}>"));
            if let Ok(template) = Template::parse(&text) {
                template.expand(&Environment::new([("A", "1")]), &mut Findings::default());
            }
        }

        #[test]
        fn doubling_every_dollar_quotes_a_text(text in "\\PC*") {
            prop_assert_eq!(expand(&text.replace('$', "$$"), &[]).0, text);
        }
    }
}
