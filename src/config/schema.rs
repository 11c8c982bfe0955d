//! The JSON Schema of a declaration, in which any value may be a variable.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value};

use crate::config::configuration::Document;

/// The schema of a configuration file.
///
/// It never refuses what the reader accepts. Only the reader can check rules that depend on several keys or on a variable.
pub fn document() -> Value {
    of::<Document>()
}

/// The schema of `T` (draft 2020-12), in which every value other than a plain string may be a string that contains a variable.
fn of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    OrVariable.transform(&mut schema);
    schema.to_value()
}

/// Turns everything except plain strings into `anyOf [it, a string with a variable]`, and removes the null of `Option`, which TOML does not have.
struct OrVariable;

impl Transform for OrVariable {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        without_null(object);
        in_words(object);
        let words = object.get("oneOf").and_then(Value::as_array).is_some_and(|words| words.iter().all(|word| word.get("const").is_some()));
        let written = match object.get("type").and_then(Value::as_str) {
            None if words => r"\$",
            Some("boolean") => r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[01])?\s*$|\$",
            Some("integer") => r"^\s*[+-]?[0-9]+\s*$|\$",
            Some("string") if object.contains_key("enum") || object.contains_key("pattern") => r"\$",
            _ => return,
        };
        let own = ["description", "default", "title"].into_iter().filter_map(|key| Some((key.to_owned(), object.remove(key)?)));
        let own: Map<String, Value> = own.collect();
        let plain = std::mem::take(object);
        *object = own;
        object.insert("anyOf".to_owned(), serde_json::json!([plain, json_schema!({ "type": "string", "pattern": written })]));
    }
}

/// The null that an `Option` adds.
fn without_null(object: &mut Map<String, Value>) {
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// Bounds that a pattern cannot express go into the description.
fn in_words(object: &mut Map<String, Value>) {
    if let Some(range) = object.remove("x-range").and_then(|range| range.as_str().map(str::to_owned)) {
        let text = object.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{text} From {range}.").trim_start().to_owned();
        object.insert("description".to_owned(), Value::String(text));
    }
}
