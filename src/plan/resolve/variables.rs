//! `[env]`: the variables of every child in addition to portcullis' own environment, also for `${}`.

mod files;
mod forms;
mod sourced;

use crate::config::environment;
use crate::config::interpolate::{looks_secret, remember};
use crate::config::node::{Entry, Node, Table, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::Environment;
use crate::plan::argv::Word;
use crate::plan::resolve::condition;
use crate::secret::MASK;

/// Variables to set, and variables to remove, in order.
#[derive(Clone, Default)]
pub(super) struct VariableChanges {
    pub set: Vec<(String, Word)>,
    pub remove: Vec<String>,
}

/// The result of a form.
enum Outcome {
    /// It has this value.
    Is(Word),
    /// It has a value that is not generated here; this is its placeholder.
    Unknown(String),
    /// It is removed.
    Unset,
}

impl VariableChanges {
    /// Sets `name`, replacing an earlier value.
    fn set(&mut self, name: &str, value: Word) {
        self.set.retain(|(present, _)| present != name);
        self.set.push((name.to_owned(), value));
    }

    /// Removes `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.set.retain(|(present, _)| present != name);
        self.remove.push(name.to_owned());
    }

    /// Sets the variables of command line options, which override everything else.
    pub(super) fn set_options(&mut self, options: &[(String, String)]) {
        for (name, value) in options {
            let is_secret = looks_secret(name, value) && !value.is_empty();
            self.set(name, if is_secret { secret(value.clone()) } else { Word::plain(value) });
        }
    }

    /// Sets every entry of a table of names; each can use those before it. Comes with the environment behind the last.
    pub(super) fn set_all(&mut self, section: Option<Section<'_>>) -> Option<Environment> {
        let section = section?;
        let mut seen = section.context().environment.clone();
        let entries: Vec<Entry> = section.entries().cloned().collect();
        for entry in &entries {
            self.entry((section.context(), section.path(), section.depth()), entry, &mut seen);
        }
        Some(seen)
    }

    /// Reads one entry of a table of names in the environment so far, and applies it to both.
    fn entry(&mut self, (outer, path, depth): (&Context<'_>, &str, Depth), entry: &Entry, seen: &mut Environment) {
        let outcome = {
            let context = outer.of_part(seen);
            let outcome = outcome(&context, path, depth, entry);
            context.note_entry(path, entry, depth);
            outer.absorb(context);
            outcome
        };
        self.apply(&entry.key, outcome, seen);
    }

    fn apply(&mut self, name: &str, outcome: Option<Outcome>, seen: &mut Environment) {
        match outcome {
            None => {}
            Some(Outcome::Unset) => {
                self.remove(name);
                seen.unset(name);
            }
            Some(Outcome::Unknown(stand_in)) => {
                seen.set_unknown(name, &stand_in);
                self.set(name, Word::masked(stand_in, &format!("${{{name}}}")));
            }
            Some(Outcome::Is(value)) => {
                seen.set(name, value.value(), value.shown() != value.value());
                self.set(name, value);
            }
        }
    }
}

/// The value for the variable of an entry; none if it is not changed, or has errors.
fn outcome<'c>(context: &'c Context<'c>, path: &str, depth: Depth, entry: &Entry) -> Option<Outcome> {
    let name = entry.key.as_str();
    let mut table = Table::default();
    table.insert(entry.clone());
    let mut section = context.section(table, path, None, depth);
    if name.is_empty() || name.contains(['=', '\0']) {
        section.problem(name, "cannot be a variable's name");
        return None;
    }
    let outcome = match &entry.node.value {
        Value::List(cases) if cases.is_empty() => {
            section.problem(name, "lists no case");
            None
        }
        Value::Table(_) => forms::read(context, &entry.node, &section.below(name), name, depth),
        Value::List(cases) => first(context, cases, &section.below(name), name, depth),
        _ => {
            let declared: environment::Variables = section.declared();
            declared.0.0.first().map(|(_, text)| Outcome::Is(hidden(name, Word::of(&text.0))))
        }
    };
    let holds_nul = matches!(&outcome, Some(Outcome::Is(value)) if value.value().contains('\0'));
    if holds_nul {
        section.problem(name, "contains a NUL byte, which is not possible");
    }
    outcome.filter(|_| !holds_nul)
}

/// The first case whose condition holds; of the others only the form is checked. After an error it is not known which one that is.
fn first<'c>(context: &'c Context<'c>, cases: &[Node], path: &str, name: &str, depth: Depth) -> Option<Outcome> {
    let (mut found, before) = (None, context.faults_so_far());
    for case in cases {
        let depth = if found.is_none() && context.faults_so_far() == before { depth } else { Depth::Syntax };
        let outcome = match &case.value {
            Value::Table(_) => forms::read(context, case, path, name, depth),
            Value::String(_) => {
                let text = context.text(case, &format!("a case of [{path}]"), depth);
                text.map(|text| Outcome::Is(hidden(name, Word::of(&text))))
            }
            Value::Integer(number) => Some(Outcome::Is(hidden(name, Word::plain(number.to_string())))),
            Value::Boolean(flag) => Some(Outcome::Is(hidden(name, Word::plain(flag.to_string())))),
            value => {
                let why =
                    format!("a case of [{path}] is {}; expected a text or a table such as `{{ when = …, value = \"x\" }}`", value.kind());
                context.problem(Problem::at(&case.origin, why));
                None
            }
        };
        found = found.or(outcome);
    }
    found.filter(|_| context.faults_so_far() == before)
}

/// The same value, masked if the name indicates a secret.
fn hidden(name: &str, value: Word) -> Word {
    let is_secret = looks_secret(name, value.value()) && !value.value().is_empty();
    if is_secret { secret(value.value().to_owned()) } else { value }
}

fn secret(value: String) -> Word {
    remember(&value);
    Word::masked(value, MASK)
}

/// `[env]` with `expand_files` and `[env.default]`, and the resulting environment for everything else.
pub(super) fn read(context: &Context<'_>, tree: &Table) -> (VariableChanges, Environment) {
    let (mut variables, mut seen) = (VariableChanges::default(), context.environment.clone());
    let Some(node) = tree.get("env").map(|entry| &entry.node) else { return (variables, seen) };
    let outer = context.of_part(context.environment);
    if let Some(section) = outer.open(node, "env", Depth::Whole) {
        variables.source_files(&section, &mut seen);
        variables.expand_files(&section, &mut seen);
        for entry in section.entries() {
            if ["expand_files", "expand_files_conflict", "files"].contains(&entry.key.as_str()) {
                outer.note_entry("env", entry, Depth::Whole);
            } else if entry.key == "default" {
                variables.defaults(&section, &mut seen);
            } else {
                variables.entry((&outer, "env", Depth::Whole), entry, &mut seen);
            }
        }
    }
    context.absorb(outer);
    (variables, seen)
}

/// The resulting environment, for another portcullis that asks about a run; errors in it are not reported, and a variable that depends on a command
/// is left as it is.
pub(super) fn seen(tree: &Table, environment: &Environment) -> Environment {
    let environment = environment.clone().recalling();
    let context = Context::new(&environment);
    condition::name_all(&context.section(tree.clone(), "", None, Depth::Whole));
    read(&context, tree).1
}

impl VariableChanges {
    /// `[env.default]`: sets variables that are unset or empty, and that `[env]` itself does not always set.
    fn defaults(&mut self, env: &Section<'_>, seen: &mut Environment) {
        let Some(section) = env.table("default") else { return };
        let stands = |name: &str| env.node(name).is_some_and(|node| !matches!(node.value, Value::Table(_) | Value::List(_)));
        let entries: Vec<Entry> = section.entries().cloned().collect();
        for entry in &entries {
            let name = entry.key.as_str();
            let wanted = !seen.nonempty(name) && !stands(name) && self.set.iter().all(|(set, _)| set != name);
            let depth = if wanted { Depth::Whole } else { Depth::Syntax };
            let before = (self.clone(), seen.clone());
            self.entry((env.context(), section.path(), depth), entry, seen);
            if !wanted {
                (*self, *seen) = before;
            }
        }
    }
}
