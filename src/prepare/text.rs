//! The text of a file: rendered from its template, with replacements.

use std::io::Read;
use std::path::Path;

use nix::errno::Errno;

use super::Fault;
use crate::config::interpolate::Text;
use crate::config::substitute;
use crate::pinned::{Last, PinnedPath};
use crate::plan::file::{FileText, Replacement};

/// The maximum size of a file that is rendered or changed, because it is kept in memory.
pub(super) const LONGEST: u64 = 64 << 20;

/// A text, and whether it contains a secret.
pub(super) struct Rendered {
    pub(super) bytes: Vec<u8>,
    pub(super) has_secret: bool,
}

/// The text of a file, as it is now.
pub(super) fn render(text: &FileText) -> Result<Rendered, Fault> {
    let of = |text: &Text| Rendered { bytes: text.value().into_bytes(), has_secret: text.is_secret() };
    match text {
        FileText::Content(content) => Ok(of(content)),
        FileText::Template { from, variables, unset, values } => {
            let template = String::from_utf8(read(from)?).map_err(|_| Fault::of("render", from, "it is not UTF-8"))?;
            let rendered = match variables {
                Some(names) => substitute::listed(&template, names, &values.0),
                None => substitute::every(&template, &values.0, *unset),
            };
            rendered.map(|text| of(&text)).map_err(|why| Fault::of("render", from, why))
        }
    }
}

/// The bytes of a source file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let place = PinnedPath::existing(path, Last::Followed)?;
    let (file, _) = place.open()?;
    whole(&file, path)
}

/// Everything in a file.
pub(super) fn whole(file: &std::fs::File, shown: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Fault::kernel("read", shown, Errno::from_raw(error.raw_os_error().unwrap_or_default())))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Fault::of("read", shown, "it is larger than 64 MiB, and it would be kept in memory"));
    }
    Ok(bytes)
}

/// Applies all replacements. A text that is already replaced stays, so that a second start changes nothing.
///
/// # Errors
/// Which text is missing.
pub(super) fn replaced(mut bytes: Vec<u8>, replacements: &[Replacement]) -> Result<(Vec<u8>, bool), String> {
    let mut has_secret = false;
    for Replacement { from, to, optional } in replacements {
        let value = to.value();
        let (changed, found) = one_replaced(&bytes, from.as_bytes(), value.as_bytes());
        if !found && !optional {
            return Err(format!("`{from}` is not in the file; correct `from` in `replace`, or add `optional = true`"));
        }
        has_secret |= found && to.is_secret();
        bytes = changed;
    }
    Ok((bytes, has_secret))
}

/// The text with every `from` replaced by `to`, and whether it contains either.
fn one_replaced(text: &[u8], from: &[u8], to: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut rest, mut found) = (Vec::with_capacity(text.len()), text, false);
    while let Some(first) = rest.first() {
        if !to.is_empty() && rest.starts_with(to) {
            out.extend_from_slice(to);
            (rest, found) = (&rest[to.len()..], true);
        } else if rest.starts_with(from) {
            out.extend_from_slice(to);
            (rest, found) = (&rest[from.len()..], true);
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    (out, found)
}

/// The contents after `text` is appended to `there`; none if they already contain it.
pub(super) fn appended(there: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let is_in = text.is_empty() || there.windows(text.len()).any(|window| window == text);
    (!is_in).then(|| {
        let mut all = there.to_vec();
        if !all.is_empty() && !all.ends_with(b"\n") {
            all.push(b'\n');
        }
        all.extend_from_slice(text);
        all
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replacement(from: &str, to: &str, optional: bool) -> Replacement {
        Replacement { from: from.to_owned(), to: Text::literal(to), optional }
    }

    fn text(there: &str, replacements: &[Replacement]) -> Result<String, String> {
        replaced(there.as_bytes().to_vec(), replacements).map(|(bytes, _)| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn each_text_is_replaced_everywhere_and_one_that_is_missing_is_named() {
        assert_eq!(text("a b a", &[replacement("a", "x", false)]), Ok("x b x".into()));
        assert_eq!(
            text("listen 80; listen 80;", &[replacement("listen 80", "listen 8080", false)]),
            Ok("listen 8080; listen 8080;".into())
        );
        assert_eq!(text("user root;", &[replacement("user root;", "", false)]), Ok(String::new()));
        assert!(text("b", &[replacement("a", "x", false)]).unwrap_err().contains("`a` is not in the file"));
        assert_eq!(text("b", &[replacement("a", "x", true)]), Ok("b".into()));
    }

    #[test]
    fn a_text_is_added_once_on_a_separate_line() {
        assert_eq!(appended(b"", b"x\n"), Some(b"x\n".to_vec()));
        assert_eq!(appended(b"a", b"x\n"), Some(b"a\nx\n".to_vec()));
        assert_eq!(appended(b"a\n", b"x"), Some(b"a\nx".to_vec()));
        assert_eq!(appended(b"a\nx\nb", b"x\n"), None);
    }

    proptest! {
        #[test]
        fn a_second_start_changes_nothing(there in "[ab]{0,9}", from in "[ab]{1,2}", to in "[abc]{1,4}") {
            // If the new text and its surroundings contain the old text again, the cases cannot be distinguished.
            prop_assume!(!(0..to.len()).any(|at| from.starts_with(&to[at..]) || from.ends_with(&to[..=at])) || to.contains(&from));
            let replacements = [replacement(&from, &to, true)];
            let once = text(&there, &replacements).unwrap();
            if !to.contains(&from) {
                prop_assert_eq!(text(&once, &replacements).unwrap(), once.clone());
            }
            prop_assert_eq!(appended(once.as_bytes(), to.as_bytes()).and_then(|all| appended(&all, to.as_bytes())), None);
        }
    }
}
