//! Versions of an application, parsed and compared.

/// Three numbers, and whether it precedes the release of these numbers (`-rc1`, `-beta.2`) or is the release (or a fix of it: `-fix1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3], bool);

impl Version {
    /// Reads `1.9.2`, `v0.8.3-fix1`, `1.16.0-rc1`, `2.0.0b2`; a missing number is 0, and a fourth number is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, after) = text.split_at(end);
        let mut found = [0; 3];
        for (place, number) in numbers.trim_end_matches('.').split('.').enumerate() {
            let number = number.parse().ok()?;
            if let Some(place) = found.get_mut(place) {
                *place = number;
            }
        }
        let word = after.trim_start_matches(['-', '.', '_', '+']).to_ascii_lowercase();
        let before = ["a", "b", "c", "dev", "pre", "rc"].iter().any(|early| word.starts_with(early));
        Some(Self(found, !before))
    }
}

/// The version at the beginning of `text`, after blanks, `=` and quotes.
pub fn written(text: &str) -> Option<&str> {
    let text = text.trim_start_matches([' ', '\t', '=', ':', '"', '\'']);
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !".-+_".contains(c)).unwrap_or(text.len());
    text.get(..end).filter(|version| version.len() <= 40 && Version::parse(version).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_their_order_however_they_are_written() {
        let order = ["0.6.16", "0.15.3", "1.0.0-beta.1", "1", "1.9.2", "v1.10.1", "1.16.0-rc1", "1.16.0", "25.1", "25.1.1", "26.0.0"];
        let versions: Vec<_> = order.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(versions.is_sorted() && versions.windows(2).all(|pair| pair[0] != pair[1]), "{versions:?}");
        assert_eq!(Version::parse("1.10.1-fix.1"), Version::parse("1.10.1"));
        assert!(Version::parse("2.0.0b2") < Version::parse("2.0"));
        for text in ["", "v", "x", "1..2", "-1", "99999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_version_is_read_out_of_what_stands_around_it() {
        for (text, version) in [
            (" = \"1.16.1\"", Some("1.16.1")),
            ("'0.6.16',", Some("0.6.16")),
            ("\"\",", None),
            (" { attr = 'x' }", None),
            ("1.2-rc1 # x", Some("1.2-rc1")),
        ] {
            assert_eq!(written(text), version, "{text}");
        }
    }
}
