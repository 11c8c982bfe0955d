//! The names and numbers of signals, as people write them.

use nix::sys::signal::Signal;

use crate::config::reader::Section;
use crate::sys;

/// What Docker and glibc call SIGRTMIN; musl's own is 35, and a container's STOPSIGNAL must not depend on our libc.
const FIRST_REAL_TIME: i32 = 34;

/// The number of `TERM`, `SIGTERM`, `15` or `RTMIN+3`.
pub(super) fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = name.parse::<i32>() {
        return Some(number).filter(|number| (1..=sys::LAST_SIGNAL).contains(number));
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<i32>().ok()? };
        return Some(FIRST_REAL_TIME + offset).filter(|number| *number <= sys::LAST_SIGNAL);
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// The signal that a key names.
pub(super) fn one(section: &Section<'_>, key: &str) -> Option<i32> {
    let text = section.text(key)?;
    let number = number(&text.value());
    if number.is_none() {
        section.problem(key, format!("is `{}`, not a signal as `TERM` or `15`", text.shown()));
    }
    number
}

/// The signals that a list names.
pub(super) fn list(section: &Section<'_>, key: &str) -> Option<Vec<i32>> {
    let texts = section.list(key)?;
    let texts = texts.iter().filter_map(|node| section.context().text(node, &section.what(key), section.depth()));
    Some(texts.filter_map(|text| checked(section, key, &text.value(), &text.shown())).collect())
}

/// The pairs of a table such as `{ TERM = "QUIT" }`.
pub(super) fn pairs(section: &Section<'_>, key: &str) -> Option<Vec<(i32, i32)>> {
    let table = section.table(key, None)?;
    let names: Vec<String> = table.entries().map(|entry| entry.key.clone()).collect();
    let pair = |name: &String| checked(section, key, name, name).zip(one(&table, name));
    Some(names.iter().filter_map(pair).collect())
}

fn checked(section: &Section<'_>, key: &str, value: &str, shown: &str) -> Option<i32> {
    let number = number(value);
    if number.is_none() {
        section.problem(key, format!("names `{shown}`, which is no signal as `TERM` or `15`"));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_in_each_usual_way() {
        for (text, expected) in [("TERM", 15), ("sigterm", 15), ("15", 15), ("QUIT", 3), ("64", 64), ("WINCH", 28)] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        assert_eq!(number("RTMIN+3"), Some(37));
        for text in ["", "0", "65", "TERMS", "RTMIN+99", "RTMINx"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
