//! Converts the options and words of a command line into the input of each subcommand.

use std::fmt::Display;
use std::time::Duration;

use super::grammar::Wrong;
use super::reading::ParsedArguments;
use crate::command;
use crate::command::healthcheck::ServerLocation;
use crate::command::order::ClientOrder;
use crate::config::layers::Override;
use crate::plan::resolve::RunOptions;
use crate::state::snapshot::Level;

/// The input of `run` and `plan`.
pub(super) fn run(parsed: ParsedArguments) -> Result<RunOptions, Wrong> {
    parsed.needs("wait", "exec")?;
    parsed.apart("wait", "bare")?;
    let mut overrides = Vec::new();
    let mut put = |key: &str, flag: &str, value: Option<String>| {
        overrides.extend(value.map(|value| Override { key: key.to_owned(), value, flag: flag.to_owned() }));
    };
    put("process.stop_signal", "--stop-signal", parsed.text("stop-signal")?);
    put("process.stop_timeout", "--stop-timeout", parsed.text("stop-timeout")?);
    put("process.drain_delay", "--drain-delay", parsed.text("drain-delay")?);
    put("process.signal_scope", "--signal-scope", parsed.text("signal-scope")?);
    put("process.parent_death_signal", "--parent-death-signal", parsed.text("parent-death-signal")?);
    put("process.ignore_signals", "--ignore-signal", list(&parsed.texts("ignore-signal")?));
    put("process.success_codes", "--success-code", list(&parsed.texts("success-code")?));
    put("process.rewrite", "--rewrite", table(&parsed.texts("rewrite")?)?);
    Ok(RunOptions {
        file: parsed.path("config"),
        preset: parsed.text("preset")?,
        mode: parsed.text("mode")?,
        exec: parsed.has("exec"),
        wait: parsed.has("wait"),
        bare: parsed.has("bare"),
        arguments: parsed.into_words()?,
        overrides,
    })
}

/// The input of `status`.
pub(super) fn status(parsed: &ParsedArguments) -> Result<command::status::Options, Wrong> {
    Ok(command::status::Options {
        json: parsed.has("json"),
        watch: parsed.has("watch"),
        socket: parsed.text("socket")?,
        listen: parsed.text("listen")?,
        config: parsed.path("config"),
    })
}

/// A control request for the module that the words name.
pub(super) fn module(verb: &'static str, parsed: &ParsedArguments) -> Result<command::order::Options, Wrong> {
    let name = parsed.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    order(ClientOrder::Module { verb, name }, parsed)
}

/// Any control request.
pub(super) fn order(order: ClientOrder, parsed: &ParsedArguments) -> Result<command::order::Options, Wrong> {
    let timeout = parsed.read("timeout", humantime::parse_duration)?.unwrap_or(Duration::from_secs(60));
    Ok(command::order::Options { order, timeout, socket: parsed.text("socket")?, config: parsed.path("config") })
}

/// The input of `ready`.
pub(super) fn ready(parsed: ParsedArguments) -> Result<command::ready::Options, Wrong> {
    parsed.apart("watch", "stable")?;
    let min = |text: &str| text.parse().ok().filter(|min| *min > 0).ok_or("expected a whole number of at least 1");
    Ok(command::ready::Options {
        min: parsed.read("min", min)?.unwrap_or(1),
        watch: parsed.has("watch"),
        stable: parsed.read("stable", humantime::parse_duration)?.unwrap_or_default(),
        json: parsed.has("json"),
        url: parsed.text("url")?,
        config: parsed.path("config"),
        service: parsed.into_words()?.into_iter().next().unwrap_or_default(),
    })
}

/// The input of `healthcheck`.
pub(super) fn healthcheck(parsed: &ParsedArguments) -> Result<command::healthcheck::Options, Wrong> {
    let level = |text: &str| match text {
        "live" => Ok(Level::Live),
        "ready" => Ok(Level::Ready),
        "deep" => Ok(Level::Deep),
        _ => Err("expected one of live, ready, deep"),
    };
    let timeout = |text: &str| {
        let timeout = humantime::parse_duration(text).ok().filter(|timeout| !timeout.is_zero());
        timeout.ok_or("expected a duration such as 500ms or 3s")
    };
    let listen = if parsed.has("listen") { parsed.text("listen")? } else { parsed.text("address")? };
    Ok(command::healthcheck::Options {
        level: parsed.read("level", level)?.unwrap_or(Level::Deep),
        timeout: parsed.read("timeout", timeout)?.unwrap_or(command::healthcheck::DEFAULT_TIMEOUT),
        place: ServerLocation { listen, socket: parsed.text("socket")? },
        file: parsed.path("config"),
    })
}

/// Values of a repeated option as a TOML list; none without a value.
fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("[{}]", join(values.iter().map(quoted))))
}

/// Pairs of a repeated option as a TOML table; none without a pair.
fn table(pairs: &[String]) -> Result<Option<String>, Wrong> {
    let pair = |text: &String| {
        let (from, to) =
            text.split_once('=').ok_or_else(|| Wrong(format!("--rewrite is `{text}`: expected two signals, for example TERM=QUIT")))?;
        Ok(format!("{} = {}", quoted(from), quoted(to)))
    };
    let entries = pairs.iter().map(pair).collect::<Result<Vec<_>, Wrong>>()?;
    Ok((!entries.is_empty()).then(|| format!("{{ {} }}", join(entries))))
}

fn join<T: Display>(parts: impl IntoIterator<Item = T>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
}

/// A JSON string is also a TOML string.
fn quoted(text: impl AsRef<str>) -> String {
    serde_json::Value::from(text.as_ref()).to_string()
}
