//! The text of `--help`, and the message for a wrong command line.

use std::fmt::Write;

use super::grammar::{Count, HELP, Opt, Subcommand, Wrong};

/// The help of one subcommand; that of the command line without one lists `subcommands`.
pub(super) fn help(of: &Subcommand, subcommands: &[Subcommand]) -> String {
    let mut text = format!("{}\n\n{}", of.about, usage(of));
    let commands = subcommands.iter().map(|command| (command.name.to_owned(), command.about));
    section(
        &mut text,
        "Commands",
        commands.chain((!subcommands.is_empty()).then(|| ("help".to_owned(), "Print this, or the help of one of them"))).collect(),
    );
    section(&mut text, "Arguments", of.words.iter().map(|word| (shown(word.name, word.count), word.about)).collect());
    let mut options: Vec<(String, &str)> =
        of.options().filter(|option| !option.about.is_empty()).map(|option| (flags(option), option.about)).collect();
    options.push((flags(&Opt { short: HELP.short.filter(|_| of.has_short_help()), ..HELP }), HELP.about));
    if !subcommands.is_empty() {
        options.push(("-V, --version".to_owned(), "Print version"));
    }
    section(&mut text, "Options", options);
    let _ = write!(text, "\n{}\n", of.example);
    text
}

/// The error, the correct usage, and where to find more.
pub(super) fn wrong(of: &Subcommand, Wrong(sentence): &Wrong) -> String {
    let name = if of.name.is_empty() { String::new() } else { format!(" {}", of.name) };
    format!("portcullis{name}: {sentence}\n\n{}\nFor more, see `portcullis{name} --help`.\n", usage(of))
}

fn usage(of: &Subcommand) -> String {
    let mut text = "Usage: portcullis".to_owned();
    let name = Some(of.name).filter(|name| !name.is_empty()).map(str::to_owned);
    let options = of.options().next().map(|_| "[OPTIONS]".to_owned());
    let words = of.words.iter().map(|word| match word.count {
        Count::Behind => format!("[-- <{}>...]", word.name),
        count => shown(word.name, count),
    });
    for part in name.into_iter().chain(options).chain(words) {
        let _ = write!(text, " {part}");
    }
    if of.name.is_empty() { format!("{text}\n       portcullis <COMMAND>\n") } else { format!("{text}\n") }
}

fn shown(name: &str, count: Count) -> String {
    match count {
        Count::One => format!("<{name}>"),
        Count::AtMostOne => format!("[{name}]"),
        Count::Many | Count::Rest | Count::Behind => format!("[{name}]..."),
    }
}

fn flags(option: &Opt) -> String {
    let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = option.value.map(|value| format!(" <{value}>")).unwrap_or_default();
    format!("{short}--{}{value}", option.long)
}

/// A heading with two columns below it; empty without rows.
fn section(text: &mut String, heading: &str, rows: Vec<(String, &str)>) {
    let Some(width) = rows.iter().map(|(left, _)| left.len()).max() else { return };
    let _ = writeln!(text, "\n{heading}:");
    for (left, right) in rows {
        let _ = writeln!(text, "  {left:width$}  {right}");
    }
}
