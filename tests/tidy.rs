//! The shape of the house: floors, promises, the home of `unsafe`, and the licences of what is linked in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each module of `src` and its floor, in tenths so that one can be put in between. A module imports only from floors below its own; modules of one floor do not know each other,
/// but for the words (floor 0), which are one vocabulary.
const FLOORS: [(&str, u8); 29] = [
    ("visible", 0),
    ("secret", 0),
    ("outcome", 0),
    ("exit", 0),
    ("clock", 0),
    ("hooked", 0),
    ("sys", 0),
    ("log", 0),
    ("config", 10),
    ("names", 10),
    ("plan", 20),
    ("state", 30),
    ("mailbox", 35),
    ("published", 35),
    ("view", 40),
    ("process", 40),
    ("probe", 50),
    ("narrator", 60),
    ("prober", 60),
    ("migration", 60),
    ("registry", 60),
    ("server", 60),
    ("control", 60),
    ("supervisor", 70),
    ("command", 80),
    ("fuzzing", 90),
    ("cli", 90),
    ("lib", 90),
    ("main", 90),
];

/// Licences that may be linked into the binary.
const LICENCES: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "Apache-2.0 WITH LLVM-exception",
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The name under `src` of the module whose floor counts: `probe` for `probe/tcp.rs`.
    fn module(&self) -> String {
        let relative = self.path.strip_prefix(root().join("src")).unwrap_or(&self.path);
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines before the tests at the end of the file, comments left out, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_code = |(_, line): &(usize, &str)| !line.trim_start().starts_with("//");
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.take_while(|(_, line)| *line != "#[cfg(test)]").filter(is_code)
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.strip_prefix(root()).expect("below the root").display())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn below(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder of the house") {
            let path = entry.expect("read a folder of the house").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("read a source file");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn each_file_begins_with_its_promise() {
    let all = below("src").into_iter().chain(below("tests"));
    let wrong = all.filter(|source| !source.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 20));
    none("the first line is no promise", &wrong.map(|source| source.at(1)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_long_and_none_is_called_mod() {
    let long = below("src").into_iter().filter(|source| source.text.lines().count() > 500);
    none("over 500 lines: which second promise is in it?", &long.map(|source| source.at(500)).collect::<Vec<_>>());
    let named = below("src").into_iter().filter(|source| source.path.ends_with("mod.rs"));
    none("x.rs + x/, no mod.rs", &named.map(|source| source.at(1)).collect::<Vec<_>>());
}

#[test]
fn lines_end_without_blanks_and_files_with_one_line_end() {
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")) {
        let trailing = source.text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
        wrong.extend(trailing.map(|(index, _)| source.at(index + 1)));
        if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
            wrong.push(source.at(source.text.lines().count()));
        }
    }
    none("blanks at the end", &wrong);
}

/// The modules that a line names by `crate::module` or `portcullis::module`, also in `use crate::{a, b::c}`.
fn named(line: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for prefix in ["crate::", "portcullis::"] {
        for (index, _) in line.match_indices(prefix) {
            let before = line[..index].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &line[index + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let mut depth = 0;
                let mut word = String::new();
                for c in group.chars().chain([',']) {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth <= 0 => modules.push(std::mem::take(&mut word)),
                        c if depth == 0 => word.push(c),
                        _ => {}
                    }
                }
            } else {
                modules.push(rest.to_owned());
            }
        }
    }
    let name = |text: &String| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    modules.iter().map(name).filter(|name| name.chars().next().is_some_and(char::is_lowercase)).collect()
}

#[test]
fn a_module_imports_only_from_floors_below() {
    let floors: BTreeMap<&str, u8> = FLOORS.into();
    let mut wrong = Vec::new();
    for source in below("src") {
        let own = source.module();
        let Some(floor) = floors.get(own.as_str()) else {
            wrong.push(format!("{}: give {own} a floor in tests/tidy.rs", source.at(1)));
            continue;
        };
        for (number, line) in source.code() {
            for other in named(line).into_iter().filter(|other| *other != own) {
                let upward =
                    floors.get(other.as_str()).is_some_and(|theirs| theirs > floor || theirs == floor && *floor > 0 && *floor < 90);
                if upward {
                    wrong.push(format!("{}: {own} (floor {floor}) names {other}", source.at(number)));
                }
            }
        }
    }
    none("upward or sideways imports", &wrong);
}

#[test]
fn imports_are_recognised() {
    assert_eq!(named("use crate::plan::argv::Argv;"), ["plan"]);
    assert_eq!(named("use crate::{clock::Moment, state::{check, event}, exit};"), ["clock", "state", "exit"]);
    assert_eq!(named("    let x = crate::secret::scrub(portcullis::cli::y);"), ["secret", "cli"]);
    assert_eq!(named("pub(crate) fn x(y: othercrate::z) {}"), Vec::<String>::new());
}

#[test]
fn unsafe_has_one_home() {
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")) {
        if source.module() == "sys" || source.path.ends_with("tests/tidy.rs") {
            continue;
        }
        let in_main = source.path.ends_with("src/main.rs");
        for (number, line) in source.code() {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let is_section = in_main && line.contains("#[unsafe(link_section");
            if words.into_iter().any(|word| word == "unsafe") && !is_section {
                wrong.push(source.at(number));
            }
        }
    }
    none("unsafe outside src/sys.rs and src/sys/", &wrong);
}

#[test]
fn the_state_knows_no_runtime_no_network_and_no_clock() {
    let banned =
        ["tokio", "hyper", "redis::", "std::net", "std::io", "std::fs", "std::thread", "Instant::now", "SystemTime", "Moment::now"];
    let mut wrong = Vec::new();
    for source in below("src").into_iter().filter(|source| source.module() == "state" && !source.path.ends_with("tests.rs")) {
        let found = source.code().filter(|(_, line)| banned.iter().any(|word| line.contains(word)));
        wrong.extend(found.map(|(number, line)| format!("{}: {}", source.at(number), line.trim())));
    }
    none("the state decides and does nothing", &wrong);
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")) {
        if source.path.ends_with("tests/tidy.rs") {
            continue;
        }
        let left = ["#[ignore", "TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
        let found = source.text.lines().enumerate().filter(|(_, line)| left.iter().any(|word| line.contains(word)));
        wrong.extend(found.map(|(index, line)| format!("{}: {}", source.at(index + 1), line.trim())));
    }
    none("ignored or left to do", &wrong);
}

/// Whether an SPDX expression can be satisfied by allowed licences: one side of an `OR`, both of an `AND`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut position = 0;
    let verdict = any_of(&words, &mut position);
    verdict && position == words.len()
}

fn any_of(words: &[&str], position: &mut usize) -> bool {
    let mut verdict = all_of(words, position);
    while words.get(*position) == Some(&"OR") {
        *position += 1;
        verdict |= all_of(words, position);
    }
    verdict
}

fn all_of(words: &[&str], position: &mut usize) -> bool {
    let mut verdict = one(words, position);
    while words.get(*position) == Some(&"AND") {
        *position += 1;
        verdict &= one(words, position);
    }
    verdict
}

fn one(words: &[&str], position: &mut usize) -> bool {
    let Some(word) = words.get(*position) else { return false };
    *position += 1;
    if *word == "(" {
        let verdict = any_of(words, position);
        *position += 1;
        return verdict;
    }
    if words.get(*position) == Some(&"WITH") {
        let exception = words.get(*position + 1).copied().unwrap_or_default();
        *position += 2;
        return LICENCES.contains(&format!("{word} WITH {exception}").as_str());
    }
    LICENCES.contains(word)
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0 OR (MIT AND ISC)",
        "MIT/Apache-2.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in
        ["", "GPL-3.0", "MPL-2.0", "MIT AND GPL-3.0", "(MIT AND MPL-2.0) OR GPL-2.0", "GPL-2.0 WITH Classpath-exception-2.0", "MIT GPL-3.0"]
    {
        assert!(!allowed(bad), "{bad}");
    }
}

#[test]
fn every_crate_in_the_binary_has_an_allowed_licence() {
    let cargo = env!("CARGO");
    let filter = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(["metadata", "--format-version", "1", "--locked"]).args(filter).current_dir(root()).output();
    let output = output.expect("run cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let linked = linked(&metadata);
    assert!(linked.len() > 5, "only {linked:?}");
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let licence = package["license"].as_str().unwrap_or_default();
        if linked.contains(package["id"].as_str().expect("an id")) && !allowed(licence) {
            wrong.push(format!("{} {}: {licence:?}", package["name"], package["version"]));
        }
    }
    none("licences that are not on the list", &wrong);
}

/// The packages that the binary is made of or made with: normal and build dependencies, transitively; what only tests use is left out.
fn linked(metadata: &serde_json::Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let by_id: BTreeMap<&str, &serde_json::Value> = nodes.iter().map(|node| (node["id"].as_str().expect("an id"), node)).collect();
    let mut found = BTreeSet::new();
    let mut open = vec![metadata["resolve"]["root"].as_str().expect("a root")];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        for dependency in by_id[id]["deps"].as_array().expect("dependencies") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                open.push(dependency["pkg"].as_str().expect("a package"));
            }
        }
    }
    found
}

#[test]
fn the_readme_tells_every_exit_code_as_the_code_does() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    for (exit, meaning) in portcullis::exit::Exit::TABLE {
        if exit.code() != 0 {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(readme.contains(&row), "the README lacks this row: {row}");
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let model = fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    let rows: Vec<&str> = model.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| Test |")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let sources: String = below("src").into_iter().chain(below("tests")).map(|source| source.text).collect();
    let mut wrong = Vec::new();
    for row in rows {
        let named = row.rsplit('|').nth(1).map(str::trim).unwrap_or_default();
        match named.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            // Those of the supervisors that panic have no functions of their own and print their names.
            Some(name) if sources.contains(&format!("fn {name}()")) || sources.contains(&format!("test {name} ...")) => {}
            None if named == "\u{2014}" && row.starts_with("| **can**") => {}
            _ => wrong.push(row.to_owned()),
        }
    }
    none("lines of SECURITY.md without their test", &wrong);
}

#[test]
fn what_the_readme_takes_from_a_file_is_in_that_file() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let taken: Vec<_> = readme.split("<!-- from ").skip(1).collect();
    assert!(taken.len() >= 4, "{taken:?}");
    for text in taken {
        let (path, after) = text.split_once(" -->\n```").expect("a path and a block");
        let block = after.split_once('\n').and_then(|(_, block)| block.split_once("\n```")).expect("a whole block").0;
        let file = fs::read_to_string(root().join(path)).expect(path);
        assert!(file.contains(block), "not in {path}:\n{block}");
    }
}

/// Every key that an object of this schema may have.
fn keys_of(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    let children: Vec<&serde_json::Value> = match schema {
        serde_json::Value::Object(object) => object.values().collect(),
        serde_json::Value::Array(items) => items.iter().collect(),
        _ => return,
    };
    if let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) {
        found.extend(properties.keys().cloned());
    }
    for child in children {
        keys_of(child, found);
    }
}

#[test]
fn the_readme_names_every_key_of_the_configuration() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let odd = |text: &str, between: &str| text.split(between).skip(1).step_by(2).collect::<Vec<_>>().join(" ");
    let blocks = odd(&readme, "```");
    let prose: String = readme.split("```").step_by(2).collect();
    let code = format!("{blocks} {}", odd(&prose, "`"));
    let words: BTreeSet<&str> = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let mut keys = BTreeSet::new();
    keys_of(&portcullis::plan::resolve::schema(), &mut keys);
    assert!(keys.len() > 100, "{keys:?}");
    let missing: Vec<String> = keys.into_iter().filter(|key| !words.contains(key.as_str())).collect();
    none("keys that the README does not name", &missing);
}
