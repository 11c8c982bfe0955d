//! Comments cite only what is in the repository.

use super::{below, none, root, scripts};

/// What a comment cites that a reader of the repository cannot look up: a numbered ruling or issue, a code like D5, a file that is not
/// there, or a decision without that number in `docs/decisions.md`.
fn strange(comment: &str, decisions: &str) -> Vec<String> {
    let words: Vec<&str> = comment.split(|c: char| !(c.is_alphanumeric() || "./_-#".contains(c))).filter(|word| !word.is_empty()).collect();
    let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    let mut found = Vec::new();
    for (index, word) in words.iter().map(|word| word.trim_end_matches(['.', '-'])).enumerate() {
        let next = words.get(index + 1).map_or("", |word| word.trim_matches(['.', '#']));
        let lower = word.to_lowercase();
        let is_numbered = ["ruling", "rulings", "issue", "issues"].contains(&lower.as_str()) && is_number(next);
        let tail = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let digits = tail.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let is_code = word.len() - tail.len() == 1 && tail.len() - digits.len() <= 1 && is_number(digits) && digits.len() <= 2;
        let is_lost = std::path::Path::new(word).extension().is_some_and(|extension| extension == "md") && !root().join(word).exists();
        let is_no_decision = word == "docs/decisions.md" && is_number(next) && !decisions.contains(&format!("\n## {next}. "));
        if is_numbered || is_code || is_lost || is_no_decision {
            found.push(format!("{word} {next}"));
        }
    }
    found
}

#[test]
fn comments_cite_only_what_is_in_the_repository() {
    let decisions = std::fs::read_to_string(root().join("docs/decisions.md")).expect("docs/decisions.md");
    let mut wrong = Vec::new();
    for source in below("src").into_iter().chain(below("tests")).filter(|source| !source.path.ends_with("tests/tidy/citations.rs")) {
        for (index, line) in source.text.lines().enumerate() {
            let comment = line.find("//").filter(|at| !line[..*at].ends_with(':')).map_or("", |at| &line[at..]);
            wrong.extend(strange(comment, &decisions).into_iter().map(|what| format!("{}: {what}", source.at(index + 1))));
        }
    }
    for (path, text) in scripts() {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('#')) {
            wrong.extend(strange(line, &decisions).into_iter().map(|what| format!("{path}:{}: {what}", index + 1)));
        }
    }
    none("citations of what is not in the repository", &wrong);
}

#[test]
fn strange_citations_are_recognised() {
    let decisions = "\n## 3. Something\n";
    for cited in [
        "// late (D5).",
        "/// see M3b",
        "//! until then (ruling 46)",
        "# Issue #12 again",
        "// see behaviour.md",
        "// `docs/decisions.md`, 4",
    ] {
        assert_eq!(strange(cited, decisions).len(), 1, "{cited}");
    }
    for known in [
        "// (`docs/decisions.md`, 3)",
        "// README.md says",
        "// HTTP/1.1, RFC 6724, SHA1, E2BIG, UTF-8, x86",
        "// the issue is 4 years old",
    ] {
        assert_eq!(strange(known, decisions), Vec::<String>::new(), "{known}");
    }
}
