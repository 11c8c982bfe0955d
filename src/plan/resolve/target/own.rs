//! Targets inside this container: a command that has to succeed, the process that has to run.

use super::Written;
use crate::config::interpolate::Text;
use crate::config::node::{Value, parse_inline};
use crate::config::reader::{Depth, Section};
use crate::plan::CommandPlan;
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::argv::Builder;
use crate::plan::target::Target;
use crate::secret::MASK;

/// The scheme of the URL, if it is one without an address.
pub(super) fn scheme(url: &str) -> Option<&'static str> {
    ["exec", "process"].into_iter().find(|scheme| url.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')))
}

/// The target that such a URL names.
pub(super) fn read(section: &Section<'_>, url: &Text, scheme: &str) -> Option<Target> {
    if section.depth() == Depth::Syntax {
        return None;
    }
    let value = url.value();
    let rest = value.get(scheme.len() + 1..).unwrap_or_default();
    if scheme == "process" {
        return Some(process(rest));
    }
    let Some(words) = words(section, rest) else {
        section.problem("url", "has to be plain words, without shell syntax, or a list such as `exec:[\"test\", \"-e\", \"/a b\"]`");
        return None;
    };
    let word = |word: String| if url.is_secret() { Word::masked(word, MASK) } else { Word::plain(word) };
    command(section, "url", words.into_iter().map(word).collect())
}

/// The words of a command in one line; variables in it are already replaced.
fn words(section: &Section<'_>, text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text.starts_with('[') {
        let node = parse_inline(text, section.origin("url")?)?;
        let Value::List(items) = node.value else { return None };
        return items.into_iter().map(|item| if let Value::String(word) = item.value { Some(word) } else { None }).collect();
    }
    let plain = !text.contains(['"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '*', '?', '(']);
    plain.then(|| text.split_ascii_whitespace().map(str::to_owned).collect())
}

fn command(section: &Section<'_>, key: &str, words: Vec<Word>) -> Option<Target> {
    let argv = Argv::new(words).filter(|argv| !argv.program().is_empty());
    if argv.is_none() {
        section.problem(key, "names no command");
    }
    argv.map(|argv| Target::Exec(Box::new(CommandPlan::new(argv).aside())))
}

fn process(name: &str) -> Target {
    if matches!(name, "" | "main") { Target::Process } else { Target::Module(name.to_owned()) }
}

impl Written<'_, '_> {
    pub(super) fn exec(&self) -> Option<Target> {
        let Some(node) = self.section.node("command") else {
            self.section.problem("command", "is missing: the command that has to exit with status 0");
            return None;
        };
        let context = self.section.context();
        let mut builder = Builder { context, arguments: &[], groups: None, words: Vec::new(), took_arguments: false };
        let understood = builder.command(node, self.section.path(), self.section.depth());
        if understood { command(self.section, "command", builder.words) } else { None }
    }
}
