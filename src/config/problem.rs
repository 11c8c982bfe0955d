//! The errors of a configuration, collected, each with the place where it was written.

use std::fmt;

use crate::config::origin::Origin;
use crate::exit::Exit;
use crate::secret::scrub;
use crate::visible;

/// One configuration error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written; none if something is missing altogether.
    pub origin: Option<Origin>,
    /// What is wrong and what to write instead; one line without secrets.
    pub text: String,
    /// Whether it is an error of the command line (exit 64) instead of the configuration (exit 78).
    pub usage: bool,
    /// The exit code of a `[[refuse]]` that applies; none for an error.
    pub refusal: Option<u8>,
}

impl Problem {
    /// A problem of the configuration at `origin`.
    pub fn at(origin: &Origin, text: impl AsRef<str>) -> Self {
        Self { origin: Some(origin.clone()), text: scrubbed_line(text.as_ref()), usage: false, refusal: None }
    }

    /// A start that `[[refuse]]` refuses: its message, and the exit code.
    pub fn refused(origin: &Origin, words: impl AsRef<str>, code: u8) -> Self {
        Self { refusal: Some(code), ..Self::at(origin, words) }
    }

    /// Something that is missing in the configuration.
    pub fn missing(text: impl AsRef<str>) -> Self {
        Self { origin: None, text: scrubbed_line(text.as_ref()), usage: false, refusal: None }
    }

    /// A command line that does not fit the configuration.
    pub fn usage(text: impl AsRef<str>) -> Self {
        Self { origin: None, text: scrubbed_line(text.as_ref()), usage: true, refusal: None }
    }
}

/// One line without secrets, in which a carriage return at the end of a value is visible.
fn scrubbed_line(text: &str) -> String {
    visible::line(&scrub(text)).into_owned()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) if self.refusal.is_none() => write!(f, "{origin}: {}", self.text),
            _ => f.write_str(&self.text),
        }
    }
}

/// All problems of one configuration, in the order of their places; printed one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts by place and drops duplicates; none without a problem.
    pub fn new(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|a, b| a.origin.is_none().cmp(&b.origin.is_none()).then_with(|| a.origin.cmp(&b.origin)));
        // Nothing else is done where the start is refused, so nothing else is wrong.
        let refuses = |problem: &Problem| problem.refusal.is_some();
        // That nothing is started without being a failure excuses nothing that is wrong.
        let is_failure = problems.iter().any(|problem| problem.refusal != Some(0));
        problems.retain(|problem| problem.refusal != Some(0) || !is_failure);
        if problems.iter().any(refuses) {
            problems.retain(refuses);
        }
        let mut unique: Vec<Problem> = Vec::with_capacity(problems.len());
        for problem in problems {
            if !unique.contains(&problem) {
                unique.push(problem);
            }
        }
        (!unique.is_empty()).then_some(Self(unique))
    }

    /// Each problem, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Whether the start is refused, as opposed to an error.
    pub fn are_refusals(&self) -> bool {
        self.0.iter().any(|problem| problem.refusal.is_some())
    }

    /// The exit code: that of the first refusal, else [`exit`](Self::exit).
    pub fn code(&self) -> u8 {
        self.0.iter().find_map(|problem| problem.refusal).unwrap_or_else(|| self.exit().code())
    }

    /// 64 if only the command line is wrong, else 78.
    pub fn exit(&self) -> Exit {
        if self.0.iter().all(|problem| problem.usage) { Exit::Usage } else { Exit::Config }
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The name among `known` that `written` most likely means; none if nothing is similar.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKELY: f64 = 0.75;
    let likeness = |name: &str| strsim::jaro_winkler(&written.to_lowercase(), &name.to_lowercase());
    known
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= LIKELY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A longer list of names does not help in one line.
const MOST_LISTED: usize = 12;

/// The end of a message: `; did you mean …?` if a name is similar, else the known names unless they are many.
pub fn suggest<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = nearest(written, known.clone()) {
        return format!("; did you mean `{name}`?");
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() || names.len() > MOST_LISTED { String::new() } else { format!("; known: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["wait", "interval", "timeout", "affects"];
        assert_eq!(nearest("waits", known), Some("wait"));
        assert_eq!(nearest("Timout", known), Some("timeout"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(suggest("xyz", ["a", "b"]), "; known: `a`, `b`");
        assert_eq!(suggest("xyz", []), "");
    }

    #[test]
    fn problems_come_in_the_order_of_their_places_and_once() {
        let at = |line| Problem::at(&Origin::File { path: "p.toml".into(), line, column: 1 }, "wrong");
        let problems = Problems::new(vec![Problem::missing("no command"), at(7), at(2), at(7)]).unwrap();
        assert_eq!(problems.to_string(), "p.toml:2:1: wrong\np.toml:7:1: wrong\nno command");
        assert_eq!(problems.exit(), Exit::Config);
        assert_eq!(Problems::new(vec![Problem::usage("too many")]).unwrap().exit(), Exit::Usage);
        assert_eq!(Problems::new(vec![]), None);
    }
}
