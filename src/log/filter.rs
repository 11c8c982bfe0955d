//! Which events are written: `PORTCULLIS_LOG`, a level for all, or levels for targets that begin with a name.

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// Levels by prefixes of targets, and one for all others.
#[derive(Debug)]
pub(super) struct Filter {
    rest: LevelFilter,
    /// The longest first.
    targets: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// `info` for everything.
    pub(super) const fn usual() -> Self {
        Self { rest: LevelFilter::INFO, targets: Vec::new() }
    }

    /// Reads `level` or `target=level`, several with commas; without a plain level, other targets are not written. A plain word that is not
    /// a level would count as a target's name, and silence all others.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::usual());
        }
        let mut filter = Self { rest: LevelFilter::OFF, targets: Vec::new() };
        for part in text.split(',').map(str::trim) {
            let (target, word) = part.split_once('=').map_or((None, part), |(target, word)| (Some(target), word));
            // An empty word would be `error`.
            let level = Some(word).filter(|word| !word.is_empty()).and_then(|word| word.parse().ok());
            let level = level.ok_or_else(|| format!("`{word}` is not one of error, warn, info, debug, trace, off"))?;
            match target {
                Some(target) => filter.put(target, level),
                None => filter.rest = level,
            }
        }
        Ok(filter)
    }

    /// The same with this level for targets with this prefix.
    #[must_use]
    pub(super) fn with(mut self, target: &str, level: LevelFilter) -> Self {
        self.put(target, level);
        self
    }

    fn put(&mut self, target: &str, level: LevelFilter) {
        self.targets.retain(|(known, _)| known != target);
        self.targets.push((target.to_owned(), level));
        self.targets.sort_unstable_by_key(|(target, _)| std::cmp::Reverse(target.len()));
    }

    /// Whether this event is written.
    pub(super) fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        let own = self.targets.iter().find(|(target, _)| metadata.target().starts_with(target.as_str()));
        *metadata.level() <= own.map_or(self.rest, |(_, level)| *level)
    }

    /// The most detailed level that may be written.
    pub(super) fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).chain([self.rest]).max().unwrap_or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_a_complaint_and_not_silence() {
        for filter in ["", "info", "WARN", "off", "info,portcullis::prober=trace", "info, h2=off"] {
            assert!(Filter::parse(filter).is_ok(), "{filter}");
        }
        for filter in ["verbose", "warning", "info,loud", "portcullis=loud", "portcullis="] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn the_longest_beginning_decides_whatever_the_order() {
        let filter = Filter::parse("a=off,a::b=debug,warn").unwrap().with("a::b::c", LevelFilter::ERROR);
        let level =
            |target: &str| filter.targets.iter().find(|(known, _)| target.starts_with(known)).map_or(filter.rest, |(_, level)| *level);
        for (target, expected) in [
            ("a", LevelFilter::OFF),
            ("a::x", LevelFilter::OFF),
            ("a::b", LevelFilter::DEBUG),
            ("a::b::c", LevelFilter::ERROR),
            ("z", LevelFilter::WARN),
        ] {
            assert_eq!(level(target), expected, "{target}");
        }
        assert_eq!(filter.most(), LevelFilter::DEBUG);
        assert_eq!(Filter::parse("a=info").unwrap().rest, LevelFilter::OFF);
    }
}
