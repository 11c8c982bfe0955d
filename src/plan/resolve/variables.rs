//! `[env]`: what every child's environment has beyond portcullis' own.

use crate::config::interpolate::{looks_secret, remember};
use crate::config::node::Value;
use crate::config::reader::{Context, Depth, Section};
use crate::plan::argv::Word;
use crate::plan::resolve::argv::word;
use crate::secret::MASK;

/// Variables to set, and variables to take away, in order.
#[derive(Clone, Default)]
pub(super) struct Variables {
    pub set: Vec<(String, Word)>,
    pub remove: Vec<String>,
}

impl Variables {
    /// Sets `name`, over what was set before.
    pub(super) fn set(&mut self, name: &str, value: Word) {
        self.set.retain(|(present, _)| present != name);
        self.set.push((name.to_owned(), value));
    }

    /// Takes `name` away.
    pub(super) fn remove(&mut self, name: &str) {
        self.set.retain(|(present, _)| present != name);
        self.remove.push(name.to_owned());
    }

    /// Sets every entry of a table of names.
    pub(super) fn set_all(&mut self, section: &Section<'_>) {
        for entry in section.entries() {
            if let Some(value) = variable(section, &entry.key) {
                self.set(&entry.key, value);
            }
        }
    }
}

/// `[env]`, `[env.default]` and `expand_files`, in this order of precedence from high to low.
pub(super) fn read(root: &Section<'_>) -> Variables {
    let mut variables = Variables::default();
    let Some(section) = root.table("env", None) else { return variables };
    let context = section.context();
    if let Some(defaults) = section.table("default", None) {
        for entry in defaults.entries() {
            let value = variable(&defaults, &entry.key);
            if let Some(value) = value.filter(|_| !context.environment.nonempty(&entry.key)) {
                variables.set(&entry.key, value);
            }
        }
    }
    if section.has("expand_files") && expand_files_wanted(&section) {
        expand_files(context, &mut variables);
    }
    for entry in section.entries().filter(|entry| !["default", "expand_files"].contains(&entry.key.as_str())) {
        if let Some(value) = variable(&section, &entry.key) {
            variables.set(&entry.key, value);
        }
    }
    variables
}

fn expand_files_wanted(section: &Section<'_>) -> bool {
    section.boolean("expand_files").unwrap_or_default() && section.depth() == Depth::Whole
}

/// `NAME` from the file that `NAME_FILE` names, wherever it is unset and the file is there; a path that leads to no readable text stays as it is.
fn expand_files(context: &Context<'_>, variables: &mut Variables) {
    for file_variable in context.environment.names() {
        let Some(name) = file_variable.strip_suffix("_FILE").filter(|name| !name.is_empty()) else { continue };
        if name.starts_with("PORTCULLIS_") || context.environment.nonempty(name) {
            continue;
        }
        if let Ok(Some(found)) = context.environment.lookup(name)
            && found.from_file
        {
            remember(&found.value);
            variables.set(name, Word::masked(found.value, MASK));
            variables.remove.push(file_variable.to_owned());
        }
    }
}

/// One variable's value; a number or a boolean stands for its text.
fn variable(section: &Section<'_>, name: &str) -> Option<Word> {
    if name.is_empty() || name.contains(['=', '\0']) {
        section.problem(name, "cannot be a variable's name");
        return None;
    }
    match section.node(name).map(|node| &node.value) {
        Some(Value::Integer(number)) => return Some(Word::plain(number.to_string())),
        Some(Value::Boolean(flag)) => return Some(Word::plain(flag.to_string())),
        _ => {}
    }
    let text = section.text(name)?;
    let value = text.value();
    if value.contains('\0') {
        section.problem(name, "holds a NUL, which no variable can");
        return None;
    }
    if looks_secret(name, &value) && !value.is_empty() {
        remember(&value);
        return Some(Word::masked(value, MASK));
    }
    Some(word(&text))
}
