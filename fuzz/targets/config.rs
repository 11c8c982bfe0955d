//! A configuration, its environment and its arguments: a plan or problems, no secret in either, and a reload onto itself changes nothing.
//!
//! An input is TOML, `%%` on a line of its own, lines `NAME=VALUE`, `%%`, and arguments a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::command::plan::{render, render_json};
use portcullis::config::source::Environment;
use portcullis::plan::reload::Reload;
use portcullis::plan::resolve::{RunOptions, explain};
use portcullis_fuzz::{file, holds, split};

const SECRET: &str = "kW7vQx2LmZ";

fuzz_target!(|data: &[u8]| {
    // A secret that the input itself writes somewhere else is none.
    if SECRET.as_bytes().windows(4).any(|part| holds(data, part)) {
        return;
    }
    let mut parts = split(data, b"\n%%\n");
    let path = file("config", parts.next().unwrap_or_default());
    let lines = |part: Option<&[u8]>| -> Vec<String> {
        let text = String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
        text.lines().filter(|line| !line.is_empty() && !line.contains('\0')).map(str::to_owned).collect()
    };
    // What `NAME_FILE` names may be a file that never ends.
    let mut variables: Vec<(String, String)> = lines(parts.next())
        .iter()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.is_empty() && !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    variables.extend(["DB_PASSWORD", "REDIS_PASSWORD"].map(|name| (name.to_owned(), SECRET.to_owned())));
    let environment = Environment::new(variables);
    let request = RunOptions { file: Some(path), arguments: lines(parts.next()), ..RunOptions::default() };
    match explain(&request, &environment) {
        Ok((plan, effective)) => {
            let (text, json) = (render(&plan, &effective), render_json(&plan, &effective));
            assert!(!text.contains(SECRET) && !json.contains(SECRET), "{text}\n{json}");
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            let (again, effective) = explain(&request, &environment).expect("it was read before");
            assert_eq!(render(&again, &effective), text);
            match Reload::new(&plan, again) {
                Ok(reload) => assert!(reload.is_empty(), "{}\n{text}", reload.words()),
                Err(problems) => panic!("{problems:?}\n{text}"),
            }
        }
        Err(problems) => assert!(!problems.to_string().contains(SECRET), "{problems}"),
    }
});
