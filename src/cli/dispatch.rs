//! How what was said on the command line is answered.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::{Alone, Cli, Command, RunArgs, StatusArgs, WaitArgs, wait};
use crate::command;
use crate::command::order::ClientOrder;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::log::stream;
use crate::plan::resolve;
use crate::prepare;
use crate::process::spawn::InheritedEnvironment;
use crate::supervisor::background::Subsystems;
use crate::sys;
use crate::view::openapi;
use crate::visible;

/// How long `plan` looks for the programs that `run` would start.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The whole command line as a description: for the man pages and the shell completions, which `scripts/pages.rs` writes.
pub fn description() -> clap::Command {
    Cli::command()
}

/// Answers a command line without the program's name; returns the exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let arguments = wait::plain(arguments);
    match arguments.split_first() {
        Some((first, rest)) if first == "run" => {
            if let Some(run) = Alone::<RunArgs>::parse(rest) {
                return command::run::run(&run.request(), &Environment::of_process(), Subsystems::default());
            }
        }
        Some((first, rest)) if first == "wait" => {
            if let Some(wait) = Alone::<WaitArgs>::parse(rest) {
                return command::wait::run(&wait.request(), &Environment::of_process());
            }
        }
        _ => {}
    }
    let cli = match Cli::try_parse_from(std::iter::once(OsString::from("portcullis")).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            sys::unblock_every_signal();
            // `--help` and `--version` come this way, too: to standard output, as success.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.code() } else { Exit::Success.code() };
        }
    };
    let environment = Environment::of_process();
    match cli.command {
        None => command::run::run(&cli.run.request(), &environment, Subsystems::default()),
        Some(Command::Run(run)) => command::run::run(&run.request(), &environment, Subsystems::default()),
        Some(Command::Wait(wait)) => command::wait::run(&wait.request(), &environment),
        Some(other) => {
            // Nothing is supervised from here on: ctrl-C shall end us.
            command::interrupt::end_at_once();
            answer(other, &environment)
        }
    }
}

fn answer(command: Command, environment: &Environment) -> u8 {
    match command {
        Command::Plan(arguments) => match resolve::explain(&arguments.run.request(), environment) {
            Ok((mut plan, effective)) => {
                let inherited = InheritedEnvironment {
                    environment: environment.variables().clone(),
                    directory: std::env::current_dir().ok(),
                    ..InheritedEnvironment::default()
                };
                let missing = prepare::look(&plan, &inherited, LONGEST_LOOK).missing;
                plan.notices.extend(missing.into_iter().map(|missing| missing.sentence));
                let render = if arguments.json { command::plan::render_json } else { command::plan::render };
                print(&render(&plan, &effective))
            }
            Err(problems) => {
                let _ = writeln!(stream::stderr(), "{problems}");
                problems.code()
            }
        },
        Command::Ready(arguments) => command::ready::run(&arguments.options(), environment),
        Command::Preset { name: None } => print(&command::preset::list()),
        Command::Preset { name: Some(name) } => match command::preset::print(&name) {
            Ok(text) => print(text),
            Err(sentence) => {
                let _ = writeln!(stream::stderr(), "{sentence}");
                Exit::Usage.code()
            }
        },
        Command::Status(StatusArgs { json, watch, socket, listen, config }) => {
            command::status::run(&command::status::Options { json, watch, socket, listen, config }, environment)
        }
        Command::Start(arguments) => command::order::run(&arguments.options("start"), environment),
        Command::Stop(arguments) => command::order::run(&arguments.options("stop"), environment),
        Command::Restart(arguments) => command::order::run(&arguments.options("restart"), environment),
        Command::Reload(arguments) => command::order::run(&arguments.options(ClientOrder::Reload), environment),
        // Made of the declarations by scripts/reference and compared with them by a test: to make it here cost 0.2 MB of the binary.
        Command::Schema { openapi: false } => print(include_str!("../../docs/portcullis.schema.json")),
        Command::Schema { openapi: true } => print(openapi::DOCUMENT),
        Command::Healthcheck { options } => command::healthcheck::main(&options),
        Command::Run(run) => command::run::run(&run.request(), environment, Subsystems::default()),
        Command::Wait(wait) => command::wait::run(&wait.request(), environment),
    }
}

/// Writes to standard output; a reader that stopped reading has what it wanted.
fn print(text: &str) -> u8 {
    let _ = stream::stdout().write_all(visible::lines(text).as_bytes());
    Exit::Success.code()
}
