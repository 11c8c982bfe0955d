//! The JSON Schema of the configuration file: the keys are those that the reader knows, the types what it takes for them.
//!
//! It never refuses what the reader takes; it also looks at what a run leaves aside, as a group that no command names. What depends on several keys, or on a variable, the reader alone can tell.

use serde_json::{Map, Value, json};

use crate::config::argument::Groups;
use crate::config::check::Check;
use crate::config::heartbeat::Heartbeat;
use crate::config::reader::Keys;
use crate::config::schema;
use crate::config::started::Started;
use crate::plan::resolve::{ROOT, checks, modes, modules, process};

/// The document (draft 2020-12).
pub fn document() -> Value {
    let signals = json!({ "type": "array", "items": { "type": "string" } });
    let mut root = section(ROOT, |key| match key {
        "checks" => of_checks(),
        "modules" => named(&json!({ "pattern": checks::NAME, "not": { "enum": checks::RESERVED } }), &definition("module")),
        "modes" => named(&json!({ "minLength": 1 }), &definition("mode")),
        "dify" | "health" | "heartbeat" | "migrations" | "process" => definition(key),
        "env" => environment(),
        _ => of(key),
    });
    // What the layers take out before anything is read.
    for (key, kind) in crate::config::preset::schema() {
        root["properties"][key] = kind;
    }
    let command = json!({ "type": "array", "items": definition("argument") });
    let of_process = |key: &str| match key {
        "ignore_signals" | "stop_on" => signals.clone(),
        "rewrite" => named(&json!({}), &text()),
        "success_codes" => json!({ "type": "array", "items": number(0, 255) }),
        "limits" => section(process::LIMIT_NAMES, |_| {
            let limit = r"^\s*([0-9]+|unlimited)\s*(:\s*([0-9]+|unlimited)\s*)?$";
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, typed(limit)] })
        }),
        "umask" => typed(r"^\s*\+?[0-7]+\s*$"),
        _ => of(key),
    };
    let groups = schema::of::<Groups>();
    let mode = section(modes::MODE, |key| match key {
        "command" => command.clone(),
        "started" => definition("started"),
        "checks" => of_checks(),
        "env" => named(&json!({ "pattern": "^[^=]+$" }), &variable()),
        "groups" => named(&json!({}), &groups["additionalProperties"]),
        "variants" => json!({ "type": "array", "items": require(definition_of_variant(&command), &["when"]) }),
        _ => of_process(key),
    });
    let module = section(modules::KEYS, |key| match key {
        "command" => command.clone(),
        "started" => definition("started"),
        "checks" => of_checks(),
        "when" => definition("condition"),
        "env" => named(&json!({ "pattern": "^[^=]+$" }), &variable()),
        "groups" => named(&json!({}), &groups["additionalProperties"]),
        "after" => json!({ "type": "array", "items": text() }),
        "instances" => number(0, modules::MOST),
        _ => of_process(key),
    });
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
            "mode": require(mode, &[]),
            "module": require(module, &["command"]),
            "process": section(process::KEYS, of_process),
        },
    });
    with_definitions::<Groups>(&mut document);
    with_definitions::<Check>(&mut document);
    with_definitions::<Heartbeat>(&mut document);
    with_definitions::<Started>(&mut document);
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

fn definition_of_variant(command: &Value) -> Value {
    section(modes::VARIANT, |key| match key {
        "when" => definition("condition"),
        "started" => definition("started"),
        "refuse" => require(section(modes::REFUSE, |key| if key == "code" { number(1, 255) } else { of(key) }), &["message"]),
        "set" => named(&json!({ "pattern": "^[^=]+$" }), &variable()),
        _ => command.clone(),
    })
}

/// What a key takes wherever it stands; null for one that nobody described.
fn of(key: &str) -> Value {
    match key {
        "wait" | "interval" | "timeout" | "within" | "ttl" | "every" | "lock_timeout" | "stop_timeout" | "drain_delay"
        | "restart_delay" | "restart_max_delay" | "restart_reset" | "watchdog" | "grace_period" => duration(),
        "tls"
        | "insecure"
        | "exclusive"
        | "required"
        | "fail_fast"
        | "i_know"
        | "notify"
        | "no_new_privileges"
        | "enabled"
        | "startup_affects_health" => flag(),
        "failure_threshold" | "success_threshold" => number(1, 1000),
        "lock_key" => number(i64::MIN, i64::MAX),
        "retries" => number(0, 1000),
        "parallel" => number(1, 64),
        "min" => number(1, 1_000_000),
        "restart_limit" => number(0, i64::from(u32::MAX)),
        "notify_fd" => number(3, 255),
        "port" => json!({ "anyOf": [number(1, 65_535), { "const": "" }] }),
        "database" => json!({ "type": ["string", "integer"] }),
        "affects" => word(&["none", "health", "readiness", "liveness"]),
        "extra_args" => word(&["error", "ignore"]),
        "missing_database" => word(&["wait", "ready"]),
        "migrate" => word(&["run", "wait", "off"]),
        "on_lock_lost" => word(&["terminate", "continue"]),
        "on_startup_failure" => word(&["exit", "hold"]),
        "orphans" => word(&["terminate", "wait", "ignore"]),
        "restart" => word(&["never", "on-failure", "always"]),
        "role" => word(&["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]),
        "start" => word(&["with-main", "on-demand"]),
        "on_exit" => word(&["ignore", "degrade", "stop-all"]),
        "output" => word(&["inherit", "prefix"]),
        "third_stop" => word(&["kill", "forward"]),
        "signal_scope" => word(&["child", "group"]),
        "method" => typed("^[A-Z]*$"),
        "also_redis_check"
        | "also_redis_lock"
        | "message"
        | "query"
        | "variables"
        | "bearer"
        | "body"
        | "ca"
        | "client_certificate"
        | "client_key"
        | "free"
        | "host"
        | "key"
        | "kind"
        | "lock"
        | "lock_name"
        | "lock_table"
        | "mode"
        | "mode_fallback"
        | "name"
        | "parent_death_signal"
        | "password"
        | "path"
        | "service"
        | "sslmode"
        | "stop_signal"
        | "url"
        | "user"
        | "version"
        | "web_path"
        | "username"
        | "working_directory" => text(),
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

/// A table with these keys and no others.
fn section(keys: Keys, kind: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.known.iter().map(|key| ((*key).to_owned(), kind(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn require(mut section: Value, keys: &[&str]) -> Value {
    if !keys.is_empty() {
        section["required"] = json!(keys);
    }
    section
}

/// A table whose keys are names.
fn named(names: &Value, values: &Value) -> Value {
    json!({ "type": "object", "propertyNames": names, "additionalProperties": values })
}

fn environment() -> Value {
    let variables = named(&json!({ "pattern": "^[^=]+$" }), &variable());
    json!({
        "type": "object",
        "properties": { "default": variables, "expand_files": flag() },
        "propertyNames": { "pattern": "^[^=]+$" },
        "additionalProperties": variable(),
    })
}

fn definition(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn variable() -> Value {
    json!({ "type": ["string", "integer", "boolean"] })
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
