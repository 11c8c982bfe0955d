//! Targets' URLs, one a line: targets or problems, and the password of a URL in neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::{TlsFlags, targets_with};

const SECRET: &str = "kW7vQx2LmZ";

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let urls: Vec<String> = text.lines().map(str::to_owned).collect();
    let environment = Environment::new([("A", "1"), ("REDIS_HOST", "h"), ("REDIS_PASSWORD", "another")]);
    let shown = match targets_with(&urls, &TlsFlags::default(), &environment) {
        Ok((targets, notices)) => format!("{} {targets:?} {notices:?}", targets.iter().map(ToString::to_string).collect::<String>()),
        Err(problems) => problems.to_string(),
    };
    // Where the secret stands as the one password of the one URL, nobody may show it; a path or a command is no password.
    let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_password = authority.is_some_and(|authority| authority.contains(&format!(":{SECRET}@"))) && !text.starts_with("exec:");
    if urls.len() == 1 && text.matches(SECRET).count() == 1 && is_password {
        assert!(!shown.contains(SECRET), "{shown}");
    }
});
