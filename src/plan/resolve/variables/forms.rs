//! The forms of a variable's value: a text, a URL, a generated secret, the output of a command, a matching path, a file, or unset.

mod generate;

use std::path::{Path, PathBuf};

use super::{Outcome, hidden, secret};
use crate::config::children;
use crate::config::environment::Assigned;
use crate::config::interpolate::Text;
use crate::config::node::{Node, Value};
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::read_secret;
use crate::config::substitute::matches;
use crate::plan::argv::Word;
use crate::plan::resolve::{argv, condition, target_url};
use crate::secret::scrub;

/// The keys of which a table has exactly one.
const FORMS: [&str; 7] = ["value", "url", "generate", "command", "glob", "file", "unset"];

/// The value of `name` from the table at `node`; none if its `when` does not hold, if the default is not needed, or if it has errors.
pub(super) fn read<'c>(context: &'c Context<'c>, node: &Node, path: &str, name: &str, depth: Depth) -> Option<Outcome> {
    let Value::Table(table) = &node.value else { return None };
    let holds = condition::holds(context, table.get("when").map(|entry| &entry.node), path, depth);
    let is_default = context.open(node, path, Depth::Syntax)?.part::<Assigned>().default;
    let wanted = depth == Depth::Whole && holds && !(is_default && context.environment.nonempty(name));
    let mut section = context.open(node, path, if wanted { depth } else { Depth::Syntax })?;
    let keys = section.entries().count();
    let assigned: Assigned = section.declared();
    let forms: Vec<&str> = FORMS.into_iter().filter(|form| section.has(form)).collect();
    if forms.len() > 1 || (forms.is_empty() && section.entries().count() == keys) {
        let last = forms.last().copied().unwrap_or("value");
        section.problem(last, format!("excludes other forms: a variable has exactly one of `{}`", FORMS.join("`, `")));
        return None;
    }
    if section.has("keep") && !section.has("generate") {
        section.problem("keep", "is the file of a generated value; it needs `generate`");
    }
    // A command without one of its words is a different command, so nothing is run or generated if this value has any error.
    if !wanted || !context.is_clean() {
        return None;
    }
    if let Some(text) = assigned.value {
        return Some(Outcome::Is(hidden(name, Word::of(&text.0))));
    }
    if let Some(text) = assigned.url {
        return url(&section, &text).map(|url| Outcome::Is(hidden(name, url)));
    }
    if let Some(form) = assigned.generate {
        return generate::read(&section, name, &form.value(), assigned.keep.value().as_deref());
    }
    if let Some(text) = assigned.file {
        let path = context.environment.place(text.value());
        let value = read_secret(&path).map_err(|why| section.problem("file", format!("cannot be read: {why}; it is {}", path.display())));
        return value.ok().map(|value| Outcome::Is(secret(value)));
    }
    if let Some(pattern) = assigned.glob {
        let found = first_path(&context.environment.place(pattern.value()));
        return Some(found.map_or(Outcome::Unset, |path| Outcome::Is(Word::plain(path))));
    }
    if assigned.unset {
        return Some(Outcome::Unset);
    }
    let argv = argv::command(&section, "command", depth)?;
    if argv.program().is_empty() {
        section.problem("command", "contains no program");
        return None;
    }
    let words: Vec<String> = argv.words().iter().map(|word| word.value().to_owned()).collect();
    if context.is_clean() { command(&section, name, &words, assigned.timeout.0) } else { None }
}

/// A URL with each variable encoded for its place.
fn url(section: &Section<'_>, text: &Text) -> Option<Word> {
    let url = target_url::assemble_strictly(text).map_err(|why| section.problem("url", why)).ok()?;
    Some(if text.is_secret() { Word::masked(url.clone(), &scrub(&url)) } else { Word::plain(url) })
}

fn command(section: &Section<'_>, name: &str, argv: &[String], within: std::time::Duration) -> Option<Outcome> {
    let context = section.context();
    // Its variables differ in each item and each instance.
    let known = format!("{} {argv:?} {}", section.path(), context.environment.part());
    match context.environment.made(&known, |asker| asker.output(argv, &children::variables(context.environment), within)) {
        Some(Ok(value)) => Some(Outcome::Is(hidden(name, Word::plain(value)))),
        Some(Err(why)) => {
            section.problem("command", why);
            None
        }
        None if context.environment.is_recalling() => {
            section.problem("command", "runs only at a start, so its output is not known now");
            None
        }
        None => {
            context
                .notice(format!("{name} comes from a command, which only `run` runs: values that depend on it are shown as `${{{name}}}`"));
            Some(Outcome::Unknown("1".to_owned()))
        }
    }
}

/// The first path in alphabetical order that matches a pattern; `*` matches neither `/` nor a leading `.`.
fn first_path(pattern: &Path) -> Option<String> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy();
        if !part.contains('*') {
            found = found.into_iter().map(|path| path.join(&*part)).collect();
            continue;
        }
        let below = |path: PathBuf| {
            let entries = std::fs::read_dir(&path).ok().into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let fits = names.filter(|name| matches(&part, name) && (part.starts_with('.') || !name.starts_with('.')));
            fits.map(|name| path.join(name)).collect::<Vec<_>>()
        };
        found = found.into_iter().flat_map(below).collect();
    }
    found.into_iter().filter(|path| path.symlink_metadata().is_ok()).filter_map(|path| path.into_os_string().into_string().ok()).min()
}
