//! Which module may import which: the floors of the table in `src/lib.rs`, and no cycle between the modules of any folder.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, below, none};

/// The segments of a module below the crate, `["state", "check"]`; the crate's root has none.
type Name = Vec<String>;

/// One `use` or one path in the code: its segments, the name it has here, and its line.
struct Path {
    segments: Name,
    alias: String,
    line: usize,
}

/// A module of the crate without what only tests see.
struct Module {
    source: Source,
    paths: Vec<Path>,
    imports: BTreeMap<String, Name>,
}

/// Words and signs of a Rust source with their lines; comments, strings, characters and items under `#[cfg(test)]` are left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    without_tests(&tokens_with_tests(text))
}

/// The same with the items under `#[cfg(test)]`.
pub(super) fn tokens_with_tests(text: &str) -> Vec<(usize, String)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut line, mut index) = (Vec::new(), 1, 0);
    while index < characters.len() {
        let begin = index;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < characters.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            'r' if (at(index + 1) == '"' || at(index + 1) == '#') && !is_word(at(index.wrapping_sub(1))) => {
                let fences = characters[index + 1..].iter().take_while(|c| **c == '#').count();
                index += fences + 2;
                let end: String = format!("\"{}", "#".repeat(fences));
                while index < characters.len() && !characters[index..].iter().take(end.len()).copied().eq(end.chars()) {
                    index += 1;
                }
                index += end.len();
            }
            '"' => {
                index += 1;
                while index < characters.len() && at(index) != '"' {
                    index += if at(index) == '\\' { 2 } else { 1 };
                }
                index += 1;
            }
            // A character, not a lifetime.
            '\'' if at(index + 1) == '\\' => {
                index += 3;
                while index < characters.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            '\'' if at(index + 2) == '\'' => index += 3,
            ':' if at(index + 1) == ':' => {
                found.push((line, "::".to_owned()));
                index += 2;
            }
            c if is_word(c) => {
                while is_word(at(index)) {
                    index += 1;
                }
                found.push((line, characters[begin..index].iter().collect()));
            }
            c => {
                if !c.is_whitespace() {
                    found.push((line, c.to_string()));
                }
                index += 1;
            }
        }
        line += characters[begin..index.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn without_tests(tokens: &[(usize, String)]) -> Vec<(usize, String)> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut index) = (Vec::new(), 0);
    while let Some(token) = tokens.get(index) {
        if !tokens[index..].iter().map(|(_, word)| word.as_str()).take(MARK.len()).eq(MARK) {
            kept.push(token.clone());
            index += 1;
            continue;
        }
        index += MARK.len();
        let mut depth = 0;
        while let Some((_, word)) = tokens.get(index) {
            index += 1;
            match word.as_str() {
                "(" | "[" | "{" => depth += 1,
                "}" if depth == 1 => break,
                ")" | "]" | "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// Reads one path, or a tree of them in braces, from `index` on; returns where it ends.
fn read_tree(tokens: &[(usize, String)], mut index: usize, mut segments: Name, found: &mut Vec<Path>) -> usize {
    let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
    let is_name = |word: &str| word.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    loop {
        match word(index) {
            "{" => {
                index += 1;
                while !matches!(word(index), "}" | "") {
                    index = if word(index) == "," { index + 1 } else { read_tree(tokens, index, segments.clone(), found) };
                }
                return index + 1;
            }
            name if is_name(name) => {
                let line = tokens[index].0;
                segments.push(name.to_owned());
                index += 1;
                if word(index) == "::" && (is_name(word(index + 1)) || matches!(word(index + 1), "{" | "*")) {
                    index += 1;
                    continue;
                }
                if segments.len() > 1 && name == "self" {
                    segments.pop();
                }
                let renamed = word(index) == "as";
                let alias = if renamed { word(index + 1) } else { segments.last().map_or("", String::as_str) }.to_owned();
                found.push(Path { segments, alias, line });
                return index + if renamed { 2 } else { 0 };
            }
            _ => {
                // `*`: everything of the module so far.
                found.push(Path { alias: String::new(), line: tokens.get(index).map_or(0, |(line, _)| *line), segments });
                return index + 1;
            }
        }
    }
}

/// The paths of a source that begin in this crate, what its `use` lines name, and the modules that it declares.
fn read(tokens: &[(usize, String)]) -> (Vec<Path>, BTreeMap<String, Name>, Vec<String>) {
    let (mut paths, mut imports, mut children, mut index) = (Vec::new(), BTreeMap::new(), Vec::new(), 0);
    let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
    while index < tokens.len() {
        let starts_path = matches!(word(index), "crate" | "super" | "self" | "portcullis") && word(index + 1) == "::";
        match word(index) {
            "use" => {
                let mut found = Vec::new();
                index = read_tree(tokens, index + 1, Vec::new(), &mut found);
                imports.extend(found.iter().map(|path| (path.alias.clone(), path.segments.clone())));
                paths.append(&mut found);
            }
            "mod" if word(index + 2) == ";" => {
                children.push(word(index + 1).to_owned());
                index += 3;
            }
            _ if starts_path && word(index.wrapping_sub(1)) != "::" => index = read_tree(tokens, index, Vec::new(), &mut paths),
            _ => index += 1,
        }
    }
    (paths, imports, children)
}

/// Every module that is built without tests, by its name.
fn modules(sources: Vec<Source>) -> BTreeMap<Name, Module> {
    let mut by_file: BTreeMap<String, Source> = sources.into_iter().map(|source| (source.below_src(), source)).collect();
    let (mut found, mut open) = (BTreeMap::new(), vec![Name::new(), vec!["main".to_owned()]]);
    while let Some(name) = open.pop() {
        let file = if name.is_empty() { "lib.rs".to_owned() } else { format!("{}.rs", name.join("/")) };
        let Some(source) = by_file.remove(&file) else { panic!("no file for the module {}", name.join("::")) };
        let (paths, imports, children) = read(&tokens(&source.text));
        open.extend(children.into_iter().map(|child| [name.clone(), vec![child]].concat()));
        found.insert(name, Module { source, paths, imports });
    }
    found
}

/// The module that a path seen in `from` leads to, through what modules import under another name; none for one of another crate.
fn target(modules: &BTreeMap<Name, Module>, from: &[String], path: &[String], depth: u8) -> Option<Name> {
    let (first, mut rest) = path.split_first()?;
    let mut here = from.to_vec();
    match first.as_str() {
        "crate" | "portcullis" => here.clear(),
        "self" => {}
        "super" => drop(here.pop()),
        _ => rest = path,
    }
    let is_relative = rest.len() == path.len();
    for (index, segment) in rest.iter().enumerate() {
        let child = [here.clone(), vec![segment.clone()]].concat();
        let import = modules.get(&here).and_then(|module| module.imports.get(segment));
        if segment == "super" {
            here.pop();
        } else if modules.contains_key(&child) {
            here = child;
        } else if let Some(import) = import.filter(|import| depth > 0 && import.as_slice() != path) {
            let whole = [import.clone(), rest[index + 1..].to_vec()].concat();
            return target(modules, &here, &whole, depth - 1);
        } else {
            return (!is_relative || index > 0).then_some(here);
        }
    }
    Some(here)
}

/// Every import: who, whom, and where.
fn edges(modules: &BTreeMap<Name, Module>) -> Vec<(&Name, Name, String)> {
    let mut found = Vec::new();
    for (name, module) in modules {
        for path in &module.paths {
            let other = target(modules, name, &path.segments, 8).filter(|other| other != name);
            found.extend(other.map(|other| (name, other, module.source.at(path.line))));
        }
    }
    found
}

/// The modules of each row of the table in `src/lib.rs`, from the lowest floor up.
fn floors(lib: &str) -> Vec<BTreeSet<String>> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | ")).skip_while(|row| !row.starts_with("floor |")).skip(1);
    rows.map(|row| row.split(" | ").nth(1).unwrap_or_default().split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect()
}

#[test]
fn a_module_imports_only_from_floors_below() {
    let modules = modules(below("src"));
    let floors = floors(&modules[&Name::new()].source.text);
    assert!(floors.len() > 5, "no table of floors in src/lib.rs: {floors:?}");
    let floor = |name: &Name| floors.iter().position(|row| row.contains(&name[0]));
    let tops: BTreeSet<&str> = modules.keys().filter(|name| name.len() == 1).map(|name| name[0].as_str()).collect();
    let listed: Vec<&str> = floors.iter().flatten().map(String::as_str).collect();
    none("modules without a row in the table of src/lib.rs", &tops.iter().filter(|top| !listed.contains(top)).collect::<Vec<_>>());
    none("rows of src/lib.rs without a module", &listed.iter().filter(|top| !tops.contains(*top)).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (name, other, at) in edges(&modules).into_iter().filter(|(name, other, _)| !name.is_empty() && !other.is_empty()) {
        let (own, theirs) = (floor(name), floor(&other));
        // The words of the lowest floor are one vocabulary, and the highest is the program itself.
        let among_equals = own == theirs && own > Some(0) && own < Some(floors.len() - 1);
        if name[0] != other[0] && (theirs > own || among_equals) {
            wrong.push(format!("{at}: {} imports {}", name[0], other[0]));
        }
    }
    none("upward or sideways imports", &wrong);
}

/// Modules of one folder that reach each other, with a line for each step between them.
///
/// A folder and the file of its name are one module with two sides: the children may use what that file defines, and it declares and uses
/// them. What counts are the children: none may reach itself over others of the same folder, deeper files counted as their child's.
fn circles(modules: &BTreeMap<Name, Module>) -> BTreeMap<String, Vec<String>> {
    let mut folders: BTreeMap<&[String], BTreeMap<(&str, String), String>> = BTreeMap::new();
    let edges = edges(modules);
    for (name, other, at) in &edges {
        let shared = name.iter().zip(other).take_while(|(one, another)| one == another).count();
        if shared > 0 && name.len() > shared && other.len() > shared {
            let steps = folders.entry(&name[..shared]).or_default();
            steps.entry((&name[shared], other[shared].clone())).or_insert_with(|| at.clone());
        }
    }
    let mut found = BTreeMap::new();
    for (folder, steps) in folders {
        let reaches = |from: &str, to: &str| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(here) = open.pop() {
                let next = steps.keys().filter(|(one, _)| *one == here).map(|(_, other)| other.clone());
                open.extend(next.filter(|other| seen.insert(other.clone())));
            }
            seen.contains(to)
        };
        let in_circle = steps.iter().filter(|((one, other), _)| reaches(other, one));
        let lines: Vec<String> = in_circle.map(|((one, other), at)| format!("{at}: {one} -> {other}")).collect();
        if !lines.is_empty() {
            found.insert(format!("src/{}", folder.join("/")), lines);
        }
    }
    found
}

#[test]
fn no_modules_of_a_folder_import_each_other_in_a_circle() {
    let found = circles(&modules(below("src")));
    none("circles", &found.iter().map(|(folder, lines)| format!("{folder}\n    {}", lines.join("\n    "))).collect::<Vec<_>>());
}

#[test]
fn imports_are_recognised() {
    let house = |files: &[(&str, &str)]| modules(files.iter().map(|(path, text)| Source::example(path, text)).collect());
    let base = [("lib.rs", "pub mod a;\npub mod b;\n"), ("main.rs", ""), ("b.rs", "pub struct B;")];
    let with = |files: &[(&str, &str)]| house(&[&base[..], files].concat());
    let named = |modules: &BTreeMap<Name, Module>| -> Vec<String> {
        edges(modules).iter().map(|(name, other, _)| format!("{}>{}", name.join("::"), other.join("::"))).collect()
    };
    for text in ["use crate::b::B;", "use crate::{\n    b::{self, B as C},\n};", "fn f(x: super::b::B) {}", "pub use portcullis::b::*;"] {
        assert!(named(&with(&[("a.rs", text)])).contains(&"a>b".to_owned()), "{text}");
    }
    let unseen = "// use crate::b;\nconst C: (&str, char) = (\"crate::b\\\"\", '\"');\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
    for text in [unseen, "#[cfg(test)]\nmod tests;\nuse std::fmt;", "use b::B;\n", "fn f<'b>(x: &'b othercrate::b::B) {}"] {
        assert_eq!(named(&with(&[("a.rs", text)])), Vec::<String>::new(), "{text}");
    }
    // What a folder's file passes on is the sibling's.
    let parent = ("a.rs", "mod x;\nmod y;\nuse x::X;\npub use y::Y as Z;\npub struct Own;");
    let circle = with(&[parent, ("a/x.rs", "use super::Z;"), ("a/y.rs", "use crate::a::X;")]);
    assert_eq!(circles(&circle)["src/a"], ["src/a/x.rs:1: x -> y", "src/a/y.rs:1: y -> x"]);
    assert!(circles(&with(&[parent, ("a/x.rs", "use super::Z;"), ("a/y.rs", "use super::Own;")])).is_empty());
}
