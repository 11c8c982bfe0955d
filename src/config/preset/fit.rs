//! Looks which version of its application a preset stands in, and says when that is not the preset's own.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::node::{Entry, Node, Table, Value};
use crate::config::preset::find;
use crate::config::preset::version::{Version, written};
use crate::config::problem::{Problem, suggest};
use crate::config::source::{Environment, open_file};

/// As much of a file as is looked at.
const LARGEST: u64 = 256 * 1024;

/// The keys of `[preset]`: files that say the application's version, and files whose name says the version of what is installed.
const KEYS: [&str; 2] = ["version_files", "needs"];
/// The keys of one of the `version_files`: the first line that begins with `after` says the version behind it.
const VERSION_FILE: [&str; 2] = ["file", "after"];
/// The keys of one of the `needs`: `*` in `file` is any part of a name, the last one the version, which is to be `least` or more.
const NEED: [&str; 2] = ["file", "least"];

/// The keys of a document that lies over a preset, with the JSON Schema of each.
pub fn schema() -> [(&'static str, serde_json::Value); 3] {
    let text = json!({ "type": "string" });
    let rows = |[first, second]: [&str; 2]| {
        let row = json!({ "type": "object", "properties": { first: text, second: text }, "additionalProperties": false, "required": [first, second] });
        json!({ "type": "array", "items": row })
    };
    let properties = json!({ KEYS[0]: rows(VERSION_FILE), KEYS[1]: rows(NEED) });
    let section = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    [("extends", text.clone()), ("without", json!({ "type": "array", "items": text })), ("preset", section)]
}

/// Reads `[preset]` and looks; `chosen` is the preset's own name. What differs is a notice, what cannot be found none.
pub fn look(section: &Entry, chosen: Option<&str>, environment: &Environment, problems: &mut Vec<Problem>, notices: &mut Vec<String>) {
    let Value::Table(table) = &section.node.value else {
        problems.push(Problem::at(&section.node.origin, format!("[preset] is {}; a table is wanted", section.node.value.kind())));
        return;
    };
    unknown(table, "preset", &KEYS, problems);
    let version_files = rows(table, "version_files", &VERSION_FILE, problems);
    let needs = rows(table, "needs", &NEED, problems);
    let Some(chosen) = chosen else { return };
    let said = version_files.iter().find_map(|[file, after]| Some((file, version_in(&environment.place(file), after)?)));
    if let Some((file, version)) = said {
        let family = chosen.split('@').next().unwrap_or_default();
        let wanted = format!("{family}@{version}");
        match find(&wanted) {
            Ok((own, _)) if own == chosen => {}
            Ok(_) => notices.push(format!("{file} says version {version}, and the preset {chosen} is another's: take {wanted}")),
            Err(why) => notices.push(format!("{file} says version {version}, and the preset {chosen} is another's: {why}")),
        }
    }
    for [file, least] in &needs {
        let Some((found, version)) = installed(&environment.place(file)) else { continue };
        if Version::parse(&version) < Version::parse(least) {
            let found = found.display();
            notices.push(format!("{found} is version {version}, and the preset {chosen} needs {least} or newer"));
        }
    }
}

fn unknown(table: &Table, path: &str, known: &[&str], problems: &mut Vec<Problem>) {
    for Entry { key, origin, .. } in table.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let near = suggest(key, known.iter().copied());
        problems.push(Problem::at(origin, format!("unknown key `{key}` in [{path}]{near}")));
    }
}

/// The tables of the list `key`, each with the texts of these two keys.
fn rows(table: &Table, key: &str, keys: &[&str; 2], problems: &mut Vec<Problem>) -> Vec<[String; 2]> {
    let Some(Entry { node, .. }) = table.get(key) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        problems.push(Problem::at(&node.origin, format!("`{key}` in [preset] is {}; a list is wanted", node.value.kind())));
        return Vec::new();
    };
    let path = format!("preset.{key}");
    let mut row = |item: &Node| {
        let Value::Table(table) = &item.value else {
            problems.push(Problem::at(&item.origin, format!("`{key}` in [preset] holds {}; a table is wanted", item.value.kind())));
            return None;
        };
        unknown(table, &path, keys, problems);
        let mut text = |key: &str| match table.get(key).map(|entry| &entry.node) {
            Some(Node { value: Value::String(text), .. }) => Some(text.clone()),
            Some(Node { value, origin }) => {
                problems.push(Problem::at(origin, format!("`{key}` in [{path}] is {}; a string is wanted", value.kind())));
                None
            }
            None => {
                problems.push(Problem::at(&item.origin, format!("[{path}] lacks `{key}`")));
                None
            }
        };
        let [first, second] = *keys;
        let (first, second) = (text(first), text(second));
        Some([first?, second?])
    };
    items.iter().filter_map(&mut row).collect()
}

/// The version behind `after` in the first line that begins with it.
fn version_in(path: &Path, after: &str) -> Option<String> {
    let mut text = Vec::new();
    open_file(path).ok()?.take(LARGEST).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| written(line.trim_start().strip_prefix(after)?)).map(str::to_owned)
}

/// What is there of this pattern, and the version that its name says.
fn installed(pattern: &Path) -> Option<(PathBuf, String)> {
    let mut found = vec![(PathBuf::new(), None)];
    for part in pattern {
        let part = part.to_str()?;
        let Some((before, after)) = part.split_once('*') else {
            for (path, _) in &mut found {
                path.push(part);
            }
            continue;
        };
        let mut below = Vec::new();
        for (path, _) in found {
            for name in std::fs::read_dir(&path).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                if let Some(any) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
                    below.push((path.join(&name), Some(any.to_owned())));
                }
            }
        }
        found = below;
    }
    found.into_iter().find_map(|(path, any)| any.filter(|any| Version::parse(any).is_some()).map(|version| (path, version)))
}
