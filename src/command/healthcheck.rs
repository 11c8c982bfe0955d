//! `portcullis healthcheck`: sends one request to the running portcullis, prints the result in one line, and exits with 0 or 1.
//!
//! It runs every few seconds beside the process, so it uses a plain socket: no runtime, no TLS, no logger. Its output appears in events and
//! in `docker inspect`, so it contains only fixed words and names of checks.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::http_client::endpoint::Endpoint;
use super::http_client::{self, HttpRequest, HttpResponse};
use crate::clock::Moment;
use crate::config::source::Environment;
use crate::log::stream;
use crate::outcome::ErrorKind;
use crate::state::snapshot::{Level, Phase};
use crate::sys;
use crate::view::{own, reason};

pub use super::http_client::endpoint::ServerLocation;

/// The default timeout: far below Docker's 30 s.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum length of the line in bytes, including its end; Docker keeps 4096, an event of Kubernetes shows fewer.
const LONGEST_LINE: usize = 512;

/// The maximum number of bytes of a response: enough for thousands of checks.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// The level and the endpoint of the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The level.
    pub level: Level,
    /// How long all attempts together may take.
    pub timeout: Duration,
    /// The endpoint, as far as the options name it.
    pub place: ServerLocation,
    /// The configuration file.
    pub file: Option<PathBuf>,
}

/// Runs the subcommand and returns its exit code, only 0 or 1: Docker reserves 2.
///
/// `environment` looks up one variable. `file_settings` reads the `[health]` table of the file given with `-c`, else of the one that `run`
/// would use; it is called only if neither the options nor the environment name the endpoint.
pub fn run(
    options: &Options,
    environment: impl Fn(&str) -> Option<OsString>,
    file_settings: impl FnOnce(Option<&OsStr>) -> Option<ServerLocation>,
) -> u8 {
    let (healthy, line) = match http_client::find(&options.place, options.file.as_deref().map(Path::as_os_str), environment, file_settings)
    {
        Ok(endpoints) => query(&endpoints, options),
        Err(problem) => (false, format!("{}: {problem}", verdict(options.level, false))),
    };
    print(&shortened(line));
    u8::from(!healthy)
}

/// The entry point for `main`: with the environment and the files of this process.
pub fn main(options: &Options) -> u8 {
    sys::unblock_every_signal();
    let environment = Environment::of_process();
    let settings = |file: Option<&OsStr>| Some(http_client::settings(file, &environment));
    run(options, |name| environment.get(name).map(OsString::from), settings)
}

fn print(line: &str) {
    // Without a reader, the exit code is enough.
    let _ = writeln!(stream::stdout(), "{line}");
}

/// Sends the request to the first endpoint that answers; all attempts together have the time of the options.
fn query(endpoints: &[Endpoint], options: &Options) -> (bool, String) {
    // It requests the public response: a trusted peer would get details that must not appear in an event.
    let question = HttpRequest {
        method: "GET",
        target: path(options.level),
        headers: "Prefer: return=minimal\r\n",
        longest: LONGEST_ANSWER,
        end: Moment::now().after(options.timeout),
    };
    match http_client::first(endpoints, question) {
        Ok(answer) => judge(options.level, &answer),
        Err(failures) => (false, format!("{}: {failures}", verdict(options.level, false))),
    }
}

const fn path(level: Level) -> &'static str {
    match level {
        Level::Live => "/livez?verbose",
        Level::Started => "/startupz?verbose",
        Level::Ready => "/readyz?verbose",
        Level::Deep => "/healthz",
    }
}

const fn verdict(level: Level, passes: bool) -> &'static str {
    match (level, passes) {
        (Level::Live, true) => "live",
        (Level::Live, false) => "not live",
        (Level::Started, true) => "started",
        (Level::Started, false) => "not started",
        (Level::Ready, true) => "ready",
        (Level::Ready, false) => "not ready",
        (Level::Deep, true) => "healthy",
        (Level::Deep, false) => "not healthy",
    }
}

fn judge(level: Level, answer: &HttpResponse) -> (bool, String) {
    if let (200, Some(line)) = (answer.status, own::read(&answer.body)) {
        return (true, line);
    }
    if answer.status == 200 {
        return (true, verdict(level, true).to_owned());
    }
    let mut line = verdict(level, false).to_owned();
    let reasons = if level == Level::Deep { reasons(&answer.body) } else { names(&answer.body) };
    if reasons.is_empty() {
        let _ = write!(line, ": the response has status {}", answer.status);
    } else {
        let _ = write!(line, ": {}", reasons.join(", "));
    }
    (false, line)
}

/// `redis: authentication failed` for every failure in RAGFlow's document.
fn reasons(body: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(meta) = document.get("_meta").and_then(Value::as_object) else { return Vec::new() };
    let named = meta.iter().filter(|(name, _)| is_name(name));
    let named = named.map(|(name, failure)| (name, failure.get("error").and_then(Value::as_str).filter(|error| is_public(error))));
    // After a failed start portcullis itself is also down, and stopping; neither is the cause.
    let failed = named.clone().any(|item| is_failed_start(&item));
    named
        .filter(|(name, _)| !failed || !["supervisor", "shutdown"].contains(&name.as_str()))
        .map(|(name, error)| match (name.as_str(), error) {
            _ if is_failed_start(&(name, error)) => "the start failed".to_owned(),
            ("shutdown", Some(_)) => "it is being stopped".to_owned(),
            (_, Some(error)) => format!("{name}: {error}"),
            (_, None) => name.clone(),
        })
        .collect()
}

fn is_failed_start((name, error): &(&String, Option<&str>)) -> bool {
    *name == "startup" && *error == Some(Phase::Failed.word())
}

/// `redis` for every line `[-]redis failed: reason withheld`.
fn names(body: &str) -> Vec<String> {
    let failed = body.lines().filter_map(|line| line.strip_prefix("[-]")?.split_once(' '));
    failed.map(|(name, _)| name).filter(|name| is_name(name)).map(str::to_owned).collect()
}

/// Whether this can be the name of a check or of a step, so that another server on this port cannot put its own text into the line.
fn is_name(name: &str) -> bool {
    name.len() <= 80 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.:-".contains(&byte))
}

fn is_public(error: &str) -> bool {
    ErrorKind::ALL.into_iter().any(|kind| reason(kind) == error || kind.public() == error)
        || Phase::ALL.into_iter().any(|phase| phase.word() == error)
}

/// The line within its limit, cut between two failures if it is too long.
fn shortened(line: String) -> String {
    const TAIL: &str = " and more";
    if line.len() < LONGEST_LINE {
        return line;
    }
    let mut end = LONGEST_LINE - TAIL.len() - 1;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let room = &line[..end];
    format!("{}{TAIL}", room.rsplit_once(", ").map_or(room, |(head, _)| head))
}
