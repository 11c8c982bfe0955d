//! Writes the man pages and the shell completions into a folder, for the packages of `scripts/release`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::{Arg, Command};
use clap_complete::Shell;
use portcullis::command::healthcheck;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: pages FOLDER")?;
    let mut command = portcullis::cli::description().mut_subcommand("healthcheck", |_| by_usage("healthcheck", healthcheck::USAGE));
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "portcullis", &completions)?;
    }
    Ok(())
}

/// Describes a subcommand that reads its options itself, by what its `--help` prints: about, usage, options, and the rest, apart by
/// empty lines.
fn by_usage(name: &'static str, usage: &'static str) -> Command {
    let mut parts = usage.splitn(4, "\n\n");
    let about = parts.next().unwrap_or_default();
    let options = parts.nth(1).unwrap_or_default();
    let rest = parts.next().unwrap_or_default();
    Command::new(name).about(about).args(options.lines().filter_map(option)).after_help(rest)
}

/// An option by its line, as `  -c, --config <FILE>  What it is for`; none for the heading, and for `--help`, which every command has.
fn option(line: &'static str) -> Option<Arg> {
    let (names, help) = line.trim_start().split_once("  ")?;
    let (names, value) = names.split_once(" <").unwrap_or((names, ""));
    let (short, long) = names.split_once(", ").map_or((None, names), |(short, long)| (short.chars().nth(1), long));
    let long = long.strip_prefix("--").filter(|long| *long != "help")?;
    let arg = Arg::new(long).long(long).help(help.trim_start()).value_name(value.trim_end_matches('>'));
    Some(if let Some(short) = short { arg.short(short) } else { arg })
}
