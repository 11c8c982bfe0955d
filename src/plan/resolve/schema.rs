//! The JSON Schema of the configuration file: the keys are those that the reader knows, the types what it takes for them.
//!
//! It never refuses what the reader takes; it also looks at what a run leaves aside, as a group that no command names. What depends on several keys, or on a variable, the reader alone can tell.

use serde_json::{Map, Value, json};

use crate::config::environment::Environment;
use crate::config::heartbeat::Heartbeat;
use crate::config::mode::Mode;
use crate::config::module::Module;
use crate::config::process::Process;
use crate::config::reader::Keys;
use crate::plan::resolve::{ROOT, checks, heartbeat, started, target};

/// The document (draft 2020-12).
pub fn document() -> Value {
    let mut root = section(ROOT, |key| match key {
        "checks" => of_checks(),
        "modules" => named(&json!({ "pattern": checks::NAME, "not": { "enum": checks::RESERVED } }), &definition("module")),
        "modes" => named(&json!({ "minLength": 1 }), &definition("mode")),
        "health" | "heartbeat" | "migrations" | "process" => definition(key),
        "env" => crate::config::schema::of::<Vec<Environment>>()["items"].clone(),
        _ => of(key),
    });
    // What the layers take out before anything is read.
    for (key, kind) in crate::config::preset::schema() {
        root["properties"][key] = kind;
    }
    let command = json!({ "type": "array", "items": definition("argument") });
    let of_target = |key: &str| match key {
        "command" => command.clone(),
        "headers" => named(&json!({ "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }), &text()),
        "expect" => definition("expect"),
        "targets" => json!({ "type": "array", "minItems": 1, "items": definition("endpoint") }),
        "variants" => json!({ "type": "array", "items": { "$ref": "#/$defs/check", "required": ["when"] } }),
        "when" => definition("condition"),
        _ => of(key),
    };
    let question = json!({ "anyOf": [text(), command] });
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "portcullis.toml",
        "description": "The configuration of portcullis. A string may hold ${NAME}, ${NAME:-default} and ${NAME:?message}.",
        "type": "object",
        "properties": root["properties"],
        "additionalProperties": false,
        "$defs": {
            "check": section(checks::KEYS, of_target),
            "endpoint": section(target::MEMBER, of_target),
            "expect": section(target::EXPECT, expectation),
            "health": crate::config::schema::of::<crate::config::health::Health>(),
            "heartbeat": with_declared::<Heartbeat>(section(heartbeat::KEYS, of_target)),
            "migrations": set(crate::config::schema::of::<crate::config::migration::Migrations>(), &[("command", &command), ("check", &question), ("verify", &question)]),
            "started": section(started::KEYS, of_target),
        },
    });
    with_definitions::<(Mode, Module, Process)>(&mut document);
    for place in ["mode", "module", "mode/properties/variants/items"] {
        let Some(properties) = document.pointer_mut(&format!("/$defs/{place}/properties")).and_then(Value::as_object_mut) else { continue };
        properties.insert("started".to_owned(), definition("started"));
        if place != "mode/properties/variants/items" {
            properties.insert("checks".to_owned(), of_checks());
        }
        if place == "module" {
            properties.insert("affects".to_owned(), of("affects"));
        }
    }
    document
}

/// Adds what `T` and all below it declare.
fn with_definitions<T: schemars::JsonSchema>(document: &mut Value) {
    if let (Some(here), Some(declared)) = (document["$defs"].as_object_mut(), crate::config::schema::of::<Vec<T>>()["$defs"].as_object()) {
        here.extend(declared.clone());
    }
}

fn of_checks() -> Value {
    named(&json!({ "pattern": checks::NAME, "not": { "enum": checks::RESERVED } }), &definition("check"))
}

fn expectation(key: &str) -> Value {
    let status = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
    match key {
        "status" => json!({ "anyOf": [status, { "type": "array", "items": status }] }),
        "json" => named(&json!({ "pattern": "^(/|$)" }), &json!(true)),
        _ => text(),
    }
}

/// What a key takes wherever it stands; null for one that nobody described.
fn of(key: &str) -> Value {
    match key {
        "wait" | "interval" | "timeout" | "within" | "ttl" | "every" | "lock_timeout" => duration(),
        "tls" | "insecure" | "exclusive" | "required" | "fail_fast" | "i_know" | "notify" | "enabled" => flag(),
        "failure_threshold" | "success_threshold" => number(1, 1000),
        "lock_key" => number(i64::MIN, i64::MAX),
        "retries" => number(0, 1000),
        "parallel" => number(1, 64),
        "min" => number(1, 1_000_000),
        "notify_fd" => number(3, 255),
        "port" => json!({ "anyOf": [number(1, 65_535), { "const": "" }] }),
        "database" => json!({ "type": ["string", "integer"] }),
        "affects" => word(&["none", "health", "readiness", "liveness"]),
        "extra_args" => word(&["error", "ignore"]),
        "missing_database" => word(&["wait", "ready"]),
        "on_lock_lost" => word(&["terminate", "continue"]),
        "orphans" => word(&["terminate", "wait", "ignore"]),
        "role" => word(&["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]),
        "method" => typed("^[A-Z]*$"),
        "also_redis_check" | "also_redis_lock" | "query" | "variables" | "bearer" | "body" | "ca" | "client_certificate" | "client_key"
        | "free" | "host" | "key" | "kind" | "lock" | "lock_name" | "lock_table" | "mode" | "mode_fallback" | "name" | "password"
        | "path" | "service" | "sslmode" | "url" | "user" | "username" => text(),
        _ => Value::Null,
    }
}

/// The same with other schemas of these properties.
fn set(mut section: Value, properties: &[(&str, &Value)]) -> Value {
    for (key, value) in properties {
        section["properties"][*key] = (*value).clone();
    }
    section
}

/// What `T` declares, in place of what is described here.
fn with_declared<T: schemars::JsonSchema>(mut section: Value) -> Value {
    if let (Some(here), Some(declared)) =
        (section["properties"].as_object_mut(), crate::config::schema::of::<T>()["properties"].as_object())
    {
        here.extend(declared.clone());
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

/// A string of this form, or one with a variable in it, which may become one.
fn typed(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!(r"{pattern}|\$") })
}

fn word(words: &[&str]) -> Value {
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": r"\$" }] })
}

fn flag() -> Value {
    json!({ "anyOf": [{ "type": "boolean" }, typed(r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[01])?\s*$")] })
}

fn number(least: i64, most: i64) -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, typed(r"^\s*[+-]?[0-9]+\s*$")] })
}

fn duration() -> Value {
    typed(r"^\s*[0-9][0-9A-Za-zµ\s]*[A-Za-z]\s*$")
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
