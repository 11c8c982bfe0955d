//! The options of `portcullis healthcheck`, parsed without the command line library, because it runs every few seconds.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::DEFAULT_TIMEOUT;
use super::ServerLocation;
use crate::state::snapshot::Level;

/// The text of `--help`: description, usage, options and the rest, separated by empty lines; `scripts/pages.rs` makes the man page from it.
pub const USAGE: &str = "\
Check the health of the running portcullis; exit 0 or 1, for Docker's HEALTHCHECK and exec probes

Usage: portcullis healthcheck [OPTIONS]

Options:
      --level <LEVEL>       live, ready, or deep (includes dependencies); use ready or live if the orchestrator kills unhealthy containers [default: deep]
      --timeout <DURATION>  How long the response may take, such as 500ms or 3s [default: 3s]
      --socket <NAME>       Use this unix socket: a path, or @name in the abstract namespace [default: from the configuration]
      --listen <ADDRESS>    Use this address, such as 127.0.0.1:8051 [default: from the configuration]
  -c, --config <FILE>       Read socket and address from [health] of this file [default: the file that `run` would use]
  -h, --help                Print help

Without --socket and --listen, PORTCULLIS_HEALTH__SOCKET and PORTCULLIS_HEALTH__LISTEN name the endpoint, else the file
that `run` would use, else @portcullis/8051, then 127.0.0.1:8051 and [::1]:8051 are tried.

Example:
  HEALTHCHECK --interval=10s CMD [\"/portcullis\", \"healthcheck\"]";

/// The request of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// A request to the server.
    Question(Options),
    /// The usage.
    Help,
}

/// The options of the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The level.
    pub(super) level: Level,
    /// How long all attempts together may take.
    pub(super) timeout: Duration,
    /// The endpoint, as far as the options name it.
    pub(super) place: ServerLocation,
    /// The configuration file.
    pub(super) file: Option<OsString>,
}

/// Parses `--name value`, `--name=value`, `-c FILE` and `-cFILE`; the last of several counts.
pub(super) fn parse(arguments: &[OsString]) -> Result<Invocation, String> {
    let mut options = Options { level: Level::Deep, timeout: DEFAULT_TIMEOUT, place: ServerLocation::default(), file: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else { return Err(unknown(argument)) };
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ if text.starts_with("-c") && text.len() > 2 => ("-c", Some(text[2..].trim_start_matches('=').to_owned())),
            _ => (text, None),
        };
        if matches!(name, "-h" | "--help") {
            return Ok(Invocation::Help);
        }
        if !matches!(name, "--level" | "--timeout" | "--socket" | "--listen" | "--address" | "-c" | "--config") {
            return Err(unknown(argument));
        }
        let value = attached.map(OsString::from).or_else(|| arguments.next().cloned()).ok_or_else(|| format!("{name} needs a value"))?;
        if matches!(name, "-c" | "--config") {
            options.file = Some(value);
            continue;
        }
        let value = value.into_string().map_err(|value| format!("the value of {name} is not UTF-8: {}", value.display()))?;
        match name {
            "--level" => options.level = level(&value)?,
            "--timeout" => options.timeout = timeout(&value)?,
            "--socket" => options.place.socket = Some(value),
            _ => options.place.listen = Some(value),
        }
    }
    Ok(Invocation::Question(options))
}

fn unknown(argument: &OsStr) -> String {
    const KNOWN: [&str; 6] = ["--level", "--timeout", "--socket", "--listen", "--config", "--help"];
    let shown = argument.to_string_lossy();
    let likeness = |known: &&str| (strsim::jaro_winkler(known, &shown) * 1000.0) as u32;
    let nearest = KNOWN.into_iter().max_by_key(likeness).unwrap_or("--help");
    format!("unknown argument {shown}, the nearest known one is {nearest}, see --help")
}

fn level(value: &str) -> Result<Level, String> {
    match value {
        "live" => Ok(Level::Live),
        "ready" => Ok(Level::Ready),
        "deep" => Ok(Level::Deep),
        _ => Err(format!("--level {value} is not one of live, ready, deep")),
    }
}

fn timeout(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value) {
        Ok(timeout) if !timeout.is_zero() => Ok(timeout),
        _ => Err(format!("--timeout {value} is not a duration like 500ms or 3s")),
    }
}
