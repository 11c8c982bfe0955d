//! Prints `docs/reference.md`, the page of all keys, or `docs/portcullis.schema.json`. The test that holds both includes this file, too.

use std::fmt::Write;

use serde_json::Value;

const HEAD: &str = "\
# Every key of the configuration

This page is written by `scripts/reference` from `portcullis schema`; a test compares them. Do not edit it by hand.

Every value may be written with variables: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`; `$$` is a `$`. Every key can be set by the
environment: `PORTCULLIS_SECTION__KEY`, as `PORTCULLIS_HEALTH__LISTEN` or `PORTCULLIS_CHECKS__DB__WAIT`. Flags stand above the
environment, the environment above the file, the file above a preset. `portcullis plan` shows what it comes to.
";

fn main() {
    let schema = portcullis::plan::resolve::schema();
    match std::env::args().nth(1).as_deref() {
        Some("portcullis.schema.json") => print!("{}", document(&schema)),
        _ => print!("{}", page(&schema)),
    }
}

/// The schema as it is committed, and printed by `portcullis schema`.
pub fn document(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// A table of the configuration that is still to be described.
struct Section<'a> {
    /// Its name, as in a header of TOML.
    path: String,
    /// Whether there are several in a list.
    repeated: bool,
    schema: &'a Value,
    /// What the schema calls it; tables of one name have the same keys.
    definition: Option<&'a str>,
}

/// The whole page.
pub fn page(document: &Value) -> String {
    let mut out = HEAD.to_owned();
    let mut open = vec![Section { path: String::new(), repeated: false, schema: document, definition: None }];
    let mut described: Vec<(&str, String)> = Vec::new();
    while let Some(Section { path, repeated, schema, definition }) = open.pop() {
        let title = match (path.as_str(), repeated) {
            ("", _) => "The top level".to_owned(),
            (path, false) => format!("`[{path}]`"),
            (path, true) => format!("`[[{path}]]`"),
        };
        let _ = write!(out, "\n## {title}\n\n");
        if let Some((_, first)) = described.iter().find(|(name, _)| Some(*name) == definition) {
            let _ = writeln!(out, "The keys are those of {first}.");
            continue;
        }
        described.extend(definition.map(|name| (name, title)));
        if let Some(text) = schema["description"].as_str().filter(|_| !path.is_empty()) {
            let _ = write!(out, "{}\n\n", one_line(text));
        }
        let mut below = Vec::new();
        out.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            below.extend(sections(document, &path, key, value));
            let words = description(document, value);
            let value = resolved(document, value);
            let _ = writeln!(out, "| `{key}` | {} | {} | {} |", takes(document, value, 4), default(value), cell(&words));
        }
        open.extend(below.into_iter().rev());
    }
    out
}

/// What a `$ref` names; a description beside it stands above the definition's.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).unwrap_or(value),
        None => value,
    }
}

/// The tables below a key that are described by themselves.
fn sections<'a>(document: &'a Value, path: &str, key: &str, value: &'a Value) -> Vec<Section<'a>> {
    let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let is_table = |value: &Value| value["properties"].as_object().is_some_and(|properties| !properties.is_empty());
    let mut found = Vec::new();
    // A condition and an argument are told where they stand: they hold themselves.
    if ["when", "command", "then", "groups", "check", "verify"].contains(&key) {
        return found;
    }
    for (path, repeated, value) in
        [(below.clone(), false, value), (format!("{below}.NAME"), false, &value["additionalProperties"]), (below, true, &value["items"])]
    {
        let schema = resolved(document, value);
        if is_table(schema) && key != "variants" {
            found.push(Section { path, repeated, schema, definition: value["$ref"].as_str() });
        }
    }
    found
}

/// The type of a value, its range or its words.
fn takes(document: &Value, value: &Value, depth: u8) -> String {
    let value = resolved(document, value);
    // A condition is one of conditions.
    if depth == 0 {
        return "table".to_owned();
    }
    if let Some(choices) = value["anyOf"].as_array() {
        let mut words: Vec<String> = Vec::new();
        for choice in choices.iter().filter(|choice| !is_variable(choice)) {
            let text = takes(document, choice, depth - 1);
            if !text.is_empty() && !words.contains(&text) {
                words.push(text);
            }
        }
        return words.join(" or ");
    }
    let words = value["enum"].as_array().cloned().unwrap_or_default();
    let words = words.iter().chain(value["oneOf"].as_array().into_iter().flatten().map(|word| &word["const"]));
    let words: Vec<String> = words.filter_map(Value::as_str).map(|word| format!("`\"{word}\"`")).collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    if let Some(types) = value["type"].as_array() {
        return types.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" or ");
    }
    match value["type"].as_str() {
        Some("integer") => match (value["minimum"].as_i64(), value["maximum"].as_i64()) {
            (Some(i64::MIN), _) => "a whole number".to_owned(),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("a whole number from {least}"),
            _ => "a whole number".to_owned(),
        },
        Some("array") => format!("list of {}", many(&takes(document, &value["items"], depth - 1))),
        Some("object") if value["additionalProperties"].is_object() => "table of names".to_owned(),
        Some("string") if value["pattern"].as_str().is_some_and(|pattern| pattern.contains("A-Zaµ") || pattern.contains("zµ")) => {
            "duration".to_owned()
        }
        Some(kind) => plain(kind).to_owned(),
        None => String::new(),
    }
}

fn plain(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "integer" => "number",
        "boolean" => "`true`, `false`",
        "object" => "table",
        other => other,
    }
}

fn many(one: &str) -> String {
    match one {
        "text" => "texts".to_owned(),
        "table" => "tables".to_owned(),
        other => other.to_owned(),
    }
}

/// The alternative that every value has: a text with a variable in it.
fn is_variable(choice: &Value) -> bool {
    choice["pattern"].as_str().is_some_and(|pattern| pattern.ends_with(r"\$"))
}

fn default(value: &Value) -> String {
    match &value["default"] {
        Value::Null => String::new(),
        Value::Object(table) if table.is_empty() => String::new(),
        value => format!("`{value}`"),
    }
}

/// What a key does, and what each of its words means.
fn description(document: &Value, value: &Value) -> String {
    // What stands beside a `$ref` is of this key; what the definition says is of all.
    let own = value["description"].as_str();
    let value = resolved(document, value);
    let own = own.or(value["description"].as_str()).unwrap_or_default().to_owned();
    let choices = value["anyOf"].as_array().into_iter().flatten().map(|choice| resolved(document, choice));
    let words = choices.chain([value]).filter_map(|choice| choice["oneOf"].as_array()).flatten();
    let words = words.filter_map(|word| Some(format!("`\"{}\"`: {}", word["const"].as_str()?, word["description"].as_str()?)));
    let words: Vec<String> = words.map(|word| one_line(&word)).collect();
    if words.is_empty() { own } else { format!("{own} {}", words.join(" ")) }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}
