//! The result of one start: every call, the end, and the files afterwards; as a line of a recording, and for comparison.

use super::case::{Case, Cases, Otherwise};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One call of a program.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Call {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// User, group and other groups, umask, working directory.
    #[serde(rename = "as")]
    pub attributes: String,
    /// Variables that the container was not started with, or with other values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Variables that the container was started with and the call has not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unset: BTreeSet<String>,
    /// What it was handed on stdin.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// One start: a line of `NAME.jsonl`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub case: String,
    /// None: it ran until it was ended.
    pub exit: Option<i32>,
    pub calls: Vec<Call>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(String, String)>,
}

/// What bash, the tests and portcullis need themselves.
const OWN: [&str; 6] = ["_", "PWD", "OLDPWD", "SHLVL", "IT_RUN", "BASH_EXECUTION_STRING"];

/// The calls that were written down, in order.
pub fn calls(root: &Path, given: &BTreeMap<String, String>, random: &[String]) -> Vec<Call> {
    let mut names: Vec<_> = std::fs::read_dir(root.join("box/calls")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().filter_map(|name| call(&std::fs::read(name).unwrap(), given, random)).collect()
}

/// How many of the calls are not portcullis' alone.
pub fn shared(calls: &[Call], cases: &Cases, case: &Case) -> usize {
    calls.iter().filter(|call| !call.is(&cases.otherwise.with) && !call.is(&case.otherwise.with)).count()
}

/// None: not all of it is there yet.
fn call(bytes: &[u8], given: &BTreeMap<String, String>, random: &[String]) -> Option<Call> {
    let bytes = bytes.strip_suffix(b"\0end of call\0")?;
    let mut words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let program = words.next()?;
    let count: usize = words.next()?.parse().ok()?;
    let run: Vec<String> = std::iter::once(program).chain(words.by_ref().take(count)).collect();
    let [directory, umask, uid, gid, groups, has_input, input] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let groups = groups.split_whitespace().filter(|group| *group != gid).collect::<Vec<_>>().join(",");
    let groups = if groups.is_empty() { groups } else { format!("+{groups}") };
    let attributes = format!("{uid}:{gid}{groups} {umask} {directory}");
    let now: BTreeMap<String, String> =
        words.filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    let ours = |name: &String| OWN.contains(&name.as_str()) || name.starts_with("PORTCULLIS_");
    let set = now.iter().filter(|(name, value)| !ours(name) && given.get(*name) != Some(*value)).map(|(name, value)| {
        let value = if random.contains(name) { "random".to_owned() } else { value.clone() };
        (name.clone(), value)
    });
    let unset = given.keys().filter(|name| !ours(name) && !now.contains_key(*name)).cloned().collect();
    Some(Call { run, attributes, set: set.collect(), unset, input: (has_input == "1").then_some(input) })
}

impl Call {
    /// Whether one of these patterns fits it.
    pub fn is(&self, patterns: &[String]) -> bool {
        let words = self.run.join(" ");
        patterns.iter().any(|pattern| matches(pattern, &words))
    }
}

/// A pattern with `*` alone.
fn matches(pattern: &str, words: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == words };
    let Some(words) = words.strip_prefix(head) else { return false };
    rest.is_empty() || (0..=words.len()).filter(|at| words.is_char_boundary(*at)).any(|at| matches(rest, &words[at..]))
}

impl Outcome {
    /// What portcullis is held to: the script's outcome with what is otherwise on purpose.
    pub fn expected(mut self, cases: &Cases, case: &Case) -> Self {
        for otherwise in [&cases.otherwise, &case.otherwise] {
            self.calls.retain(|call| !call.is(&otherwise.without));
            if let Some(count) = otherwise.calls {
                self.calls.truncate(count);
            }
            self.exit = otherwise.exit.map_or(self.exit, |code| (code >= 0).then_some(code));
        }
        self.compared(cases, case)
    }

    /// What portcullis did, without what it does on purpose beside the script.
    pub fn seen(mut self, cases: &Cases, case: &Case) -> Self {
        for otherwise in [&cases.otherwise, &case.otherwise] {
            self.calls.retain(|call| !call.is(&otherwise.with));
        }
        self.compared(cases, case)
    }

    fn compared(mut self, cases: &Cases, case: &Case) -> Self {
        let both: [&Otherwise; 2] = [&cases.otherwise, &case.otherwise];
        for call in &mut self.calls {
            let of = both.iter().flat_map(|otherwise| &otherwise.env_of).filter(|(pattern, _)| matches(pattern, &call.run.join(" ")));
            let left: Vec<&String> = both.iter().flat_map(|otherwise| &otherwise.env).chain(of.flat_map(|(_, names)| names)).collect();
            call.set.retain(|name, _| !left.contains(&name));
            call.unset.retain(|name| !left.contains(&name));
        }
        self.files.retain(|(path, _)| !both.iter().any(|otherwise| otherwise.files.iter().any(|left| Path::new(path) == left)));
        for (path, what) in &mut self.files {
            if both.iter().any(|otherwise| otherwise.modes.iter().any(|other| Path::new(path) == other)) {
                what.replace_range(2..6, "mode");
            }
        }
        self.order(cases);
        self
    }

    /// Puts the calls that come in no order among themselves into one, after the others.
    pub fn order(&mut self, cases: &Cases) {
        let calls = std::mem::take(&mut self.calls);
        let (mut together, mut calls): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.is(&cases.image.together));
        together.sort();
        calls.append(&mut together);
        self.calls = calls;
    }

    /// How many calls come.
    pub fn count(&self) -> usize {
        self.calls.len()
    }

    /// The lines in which two outcomes differ.
    pub fn difference(&self, seen: &Self) -> Option<String> {
        let lines = |outcome: &Self| -> Vec<String> {
            let calls = outcome.calls.iter().map(|call| serde_json::to_string(call).unwrap());
            let files = outcome.files.iter().map(|(path, what)| format!("{path}: {what}"));
            calls.chain([format!("exit {:?}", outcome.exit)]).chain(files).collect()
        };
        let (wanted, found) = (lines(self), lines(seen));
        if wanted == found {
            return None;
        }
        let missing = wanted.iter().filter(|line| !found.contains(line)).map(|line| format!("  script     {line}\n"));
        let more = found.iter().filter(|line| !wanted.contains(line)).map(|line| format!("  portcullis {line}\n"));
        let reported: String = missing.chain(more).collect();
        Some(if reported.is_empty() { format!("  the order: {wanted:#?}\n  and not    {found:#?}\n") } else { reported })
    }
}
