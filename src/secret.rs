//! A string that cannot be printed, and the scrubbing of texts that may hold one.

use std::fmt::{self, Write};
use std::sync::{PoisonError, RwLock};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands wherever a secret would.
pub const MASK: &str = "***";

/// Values shorter than this are not searched for in texts: masking every `app` would make logs unreadable.
const SHORTEST_SCRUBBED: usize = 6;

/// Every secret of this process, raw and percent-encoded, so that [`scrub`] finds it in a dependency's words, too.
static KNOWN: RwLock<Vec<Box<str>>> = RwLock::new(Vec::new());

/// A password, token or key: no `Display`, a `Debug` that shows nothing, compared only on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes `value` into custody; from here on [`scrub`] masks it wherever it turns up.
    pub fn new(value: impl Into<String>) -> Self {
        let value: Box<str> = value.into().into_boxed_str();
        if value.len() >= SHORTEST_SCRUBBED {
            let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
            let encoded = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string().into_boxed_str();
            for form in [value.clone(), encoded] {
                if !known.contains(&form) {
                    known.push(form);
                }
            }
            // The longest first, so that a secret that contains another is masked whole.
            known.sort_by_key(|form| std::cmp::Reverse(form.len()));
        }
        Self(value)
    }

    /// Hides `value` without having [`scrub`] search for it: for what may hold a secret and mostly is none, as a health check's URL.
    pub fn unlisted(value: impl Into<String>) -> Self {
        Self(value.into().into_boxed_str())
    }

    /// The value itself, for the one call that needs it.
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

/// `scheme://user:password@host` becomes `scheme://user:***@host`.
fn mask_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        clean.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '<' | '>')).unwrap_or(tail.len());
        let authority = &tail[..end];
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split(':').next().unwrap_or_default();
                if authority.contains(':') && authority.find(':') < authority.rfind('@') {
                    let _ = write!(clean, "{user}:{MASK}@{host}");
                } else {
                    clean.push_str(authority);
                }
            }
            None => clean.push_str(authority),
        }
        rest = &tail[end..];
    }
    clean.push_str(rest);
    clean
}

/// `password=…`, `token=…`, `secret=…`, `api_key=…` and `Bearer …` lose their values.
fn mask_assignments(text: &str) -> String {
    const MARKS: [&str; 7] = ["password=", "passwd=", "pwd=", "token=", "secret=", "api_key=", "bearer "];
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let lower = rest.to_ascii_lowercase();
        let Some((at, mark)) = MARKS.iter().filter_map(|mark| lower.find(mark).map(|at| (at, *mark))).min() else {
            clean.push_str(rest);
            return clean;
        };
        let (head, tail) = rest.split_at(at + mark.len());
        clean.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '&' | ',' | ';' | '"' | '\'' | ')')).unwrap_or(tail.len());
        if end > 0 {
            clean.push_str(MASK);
        }
        rest = &tail[end..];
    }
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
    fn an_unknown_secret_is_masked_by_its_place() {
        assert_eq!(scrub("postgres://app:hunter2@db:5432/x"), "postgres://app:***@db:5432/x");
        assert_eq!(scrub("user=app Password=hunter2 host=db"), "user=app Password=*** host=db");
        assert_eq!(scrub("Authorization: Bearer abc.def"), "Authorization: Bearer ***");
        assert_eq!(scrub("http://host/path and http://me@host"), "http://host/path and http://me@host");
    }

    #[test]
    fn a_text_without_secrets_is_left_alone() {
        for text in ["", "plain", "://", "a://b://c", "token", "password= next"] {
            assert_eq!(scrub(text), text);
        }
    }
}
