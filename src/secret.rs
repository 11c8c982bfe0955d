//! A string that cannot be printed, and the masking of secrets in texts.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The replacement of a secret.
pub const MASK: &str = "***";

/// The encoding of a value in a URL: everything except the unreserved characters of RFC 3986.
pub const URL_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for a path with segments.
pub const URL_SEGMENTS: &AsciiSet = &URL_VALUE.remove(b'/').remove(b':').remove(b'@');

/// Shorter values are not masked in texts: masking every `app` would make logs unreadable.
const SHORTEST_SCRUBBED: usize = 6;

/// Every secret of this process, raw and percent-encoded, so that [`scrub`] also finds it in the texts of dependencies.
static KNOWN: RwLock<Vec<Box<str>>> = RwLock::new(Vec::new());

/// A password, token or key: no `Display`, a `Debug` that shows nothing, and an explicit comparison.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Registers `value`; from here on [`scrub`] masks it in every text.
    pub fn new(value: impl Into<String>) -> Self {
        let value: Box<str> = value.into().into_boxed_str();
        if value.len() >= SHORTEST_SCRUBBED {
            let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
            let encoded = [NON_ALPHANUMERIC, URL_VALUE, URL_SEGMENTS].map(|set| utf8_percent_encode(&value, set).to_string());
            for form in encoded.map(String::into_boxed_str).into_iter().chain([value.clone()]) {
                if !known.contains(&form) {
                    known.push(form);
                }
            }
            // The longest first, so that a secret that contains another one is masked completely.
            known.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
        }
        Self(value)
    }

    /// Hides `value` without registering it for [`scrub`]: for values that may contain a secret but usually do not, such as the URL of a
    /// check.
    pub fn unlisted(value: impl Into<String>) -> Self {
        Self(value.into().into_boxed_str())
    }

    /// The value itself, for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is anything to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Masks in `text` every known secret, the user part of URLs, `password=` values and bearer tokens.
pub fn scrub(text: &str) -> String {
    let mut clean = text.to_owned();
    for form in KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if clean.contains(&**form) {
            clean = clean.replace(&**form, MASK);
        }
    }
    mask_assignments(&mask_userinfo(&clean))
}

/// `scheme://user:password@host` becomes `scheme://user:***@host`, also if the password contains a `/`.
fn mask_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        clean.push_str(head);
        let word = &tail[..tail.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')).unwrap_or(tail.len())];
        let authority = word.split('/').next().unwrap_or_default();
        let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // The text after the colon is a password if an `@` follows it, or if it is not a port and an `@` follows later.
        let userinfo = match (authority.rfind('@'), authority.split_once(':')) {
            (Some(at), _) => Some(&authority[..at]),
            (None, Some((_, behind))) if !authority.starts_with('[') && !is_port(behind) => word.rfind('@').map(|at| &word[..at]),
            _ => None,
        };
        rest = tail;
        if let Some((info, (user, _))) = userinfo.and_then(|info| Some((info, info.split_once(':')?))) {
            clean.extend([user, ":", MASK]);
            rest = &tail[info.len()..];
        }
    }
    clean.push_str(rest);
    clean
}

/// `password=…`, `token=…`, `secret=…`, `api_key=…` and `Bearer …` lose their values. One pass over the text.
fn mask_assignments(text: &str) -> String {
    const MARKS: [&str; 7] = ["password=", "passwd=", "pwd=", "token=", "secret=", "api_key=", "bearer "];
    // Most texts have none of them, and a refused port is probed a hundred times.
    let is_bearer = |word: &[u8]| matches!(word, [b'b' | b'B', ..]) && word.eq_ignore_ascii_case(b"bearer ");
    if !text.contains('=') && !text.as_bytes().windows(7).any(is_bearer) {
        return text.to_owned();
    }
    let lower = text.to_ascii_lowercase();
    let mut places: Vec<usize> = MARKS.iter().flat_map(|mark| lower.match_indices(mark).map(|(at, _)| at + mark.len())).collect();
    places.sort_unstable();
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for place in places.into_iter().filter(|place| *place < text.len()) {
        if place < done {
            continue;
        }
        let tail = &text[place..];
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '&' | ',' | ';' | '"' | '\'' | ')')).unwrap_or(tail.len());
        clean.push_str(&text[done..place]);
        if end > 0 {
            clean.push_str(MASK);
        }
        done = place + end;
    }
    clean.push_str(&text[done..]);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("correct horse");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(scrub("login with correct horse failed"), "login with *** failed");
        assert_eq!(scrub("redis://:correct%20horse@h/0"), "redis://:***@h/0");
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_a_url_gives_it() {
        let secret = Secret::new("q7Zk+aB3/xY9==");
        for set in [NON_ALPHANUMERIC, URL_VALUE, URL_SEGMENTS] {
            let encoded = utf8_percent_encode(secret.expose(), set);
            assert_eq!(scrub(&format!("http://h/hook/{encoded}/x")), "http://h/hook/***/x");
        }
    }

    #[test]
    fn an_unknown_secret_is_masked_by_its_place() {
        assert_eq!(scrub("postgres://app:hunter2@db:5432/x"), "postgres://app:***@db:5432/x");
        assert_eq!(scrub("user=app Password=hunter2 host=db"), "user=app Password=*** host=db");
        assert_eq!(scrub("Authorization: Bearer abc.def"), "Authorization: Bearer ***");
        assert_eq!(scrub("http://host/path and http://me@host"), "http://host/path and http://me@host");
        assert_eq!(scrub("postgres://u:pa/s5word@h/db, then"), "postgres://u:***@h/db, then");
        assert_eq!(scrub("http://host:8080/a@b http://[::1]:80/a@b"), "http://host:8080/a@b http://[::1]:80/a@b");
        assert_eq!(scrub("a://u:p@h b://v:q@i"), "a://u:***@h b://v:***@i");
    }

    #[test]
    fn a_text_without_secrets_is_left_alone() {
        for text in ["", "plain", "://", "a://b://c", "token", "password= next"] {
            assert_eq!(scrub(text), text);
        }
    }
}
