//! `${X#pattern}` and its other forms: a value without the part that a pattern matches at one end.

/// Which end, and how long the removed part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trim {
    at_end: bool,
    longest: bool,
}

impl Trim {
    /// By its mark: `#` and `##` for the beginning, `%` and `%%` for the end; a double mark removes the longest match.
    pub(super) fn of(mark: &str) -> Self {
        Self { at_end: mark.starts_with('%'), longest: mark.len() == 2 }
    }

    /// The mark.
    pub(super) const fn mark(self) -> &'static str {
        match (self.at_end, self.longest) {
            (false, false) => "#",
            (false, true) => "##",
            (true, false) => "%",
            (true, true) => "%%",
        }
    }

    /// The rest of `value` without the shortest or longest match of the pattern; all of it without a match. In the pattern `*` matches any
    /// text and `?` one character.
    pub(super) fn apply<'v>(self, value: &'v str, pattern: &str) -> &'v str {
        let pattern: Vec<char> = pattern.chars().collect();
        let places = || (0..=value.len()).filter(|at| value.is_char_boundary(*at));
        // At the beginning the match is before this position, at the end after it.
        let fits = |at: &usize| fits(&pattern, if self.at_end { &value[*at..] } else { &value[..*at] });
        let found = if self.at_end == self.longest { places().find(fits) } else { places().rev().find(fits) };
        match found {
            Some(at) if self.at_end => &value[..at],
            Some(at) => &value[at..],
            None => value,
        }
    }
}

/// Whether a pattern matches a whole text; the time grows with the product of their lengths.
fn fits(pattern: &[char], text: &str) -> bool {
    // Which prefixes of the pattern match the text so far.
    let mut open: Vec<bool> = vec![false; pattern.len() + 1];
    let stars = |open: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            if open[at] && pattern[at] == '*' {
                open[at + 1] = true;
            }
        }
    };
    open[0] = true;
    stars(&mut open);
    for c in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for at in 0..pattern.len() {
            match pattern[at] {
                '*' if open[at] => next[at] = true,
                '?' if open[at] => next[at + 1] = true,
                wanted if open[at] && wanted == c => next[at + 1] = true,
                _ => {}
            }
        }
        stars(&mut next);
        open = next;
    }
    open[pattern.len()]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_end_is_taken_off_as_a_shell_takes_it_off() {
        for (mark, value, pattern, left) in [
            ("#", "https://h/p", "*//", "h/p"),
            ("##", "a/b/c", "*/", "c"),
            ("%", "a/b/c", "/*", "a/b"),
            ("%%", "host:1:2", ":*", "host"),
            ("#", "v1", "v?", ""),
            ("%", "x", "y", "x"),
            ("##", "0 jobs\n\n2", "*\n", "2"),
            ("%", "größe", "?", "größ"),
            ("#", "abc", "", "abc"),
        ] {
            assert_eq!(Trim::of(mark).apply(value, pattern), left, "{value}{mark}{pattern}");
            assert_eq!(Trim::of(mark).mark(), mark);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_left_is_what_a_shell_leaves(value in "[ab/]{0,6}", pattern in "[ab/*?]{0,4}", mark in "##?|%%?") {
            let script = format!("p=$2; printf %s \"${{1{mark}$p}}\"");
            let output = Command::new("bash").args(["-c", &script, "x", &value, &pattern]).output().unwrap();
            prop_assert_eq!(Trim::of(&mark).apply(&value, &pattern), String::from_utf8(output.stdout).unwrap());
        }
    }
}
