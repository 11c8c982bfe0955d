//! What a command line may hold: subcommands with their options and words.

use crate::config::problem::suggest;

/// A subcommand, or the whole command line without one.
#[derive(Debug)]
pub struct Subcommand {
    /// Its name; empty for the command line without one.
    pub name: &'static str,
    /// One sentence without its full stop.
    pub about: &'static str,
    /// Its options, in groups that several subcommands share.
    pub options: &'static [&'static [Opt]],
    /// Its words, in order.
    pub words: &'static [Positional],
    /// What help ends with.
    pub example: &'static str,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name behind `--`.
    pub long: &'static str,
    /// Its letter behind `-`.
    pub short: Option<char>,
    /// What its value is called; none for a flag.
    pub value: Option<&'static str>,
    /// Whether it may stand several times.
    pub repeats: bool,
    /// One line for help; empty where help does not show it.
    pub about: &'static str,
}

/// A word that is no option.
#[derive(Debug)]
pub struct Positional {
    /// What it is called.
    pub name: &'static str,
    /// One line for help.
    pub about: &'static str,
    /// How many there may be.
    pub count: Count,
}

/// How many words there may be, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Exactly one.
    One,
    /// One or none.
    AtMostOne,
    /// Any number, between the options.
    Many,
    /// The first one and everything behind it, whatever it looks like.
    Rest,
    /// Everything behind `--`, and nothing else.
    Behind,
}

/// `--help`, which every subcommand has; `-h` too, where that letter is free.
pub const HELP: Opt = Opt { long: "help", short: Some('h'), value: None, repeats: true, about: "Print help" };

impl Subcommand {
    /// Its options but for `--help`.
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
            if self.words.iter().any(|word| word.count == Count::Rest) { "; a command of such a name stands behind `--`" } else { "" };
        Wrong(format!("there is no option `{written}`{near}{behind}"))
    }
}

/// What is wrong with a command line, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);
