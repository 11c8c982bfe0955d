//! The OpenAPI document matches the views' structs and the table of paths.

use std::fmt::Write;

use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::view::actuator::{ActuatorHealth, ActuatorIndex, ActuatorInfo, Component};
use crate::view::article::Article;
use crate::view::configcat::Status;
use crate::view::ragflow::Ragflow;
use crate::view::{Request, find};

/// The document that `portcullis schema --openapi` prints; it has all views, also those that a configuration switches off.
const DOCUMENT: &str = include_str!("../openapi/health.json");

const V3: &str = "application/vnd.spring-boot.actuator.v3+json";
const V2: &str = "application/vnd.spring-boot.actuator.v2+json";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Compares with the file; if it differs, the new one is written to the temporary directory.
#[test]
fn the_document_is_made_of_the_structs() {
    let mut made = String::new();
    write(&mut made, &document(), 0);
    made.push('\n');
    if made != DOCUMENT {
        let new = std::env::temp_dir().join("portcullis-health.json");
        std::fs::write(&new, made).unwrap();
        panic!("src/view/openapi/health.json is not {}", new.display());
    }
}

/// Every path of the document is answered, with a status and a type that it names.
#[test]
fn every_path_of_the_document_is_answered_as_it_says() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let (snapshot, look) = super::fixtures::named("redis down");
    let names = [("{check}", "ping"), ("{component}", "redis")];
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = names.iter().fold(path.clone(), |path, (name, value)| path.replace(name, value));
        // The fixture has no module.
        if target.contains("{module}") || target.contains("{web_path}") {
            continue;
        }
        let response = find(&snapshot, look, &Request { method: "GET", path: &target, ..Request::default() }).unwrap();
        let answer = &item["get"]["responses"][response.status.to_string()];
        let kind = response.content_type.split(';').next().unwrap();
        assert!(answer["content"].get(kind).is_some(), "{path}: {} {kind} in {answer}", response.status);
    }
}

/// A value that fits into a line is written on one line, because people read the file.
fn write(text: &mut String, value: &Value, depth: usize) {
    const WIDTH: usize = 140;
    let flat = value.to_string();
    let members: Vec<(Option<&String>, &Value)> = match value {
        Value::Object(members) if flat.len() > WIDTH => members.iter().map(|(name, value)| (Some(name), value)).collect(),
        Value::Array(items) if flat.len() > WIDTH => items.iter().map(|value| (None, value)).collect(),
        _ => return text.push_str(&flat),
    };
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    text.push(open);
    for (index, (name, value)) in members.into_iter().enumerate() {
        let _ = write!(text, "{}\n{}", if index == 0 { "" } else { "," }, " ".repeat(depth + 1));
        if let Some(name) = name {
            let _ = write!(text, "{}:", json!(name));
        }
        write(text, value, depth + 1);
    }
    let _ = write!(text, "\n{}{close}", " ".repeat(depth));
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.contract = Contract::Serialize;
    // OpenAPI knows no `uint`.
    let no_format = |schema: &mut schemars::Schema| _ = schema.remove("format");
    settings = settings.with_transform(RecursiveTransform(no_format));
    let mut schemas = settings.into_generator();
    let paths = paths(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "portcullis: health",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "How a running portcullis is, in the languages that orchestrators, monitoring and people speak. GET answers; HEAD has \
                            the same code and headers; OPTIONS is 204; every other method 405. A status code never depends on Accept or on authorization.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8051" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "Shows details; without it the same code and less body." } },
            "responses": {
                "Methods": { "description": "GET, HEAD and OPTIONS", "headers": { "Allow": { "schema": { "type": "string" } } } },
                "Bodiless": { "description": "As for GET, without the body" },
                "TooLong": { "description": "The head of the request is longer than 8 KiB" },
            },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn paths(schemas: &mut SchemaGenerator) -> Value {
    let mut paths = Map::new();
    let mut add = |name: &str, path: Value| _ = paths.insert(name.to_owned(), path);
    let text = |kinds: &[&str]| content(kinds, &json!({ "type": "string" }));
    add("/", path("The page for eyes", &[flag("hold")], &[(200, "The page, or the same as text", text(&["text/html", TEXT]))]));
    let ragflow = content(&[JSON], &schema::<Ragflow<'_>>(schemas));
    for name in ["/healthz", "/v1/system/healthz", "/api/v1/system/healthz"] {
        let answers = [(200, "All that counts is up", ragflow.clone()), (500, "Something that counts is not", ragflow.clone())];
        add(name, path("RAGFlow's flat answer, deep", &[], &answers));
    }
    for (name, what) in [("livez", "portcullis itself turns"), ("readyz", "Traffic may come"), ("startupz", "The start is through")] {
        let exclude =
            json!({ "name": "exclude", "in": "query", "schema": { "type": "array", "items": { "type": "string" } }, "explode": true });
        let whole = [(200, what, text(&[TEXT])), (500, "It does not hold; the lines say which check fails", text(&[TEXT]))];
        add(&format!("/{name}"), path("Kubernetes' text answer, shallow", &[flag("verbose"), exclude], &whole));
        let one = [(200, "The check passes", text(&[TEXT])), (500, "The check fails", text(&[TEXT])), UNKNOWN];
        add(&format!("/{name}/{{check}}"), path("One check of it", &[segment("check")], &one));
    }
    let spring = |schema: Value| content(&[V3, V2, JSON], &schema);
    let verdict = |schema: Value| {
        let response = spring(schema);
        [(200, "UP", response.clone()), (503, "DOWN, OUT_OF_SERVICE or UNKNOWN", response)]
    };
    add("/actuator", path("Spring's index of links", &[], &[(200, "The links", spring(schema::<ActuatorIndex>(schemas)))]));
    let info = [(200, "Who this is", spring(schema::<ActuatorInfo<'_>>(schemas)))];
    add("/actuator/info", path("Who this is, with Koupleless' list of modules", &[], &info));
    add("/actuator/health", path("Spring's health, deep", &[], &verdict(schema::<ActuatorHealth<'_>>(schemas))));
    let component = verdict(schema::<Component<'_>>(schemas));
    for group in ["liveness", "readiness"] {
        add(&format!("/actuator/health/{group}"), path("A group of it, shallow", &[], &component));
    }
    let [up, down] = component;
    let one = [up, down, UNKNOWN];
    add("/actuator/health/{component}", path("One component of it", &[segment("component")], &one));
    add("/actuator/health/modules/{module}", path("One module", &[segment("module")], &one));
    for name in ["health", "info"] {
        let what = "The health of the module whose pages are at this path";
        add(&format!("/{{web_path}}/actuator/{name}"), path(what, &[segment("web_path")], &one));
    }
    let article = content(&[JSON], &schema::<Article<'_>>(schemas));
    let answers = [(200, "Healthy", article.clone()), (503, "Unhealthy", article)];
    add("/health", path("The Dify article's answer, deep", &[], &answers));
    let answers = [(200, "The state, whatever it is", content(&[JSON], &schema::<Status<'_>>(schemas)))];
    add("/status", path("ConfigCat's status with the last records", &[flag("verbose")], &answers));
    let metrics = [(200, "Every family", text(&[TEXT, "application/openmetrics-text"]))];
    add("/metrics", path("Prometheus or OpenMetrics", &[], &metrics));
    Value::Object(paths)
}

/// A status code, its meaning, and its bodies.
type DocumentedResponse = (u16, &'static str, Value);

const UNKNOWN: DocumentedResponse = (404, "There is none of that name", Value::Null);

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

/// GET, HEAD and OPTIONS of one path.
fn path(summary: &str, parameters: &[Value], answers: &[DocumentedResponse]) -> Value {
    let too_long = json!({ "$ref": "#/components/responses/TooLong" });
    let mut get = Map::new();
    let mut head = Map::new();
    for (code, description, content) in answers {
        let bare = json!({ "description": description });
        let full = json!({ "description": description, "content": content });
        get.insert(code.to_string(), if content.is_null() { bare } else { full });
        head.insert(code.to_string(), json!({ "$ref": "#/components/responses/Bodiless" }));
    }
    for answers in [&mut get, &mut head] {
        answers.insert("431".to_owned(), too_long.clone());
    }
    let (in_path, in_query): (Vec<&Value>, Vec<&Value>) = parameters.iter().partition(|parameter| parameter["in"] == "path");
    let mut options = json!({ "204": { "$ref": "#/components/responses/Methods" } });
    if !in_path.is_empty() {
        options["404"] = json!({ "description": UNKNOWN.1 });
    }
    json!({
        "parameters": in_path,
        "get": { "summary": summary, "parameters": in_query, "responses": get },
        "head": { "summary": summary, "parameters": in_query, "responses": head },
        "options": { "summary": "The methods that are answered", "responses": options },
    })
}

fn content(kinds: &[&str], schema: &Value) -> Value {
    kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema }))).collect()
}

fn flag(name: &str) -> Value {
    json!({ "name": name, "in": "query", "description": "By its presence, with whatever value", "schema": { "type": "string" }, "allowEmptyValue": true })
}

fn segment(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}
