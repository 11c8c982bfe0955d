//! Statements of the documents about the code and about each other: exit codes, tests, excerpts, links, and the maximum length of the first
//! page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{below, none, root};

/// Lines that the README may have; everything longer is a page of `docs/`.
const LONGEST_README: usize = 150;

/// Every page for people, with its path below the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let in_docs = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let top = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    let mut paths: Vec<PathBuf> = in_docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).chain(top).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a page"))).collect()
}

/// The anchor that a heading gets, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a page; what stands in a block of code is no heading.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = text.lines().filter(|line| {
        in_code ^= line.trim_start().starts_with("```");
        !in_code && line.starts_with('#')
    });
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of the links of a page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// What is wrong with a link of the page at `path`; none where it leads somewhere, or out of the repository.
fn dead(path: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let to = if file.is_empty() { path.to_owned() } else { path.parent().expect("a folder").join(file) };
    let told = || Some(format!("{}: {target}", path.strip_prefix(root()).unwrap_or(path).display()));
    let Some(heading) = heading else { return if to.exists() { None } else { told() } };
    let there = if file.is_empty() { Some(text.to_owned()) } else { fs::read_to_string(&to).ok() };
    if there.is_some_and(|there| anchors(&there).contains(heading)) { None } else { told() }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let wrong: Vec<String> =
        pages.iter().flat_map(|(path, text)| links(text).filter_map(|target| dead(path, text, target)).collect::<Vec<_>>()).collect();
    none("links that lead nowhere", &wrong);
    let sample = root().join("README.md");
    assert_eq!(dead(&sample, "# A b, c!\n", "#a-b-c"), None);
    assert!(dead(&sample, "```\n# A\n```\n", "#a").is_some());
    assert!(dead(&sample, "", "docs/nowhere.md").is_some());
}

#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    assert!(readme.lines().count() <= LONGEST_README, "{} lines", readme.lines().count());
    let named: BTreeSet<&str> = links(&readme).collect();
    let below_root = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let missing: Vec<String> = pages().iter().map(|(path, _)| below_root(path)).filter(|path| path != "README.md").collect();
    none("pages that the README does not name", &missing.into_iter().filter(|path| !named.contains(path.as_str())).collect::<Vec<_>>());
}

#[test]
fn every_exit_code_is_documented_as_the_code_says_it() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).expect("docs/exit-codes.md");
    for (exit, meaning) in portcullis::exit::Exit::TABLE {
        if exit.code() != 0 {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(page.contains(&row), "docs/exit-codes.md lacks this row: {row}");
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
fn every_test_that_the_page_of_the_five_documents_names_is_there() {
    let page = fs::read_to_string(root().join("docs/seeds.md")).expect("docs/seeds.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |")).collect();
    assert!(rows.len() > 80, "{}", rows.len());
    assert_eq!(page.lines().filter(|line| line.starts_with("## ")).count(), 5);
    let sources: String = below("src").into_iter().chain(below("tests")).map(|source| source.text).collect();
    let is_there = |name: &str| {
        let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        name.is_some_and(|name| sources.contains(&format!("fn {name}(")))
    };
    let named = |row: &&str| row.rsplit('|').nth(1).is_some_and(|tests| tests.split(',').map(str::trim).all(is_there));
    let wrong: Vec<&str> = rows.into_iter().filter(|row| !named(row)).collect();
    none("lines of docs/seeds.md without their test", &wrong);
}

#[test]
fn what_a_page_takes_from_a_file_is_in_that_file() {
    let pages = pages();
    let taken: Vec<&str> = pages.iter().flat_map(|(_, text)| text.split("<!-- from ").skip(1)).collect();
    assert!(taken.len() >= 4, "{taken:?}");
    for text in taken {
        let (path, after) = text.split_once(" -->\n```").expect("a path and a block");
        let block = after.split_once('\n').and_then(|(_, block)| block.split_once("\n```")).expect("a whole block").0;
        let file = fs::read_to_string(root().join(path)).expect(path);
        assert!(file.contains(block), "not in {path}:\n{block}");
    }
}

/// The text of a page outside of blocks of code.
fn prose(page: &str) -> String {
    page.split("\n```").step_by(2).collect()
}

/// The missing files and functions that a page names: a file as `src/a.rs`, followed by functions of that file as `name()`.
fn not_there(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let prose = prose(page);
    let (mut wrong, mut file) = (Vec::new(), None);
    for span in prose.split('`').skip(1).step_by(2) {
        let is_source = Path::new(span).extension().is_some_and(|extension| extension == "rs");
        if is_source && (span.starts_with("src/") || span.starts_with("tests/")) {
            let text = read(span);
            if text.is_none() {
                wrong.push(span.to_owned());
            }
            file = text.map(|text| (span, text));
        } else if let (Some(name), Some((path, text))) = (span.strip_suffix("()"), &file)
            && !text.contains(&format!("fn {name}("))
            && !text.contains(&format!("fn {name}<"))
        {
            wrong.push(format!("{path}: {name}()"));
        }
    }
    wrong
}

#[test]
fn every_function_that_the_architecture_page_names_exists() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    assert!(page.matches("()`").count() > 60, "the paths name functions");
    none("missing items of docs/architecture.md", &not_there(&page, read));
    let sample = "`src/lib.rs` `nothing()`, `src/gone.rs`, `later()`, `src/main.rs` `main()`\n```\n`src/block.rs`\n```\n";
    assert_eq!(not_there(sample, read), ["src/lib.rs: nothing()", "src/gone.rs"]);
}

/// The versions of portcullis' own packages that a text names: `portcullis-1.2.3-x86_64-linux.tar.gz`, `portcullis:1.2.3-amd64`.
fn versions(text: &str) -> impl Iterator<Item = &str> {
    text.split("portcullis").skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(['-', '_', ':'])?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let version = rest[..end].trim_end_matches('.');
        (version.split('.').count() == 3).then_some(version)
    })
}

#[test]
fn every_page_names_this_version() {
    let this = env!("CARGO_PKG_VERSION");
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## "));
    assert_eq!(newest, Some(this), "the newest section of CHANGELOG.md is this version's");
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(readme.contains(&format!("| version | {this};")), "README.md names version {this}");
    let wrong: Vec<String> = pages()
        .iter()
        .flat_map(|(path, text)| versions(text).filter(|version| *version != this).map(|version| format!("{}: {version}", path.display())))
        .collect();
    none("packages of another version", &wrong);
    assert_eq!(
        versions("portcullis-1.2.3-x86_64 portcullis:4.5.6-amd64 portcullis_7.8.9.deb portcullis-mig:1").collect::<Vec<_>>().join(" "),
        "1.2.3 4.5.6 7.8.9"
    );
}
