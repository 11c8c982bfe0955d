//! The examples in README.md and docs/: each configuration is valid without changes.

use crate::support::Portcullis;
use crate::support::portcullis::Exit;
use std::path::Path;

/// The blocks of this language in README.md and docs/, each with the page it stands on.
pub fn examples(language: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root.join("README.md"));
    pages.sort();
    let begin = format!("```{language}\n");
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
        found.extend(blocks.map(|block| (page.file_name().unwrap().to_string_lossy().into_owned(), block)));
    }
    assert!(found.len() >= 4, "{}", found.len());
    found
}

/// The names of the variables that a text takes.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        .filter(|name| !name.is_empty())
}

#[test]
fn every_configuration_that_is_shown_is_understood() {
    let mut refused = String::new();
    for (page, block) in examples("toml") {
        // What a part of a file takes for granted.
        let servers = "[checks.db]\nurl = 'postgres://db/app'\n[checks.redis]\nurl = 'redis://redis'\n";
        let whole = if block.contains("[checks") { block.clone() } else { block.clone() + servers };
        let mut plan = Portcullis::new().config(&whole).env("SECRET_KEY", "1");
        for name in variables(&block) {
            let value = match name {
                "MODE" => "",
                name if name.ends_with("_URL") => "redis://redis",
                // A number, a word, a port and a truth.
                _ => "1",
            };
            plan = plan.env(name, value);
        }
        // A part of a file needs a process beside it; a file with modes has its own.
        let modes: Vec<&str> = block.split("[modes.").skip(1).filter_map(|rest| rest.split([']', '.']).next()).collect();
        let plan = match modes.first() {
            Some(mode) => plan.args(["plan", "--mode", mode]),
            None => plan.args(["plan", "--", "true"]),
        };
        let output = plan.output();
        if output.exit != Exit::Code(0) {
            refused += &format!("{page}:\n{block}\n{}\n", output.stderr);
        }
    }
    assert!(refused.is_empty(), "{refused}");
}
