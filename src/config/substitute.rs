//! `${NAME}` in a whole file that may contain other dollar signs: either all of them by our grammar, or only listed variables like `envsubst(1)`.

use crate::config::file::Unset;
use crate::config::interpolate::{Findings, Template, Text};
use crate::config::source::Environment;

/// Replaces every `${…}` by the grammar of the configuration. `$${` gives `${`; every other `$` stays. `unset`: how an unset variable
/// without a default is replaced.
///
/// # Errors
/// What is wrong, with the line number.
pub fn every(text: &str, environment: &Environment, unset: Unset) -> Result<Text, String> {
    let mut findings = Findings::default();
    let mut pieces = Vec::new();
    for (number, line) in numbered(text, open_at_end) {
        let why = |why: String| format!("line {number}: {why}");
        let template = Template::parse(&quoted(line)).map_err(why)?;
        let template = if unset == Unset::Empty { template.with_empty_for_unset() } else { template };
        pieces.extend(template.expand(environment, &mut findings).pieces().iter().cloned());
        if let Some(first) = findings.problems.first() {
            return Err(why(first.clone()));
        }
    }
    Ok(Text::of(pieces))
}

/// Replaces `$NAME`, `${NAME}` and the forms of `${NAME…}` for the names that one of `patterns` matches, and leaves everything else unchanged. A
/// listed, unset variable becomes empty, as with `envsubst`; a pattern with a `*` matches only variables that are set.
///
/// # Errors
/// What is wrong, with the line number.
pub fn listed(text: &str, patterns: &[String], environment: &Environment) -> Result<Text, String> {
    let mut findings = Findings::default();
    let (mut pieces, mut rest, mut literal) = (Vec::new(), text, String::new());
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(length) = reference(rest, patterns, environment) else {
            literal.push('$');
            rest = &rest[1..];
            continue;
        };
        let (written, after) = rest.split_at(length);
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        // An empty default makes `$NAME` and `${NAME}` empty if the variable is unset.
        let inner = written.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
        let plain = inner.bytes().all(is_of_name);
        let template = Template::parse(&if plain { format!("${{{inner}:-}}") } else { quoted(written) });
        // A form that only a shell understands stays, as with `envsubst`; a listed variable within it is replaced.
        let Ok(template) = template else {
            literal.push('$');
            rest = &rest[1..];
            continue;
        };
        rest = after;
        pieces.extend(Text::literal(std::mem::take(&mut literal)).pieces().iter().cloned());
        pieces.extend(template.expand(environment, &mut findings).pieces().iter().cloned());
        if let Some(first) = findings.problems.first() {
            return Err(format!("line {number}: {first}"));
        }
    }
    literal.push_str(rest);
    pieces.extend(Text::literal(literal).pieces().iter().cloned());
    Ok(Text::of(pieces))
}

/// The length of the reference to a listed variable at the beginning of `text`; none if there is none.
fn reference(text: &str, patterns: &[String], environment: &Environment) -> Option<usize> {
    let braced = text.starts_with("${");
    let start = if braced { 2 } else { 1 };
    let name: &str = &text[start..];
    let name = &name[..name.bytes().position(|byte| !is_of_name(byte)).unwrap_or(name.len())];
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !is_listed(name, patterns, environment) {
        return None;
    }
    // What takes something off stays, as it stays with `envsubst`.
    let is_trimmed = text[start + name.len()..].starts_with(['#', '%']);
    if braced { closing(text).filter(|_| !is_trimmed) } else { Some(start + name.len()) }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_listed(name: &str, patterns: &[String], environment: &Environment) -> bool {
    let is_set = || environment.get(name).is_some() || environment.nonempty(&format!("{name}_FILE"));
    patterns.iter().any(|pattern| if pattern.contains('*') { matches(pattern, name) && is_set() } else { pattern == name })
}

/// The end of the `}` that closes the `${` at the beginning; none if it is not closed.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, bytes) = (0_usize, text.as_bytes());
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The text in the grammar of the configuration, in which a single `$` has to be doubled.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        quoted.push_str(&rest[..at]);
        rest = &rest[at..];
        let (written, length) = match rest {
            rest if rest.starts_with("$${") => ("$${", 3),
            rest if rest.starts_with("${") => ("${", 2),
            _ => ("$$", 1),
        };
        quoted.push_str(written);
        rest = &rest[length..];
    }
    quoted.push_str(rest);
    quoted
}

/// Whether a `${` is still open at the end of the text.
fn open_at_end(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        rest = &rest[at..];
        match closing(rest).filter(|_| !escaped) {
            Some(end) => rest = &rest[end..],
            None if escaped => rest = &rest[2..],
            None => return true,
        }
    }
    false
}

/// The lines of a text with their numbers; a line that continues on the next one is joined with it.
fn numbered(text: &str, goes_on: impl Fn(&str) -> bool) -> Vec<(usize, &str)> {
    /// A default that spans more lines than this has no closing `}`.
    const LONGEST: usize = 200;
    let (mut found, mut start, mut first, mut number) = (Vec::new(), 0, 1, 1);
    for (at, _) in text.match_indices('\n') {
        if number - first >= LONGEST || !goes_on(&text[start..=at]) {
            found.push((first, &text[start..=at]));
            (start, first) = (at + 1, number + 1);
        }
        number += 1;
    }
    found.push((first, &text[start..]));
    found
}

/// Whether `name` matches `pattern`, in which `*` matches any text.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn environment() -> Environment {
        Environment::new([("HOST", "db"), ("PORT", "5432"), ("EMPTY", ""), ("DB_PASSWORD", "for the template")])
    }

    #[test]
    fn every_reference_is_replaced_and_other_dollars_stay() {
        for (text, result) in [
            ("a ${HOST}:${PORT}\n", "a db:5432\n"),
            ("$host $1 $$ DO $$ BEGIN $$;\n${UNSET:-x$y}\n", "$host $1 $$ DO $$ BEGIN $$;\nx$y\n"),
            ("$${HOST} ${HOST}", "${HOST} db"),
            ("${UNSET:-two\nlines}\n", "two\nlines\n"),
            ("no newline", "no newline"),
        ] {
            assert_eq!(every(text, &environment(), Unset::Error).map(|text| text.value()), Ok(result.to_owned()), "{text}");
        }
        for (text, result) in
            [("a ${UNSET} ${HOST}", "a  db"), ("${UNSET:-${EMPTY:+x}${UNSET}}", ""), ("${HOST:+<${UNSET}>}", "<>"), ("${UNSET:-d}", "d")]
        {
            assert_eq!(every(text, &environment(), Unset::Empty).map(|text| text.value()), Ok(result.to_owned()), "{text}");
        }
        assert!(every("${UNSET:?name it}", &environment(), Unset::Empty).is_err());
        for (text, problem) in [
            ("a\nb ${UNSET}\n", "line 2: UNSET is not set"),
            ("a\n\n${UNSET:?name it}\n", "line 3: UNSET is not set: name it"),
            ("\n${HOST", "line 2: a `${` without its `}`"),
        ] {
            let why = every(text, &environment(), Unset::Error).err().unwrap();
            assert!(why.starts_with(problem), "{text}: {why}");
        }
        assert!(every("${DB_PASSWORD}", &environment(), Unset::Empty).unwrap().is_secret());
    }

    #[test]
    fn only_the_listed_variables_are_replaced() {
        let names = ["HOST", "UNSET", "N_*"].map(str::to_owned);
        for (text, result) in [
            ("$HOST ${HOST} $host ${PORT} $PORT", "db db $host ${PORT} $PORT"),
            ("${UNSET:-x${PORT}} <$UNSET> ${UNSET}", "x5432 <> "),
            ("${HOST%.*} ${HOST ${HOST", "${HOST%.*} ${HOST ${HOST"),
            ("${HOST$HOST}", "${HOSTdb}"),
            ("$HOSTNAME $$HOST {$HOST}", "$HOSTNAME $db {db}"),
            ("$N_X ${N_X}", "$N_X ${N_X}"),
        ] {
            assert_eq!(listed(text, &names, &environment()).map(|text| text.value()), Ok(result.to_owned()), "{text}");
        }
        let every_one = listed("$HOST $EMPTY $UNSET", &["*".to_owned()], &environment()).unwrap().value();
        assert_eq!(every_one, "db  $UNSET");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in
            [("A*", "A", true), ("A*C", "ABC", true), ("A*C", "AB", false), ("*", "", true), ("A", "AB", false), ("*_*_X", "A_B_X", true)]
        {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    fn envsubst(text: &str) -> Option<String> {
        let mut child = Command::new("envsubst")
            .arg("$HOST $PORT $UNSET")
            .env_clear()
            .envs([("HOST", "db"), ("PORT", "5432"), ("PATH", "/usr/bin:/bin")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(text.as_bytes()).ok()?;
        String::from_utf8(child.wait_with_output().ok()?.stdout).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn listed_variables_are_replaced_as_envsubst_replaces_them(parts in prop::collection::vec("[ a$}\n]|\\$\\{|HOST|PORT|UNSET|_", 0..14)) {
            let text = parts.concat();
            let names = ["HOST", "PORT", "UNSET"].map(str::to_owned);
            if let Some(theirs) = envsubst(&text) {
                prop_assert_eq!(listed(&text, &names, &environment()).unwrap().value(), theirs, "{}", text);
            }
        }

        #[test]
        fn a_text_without_braces_is_left_alone(text in "[^{]*") {
            prop_assert_eq!(every(&text, &environment(), Unset::Error).unwrap().value(), text);
        }
    }
}
