//! The JSON Schema of the configuration file: the keys are those that the reader knows, the types what it takes for them.
//!
//! It never refuses what the reader takes; it also looks at what a run leaves aside, as a group that no command names. What depends on several keys, or on a variable, the reader alone can tell.

use serde_json::{Map, Value, json};

use crate::config::check::Check;
use crate::config::environment::Environment;
use crate::config::heartbeat::Heartbeat;
use crate::config::mode::Mode;
use crate::config::module::Module;
use crate::config::process::Process;
use crate::config::reader::Keys;
use crate::config::schema;
use crate::config::started::Started;
use crate::plan::resolve::{ROOT, checks};

/// The document (draft 2020-12).
pub fn document() -> Value {
    let mut root = section(ROOT, |key| match key {
        "checks" => of_checks(),
        "modules" => named(&json!({ "pattern": checks::NAME, "not": { "enum": checks::RESERVED } }), &definition("module")),
        "modes" => named(&json!({ "minLength": 1 }), &definition("mode")),
        "dify" | "health" | "heartbeat" | "migrations" | "process" => definition(key),
        "env" => schema::of::<Vec<Environment>>()["items"].clone(),
        "extra_args" => json!({ "anyOf": [{ "enum": ["error", "ignore"] }, { "type": "string", "pattern": r"\$" }] }),
        _ => text(),
    });
    // What the layers take out before anything is read.
    for (key, kind) in crate::config::preset::schema() {
        root["properties"][key] = kind;
    }
    let command = json!({ "type": "array", "items": definition("argument") });
    let question = json!({ "anyOf": [text(), command] });
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "portcullis.toml",
        "description": "The configuration of portcullis. A string may hold ${NAME}, ${NAME:-default} and ${NAME:?message}.",
        "type": "object",
        "properties": root["properties"],
        "additionalProperties": false,
        "$defs": {
            "dify": schema::of::<crate::config::dify::Dify>(),
            "health": schema::of::<crate::config::health::Health>(),
            "migrations": set(schema::of::<crate::config::migration::Migrations>(), &[("command", &command), ("check", &question), ("verify", &question)]),
        },
    });
    with_definitions::<(Mode, Module, Process, Check, Heartbeat, Started)>(&mut document);
    for place in ["mode", "module"] {
        document["$defs"][place]["properties"]["checks"]["propertyNames"] = of_checks()["propertyNames"].clone();
    }
    document
}

/// Adds what `T` and all below it declare.
fn with_definitions<T: schemars::JsonSchema>(document: &mut Value) {
    if let (Some(here), Some(declared)) = (document["$defs"].as_object_mut(), schema::of::<Vec<T>>()["$defs"].as_object()) {
        here.extend(declared.clone());
    }
}

fn of_checks() -> Value {
    named(&json!({ "pattern": checks::NAME, "not": { "enum": checks::RESERVED } }), &definition("check"))
}

/// The same with other schemas of these properties.
fn set(mut section: Value, properties: &[(&str, &Value)]) -> Value {
    for (key, value) in properties {
        section["properties"][*key] = (*value).clone();
    }
    section
}

/// A table with these keys and no others.
fn section(keys: Keys, kind: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.known.iter().map(|key| ((*key).to_owned(), kind(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// A table whose keys are names.
fn named(names: &Value, values: &Value) -> Value {
    json!({ "type": "object", "propertyNames": names, "additionalProperties": values })
}

fn definition(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn text() -> Value {
    json!({ "type": "string" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_reader_has_a_type() {
        let document = document();
        let mut open = vec![(String::new(), &document)];
        let mut keys = 0;
        while let Some((path, value)) = open.pop() {
            assert!(!value.is_null(), "{path} has no type: say in schema.rs what it takes");
            match value {
                Value::Object(object) => open.extend(object.iter().map(|(key, value)| (format!("{path}/{key}"), value))),
                Value::Array(items) => open.extend(items.iter().map(|item| (format!("{path}/"), item))),
                _ => {}
            }
            keys += usize::from(path.matches("/properties/").count() > 0);
        }
        assert!(keys > 150, "{keys}");
        let defined = document["$defs"].as_object().unwrap();
        let text = document.to_string();
        for part in text.split("#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(defined.contains_key(name), "{name}");
        }
    }
}
