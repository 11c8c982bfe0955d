//! `generate`: a secret that is generated once, by one of several replicas, and read by all.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};

use super::super::{Outcome, secret};
use crate::config::reader::Section;
use crate::config::source::read_secret;
use crate::pinned::{Last, PinnedPath};

/// Longer than any real key.
const LONGEST: usize = 4096;

/// The form of the secret: a number of bytes in hexadecimal digits or in base64, or a number of letters and digits.
#[derive(Clone, Copy)]
enum RandomFormat {
    Hex(usize),
    Base64(usize),
    Alnum(usize),
}

impl RandomFormat {
    fn parse(text: &str) -> Option<Self> {
        let (kind, count) = text.split_once(':')?;
        let count = count.parse().ok().filter(|count| (1..=LONGEST).contains(count))?;
        match kind {
            "hex" => Some(Self::Hex(count)),
            "base64" => Some(Self::Base64(count)),
            "alnum" => Some(Self::Alnum(count)),
            _ => None,
        }
    }

    /// The number of characters.
    const fn length(self) -> usize {
        match self {
            Self::Hex(count) => count * 2,
            Self::Base64(count) => count.div_ceil(3) * 4,
            Self::Alnum(count) => count,
        }
    }

    /// A new text, from the kernel's random numbers (getrandom(2)).
    fn make(self) -> Result<String, String> {
        let random = |count: usize| {
            let mut bytes = vec![0; count];
            SystemRandom::new().fill(&mut bytes).map_err(|_| "the kernel gives no random numbers".to_owned())?;
            Ok::<_, String>(bytes)
        };
        match self {
            Self::Hex(count) => {
                let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
                Ok(random(count)?.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
            }
            Self::Base64(count) => Ok(STANDARD.encode(random(count)?)),
            Self::Alnum(count) => {
                const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
                let mut text = String::with_capacity(count);
                while text.len() < count {
                    // The last eight of 256 byte values are skipped, because they would make some characters more likely.
                    let fair = random(count)?.into_iter().filter(|byte| *byte < 248);
                    text.extend(
                        fair.filter_map(|byte| LETTERS.get(usize::from(byte) % 62))
                            .map(|letter| char::from(*letter))
                            .take(count - text.len()),
                    );
                }
                Ok(text)
            }
        }
    }
}

/// The secret of the variable `name`.
pub(super) fn read(section: &Section<'_>, name: &str, form: &str, keep: Option<&str>) -> Option<Outcome> {
    let environment = section.context().environment;
    let Some(form) = RandomFormat::parse(form) else {
        section.problem("generate", format!("is not one of `hex:N`, `base64:N` and `alnum:N` with N from 1 to {LONGEST}"));
        return None;
    };
    // Items and instances have the same value, unless each keeps its own.
    let known = keep.map_or_else(|| section.path().to_owned(), |file| format!("{} {file}", section.path()));
    let keep = keep.map(|path| environment.place(path));
    if let Some(path) = &keep {
        match kept(path) {
            Ok(Some(value)) => {
                if value.len() < form.length() {
                    let (found, wanted) = (value.len(), form.length());
                    let path = path.display();
                    section
                        .context()
                        .notice(format!("{name} has {found} characters, of {path}, and {wanted} would be generated; it is taken as it is"));
                }
                return Some(Outcome::Is(secret(value)));
            }
            Ok(None) => {
                if let Some(value) = environment.to_be_kept(path) {
                    return Some(Outcome::Is(secret(value)));
                }
            }
            Err(why) => {
                section.problem("keep", why);
                return None;
            }
        }
    }
    match environment.made(&known, |_| form.make()) {
        Some(Ok(value)) => {
            if let Some(path) = keep {
                environment.keep(path, &value);
            }
            Some(Outcome::Is(secret(value)))
        }
        Some(Err(why)) => {
            section.problem("generate", why);
            None
        }
        None if environment.is_recalling() => {
            section.problem("generate", "is done only at a start, so the value is not known now");
            None
        }
        None => {
            section.context().notice(format!("{name} is generated only by `run`"));
            Some(Outcome::Unknown("0".repeat(form.length())))
        }
    }
}

/// The contents of the file; none if it does not exist.
fn kept(path: &Path) -> Result<Option<String>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot be examined: {why}; it is {}", path.display());
    let absolute = std::path::absolute(path).map_err(|error| failed(&error))?;
    let exists = |last| PinnedPath::find(&absolute, last).map(|place| place.is_some_and(|place| place.exists()));
    if !exists(Last::Itself).map_err(|refusal| failed(&refusal))? {
        return Ok(None);
    }
    if !exists(Last::Followed).map_err(|refusal| failed(&refusal))? {
        return Err(format!("names {}, which is a symbolic link that leads to nothing; remove it", path.display()));
    }
    match read_secret(path) {
        Ok(value) if value.is_empty() => {
            Err(format!("names {}, which is empty; check what wrote it, or remove it to have a new one made", path.display()))
        }
        Ok(value) => Ok(Some(value)),
        Err(why) => Err(format!("cannot be read: {why}; it is {}", path.display())),
    }
}
