//! The structure of the code: floors, cycles, promises, lengths, the home of `unsafe`, citations, names, and statements of the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod citations;
mod documents;
mod imports;
mod names;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a file of `src` may have, its inline tests at the end not counted. What holds only tests may have more: a table of cases
/// is read row by row.
const LONGEST: usize = 300;
const LONGEST_TESTS: usize = 500;

/// Files that are longer, and why: none. One that is no longer needed is refused.
const LONG: &[(&str, &str)] = &[];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn example(path: &str, text: &str) -> Self {
        Self { path: root().join("src").join(path), text: text.to_owned() }
    }

    /// The path below `src`, or the whole path of what is not there.
    fn below_src(&self) -> String {
        self.path.strip_prefix(root().join("src")).unwrap_or(&self.path).display().to_string()
    }

    /// Whether this is of that module: its file, or below its folder.
    fn is_of(&self, module: &str) -> bool {
        let path = self.below_src();
        path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
    }

    /// Whether nothing but tests is in it: it is called `tests.rs` or lies in a folder `tests`.
    fn is_tests(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.components().any(|part| part.as_os_str() == "tests")
    }

    /// The lines before the inline tests at the end of the file, numbered from 1.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").map_or(self.text.len(), |at| at + 1);
        self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Those of them that are no comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.production().filter(|(_, line)| !line.trim_start().starts_with("//"))
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
fn none<T: Display>(what: &str, found: &[T]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "));
}

/// What is in `scripts` and `docker`, beside Rust: paths and texts.
fn scripts() -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![root().join("scripts"), root().join("docker")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder of scripts") {
            let path = entry.expect("read a folder of scripts").path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.strip_prefix(root()).expect("below the root").display().to_string(), text));
            }
        }
    }
    found
}

#[test]
fn each_file_begins_with_its_promise() {
    let all = below("src").into_iter().chain(below("tests"));
    let wrong = all.filter(|source| !source.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 20));
    none("the first line is no promise", &wrong.map(|source| source.at(1)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_long_and_none_is_called_mod() {
    let mut idle: BTreeSet<&str> = LONG.iter().map(|(path, _)| *path).collect();
    let mut long = Vec::new();
    for source in below("src") {
        let (count, most) =
            if source.is_tests() { (source.text.lines().count(), LONGEST_TESTS) } else { (source.production().count(), LONGEST) };
        if count > most && !idle.remove(source.below_src().as_str()) {
            long.push(format!("{}: {count}, at most {most}", source.at(1)));
        }
    }
    none("too long: which second promise is in it?", &long);
    none("no longer too long: take them off the list", &idle.into_iter().collect::<Vec<_>>());
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

#[test]
fn unsafe_has_one_home() {
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")) {
        if source.is_of("sys") || source.path.ends_with("tests/tidy/main.rs") {
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
    for source in below("src").into_iter().filter(|source| source.is_of("state") && !source.is_tests()) {
        let found = source.code().filter(|(_, line)| banned.iter().any(|word| line.contains(word)));
        wrong.extend(found.map(|(number, line)| format!("{}: {}", source.at(number), line.trim())));
    }
    none("the state decides and does nothing", &wrong);
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")) {
        if source.path.ends_with("tests/tidy/main.rs") {
            continue;
        }
        let left = ["#[ignore", "TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
        let found = source.text.lines().enumerate().filter(|(_, line)| left.iter().any(|word| line.contains(word)));
        wrong.extend(found.map(|(index, line)| format!("{}: {}", source.at(index + 1), line.trim())));
    }
    none("ignored or left to do", &wrong);
}
