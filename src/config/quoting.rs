//! Parses shell syntax without a shell: the words of a command line, and files of `NAME=value` lines.
//!
//! Quotes, backslashes, comments, `$NAME` and `${NAME}` have the same meaning as in sh(1). Anything that needs a shell is an error that
//! names it: nothing in such a text can become a command.

use std::iter::Peekable;
use std::str::Chars;

/// The source of a variable's value in such a text; an unset one is empty.
pub type Lookup<'l> = &'l mut dyn FnMut(&str) -> Result<String, String>;

/// The words of one command line.
///
/// # Errors
/// The construct that needs a shell, without any part of the text itself.
pub fn words(text: &str, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut reader = Reader::new(text);
    let mut words = Vec::new();
    while reader.skip_blanks(false) {
        if reader.ends_line() {
            return Err("has a second line, and it is one command".to_owned());
        }
        words.push(reader.word(lookup)?);
    }
    Ok(words)
}

/// The variables that a file of `NAME=value` lines sets, in order; a name may follow `export`, and a later line sees the variables of
/// earlier ones.
///
/// # Errors
/// The error with its line number, without any part of the line.
pub fn variables(text: &str, lookup: Lookup<'_>) -> Result<Vec<(String, String)>, String> {
    let mut reader = Reader::new(text);
    let mut set: Vec<(String, String)> = Vec::new();
    let mut exports = false;
    while reader.skip_blanks(true) {
        if reader.ends_line() {
            reader.skip();
            exports = false;
            continue;
        }
        let line = reader.line;
        let name = reader.name();
        if name == "export" && reader.at_blank() {
            exports = true;
            continue;
        }
        if reader.rest.peek() != Some(&'=') || !is_name(&name) {
            // `export NAME` has no effect: the variable is set anyway.
            if exports && is_name(&name) && reader.at_blank() {
                continue;
            }
            return Err(format!("line {line} is no `NAME=value`; a value with blanks has to be quoted"));
        }
        reader.skip();
        let mut seen = |wanted: &str| match set.iter().rev().find(|(name, _)| name == wanted) {
            Some((_, value)) => Ok(value.clone()),
            None => lookup(wanted),
        };
        let value = if reader.at_blank() { String::new() } else { reader.word(&mut seen).map_err(|why| format!("line {line} {why}"))? };
        set.push((name, value));
    }
    Ok(set)
}

/// Whether a text can be the name of a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_of_name)
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    /// The number of the current line, from 1.
    line: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: text.trim_start_matches('\u{feff}').chars().peekable(), line: 1 }
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn skip(&mut self) {
        let _ = self.take();
    }

    /// Skips spaces and comments, and with `lines` a `;` between two assignments; returns whether anything is left.
    fn skip_blanks(&mut self, lines: bool) -> bool {
        loop {
            match self.rest.peek().copied() {
                Some(' ' | '\t' | '\r') => self.skip(),
                Some(';') if lines => self.skip(),
                Some('\\') if self.rest.clone().nth(1) == Some('\n') => {
                    self.skip();
                    self.skip();
                }
                Some('#') => while self.rest.next_if(|c| *c != '\n').is_some() {},
                Some('\n') if !lines && self.is_last_line() => return false,
                next => return next.is_some(),
            }
        }
    }

    /// Whether nothing but blank lines follows.
    fn is_last_line(&self) -> bool {
        self.rest.clone().all(char::is_whitespace)
    }

    fn ends_line(&mut self) -> bool {
        self.rest.peek() == Some(&'\n')
    }

    /// Whether a word ends here.
    fn at_blank(&mut self) -> bool {
        self.rest.peek().is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';') || (*c == '\r'))
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| is_of_name(*c)) {
            name.push(c);
        }
        name
    }

    /// One word without its quotes.
    fn word(&mut self, lookup: Lookup<'_>) -> Result<String, String> {
        let mut word = String::new();
        while let Some(c) = self.rest.peek().copied() {
            match c {
                ' ' | '\t' | '\n' => break,
                '\r' if self.rest.clone().nth(1).is_none_or(|c| c == '\n') => break,
                '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' => {
                    if c == ';' && self.is_last_word() {
                        break;
                    }
                    return Err(only_a_shell(c));
                }
                _ => {}
            }
            self.skip();
            match c {
                '\'' => loop {
                    match self.take().ok_or("has a quote that is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                },
                '"' => self.quoted(&mut word, lookup)?,
                '\\' => match self.take() {
                    Some('\n') => {}
                    other => word.push(other.unwrap_or('\\')),
                },
                '$' => word.push_str(&self.variable(lookup)?),
                c => word.push(c),
            }
        }
        Ok(word)
    }

    /// Whether the `;` here ends the line.
    fn is_last_word(&self) -> bool {
        self.rest.clone().skip(1).find(|c| !matches!(c, ' ' | '\t' | '\r')).is_none_or(|c| matches!(c, '\n' | '#'))
    }

    /// The text between double quotes.
    fn quoted(&mut self, word: &mut String, lookup: Lookup<'_>) -> Result<(), String> {
        loop {
            match self.take().ok_or("has a quote that is not closed")? {
                '"' => return Ok(()),
                '`' => return Err(only_a_shell('`')),
                '$' => word.push_str(&self.variable(lookup)?),
                '\\' => match self.take().ok_or("has a quote that is not closed")? {
                    '\n' => {}
                    c if matches!(c, '$' | '`' | '"' | '\\') => word.push(c),
                    c => word.extend(['\\', c]),
                },
                c => word.push(c),
            }
        }
    }

    /// The replacement of a `$` that was read, with the name after it.
    fn variable(&mut self, lookup: Lookup<'_>) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_some() {
            let name = self.name();
            if !is_name(&name) || self.rest.next_if_eq(&'}').is_none() {
                return Err("has a form of `${…}` that only a shell knows; `${NAME}` is known".to_owned());
            }
            return lookup(&name);
        }
        match self.rest.peek() {
            Some('(') => Err("has a `$(`, which only a shell can do".to_owned()),
            Some(c) if c.is_ascii_digit() || matches!(c, '\'' | '@' | '*' | '#' | '?' | '$' | '!') => {
                Err("has a `$` before what only a shell knows; quote it by `'`".to_owned())
            }
            Some(c) if is_of_name(*c) => {
                let name = self.name();
                lookup(&name)
            }
            _ => Ok("$".to_owned()),
        }
    }
}

fn only_a_shell(c: char) -> String {
    format!("has a `{c}`, which only a shell can do; quote it, or name the shell that does it, for example `sh -c '…'`")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn known(name: &str) -> String {
        if name == "HOST" { "a  b" } else { "" }.to_owned()
    }

    #[test]
    fn a_command_line_is_taken_apart_as_a_shell_does_it() {
        for (text, expected) in [
            ("cat /run/secrets/pw", &["cat", "/run/secrets/pw"][..]),
            ("  vault read -field='a b' \"x y\"\\ z '' # why\n", &["vault", "read", "-field=a b", "x y z", ""]),
            ("a \\\n b", &["a", "b"]),
            ("echo \"$HOST\" ${HOST}x $ \"\\$HOST \\n\" 'a\"$'", &["echo", "a  b", "a  bx", "$", "$HOST \\n", "a\"$"]),
            ("a*b ~ {c}", &["a*b", "~", "{c}"]),
            ("", &[]),
        ] {
            assert_eq!(
                words(text, &mut |name| Ok(known(name))).as_deref(),
                Ok(&expected.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        for (text, why) in [
            ("a | b", "has a `|`"),
            ("a `b`", "has a ``"),
            ("a \"`b`\"", "has a ``"),
            ("a $(b)", "has a `$(`"),
            ("a 'b", "a quote that is not closed"),
            ("a ${HOST:-x}", "a form of `${…}`"),
            ("a $1", "has a `$`"),
            ("a\nb", "has a second line"),
        ] {
            let found = words(text, &mut |name| Ok(known(name))).err().unwrap_or_default();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_file_of_variables_is_read_as_a_shell_sources_it() {
        let text =
            "# made by vault\n\nexport A=\"x y\" # c\r\n  B='it''s'\nC=$A/${B}\nD=\nE=1 F=2;\nexport A\nG=a#b\nH=\"two\nlines\"\nI=last";
        let read = variables(text, &mut |name| Ok(known(name))).unwrap();
        let shown: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=x y", "B=its", "C=x y/its", "D=", "E=1", "F=2", "G=a#b", "H=two\nlines", "I=last"]);
        for (text, why) in [
            ("A=1\necho hello", "line 2 is no `NAME=value`"),
            ("A=a b", "line 1 is no `NAME=value`"),
            ("A=1\n\nB=$(cat /x)", "line 3 has a `$(`"),
            ("1A=x", "line 1 is no"),
            ("A='x", "line 1 has a quote that is not closed"),
            ("A=1; rm x", "line 1"),
        ] {
            let found = variables(text, &mut |name| Ok(known(name))).err().unwrap_or_default();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    /// The variables that a real shell reads from such a file.
    fn sourced(text: &str) -> Option<Vec<String>> {
        let script = "set -fu; HOST='a  b'; eval \"$1\" >/dev/null || exit 9; printf '%s\\0' \"${A-unset}\" \"${B-unset}\"";
        let output =
            Command::new("dash").args(["-c", script, "x", text]).env_clear().output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.split_terminator('\0').map(str::to_owned).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_understood_is_what_a_shell_understands(parts in prop::collection::vec("A=|B=|export |[ab'\"#\n ]|\\\\|\\$HOST|\\$\\{HOST\\}", 0..12)) {
            let text = parts.concat();
            if let (Ok(ours), Some(theirs)) = (variables(&text, &mut |name| Ok(known(name))), sourced(&text)) {
                let last = |name: &str| ours.iter().rev().find(|(set, _)| set == name).map_or("unset", |(_, value)| value).to_owned();
                prop_assert_eq!(vec![last("A"), last("B")], theirs, "{:?}", text);
            }
        }
    }
}
