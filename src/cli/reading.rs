//! Reads one command line by its table; absent options have no value.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::grammar::{Count, HELP, Opt, Subcommand, Wrong};

/// A read command line.
#[derive(Debug, Default)]
pub(super) struct ParsedArguments {
    options: Vec<(&'static Opt, OsString)>,
    /// Its words.
    pub(super) words: Vec<OsString>,
    /// The words after `--`, if they are separate.
    pub(super) behind: Vec<OsString>,
}

/// Reads the words after the name of the subcommand.
///
/// # Errors
/// An unknown option, one without its value, a repeated one; missing or superfluous words.
pub(super) fn read(of: &'static Subcommand, arguments: impl IntoIterator<Item = OsString>) -> Result<ParsedArguments, Wrong> {
    let mut parsed = ParsedArguments::default();
    let mut arguments = arguments.into_iter();
    let takes = |count: Count| of.words.iter().any(|word| word.count == count);
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            b"--" => {
                let rest = if takes(Count::Behind) { &mut parsed.behind } else { &mut parsed.words };
                rest.extend(arguments);
                break;
            }
            [b'-', b'-', name @ ..] => {
                let end = name.iter().position(|byte| *byte == b'=').unwrap_or(name.len());
                let (name, attached) = name.split_at(end);
                let option = of.long(name).ok_or_else(|| of.unknown(argument.as_bytes()))?;
                parsed.take(option, attached.strip_prefix(b"="), &mut arguments)?;
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                let mut letters = letters;
                while let [letter, behind @ ..] = letters {
                    let option = of.short(*letter).ok_or_else(|| of.unknown(argument.as_bytes()))?;
                    let attached =
                        Some(behind.strip_prefix(b"=").unwrap_or(behind)).filter(|_| option.value.is_some() && !behind.is_empty());
                    parsed.take(option, attached, &mut arguments)?;
                    letters = if option.value.is_some() { b"" } else { behind };
                }
            }
            _ if takes(Count::Rest) => {
                parsed.words.push(argument);
                parsed.words.extend(arguments);
                break;
            }
            _ => parsed.words.push(argument),
        }
    }
    if !parsed.has(HELP.long) {
        parsed.count(of)?;
    }
    Ok(parsed)
}

impl ParsedArguments {
    /// Reads an option, with the value that is attached to it or follows it.
    fn take(&mut self, option: &'static Opt, attached: Option<&[u8]>, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Wrong> {
        let long = option.long;
        if !option.repeats && self.has(long) {
            return Err(Wrong(format!("--{long} was given twice; it is allowed once")));
        }
        let value = match (option.value, attached) {
            (None, None) => OsString::new(),
            (None, Some(_)) => return Err(Wrong(format!("--{long} accepts no value"))),
            (Some(_), Some(value)) => OsString::from_vec(value.to_vec()),
            (Some(name), None) => match rest.next() {
                Some(value) if !is_option(&value) => value,
                Some(value) => {
                    let value = value.to_string_lossy();
                    return Err(Wrong(format!("--{long} needs a value, {name}; write one that begins with `-` as `--{long}={value}`")));
                }
                None => return Err(Wrong(format!("--{long} needs a value, {name}"))),
            },
        };
        self.options.push((option, value));
        Ok(())
    }

    /// Whether the number of words is allowed.
    fn count(&self, of: &Subcommand) -> Result<(), Wrong> {
        let most = of.words.iter().try_fold(0_usize, |most, word| match word.count {
            Count::One | Count::AtMostOne => Some(most + 1),
            Count::Many | Count::Rest => None,
            Count::Behind => Some(most),
        });
        if let Some(word) = most.and_then(|most| self.words.get(most)) {
            return Err(Wrong(format!("unexpected argument `{}`", word.to_string_lossy())));
        }
        let least = of.words.iter().filter(|word| word.count == Count::One).count();
        match of.words.get(self.words.len()) {
            Some(word) if self.words.len() < least => Err(Wrong(format!("{} is missing: {}", word.name, word.about))),
            _ => Ok(()),
        }
    }

    /// Whether the option was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(option, _)| option.long == long)
    }

    /// The value of the option, the last one of several.
    pub(super) fn value(&self, long: &str) -> Option<&OsStr> {
        self.options.iter().rev().find(|(option, _)| option.long == long).map(|(_, value)| value.as_os_str())
    }

    /// The same as a path.
    pub(super) fn path(&self, long: &str) -> Option<PathBuf> {
        self.value(long).map(PathBuf::from)
    }

    /// The same as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub(super) fn text(&self, long: &str) -> Result<Option<String>, Wrong> {
        self.value(long).map(|value| text(value, &format!("the value of --{long}"))).transpose()
    }

    /// The values of an option that may be repeated, in order.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub(super) fn texts(&self, long: &str) -> Result<Vec<String>, Wrong> {
        let values = self.options.iter().filter(|(option, _)| option.long == long);
        values.map(|(_, value)| text(value, &format!("the value of --{long}"))).collect()
    }

    /// The value, parsed by `read`; none without the option.
    ///
    /// # Errors
    /// The error of `read`.
    pub(super) fn read<T, E: Display>(&self, long: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<Option<T>, Wrong> {
        let Some(text) = self.text(long)? else { return Ok(None) };
        read(&text).map(Some).map_err(|why| Wrong(format!("--{long} is `{text}`: {why}")))
    }

    /// Refuses the combination of two options.
    ///
    /// # Errors
    /// Both were given.
    pub(super) fn apart(&self, one: &str, other: &str) -> Result<(), Wrong> {
        if self.has(one) && self.has(other) { Err(Wrong(format!("--{one} and --{other} cannot be combined"))) } else { Ok(()) }
    }

    /// Refuses an option without the other one that it requires.
    ///
    /// # Errors
    /// It was given without that one.
    pub(super) fn needs(&self, one: &str, other: &str) -> Result<(), Wrong> {
        if self.has(one) && !self.has(other) { Err(Wrong(format!("--{one} requires --{other}"))) } else { Ok(()) }
    }

    /// The words as text.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub(super) fn into_words(self) -> Result<Vec<String>, Wrong> {
        self.words.into_iter().map(|word| word.into_string().map_err(|word| not_text(&word, "an argument"))).collect()
    }
}

fn is_option(value: &OsStr) -> bool {
    value.len() > 1 && value.as_bytes().starts_with(b"-")
}

fn text(value: &OsStr, what: &str) -> Result<String, Wrong> {
    value.to_str().map(str::to_owned).ok_or_else(|| not_text(value, what))
}

fn not_text(value: &OsStr, what: &str) -> Wrong {
    Wrong(format!("{what} is not UTF-8: `{}`", value.to_string_lossy()))
}
