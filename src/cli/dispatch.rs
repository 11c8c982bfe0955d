//! Runs the subcommand of a command line.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use miniz_oxide::inflate::decompress_to_vec;

use super::grammar::{HELP, Subcommand, Wrong};
use super::help::{help, wrong};
use super::reading::{ParsedArguments, read};
use super::table::{SUBCOMMANDS, WITHOUT};
use super::{options, wait};
use crate::command;
use crate::command::order::ClientOrder;
use crate::command::printing::print_last;
use crate::config::problem::suggest;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::log::stream;
use crate::plan::resolve::{self, RunOptions};
use crate::prepare;
use crate::process::spawn::InheritedEnvironment;
use crate::supervisor::background::Subsystems;
use crate::sys;
use crate::visible;

/// How long `plan` searches for the programs that `run` would start.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Runs a command line without the program's name; returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter().peekable();
    let named = arguments.peek().and_then(|first| SUBCOMMANDS.iter().find(|subcommand| first == subcommand.name));
    if named.is_some() {
        arguments.next();
    }
    let of = named.unwrap_or(&WITHOUT);
    match of.name {
        "" => match arguments.peek().and_then(|first| first.to_str()) {
            Some("help") => {
                arguments.next();
                return explain(arguments.next());
            }
            Some("-V" | "--version") => return print_to_person(concat!("portcullis ", env!("CARGO_PKG_VERSION"), "\n")),
            _ => {}
        },
        // Without a host after it, `-h` means help, as everywhere else.
        "wait" if arguments.peek().is_some_and(|first| first == "-h") => {
            let words: Vec<OsString> = arguments.collect();
            return if words.len() == 1 { print_to_person(&help(of, &[])) } else { answered(of, words) };
        }
        _ => {}
    }
    answered(of, arguments)
}

fn answered(of: &'static Subcommand, arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let answer = read(of, arguments).and_then(|parsed| {
        if parsed.has(HELP.long) {
            return Ok(print_to_person(&help(of, if of.name.is_empty() { &SUBCOMMANDS } else { &[] })));
        }
        answer(of.name, parsed)
    });
    answer.unwrap_or_else(|problem| {
        sys::unblock_every_signal();
        let _ = write!(stream::stderr(), "{}", wrong(of, &problem));
        // Docker accepts only 0 and 1 from a health check.
        if of.name == "healthcheck" { 1 } else { Exit::Usage.code() }
    })
}

/// The help of the subcommand of this name; without a name, of everything.
fn explain(name: Option<OsString>) -> u8 {
    let Some(name) = name else { return print_to_person(&help(&WITHOUT, &SUBCOMMANDS)) };
    if let Some(of) = SUBCOMMANDS.iter().find(|subcommand| name == subcommand.name) {
        return print_to_person(&help(of, &[]));
    }
    sys::unblock_every_signal();
    let name = name.to_string_lossy();
    let near = suggest(&name, SUBCOMMANDS.iter().map(|subcommand| subcommand.name));
    let _ = write!(stream::stderr(), "{}", wrong(&WITHOUT, &Wrong(format!("unknown subcommand `{name}`{near}"))));
    Exit::Usage.code()
}

/// Prints the result for a person who waits and may interrupt.
fn print_to_person(text: &str) -> u8 {
    sys::unblock_every_signal();
    print(text)
}

fn answer(name: &str, parsed: ParsedArguments) -> Result<u8, Wrong> {
    Ok(match name {
        "" | "run" => command::run::run(&options::run(parsed)?, &Environment::of_process(), Subsystems::default()),
        "wait" => command::wait::run(&wait::request(parsed)?, &Environment::of_process()),
        "healthcheck" => command::healthcheck::main(&options::healthcheck(&parsed)?),
        _ => return unsupervised(name, parsed),
    })
}

/// The subcommands that supervise nothing, so ctrl-C has to end them. Not a part of [`answer`], because their 10 kB of stack would be part of
/// the memory of every run.
#[inline(never)]
fn unsupervised(name: &str, parsed: ParsedArguments) -> Result<u8, Wrong> {
    command::interrupt::end_at_once();
    let environment = &Environment::of_process();
    Ok(match name {
        "plan" => {
            let json = parsed.has("json");
            plan(&options::run(parsed)?, environment, json)
        }
        "ready" => command::ready::run(&options::ready(parsed)?, environment),
        "status" => command::status::run(&options::status(&parsed)?, environment),
        "start" => command::order::run(&options::module("start", &parsed)?, environment),
        "stop" => command::order::run(&options::module("stop", &parsed)?, environment),
        "restart" => command::order::run(&options::module("restart", &parsed)?, environment),
        "reload" => command::order::run(&options::order(ClientOrder::Reload, &parsed)?, environment),
        "preset" => preset(parsed.words.first().map(|name| name.to_string_lossy()).as_deref()),
        // There is no later one.
        _ => schema(parsed.has("openapi")),
    })
}

/// Both documents are made from the declarations, and tests compare them with the files: generating them here would add 0.2 MB to the
/// binary, and their plain text another 0.2 MB.
fn schema(openapi: bool) -> u8 {
    let schema = include_bytes!(concat!(env!("OUT_DIR"), "/schema"));
    let openapi = openapi.then_some(include_bytes!(concat!(env!("OUT_DIR"), "/openapi")).as_slice());
    print(&String::from_utf8_lossy(&decompress_to_vec(openapi.unwrap_or(schema)).unwrap_or_default()))
}

fn preset(name: Option<&str>) -> u8 {
    let Some(name) = name else { return print(&command::preset::list()) };
    match command::preset::print(name) {
        Ok(text) => print(text),
        Err(sentence) => {
            let _ = writeln!(stream::stderr(), "{sentence}");
            Exit::Usage.code()
        }
    }
}

fn plan(request: &RunOptions, environment: &Environment, json: bool) -> u8 {
    match resolve::explain(request, environment) {
        Ok((mut plan, effective)) => {
            let inherited = InheritedEnvironment {
                environment: environment.variables().clone(),
                directory: std::env::current_dir().ok(),
                ..InheritedEnvironment::default()
            };
            let missing = prepare::look(&plan, &inherited, LONGEST_LOOK).missing;
            plan.notices.extend(missing.into_iter().map(|missing| missing.sentence));
            let render = if json { command::plan::render_json } else { command::plan::render };
            print(&render(&plan, &effective))
        }
        Err(problems) => {
            let _ = writeln!(stream::stderr(), "{problems}");
            problems.code()
        }
    }
}

fn print(text: &str) -> u8 {
    print_last(&visible::lines(text), Exit::Success)
}
