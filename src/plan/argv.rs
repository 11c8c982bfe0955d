//! A command line whose words can be executed, and printed without the secrets in them.

use std::fmt;

use crate::config::interpolate::Text;
use crate::secret::scrub;

/// One word of a command line, or one environment value, with a printable form.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    value: String,
    shown: String,
}

impl Word {
    /// A word without a known secret.
    pub fn plain(value: impl Into<String>) -> Self {
        let value = value.into();
        let shown = scrub(&value);
        Self { value, shown }
    }

    /// A word made of parts some of which must not be shown.
    pub fn masked(value: impl Into<String>, shown: &str) -> Self {
        Self { value: value.into(), shown: scrub(shown) }
    }

    /// The word of a text, masked where it is secret.
    pub fn of(text: &Text) -> Self {
        if text.is_secret() { Self::masked(text.value(), &text.shown()) } else { Self::plain(text.value()) }
    }

    /// The word itself, for `execve(2)`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The printable form of the word.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown)
    }
}

/// A command line; printing it shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv(Vec<Word>);

impl Argv {
    /// A command line of at least one word; none for no words.
    pub fn new(words: Vec<Word>) -> Option<Self> {
        (!words.is_empty()).then_some(Self(words))
    }

    /// Every word, the program's name first.
    pub fn words(&self) -> &[Word] {
        &self.0
    }

    /// The program's name or path.
    pub fn program(&self) -> &str {
        self.0.first().map_or("", Word::value)
    }
}

impl fmt::Display for Argv {
    /// In shell syntax, secrets masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-*".contains(c);
            if !word.shown.is_empty() && word.shown.chars().all(plain) {
                f.write_str(&word.shown)?;
            } else {
                write!(f, "'{}'", word.shown.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_typed_without_its_secrets() {
        let argv = Argv::new(vec![Word::plain("echo"), Word::plain("it's"), Word::masked("hunter2", "***"), Word::plain("")]).unwrap();
        assert_eq!(argv.to_string(), r"echo 'it'\''s' *** ''");
        assert_eq!(argv.program(), "echo");
        assert_eq!(Argv::new(vec![]), None);
    }
}
