//! Writes the man pages and the shell completions into a folder, for the packages of `scripts/release`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;
use portcullis::cli::{Count, Opt, Positional, SUBCOMMANDS, Subcommand, WITHOUT};
use portcullis::config::preset;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: pages FOLDER")?;
    let version = env!("CARGO_PKG_VERSION");
    let mut command = described(&WITHOUT).name("portcullis").version(version).subcommands(SUBCOMMANDS.iter().map(described));
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "portcullis", &completions)?;
    }
    Ok(())
}

/// The table of the command line in the words of the library that writes the pages.
fn described(of: &'static Subcommand) -> Command {
    let shown = of.options().filter(|option| !option.about.is_empty());
    let command = Command::new(of.name).about(of.about).after_help(of.example).args(shown.map(option));
    let command = command.args(of.words.iter().map(|positional| word(of, positional)));
    if of.has_short_help() {
        command
    } else {
        command.disable_help_flag(true).arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
    }
}

fn option(of: &'static Opt) -> Arg {
    let arg = Arg::new(of.long).long(of.long).help(of.about);
    let arg = if let Some(letter) = of.short { arg.short(letter) } else { arg };
    let Some(name) = of.value else { return arg.action(ArgAction::SetTrue) };
    let arg = arg.value_name(name).action(if of.repeats { ArgAction::Append } else { ArgAction::Set });
    match (of.long, name) {
        ("level", _) => one_of(arg, &["live", "ready", "deep"]),
        ("signal-scope", _) => one_of(arg, &["child", "group"]),
        ("preset", _) => one_of(arg, &preset::names().collect::<Vec<_>>()),
        (_, "FILE") => arg.value_hint(ValueHint::FilePath),
        ("socket", _) => arg.value_hint(ValueHint::AnyPath),
        // No file is a mode, a signal or a duration.
        _ => arg.value_hint(ValueHint::Other),
    }
}

/// A value that shells complete to one of these; the help has them already.
fn one_of(arg: Arg, values: &[&'static str]) -> Arg {
    arg.value_parser(PossibleValuesParser::new(values)).hide_possible_values(true)
}

fn word(subcommand: &Subcommand, of: &'static Positional) -> Arg {
    let arg = Arg::new(of.name).value_name(of.name).help(of.about);
    let arg = if subcommand.name == "preset" { one_of(arg, &preset::names().collect::<Vec<_>>()) } else { arg };
    match of.count {
        Count::One => arg.required(true),
        Count::AtMostOne => arg,
        Count::Many => arg.num_args(0..),
        Count::Rest => arg.num_args(0..).trailing_var_arg(true),
        Count::Behind => arg.num_args(0..).last(true),
    }
}
