//! The grammar of the command line: subcommands with their options and words.

use crate::config::problem::suggest;

/// A subcommand, or the whole command line without one.
#[derive(Debug)]
pub struct Subcommand {
    /// Its name; empty for the command line without one.
    pub name: &'static str,
    /// Its description: one sentence without a full stop.
    pub about: &'static str,
    /// Its options, in groups that several subcommands share.
    pub options: &'static [&'static [Opt]],
    /// Its words, in order.
    pub words: &'static [Positional],
    /// The end of its help.
    pub example: &'static str,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name after `--`.
    pub long: &'static str,
    /// Its letter after `-`.
    pub short: Option<char>,
    /// The name of its value; none for a flag.
    pub value: Option<&'static str>,
    /// Whether it may be repeated.
    pub repeats: bool,
    /// One line for help; empty if help does not show it.
    pub about: &'static str,
}

/// A word that is not an option.
#[derive(Debug)]
pub struct Positional {
    /// Its name.
    pub name: &'static str,
    /// One line for help.
    pub about: &'static str,
    /// How many are allowed.
    pub count: Count,
}

/// How many words are allowed, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Exactly one.
    One,
    /// One or none.
    AtMostOne,
    /// Any number, also between options.
    Many,
    /// The first one and everything after it, in any form.
    Rest,
    /// Only everything after `--`.
    Behind,
}

/// `--help`, which every subcommand has; also `-h`, if that letter is free.
pub const HELP: Opt = Opt { long: "help", short: Some('h'), value: None, repeats: true, about: "Print help" };

impl Subcommand {
    /// Its options without `--help`.
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> + Clone {
        self.options.iter().copied().flatten()
    }

    /// Whether `-h` means `--help`.
    pub fn has_short_help(&self) -> bool {
        self.options().all(|option| option.short != HELP.short)
    }

    pub(super) fn long(&self, name: &[u8]) -> Option<&'static Opt> {
        self.options().chain([&HELP]).find(|option| option.long.as_bytes() == name)
    }

    pub(super) fn short(&self, letter: u8) -> Option<&'static Opt> {
        self.options().chain([&HELP]).find(|option| option.short == Some(char::from(letter)))
    }

    pub(super) fn unknown(&self, argument: &[u8]) -> Wrong {
        let shown = String::from_utf8_lossy(argument);
        let written = shown.split('=').next().unwrap_or_default();
        let known: Vec<String> =
            self.options().filter(|option| !option.about.is_empty()).map(|option| format!("--{}", option.long)).collect();
        let near = suggest(written, known.iter().map(String::as_str));
        let behind =
            if self.words.iter().any(|word| word.count == Count::Rest) { "; write a command with such a name after `--`" } else { "" };
        Wrong(format!("unknown option `{written}`{near}{behind}"))
    }
}

/// The error of a command line, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);
