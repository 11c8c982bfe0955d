//! Ten thousand configurations, each a preset or an example with one changed line: the schema and the reader accept and refuse the same
//! ones. Every other run is that of an ad-hoc command, which does not use all sections.
//!
//! If the schema cannot know, the case is not compared. That is: the value of a variable, combinations of several keys, a name that another
//! part of the file has to define, the bounds of a duration and of a number in a string, and errors inside a URL.

use std::path::{Path, PathBuf};

use portcullis::config::preset;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::{self, RunOptions};
use serde_json::{Value, json};

use crate::schema::{WRONG, validate};
use crate::support::{Dir, Portcullis, slow};

const CASES: usize = 10_000;

/// What takes the place of a value.
const VALUES: [&str; 24] = [
    "0",
    "7",
    "-1",
    "70000",
    "1.5",
    "true",
    "[]",
    "['a']",
    "[7]",
    "{}",
    "{ a = 'b' }",
    "1979-05-27",
    "''",
    "'x'",
    "'60s'",
    "'1 day'",
    "'soon'",
    "'true'",
    "'none'",
    "'never'",
    "'${SET}'",
    "'TERM'",
    "'0027'",
    "\"a\\u0000b\"",
];

/// The configurations that are changed: every preset, and every example of the repository.
fn seeds() -> Vec<String> {
    let mut seeds: Vec<String> = preset::names().filter_map(|name| preset::find(name).ok()).map(|(_, text)| text.to_owned()).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for directory in ["docker/demo", "docker/example"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                seeds.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    seeds
}

/// The key and the value of a line that has both and is whole.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let balanced = value.matches(['[', '{']).count() == value.matches([']', '}']).count();
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    (bare && balanced && !value.contains("\"\"\"")).then_some((key, value))
}

/// `seed` with one line changed: another value, a misspelt key, a further key, a value of another line, or without the line.
fn changed(seed: &str, keys: &[String], random: &mut fastrand::Rng) -> String {
    let mut lines: Vec<String> = seed.lines().map(str::to_owned).collect();
    let whole: Vec<usize> = (0..lines.len()).filter(|index| assignment(&lines[*index]).is_some()).collect();
    let at = whole[random.usize(..whole.len())];
    let (key, value) = assignment(&lines[at]).map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    let other = VALUES[random.usize(..VALUES.len())];
    match random.u8(..6) {
        0 | 1 => lines[at] = format!("{key} = {other}"),
        2 => lines[at] = format!("{}x = {value}", key.trim_end_matches('s')),
        3 => lines.insert(at + 1, format!("{} = {other}", keys[random.usize(..keys.len())])),
        4 => {
            let from = whole[random.usize(..whole.len())];
            lines[at] = format!("{key} = {}", assignment(&lines[from]).unwrap().1);
        }
        _ => drop(lines.remove(at)),
    }
    lines.join("\n")
}

/// Every key of the schema, wherever it stands.
fn keys(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|below| keys(below, found));
        }
        Value::Array(items) => items.iter().for_each(|below| keys(below, found)),
        _ => {}
    }
}

/// What the reader says, if the arguments are an ad-hoc command with `exec`: none where it takes it.
fn complaints(file: &Path, toml: &str, exec: bool) -> Option<Vec<String>> {
    std::fs::write(file, toml).unwrap();
    // Every variable that a preset names is set to something that fits most places.
    let names = toml.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next()).filter(|name| !name.starts_with('@'));
    let environment = Environment::new(names.map(|name| (name, if name.ends_with("URL") { "redis://h:1/1" } else { "1" })));
    let request = RunOptions { file: Some(file.to_owned()), arguments: vec!["true".to_owned()], exec, ..RunOptions::default() };
    let problems = resolve::resolve(&request, &environment).err()?;
    Some(problems.iter().map(ToString::to_string).collect())
}

/// Whether the schema has to refuse what the reader says; none where it cannot know.
fn refused(complaints: Option<&[String]>) -> Option<bool> {
    let Some(complaints) = complaints else { return Some(false) };
    let of_schema = |reported: &String| {
        let by_variable = reported.contains(", from ") || reported.contains("environment variable");
        let number_in_text = reported.contains("whole number from") && !reported.contains("from -1") && reported.contains(" is `");
        !by_variable && !number_in_text && WRONG.iter().any(|wrong| reported.contains(wrong))
    };
    complaints.iter().any(of_schema).then_some(true)
}

#[test]
fn ten_thousand_changed_configurations_are_judged_alike() {
    if !slow("ten_thousand_changed_configurations_are_judged_alike") {
        return;
    }
    let schema: Value = serde_json::from_str(&Portcullis::new().args(["schema"]).output().exits(0).stdout).unwrap();
    let (mut known, seeds, dir) = (Vec::new(), seeds(), Dir::new());
    keys(&schema, &mut known);
    assert!(seeds.len() > 20 && known.len() > 200, "{} {}", seeds.len(), known.len());
    let file = dir.path().join("portcullis.toml");
    let mut random = fastrand::Rng::with_seed(20_261_129);
    let mut cases = Vec::new();
    while cases.len() < CASES {
        let toml = changed(&seeds[random.usize(..seeds.len())], &known, &mut random);
        let reported = complaints(&file, &toml, cases.len() % 2 == 1);
        // A text that is no longer TOML, for example because of a duplicate key, is not judged.
        if reported.as_ref().is_some_and(|reported| reported.iter().any(|reported| reported.contains("TOML") || reported.contains("twice")))
        {
            continue;
        }
        cases.push(json!({ "toml": toml, "refused": refused(reported.as_deref()), "why": reported }));
    }
    let count = |wanted: Option<bool>| cases.iter().filter(|case| case["refused"].as_bool() == wanted).count();
    let (taken, refused, open) = (count(Some(false)), count(Some(true)), count(None));
    println!("{taken} taken, {refused} refused, {open} that the schema cannot know");
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused, {open} open");
    let reported = validate(&dir, &json!({ "schema": schema, "cases": cases }));
    assert!(reported.ends_with("agree"), "{reported}");
}
