//! The command line of `wait`: its own options, and those of wait-for-it, which it can replace in a script.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::grammar::Wrong;
use super::reading::ParsedArguments;
use crate::command;
use crate::command::wait::Reporting;
use crate::plan::resolve::TlsFlags;

/// The input of `wait`.
pub(super) fn request(mut parsed: ParsedArguments) -> Result<command::wait::Options, Wrong> {
    parsed.needs("host", "port")?;
    parsed.needs("port", "host")?;
    parsed.apart("quiet", "json")?;
    if parsed.words.is_empty() && !parsed.has("host") {
        return Err(Wrong("TARGET is missing: name at least one, for example db:5432".to_owned()));
    }
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or("expected a port from 1 to 65535");
    let named = parsed.text("host")?.zip(parsed.read("port", port)?).map(|(host, port)| port_of(&host, port));
    let tls = TlsFlags {
        ca: parsed.text("ca")?,
        client_certificate: parsed.text("client-certificate")?,
        client_key: parsed.text("client-key")?,
        insecure: parsed.has("insecure"),
    };
    Ok(command::wait::Options {
        timeout: parsed.read("timeout", limit)?.unwrap_or(Duration::from_secs(60)),
        try_timeout: parsed.read("try-timeout", humantime::parse_duration)?.unwrap_or(Duration::from_secs(2)),
        interval: parsed.read("interval", humantime::parse_duration)?,
        stable: parsed.read("stable", humantime::parse_duration)?.unwrap_or_default(),
        any: parsed.has("any"),
        output: match (parsed.has("json"), parsed.has("quiet")) {
            (true, _) => Reporting::Json,
            (false, true) => Reporting::Nothing,
            (false, false) => Reporting::Text,
        },
        fail_fast: parsed.has("fail-fast"),
        tls,
        command: std::mem::take(&mut parsed.behind),
        targets: named.into_iter().chain(parsed.into_words()?.into_iter().map(target)).collect(),
    })
}

/// A duration, or a number of seconds as in wait-for-it, where zero means no limit.
fn limit(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse::<u64>() {
        Ok(0) => Ok(Duration::MAX),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

/// The target that HOST:PORT names; anything else is a URL.
fn target(word: String) -> String {
    let own = ["exec:", "process:"].iter().any(|scheme| word.starts_with(scheme));
    match word.rsplit_once(':') {
        // A port above 65535 is reported as such.
        Some((host, port)) if !own && !host.is_empty() && !host.contains('/') && is_number(port) => format!("tcp://{word}"),
        _ => word,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn port_of(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
}
