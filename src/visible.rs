//! Escapes control characters in foreign texts, for terminals and logs.

use std::borrow::Cow;
use std::fmt::Write;

/// One line: every control character, including newlines, as an escape of JSON (`\r`, `\u001b`).
pub fn line(text: &str) -> Cow<'_, str> {
    shown(text, char::is_control)
}

/// Several lines: like [`line()`], but newlines stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    shown(text, |c| c.is_control() && c != '\n')
}

/// The line, limited to this many columns, with a mark if it was cut.
pub fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    line.chars().take(columns.saturating_sub(1)).chain(['\u{2026}']).collect()
}

fn shown(text: &str, is_wild: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_wild) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_wild(c) => clean.push(c),
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c => _ = write!(clean, "\\u{:04x}", u32::from(c)),
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_shown_as_escapes() {
        assert_eq!(line("a\r\n\tb\x1b[2J\u{9b}31m\x7f\0"), "a\\r\\n\\tb\\u001b[2J\\u009b31m\\u007f\\u0000");
        assert_eq!(lines("a\r\nb"), "a\\r\nb");
        assert!(matches!(line("api-ü \\ \u{2713}"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_moves_a_cursor(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(char::is_control));
            prop_assert!(!lines(&text).chars().any(|c| c.is_control() && c != '\n'));
            prop_assert_eq!(lines(&text).matches('\n').count(), text.matches('\n').count());
        }
    }
}
