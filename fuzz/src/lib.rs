//! What several targets need: a plan of a configuration, a lifecycle of it, and all its health answers.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis::clock::Moment;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::{RunOptions, resolve};
use portcullis::plan::Plan;
use portcullis::state::event::{Event, ProcessId};
use portcullis::state::lifecycle::Lifecycle;
use portcullis::state::snapshot::{Look, Snapshot};
use portcullis::view;

/// Writes a file of this process alone and returns its path.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("portcullis-fuzz-{name}-{}.toml", std::process::id()));
    std::fs::write(&path, bytes).expect("write a file of our own");
    path
}

/// The plan of a configuration that is right.
pub fn plan(name: &str, text: &str) -> Arc<Plan> {
    let request = RunOptions { file: Some(file(name, text.as_bytes())), ..RunOptions::default() };
    match resolve(&request, &Environment::new(Vec::<(String, String)>::new())) {
        Ok(plan) => Arc::new(plan),
        Err(problems) => panic!("{problems}"),
    }
}

/// A run of this plan whose process has just been started.
pub fn running(plan: &Arc<Plan>) -> (Lifecycle, Moment) {
    let now = Moment::now();
    let mut lifecycle = Lifecycle::new(Arc::clone(plan), now);
    lifecycle.apply(now, Event::Begin);
    lifecycle.apply(now, Event::Spawned(ProcessId::Main, 7));
    (lifecycle, now)
}

/// The paths that are answered with a document or a text.
pub const PATHS: [&str; 12] = [
    "/",
    "/healthz",
    "/livez",
    "/readyz",
    "/startupz",
    "/actuator",
    "/actuator/health",
    "/actuator/health/readiness",
    "/health",
    "/status",
    "/metrics",
    "/nothing/here",
];

/// Renders every view, for strangers and for authorized readers: none is empty, and what says that it is JSON is.
pub fn render_all(snapshot: &Snapshot, look: Look) {
    for path in PATHS {
        for (authorized, accept, query) in [(false, "", ""), (true, "", "verbose"), (true, "text/plain", ""), (true, "text/html", "")] {
            let request = view::Request { method: "GET", path, query, accept, authorized, ..view::Request::default() };
            let answer = view::route(snapshot, look, &request);
            assert!(!answer.body.is_empty(), "{path} is empty");
            if answer.content_type.contains("json") {
                let read: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
                assert!(read.is_ok(), "{path}: {}", answer.body);
            }
        }
    }
}

/// The parts of an input that this mark separates.
pub fn split<'a>(data: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest.take()?;
        match data.windows(mark.len()).position(|window| window == mark) {
            Some(place) => {
                rest = Some(&data[place + mark.len()..]);
                Some(&data[..place])
            }
            None => Some(data),
        }
    })
}

/// Whether one text stands in another.
pub fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
