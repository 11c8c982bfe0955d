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
pub(super) fn run(said: ParsedArguments) -> Result<RunOptions, Wrong> {
    said.needs("wait", "exec")?;
    said.apart("wait", "bare")?;
    let mut overrides = Vec::new();
    let mut put = |key: &str, flag: &str, value: Option<String>| {
        overrides.extend(value.map(|value| Override { key: key.to_owned(), value, flag: flag.to_owned() }));
    };
    put("process.stop_signal", "--stop-signal", said.text("stop-signal")?);
    put("process.stop_timeout", "--stop-timeout", said.text("stop-timeout")?);
    put("process.drain_delay", "--drain-delay", said.text("drain-delay")?);
    put("process.signal_scope", "--signal-scope", said.text("signal-scope")?);
    put("process.parent_death_signal", "--parent-death-signal", said.text("parent-death-signal")?);
    put("process.ignore_signals", "--ignore-signal", list(&said.texts("ignore-signal")?));
    put("process.success_codes", "--success-code", list(&said.texts("success-code")?));
    put("process.rewrite", "--rewrite", table(&said.texts("rewrite")?)?);
    Ok(RunOptions {
        file: said.path("config"),
        preset: said.text("preset")?,
        mode: said.text("mode")?,
        exec: said.has("exec"),
        wait: said.has("wait"),
        bare: said.has("bare"),
        arguments: said.into_words()?,
        overrides,
    })
}

/// The input of `status`.
pub(super) fn status(said: &ParsedArguments) -> Result<command::status::Options, Wrong> {
    Ok(command::status::Options {
        json: said.has("json"),
        watch: said.has("watch"),
        socket: said.text("socket")?,
        listen: said.text("listen")?,
        config: said.path("config"),
    })
}

/// A control request for the module that the words name.
pub(super) fn module(verb: &'static str, said: &ParsedArguments) -> Result<command::order::Options, Wrong> {
    let name = said.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    order(ClientOrder::Module { verb, name }, said)
}

/// Any control request.
pub(super) fn order(order: ClientOrder, said: &ParsedArguments) -> Result<command::order::Options, Wrong> {
    let timeout = said.read("timeout", humantime::parse_duration)?.unwrap_or(Duration::from_secs(60));
    Ok(command::order::Options { order, timeout, socket: said.text("socket")?, config: said.path("config") })
}

/// The input of `ready`.
pub(super) fn ready(said: ParsedArguments) -> Result<command::ready::Options, Wrong> {
    said.apart("watch", "stable")?;
    let min = |text: &str| text.parse().ok().filter(|min| *min > 0).ok_or("expected a whole number of at least 1");
    Ok(command::ready::Options {
        min: said.read("min", min)?.unwrap_or(1),
        watch: said.has("watch"),
        stable: said.read("stable", humantime::parse_duration)?.unwrap_or_default(),
        json: said.has("json"),
        url: said.text("url")?,
        config: said.path("config"),
        service: said.into_words()?.into_iter().next().unwrap_or_default(),
    })
}

/// The input of `healthcheck`.
pub(super) fn healthcheck(said: &ParsedArguments) -> Result<command::healthcheck::Options, Wrong> {
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
    let listen = if said.has("listen") { said.text("listen")? } else { said.text("address")? };
    Ok(command::healthcheck::Options {
        level: said.read("level", level)?.unwrap_or(Level::Deep),
        timeout: said.read("timeout", timeout)?.unwrap_or(command::healthcheck::DEFAULT_TIMEOUT),
        place: ServerLocation { listen, socket: said.text("socket")? },
        file: said.path("config"),
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
