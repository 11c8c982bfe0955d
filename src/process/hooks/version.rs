//! Names in the order of `sort -V`: numbers in them by their value.
//!
//! The rules are those that GNU coreutils documents ("Version sort ordering rules"): stretches that are no number and numbers alternate, a
//! `~` comes before anything, letters come before other characters, and a file's extensions count only where all else is alike.

use std::cmp::Ordering;

/// How two names stand to each other.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Hidden ones come first.
    let hidden = |name: &[u8]| name.first() != Some(&b'.');
    hidden(a).cmp(&hidden(b)).then_with(|| parts(stem(a), stem(b))).then_with(|| parts(a, b)).then_with(|| a.cmp(b))
}

/// The name without its extensions: each a `.`, a letter or `~`, and any of letters, digits and `~`.
fn stem(name: &[u8]) -> &[u8] {
    let begins = |at: usize| name.get(at) == Some(&b'.') && name.get(at + 1).is_some_and(|c| c.is_ascii_alphabetic() || *c == b'~');
    let extension = |at: usize| {
        let rest = name.get(at + 2..).unwrap_or_default();
        at + 2 + rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'~').count()
    };
    let only_extensions = |from: usize| {
        let mut at = from;
        while begins(at) {
            at = extension(at);
        }
        at == name.len()
    };
    let end = (1..=name.len()).find(|at| only_extensions(*at)).unwrap_or(name.len());
    name.get(..end).unwrap_or(name)
}

/// Where a character stands that is no digit; a digit, and the end, count as none.
fn rank(c: Option<u8>) -> u16 {
    match c {
        Some(b'~') => 0,
        None => 1,
        Some(c) if c.is_ascii_digit() => 2,
        Some(c) if c.is_ascii_alphabetic() => 2 + u16::from(c),
        Some(c) => 2 + 256 + u16::from(c),
    }
}

fn parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let is_text = |name: &[u8]| name.first().is_some_and(|c| !c.is_ascii_digit());
        while is_text(a) || is_text(b) {
            let order = rank(a.first().copied()).cmp(&rank(b.first().copied()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
        }
        let (first, rest_a) = number(a);
        let (second, rest_b) = number(b);
        let order = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// The number that a name begins with, without the zeros before it, and what follows it.
fn number(name: &[u8]) -> (&[u8], &[u8]) {
    let name = name.get(name.iter().take_while(|c| **c == b'0').count()..).unwrap_or_default();
    name.split_at(name.iter().take_while(|c| c.is_ascii_digit()).count())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn by_sort(names: &[String]) -> Vec<String> {
        let mut child = Command::new("sort").args(["-V"]).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(names.join("\n").as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn by_us(mut names: Vec<String>) -> Vec<String> {
        names.sort_by(|a, b| compare(a.as_bytes(), b.as_bytes()));
        names
    }

    #[test]
    fn numbers_count_by_their_value() {
        let names =
            ["/d/10-b.sh", "/d/5-a.sh", "/d/05-c.sh", "/d/a1.sh", "/d/a10", "/d/a2.tar.gz", "/d/a~", "/d/Z"].map(str::to_owned).to_vec();
        let sorted = by_us(names.clone());
        assert_eq!(sorted.first().map(String::as_str), Some("/d/5-a.sh"));
        assert_eq!(sorted, by_sort(&names));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn names_are_sorted_as_sort_sorts_them(names in prop::collection::vec("[a.]?[0-2]{0,2}[-a.~]{0,2}[01]{0,2}(\\.[a~0])?", 2..6)) {
            let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).map(|name| format!("x{name}")).collect();
            prop_assert_eq!(by_us(names.clone()), by_sort(&names));
        }
    }
}
