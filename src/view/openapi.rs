//! The OpenAPI 3.1 document of the health answers, for `portcullis schema --openapi` and for who tests against it.

use serde_json::{Map, Value, json};

use crate::state::snapshot::Phase;

const V3: &str = "application/vnd.spring-boot.actuator.v3+json";
const V2: &str = "application/vnd.spring-boot.actuator.v2+json";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// The document; all views are in it, also those that a configuration switches off.
pub fn document(version: &str) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "portcullis: health",
            "version": version,
            "description": "How a running portcullis is, in the languages that orchestrators, monitoring and people speak. GET answers; HEAD has \
                            the same code and headers; OPTIONS is 204; every other method 405. A status code never depends on Accept or on authority.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8051" }],
        "security": [{}, { "token": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "Shows details; without it the same code and less body." } },
            "responses": responses(),
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let mut paths = Map::new();
    let html = json!({ "text/html": { "schema": { "type": "string" } }, TEXT: { "schema": { "type": "string" } } });
    paths.insert("/".to_owned(), path("The page for eyes", &[flag("hold")], vec![("200", "The page, or the same as text", html)]));
    for name in ["/healthz", "/v1/system/healthz", "/api/v1/system/healthz"] {
        let told = || content(&[JSON], "Ragflow");
        let answers = vec![("200", "All that counts is up", told()), ("500", "Something that counts is not", told())];
        paths.insert(name.to_owned(), path("RAGFlow's flat answer, deep", &[], answers));
    }
    for (name, what) in [("livez", "portcullis itself turns"), ("readyz", "Traffic may come"), ("startupz", "The start is through")] {
        let told = || json!({ TEXT: { "schema": { "type": "string" } } });
        let exclude =
            json!({ "name": "exclude", "in": "query", "schema": { "type": "array", "items": { "type": "string" } }, "explode": true });
        let whole = vec![("200", what, told()), ("500", "It does not hold; the lines say which check fails", told())];
        paths.insert(format!("/{name}"), path("Kubernetes' text answer, shallow", &[flag("verbose"), exclude], whole));
        let one = vec![("200", "The check passes", told()), ("500", "The check fails", told())];
        paths.insert(format!("/{name}/{{check}}"), path("One check of it", &[segment("check")], with_not_found(one)));
    }
    let told = |schema| content(&[V3, V2, JSON], schema);
    paths.insert("/actuator".to_owned(), path("Spring's index of links", &[], vec![("200", "The links", told("ActuatorIndex"))]));
    let info = vec![("200", "Who this is", told("ActuatorInfo"))];
    paths.insert("/actuator/info".to_owned(), path("Who this is, with Koupleless' list of modules", &[], info));
    let verdict = |schema| vec![("200", "UP", told(schema)), ("503", "DOWN, OUT_OF_SERVICE or UNKNOWN", told(schema))];
    paths.insert("/actuator/health".to_owned(), path("Spring's health, deep", &[], verdict("ActuatorHealth")));
    for group in ["liveness", "readiness"] {
        paths.insert(format!("/actuator/health/{group}"), path("A group of it, shallow", &[], verdict("ActuatorGroup")));
    }
    let one = with_not_found(verdict("ActuatorComponent"));
    paths.insert("/actuator/health/{component}".to_owned(), path("One component of it", &[segment("component")], one.clone()));
    paths.insert("/actuator/health/modules/{module}".to_owned(), path("One module", &[segment("module")], one));
    let article = |what| (what, content(&[JSON], "Article"));
    let (healthy, unhealthy) = (article("Healthy"), article("Unhealthy"));
    let answers = vec![("200", healthy.0, healthy.1), ("503", unhealthy.0, unhealthy.1)];
    paths.insert("/health".to_owned(), path("The Dify article's answer, deep", &[], answers));
    let answers = vec![("200", "The state, whatever it is", content(&[JSON], "Status"))];
    paths.insert("/status".to_owned(), path("ConfigCat's status with the last records", &[flag("verbose")], answers));
    let metrics = json!({ TEXT: { "schema": { "type": "string" } }, "application/openmetrics-text": { "schema": { "type": "string" } } });
    paths.insert("/metrics".to_owned(), path("Prometheus or OpenMetrics", &[], vec![("200", "Every family", metrics)]));
    Value::Object(paths)
}

/// GET, HEAD and OPTIONS of one path.
fn path(summary: &str, parameters: &[Value], answers: Vec<(&str, &str, Value)>) -> Value {
    let mut get = Map::new();
    let mut head = Map::new();
    for (code, description, content) in answers {
        if content.is_null() {
            get.insert(code.to_owned(), json!({ "description": description }));
        } else {
            get.insert(code.to_owned(), json!({ "description": description, "content": content }));
        }
        head.insert(code.to_owned(), json!({ "description": description }));
    }
    for answers in [&mut get, &mut head] {
        answers.insert("431".to_owned(), json!({ "$ref": "#/components/responses/TooLong" }));
    }
    let (in_path, in_query): (Vec<Value>, Vec<Value>) =
        parameters.iter().cloned().partition(|parameter| parameter.get("in") == Some(&json!("path")));
    let options = json!({ "204": { "$ref": "#/components/responses/Methods" } });
    json!({
        "parameters": in_path,
        "get": { "summary": summary, "parameters": in_query, "responses": get },
        "head": { "summary": summary, "parameters": in_query, "responses": head },
        "options": { "summary": "The methods that are answered", "responses": with_unknown(options, !in_path.is_empty()) },
    })
}

fn with_unknown(mut answers: Value, unknown: bool) -> Value {
    if let Some(answers) = answers.as_object_mut().filter(|_| unknown) {
        answers.insert("404".to_owned(), json!({ "description": "There is none of that name" }));
    }
    answers
}

fn with_not_found<'a>(mut answers: Vec<(&'a str, &'a str, Value)>) -> Vec<(&'a str, &'a str, Value)> {
    answers.push(("404", "There is none of that name", Value::Null));
    answers
}

fn content(kinds: &[&str], schema: &str) -> Value {
    kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } }))).collect()
}

fn flag(name: &str) -> Value {
    json!({ "name": name, "in": "query", "description": "By its presence, with whatever value", "schema": { "type": "string" }, "allowEmptyValue": true })
}

fn segment(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}

fn responses() -> Value {
    json!({
        "Methods": { "description": "GET, HEAD and OPTIONS", "headers": { "Allow": { "schema": { "type": "string" } } } },
        "TooLong": { "description": "The head of the request is longer than 8 KiB" },
    })
}

fn schemas() -> Value {
    let status = json!({ "enum": ["UP", "DOWN", "UNKNOWN", "OUT_OF_SERVICE"] });
    let word = |words: &[&str]| json!({ "enum": words });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "Ragflow": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": word(&["ok", "nok"]),
                "_meta": { "type": "object", "minProperties": 1, "additionalProperties": {
                    "type": "object",
                    "required": ["elapsed", "error"],
                    "properties": { "elapsed": { "type": "string", "pattern": "^[0-9]+\\.[0-9]$" }, "error": { "type": "string" } },
                } },
            },
            "additionalProperties": word(&["ok", "nok"]),
        },
        "Article": {
            "type": "object",
            "required": ["status", "version"],
            "properties": {
                "status": word(&["healthy", "unhealthy"]), "version": { "type": "string" },
            },
            "additionalProperties": word(&["healthy", "unhealthy"]),
        },
        "ActuatorIndex": {
            "type": "object",
            "required": ["_links"],
            "properties": { "_links": { "type": "object", "additionalProperties": {
                "type": "object",
                "required": ["href", "templated"],
                "properties": { "href": { "type": "string" }, "templated": { "type": "boolean" } },
            } } },
        },
        "ActuatorGroup": { "type": "object", "required": ["status"], "properties": { "status": status }, "additionalProperties": false },
        "ActuatorComponent": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": status,
                "description": { "type": "string" },
                "components": { "type": "object", "additionalProperties": { "$ref": "#/components/schemas/ActuatorComponent" } },
                "details": { "type": "object" },
            },
            "additionalProperties": false,
        },
        "ActuatorHealth": {
            "type": "object",
            "required": ["status", "groups"],
            "properties": {
                "status": status,
                "description": { "type": "string" },
                "components": { "type": "object", "additionalProperties": { "$ref": "#/components/schemas/ActuatorComponent" } },
                "details": { "type": "object" },
                "groups": texts,
            },
            "additionalProperties": false,
        },
        "ActuatorInfo": {
            "type": "object",
            "required": ["app", "build", "arkBizInfo"],
            "properties": {
                "app": { "type": "object" },
                "build": { "type": "object" },
                "arkBizInfo": { "type": "array", "items": {
                    "type": "object",
                    "required": ["bizName", "bizVersion", "bizState", "webContextPath"],
                    "properties": {
                        "bizName": { "type": "string" },
                        "bizVersion": { "type": "string" },
                        "bizState": word(&["RESOLVED", "ACTIVATED", "DEACTIVATED", "BROKEN"]),
                        "webContextPath": { "type": "string" },
                    },
                } },
            },
        },
        "Status": {
            "type": "object",
            "required": ["status", "phase", "checks"],
            "properties": {
                "status": word(&["initializing", "healthy", "degraded", "down"]),
                "phase": { "enum": Phase::ALL.map(Phase::word) },
                "checks": { "type": "object", "additionalProperties": {
                    "type": "object",
                    "required": ["type", "counts", "status", "records"],
                    "properties": {
                        "type": { "type": "string" },
                        "counts": { "type": "boolean" },
                        "status": word(&["initializing", "healthy", "degraded", "down"]),
                        "records": { "type": "array", "maxItems": 5, "items": { "type": "string" } },
                    },
                } },
                "migration": {
                    "type": "object",
                    "required": ["role"],
                    "properties": {
                        "role": word(&["waiter", "settling", "fencing", "holder", "done"]),
                        "lock": word(&["postgres", "table", "mysql", "file", "redis"]),
                        "since_s": { "type": "integer" },
                        "attempt": { "type": "integer" },
                        "holder": {
                            "type": "object",
                            "properties": {
                                "instance": { "type": ["string", "null"] },
                                "addr": { "type": ["string", "null"] },
                                "held_s": { "type": ["integer", "null"] },
                                "session": { "type": "string" },
                            },
                        },
                    },
                },
            },
        },
    })
}
