//! The presets `dify` and `dify@0.15.3` compared with Dify's own entrypoint, and their additions.

mod alive;
pub mod diff;
mod law;
mod rows;
mod signals;
mod status;
mod versions;

use crate::support::StandIns;
use crate::support::portcullis::{Exit, Output};
use std::collections::BTreeMap;

const NEWEST: &str = "dify";
const OLD: &str = "dify@0.15.3";

/// The programs of Dify's image that its script calls.
const PROGRAMS: [&str; 4] = ["flask", "gunicorn", "celery", "python"];

type Variables = BTreeMap<String, String>;

/// What one start came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    calls: Vec<Vec<String>>,
    environments: Vec<Variables>,
    exit: Exit,
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Runs a preset without its waits, checks and servers, as the script runs.
fn start(preset: &str, given: &Variables, arguments: &[&str], programs: &StandIns) -> (Outcome, Output) {
    let mut run = programs.run(preset, arguments).env("PORTCULLIS_BARE", "true");
    for (name, value) in given {
        run = run.env(name, value);
    }
    let output = run.output();
    let calls = programs.calls();
    let environments = calls.iter().map(|call| call.env.clone()).collect();
    let outcome = Outcome { calls: calls.into_iter().map(|call| call.words).collect(), environments, exit: output.exit };
    (outcome, output)
}

/// The calls as lines, and the exit code, of a start with these variables.
fn reported(preset: &str, given: &[(&str, &str)], arguments: &[&str]) -> (Vec<String>, i32) {
    let (outcome, output) = start(preset, &variables(given), arguments, &StandIns::new(&PROGRAMS));
    let Exit::Code(code) = outcome.exit else { panic!("{given:?}: {output:?}") };
    (outcome.calls.iter().map(|words| words.join(" ")).collect(), code)
}
