//! The options of `portcullis healthcheck`, read without the command line's library: it runs every few seconds.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::DEFAULT_TIMEOUT;
use super::ServerLocation;
use crate::state::snapshot::Level;

/// What `--help` prints: about, usage, options and the rest, apart by empty lines, of which `scripts/pages.rs` makes the man page.
pub const USAGE: &str = "\
Ask the running portcullis how it is; exit 0 or 1, for Docker's HEALTHCHECK and exec probes

Usage: portcullis healthcheck [OPTIONS]

Options:
      --level <LEVEL>       What to ask: live, ready, or deep, the dependencies included; where the unhealthy are killed, ready or live [default: deep]
      --timeout <DURATION>  How long the answer may take, as 500ms or 3s [default: 3s]
      --socket <NAME>       Ask this unix socket: a path, or @name in the abstract namespace [default: as the configuration says]
      --listen <ADDRESS>    Ask this address, as 127.0.0.1:8051 [default: as the configuration says]
  -c, --config <FILE>       Take socket and address from [health] of this file [default: the file that `run` would take]
  -h, --help                Print help

Without --socket and --listen, PORTCULLIS_HEALTH__SOCKET and PORTCULLIS_HEALTH__LISTEN say where to ask, else the file
that `run` would take, else it is @portcullis/8051, then 127.0.0.1:8051 and [::1]:8051.

Example:
  HEALTHCHECK --interval=10s CMD [\"/portcullis\", \"healthcheck\"]";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// A question to the server.
    Question(Options),
    /// The usage.
    Help,
}

/// How the server is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// How deep.
    pub(super) level: Level,
    /// How long all attempts together may take.
    pub(super) timeout: Duration,
    /// Where, as far as the options say.
    pub(super) place: ServerLocation,
    /// The configuration file.
    pub(super) file: Option<OsString>,
}

/// Reads `--name value`, `--name=value`, `-c FILE` and `-cFILE`; the last of several wins.
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
