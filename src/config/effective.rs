//! The effective configuration: every value with its origin, as TOML that can replace the configuration.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::config::interpolate::{Template, looks_secret};
use crate::config::node::{Entry as Written, Node, Table, Value, dotted, quoted, written_key};
use crate::config::origin::Origin;
use crate::config::source::Environment;
use crate::secret::{MASK, scrub};

/// The sections that a run reads, in the order in which they were read.
#[derive(Default)]
pub struct Effective(Vec<Section>);

/// One table: its name in TOML syntax, and its values.
struct Section {
    path: String,
    values: Vec<Entry>,
}

/// One printable value, and the description of its origin.
struct Entry {
    key: String,
    value: Json,
    from: String,
}

/// Whether the keys of a section are names of variables, which show what is secret.
fn is_named(path: &str) -> bool {
    path.split('.').any(|step| ["env", "set", "default", "headers"].contains(&step))
}

/// The origin of a value that was not written anywhere.
const BY_DEFAULT: &str = "default";

impl Effective {
    /// Adds a section: the values of `table`, and from the second struct the defaults of all other keys; the first struct shows what is secret.
    /// Reading a section again changes nothing.
    pub fn add(&mut self, path: &str, (declared, defaults): (&impl Serialize, &impl Serialize), table: &Table, environment: &Environment) {
        if self.0.iter().any(|section| section.path == path) {
            return;
        }
        let [Ok(Json::Object(declared)), Ok(Json::Object(defaults))] = [serde_json::to_value(declared), serde_json::to_value(defaults)]
        else {
            return;
        };
        let shown = Shown { environment, named: is_named(path) };
        let mut values: Vec<Entry> = table
            .iter()
            .filter(|entry| !matches!(entry.node.value, Value::Hole))
            .map(|entry| {
                let secret = declared.get(&entry.key).is_some_and(|value| value == MASK);
                Entry { key: entry.key.clone(), value: shown.node(&entry.key, &entry.node, secret), from: shown.origin(&entry.node) }
            })
            .collect();
        for (key, value) in defaults.into_iter().filter(|(key, value)| !value.is_null() && table.get(key).is_none()) {
            values.push(Entry { key, value, from: BY_DEFAULT.to_owned() });
        }
        // `[env]` is read before all else, and the keys of the top level have to stand before any table.
        let at = if path.is_empty() { 0 } else { self.0.len() };
        self.0.insert(at, Section { path: path.to_owned(), values });
    }

    /// Adds one entry to the section `path`.
    pub fn add_entry(&mut self, path: &str, entry: &Written, environment: &Environment) {
        let shown = Shown { environment, named: is_named(path) };
        let entry = Entry { key: entry.key.clone(), value: shown.node(&entry.key, &entry.node, false), from: shown.origin(&entry.node) };
        match self.0.iter_mut().find(|section| section.path == path) {
            Some(section) if section.values.iter().any(|present| present.key == entry.key) => {}
            Some(section) => section.values.push(entry),
            None => self.0.push(Section { path: path.to_owned(), values: vec![entry] }),
        }
    }

    /// Adds the sections of another reading that are still missing.
    pub fn extend(&mut self, other: Self) {
        for section in other.0 {
            match self.0.iter_mut().find(|present| present.path == section.path) {
                None => self.0.push(section),
                Some(present) => {
                    for value in section.values {
                        if present.values.iter().all(|known| known.key != value.key) {
                            present.values.push(value);
                        }
                    }
                }
            }
        }
    }

    /// Omits the files and steps of other modes, which are not listed either.
    pub fn of_mode(&mut self, mode: &str) {
        let named = |item: &Json| item.get("modes").and_then(Json::as_array).is_none_or(|names| names.iter().any(|name| name == mode));
        for section in self.0.iter_mut().filter(|section| section.path.is_empty()) {
            for entry in section.values.iter_mut().filter(|entry| ["files", "steps"].contains(&entry.key.as_str())) {
                let items = entry.value.as_array_mut().map(std::mem::take).unwrap_or_default();
                let mut items: Vec<Json> = items.into_iter().filter(named).collect();
                for item in items.iter_mut().filter_map(Json::as_object_mut).filter(|item| item.contains_key("modes")) {
                    item.insert("modes".to_owned(), json!([mode]));
                }
                entry.value = Json::Array(items);
            }
        }
    }

    /// The sections that are listed separately, and so not again inside another one.
    fn is_section(&self, path: &str, key: &str) -> bool {
        let below = dotted(path, key);
        let inside = format!("{below}.");
        self.0.iter().any(|section| section.path == below || section.path.starts_with(&inside))
    }

    fn own<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Entry> {
        // A table at the top level is shown as its sections, or has no effect on this run, but for the conditions that files and steps name.
        let at_top = section.path.is_empty();
        let is_listed = move |entry: &&Entry| {
            let by_sections = at_top && entry.value.is_object() && entry.key != "conditions";
            !(self.is_section(&section.path, &entry.key) || by_sections)
        };
        section.values.iter().filter(is_listed)
    }

    /// The whole configuration as TOML, each value with its origin as a comment.
    pub fn toml(&self) -> String {
        let mut out = String::new();
        for section in &self.0 {
            if !section.path.is_empty() {
                let _ = writeln!(out, "\n[{}]", section.path);
            }
            for Entry { key, value, from } in self.own(section) {
                let _ = writeln!(out, "{} = {}  # {from}", written_key(key), toml(value));
            }
        }
        out
    }

    /// The same as JSON: the values and their origins, both by section and key.
    pub fn json(&self) -> Json {
        let by = |of: fn(&Entry) -> Json| -> Map<String, Json> {
            let section = |section| -> Map<String, Json> { self.own(section).map(|entry| (entry.key.clone(), of(entry))).collect() };
            self.0.iter().map(|one| (one.path.clone(), Json::Object(section(one)))).collect()
        };
        json!({ "values": by(|entry| entry.value.clone()), "origins": by(|entry| Json::from(entry.from.as_str())) })
    }
}

/// How values are shown.
struct Shown<'a> {
    environment: &'a Environment,
    /// Whether keys are names of variables, which show what is secret.
    named: bool,
}

impl Shown<'_> {
    fn node(&self, key: &str, node: &Node, secret: bool) -> Json {
        match &node.value {
            Value::String(text) => Json::String(self.text(key, text, &node.origin, secret)),
            Value::Integer(number) => json!(number),
            Value::Float(number) => json!(number),
            Value::Boolean(flag) => json!(flag),
            Value::List(items) => items.iter().map(|item| self.node(key, item, secret)).collect(),
            Value::Table(table) => table.iter().map(|entry| (entry.key.clone(), self.entry(key, table, entry, secret))).collect(),
            Value::Datetime | Value::Hole => Json::Null,
        }
    }

    /// One key of a table. The text of a file in which only listed variables are replaced is shown as it was written.
    fn entry(&self, key: &str, table: &Table, entry: &crate::config::node::Entry, secret: bool) -> Json {
        match &entry.node.value {
            // A variable's value may be one of the forms of a table: its name says what is secret there, too.
            _ if self.named && ["value", "url"].contains(&entry.key.as_str()) => self.node(key, &entry.node, secret),
            Value::String(text) if entry.key == "content" && table.get("variables").is_some() => Json::String(scrub(text)),
            _ => self.node(&entry.key, &entry.node, secret),
        }
    }

    /// A text with its variables replaced, except secrets, which stay `${NAME}`.
    fn text(&self, key: &str, text: &str, origin: &Origin, secret: bool) -> String {
        let variable = |name: &str| format!("${{{name}}}");
        let secret = secret || (self.named && looks_secret(key, text));
        let written = match origin {
            Origin::Variable(name) if secret || looks_secret("", text) || scrub(text) != *text => return variable(name),
            origin if origin.verbatim() => text.replace('$', "$$"),
            _ => match Template::parse(text) {
                Ok(template) if secret && template.is_literal() => MASK.to_owned(),
                Ok(template) => template.written_out(self.environment, secret),
                Err(_) => String::new(),
            },
        };
        scrub(&written)
    }

    /// The origin of a value: its place, and the variables in it that are set.
    fn origin(&self, node: &Node) -> String {
        let names = match &node.value {
            Value::String(text) if !node.origin.verbatim() => Template::parse(text)
                .map(|template| template.set_variables(self.environment).into_iter().map(str::to_owned).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if names.is_empty() { node.origin.to_string() } else { format!("{}, from {}", node.origin, names.join(", ")) }
    }
}

fn toml(value: &Json) -> String {
    match value {
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Json::Object(table) if table.is_empty() => "{}".to_owned(),
        Json::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{} = {}", written_key(key), toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
