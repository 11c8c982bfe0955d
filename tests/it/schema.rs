//! The JSON Schema of the configuration compared with the reader: both accept and refuse the same, key by key, with a real validator.

use crate::support::{Dir, Portcullis, slow, variable};
use portcullis::config::source::Environment;
use portcullis::plan::resolve::{self, RunOptions};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is tried as the value of every key.
const SAMPLES: [&str; 21] = [
    "7",
    "-1",
    "1.5",
    "true",
    "[]",
    "['a']",
    "[7]",
    "['7', 200]",
    "{}",
    "{ a = 'b' }",
    "{ a = 7 }",
    "{ a = ['b'] }",
    "1979-05-27",
    "''",
    "'x'",
    "'5'",
    "'60s'",
    "'1m 30s'",
    "'true'",
    "'GET'",
    "'${X}'",
];

/// Words of the reader about a value that is wrong whatever else there is; what it says beyond these the schema need not know.
pub(crate) const WRONG: [&str; 19] = [
    "expected a string",
    "expected a list",
    "a list such as `",
    "listed by name",
    "lists no ",
    "expected a table",
    "expected a number",
    "whole number from",
    "expected `true` or `false`",
    "expected one of `",
    "bare number",
    "not a duration",
    "unknown key",
    "in octal",
    "an octal mask",
    "a table such as `",
    "a size such as `",
    "where an argument is expected",
    "`unlimited` or `soft:hard`",
];

/// Where in the schema a section stands, behind `#` which of several places has its keys, and what a configuration needs before one.
const SECTIONS: [(&str, &str); 20] = [
    ("", ""),
    ("check", "[checks.c]"),
    ("check#variant", "[checks.c]\n[[checks.c.variants]]\nwhen = { var = 'X', eq = '60s' }"),
    ("check#of a mode", "[modes.m]\ncommand = ['true']\n[modes.m.checks.c]"),
    ("check#of a module", "[modules.w]\ncommand = ['true']\n[modules.w.checks.c]"),
    ("test", "[checks.c]\nurl = 'tcp://h:1'\n[checks.c.when]\nvar = 'X'"),
    ("endpoint", "[[checks.c.targets]]\nkind = 'http'\nhost = 'h'"),
    ("dify", "[dify]\nurl = 'http://h'"),
    ("expect", "[checks.c]\nurl = 'http://h'\n[checks.c.expect]"),
    ("health", "[health]"),
    ("heartbeat", "[heartbeat]\nkind = 'redis'\nhost = 'h'"),
    ("migrations", "[checks.db]\nurl = 'postgres://u@h/d'\n[migrations]\nenabled = true\ncommand = ['true']"),
    ("mode", "[modes.m]\ncommand = ['true']"),
    ("mode/properties/variants/items", "[modes.m]\ncommand = ['true']\n[[modes.m.variants]]\nwhen = { var = 'X', eq = '60s' }"),
    (
        "mode/properties/variants/items/properties/refuse",
        "[modes.m]\ncommand = ['true']\n[[modes.m.variants]]\nwhen = { var = 'X', eq = '60s' }\n[modes.m.variants.refuse]\nmessage = 'no'",
    ),
    ("module", "[modules.w]\ncommand = ['true']"),
    ("process", "[process]"),
    ("process/properties/limits", "[process.limits]"),
    ("started", "[modes.m]\ncommand = ['true']\n[modes.m.started]"),
    ("started#of a module", "[modules.w]\ncommand = ['true']\n[modules.w.started]"),
];

/// What makes the reader look at a key that only some targets have.
fn target_of(key: &str) -> &'static str {
    match key {
        "url" | "targets" | "variables" | "notify" | "notify_fd" | "line" | "nonsense" => "",
        "parallel" => "targets = [{ url = 'http://h' }]",
        "headers" | "method" | "expect" | "bearer" | "key_header" | "redirects" | "proxy" => "kind = 'http'\nhost = 'h'",
        "key" | "min" => "kind = 'redis+ready'\nhost = 'h'\nservice = 's'",
        "free" => "kind = 'disk'\npath = '/'",
        "path" => "kind = 'file'",
        "service" | "tls" | "insecure" => "kind = 'grpc'\nhost = 'h'",
        "command" => "kind = 'exec'",
        _ => "kind = 'postgres'\nhost = 'h'",
    }
}

/// A configuration in which one key has one value, and the line where it stands.
fn document(section: &str, head: &str, key: &str, value: &str) -> (String, usize) {
    let mut lines: Vec<&str> = head.lines().collect();
    let section = section.split('#').next().unwrap_or_default();
    if matches!(section, "check" | "started") {
        lines.extend(target_of(key).lines());
    }
    if matches!((section, key), ("mode" | "module", "groups")) {
        // A group that no command names is not looked at.
        lines.retain(|line| !line.starts_with("command"));
        lines.push("command = ['true', { first = 'a' }]");
    }
    // The key's own table is the last one.
    let table = lines.iter().rposition(|line| line.starts_with('[')).unwrap_or_default();
    let others = lines.split_off(table);
    lines.extend(others.into_iter().filter(|line| !line.starts_with(&format!("{key} = "))));
    let line = format!("{key} = {value}");
    lines.push(&line);
    (lines.join("\n"), lines.len())
}

/// What the reader says of that line.
fn complaint(file: &Path, toml: &str, line: usize) -> Option<String> {
    std::fs::write(file, toml).unwrap();
    let request = RunOptions { file: Some(file.to_owned()), arguments: vec!["true".to_owned()], ..RunOptions::default() };
    let problems = resolve::resolve(&request, &Environment::new([("X", "60s")])).err()?.to_string();
    let mark = format!("{}:{line}:", file.display());
    let reported: Vec<&str> = problems.lines().filter(|problem| problem.starts_with(&mark)).collect();
    (!reported.is_empty()).then(|| reported.join("\n"))
}

/// The words that the reader says it knows; each of its lines may name some.
fn words(complaint: &str) -> Vec<String> {
    let lists = complaint.lines().filter_map(|line| line.split("; expected one of ").nth(1));
    lists.flat_map(|list| list.split(", ")).map(|word| format!("'{}'", word.trim_matches('`'))).collect()
}

#[test]
fn the_schema_accepts_and_refuses_the_same_as_the_reader() {
    if !slow("the_schema_accepts_and_refuses_the_same_as_the_reader") {
        return;
    }
    let schema: Value = serde_json::from_str(&Portcullis::new().args(["schema"]).output().exits(0).stdout).unwrap();
    let (dir, mut cases) = (Dir::new(), Vec::new());
    let file = dir.path().join("portcullis.toml");
    let mut judge = |section: &str, head: &str, key: &str, value: &str| {
        let (toml, line) = document(section, head, key, value);
        let complaint = complaint(&file, &toml, line);
        // Null where the reader objects to what no schema can know.
        let wrong = complaint.as_ref().is_some_and(|words| WRONG.iter().any(|wrong| words.contains(wrong)));
        // Nor the bounds of a number that is written as a string.
        let quoted = ["'5'", "'7'"].iter().any(|number| value.contains(number));
        let bounds = quoted && complaint.as_ref().is_some_and(|words| words.contains("whole number from"));
        let refused =
            if complaint.is_none() || (wrong && !bounds && !value.contains('$')) { json!(complaint.is_some()) } else { Value::Null };
        cases.push(json!({ "toml": toml, "refused": refused, "why": complaint }));
        complaint
    };
    for (section, head) in SECTIONS {
        let place = section.split('#').next().unwrap();
        let path = if place.is_empty() { "/properties".to_owned() } else { format!("/$defs/{place}/properties") };
        let keys = schema.pointer(&path).unwrap_or_else(|| panic!("{path}")).as_object().unwrap().keys();
        for key in keys.map(String::as_str).chain(["nonsense"]) {
            let mut more = Vec::new();
            for sample in SAMPLES {
                more.extend(judge(section, head, key, sample).map(|complaint| words(&complaint)).unwrap_or_default());
            }
            for word in more {
                judge(section, head, key, &word);
            }
        }
    }
    for sample in SAMPLES {
        judge("", "[env]", "NAME", sample);
        judge("", "[env]", "expand_files", sample);
        judge("", "[env.default]", "NAME", sample);
        for item in [
            "{ split = ? }",
            "{ args = ? }",
            "{ args = true, min_args = ? }",
            "{ then = ? }",
            "{ nonsense = ? }",
            "{ then = [], x = ? }",
            "?",
        ] {
            judge("", "[modes.m]", "command", &format!("['true', {}]", item.replace('?', sample)));
        }
        judge("", "[modes.m]\ncommand = ['true']", "variants", &format!("[{{ when = {{ var = 'X', eq = '60s' }}, command = {sample} }}]"));
    }
    assert!(cases.len() > 4000, "{}", cases.len());
    let reported = validate(&dir, &json!({ "schema": schema, "cases": cases }));
    assert!(reported.ends_with("agree"), "{reported}");
}

#[test]
fn the_schema_accepts_every_shown_configuration() {
    if !slow("the_schema_accepts_every_shown_configuration") {
        return;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&Portcullis::new().args(["schema"]).output().exits(0).stdout).unwrap();
    let mut shown: Vec<String> = crate::documents::examples("toml").into_iter().map(|(_, text)| text).collect();
    let entrypoints = std::fs::read_dir(root.join("docker/entrypoints")).unwrap().map(|entry| entry.unwrap().path());
    let directories = ["docker/demo", "docker/example", "src/presets"].map(|name| root.join(name)).into_iter().chain(entrypoints);
    let before = shown.len();
    for entry in directories.flat_map(|path| std::fs::read_dir(path).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            shown.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(shown.len() >= before + 2 + 9 + 15, "{}", shown.len() - before);
    let cases: Vec<Value> = shown.iter().map(|toml| json!({ "toml": toml, "refused": false })).collect();
    let reported = validate(&Dir::new(), &json!({ "schema": schema, "cases": cases }));
    assert!(reported.ends_with("agree"), "{reported}");
}

/// What the validator says: every case on which it differs, or that all agree.
pub(crate) fn validate(dir: &Dir, input: &Value) -> String {
    let mut script = String::new();
    let _ = write!(
        script,
        "import json, sys, tomllib\n\
         from jsonschema import Draft202012Validator as Validator\n\
         reported = json.load(open(sys.argv[1]))\n\
         Validator.check_schema(reported['schema'])\n\
         validator = Validator(reported['schema'])\n\
         judged = 0\n\
         for case in reported['cases']:\n    \
             try:\n        \
                 document = tomllib.loads(case['toml'])\n    \
             except tomllib.TOMLDecodeError as error:\n        \
                 if case['refused'] is False:\n            \
                     print('---', case['toml'], case.get('why'), 'not TOML: ', error, sep='\\n')\n        \
                 continue\n    \
             error = next(validator.iter_errors(document), None)\n    \
             judged += case['refused'] is not None\n    \
             if case['refused'] is not None and case['refused'] != (error is not None):\n        \
                 print('---', case['toml'], case.get('why'), error and error.message, sep='\\n')\n\
         print(judged, 'of', len(reported['cases']), 'agree')\n"
    );
    let (script, input) = (dir.file("validate.py", &script), dir.file("input.json", &input.to_string()));
    let python =
        PathBuf::from(variable("PORTCULLIS_CLIENTS").expect("scripts/test --all says where the clients are")).join("venv/bin/python");
    let output = Command::new(python).arg(script).arg(input).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("---\n"), "{text}");
    text.trim().to_owned()
}
