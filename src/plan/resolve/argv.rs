//! A command line from its items: strings, `split`, `first`, `args`, and lists under a `when`.

use crate::config::interpolate::Text;
use crate::config::node::{Node, Value};
use crate::config::problem::{Problem, suggest};
use crate::config::reader::{Context, Depth, Keys, Section};
use crate::plan::argv::Word;
use crate::plan::resolve::condition;
use crate::secret::MASK;

pub(super) const SPLIT: Keys = Keys { known: &["split", "when"] };
pub(super) const FIRST: Keys = Keys { known: &["first", "when"] };
pub(super) const ARGUMENTS: Keys = Keys { known: &["args", "min_args", "when"] };
pub(super) const THEN: Keys = Keys { known: &["then", "when"] };

/// What a shell splits an unquoted value at.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// A command line under construction.
pub(super) struct Builder<'c, 'a> {
    pub context: &'c Context<'c>,
    /// The arguments of portcullis' own command line.
    pub arguments: &'a [String],
    /// `groups` of the mode, for `first`.
    pub groups: Option<Section<'c>>,
    /// The words so far.
    pub words: Vec<Word>,
    /// Whether an item took the arguments.
    pub took_arguments: bool,
}

/// A value as a word, masked where it is secret.
pub(super) fn word(text: &Text) -> Word {
    if text.is_secret() { Word::masked(text.value(), &text.shown()) } else { Word::plain(text.value()) }
}

/// The words of an option's or a variable's text that is not a list: split at blanks, as long as it needs no shell to be understood.
fn plain_words(node: &Node) -> Option<Vec<Word>> {
    let Value::String(text) = &node.value else { return None };
    let plain = node.origin.verbatim()
        && !text.trim_start().starts_with('[')
        && !text.contains(['"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '*', '?', '(']);
    plain.then(|| text.split(BLANKS).filter(|word| !word.is_empty()).map(Word::plain).collect())
}

impl<'c> Builder<'c, '_> {
    /// Adds the words of a whole command; whether it was written as one.
    pub(super) fn command(&mut self, node: &Node, path: &str, depth: Depth) -> bool {
        if let Some(words) = plain_words(node) {
            self.words.extend(words);
            return true;
        }
        let Some(items) = self.context.list_quietly(node) else {
            let problem = format!(
                "the command in [{path}] is {}; a list is wanted, as `[\"flask\", \"db\", \"upgrade\"]`: there is no shell to take a string apart",
                node.value.kind()
            );
            self.context.problem(Problem::at(&node.origin, problem));
            return false;
        };
        self.items(&items, path, depth);
        true
    }

    fn items(&mut self, items: &[Node], path: &str, depth: Depth) {
        for item in items {
            match &item.value {
                Value::String(_) => {
                    if let Some(text) = self.context.text(item, &format!("an argument in [{path}]"), depth) {
                        self.words.push(word(&text));
                    }
                }
                Value::Table(table) => {
                    let form = [("split", SPLIT), ("first", FIRST), ("args", ARGUMENTS), ("then", THEN)];
                    let Some((key, keys)) = form.into_iter().find(|(key, _)| table.get(key).is_some()) else {
                        self.refuse(item, path);
                        continue;
                    };
                    let Some(section) = self.context.open(item, path, Some(keys), depth) else { continue };
                    let holds = condition::holds(self.context, section.node("when"), path, depth);
                    let depth = if holds { depth } else { Depth::Form };
                    self.item(key, &section, depth, holds);
                }
                _ => self.refuse(item, path),
            }
        }
    }

    fn item(&mut self, key: &str, section: &Section<'c>, depth: Depth, holds: bool) {
        // What does not hold is still looked at for its form; its words are dropped.
        let before = self.words.len();
        let took_before = self.took_arguments;
        match key {
            "split" => {
                let text = section.node("split").and_then(|node| self.context.text(node, &section.what("split"), depth));
                let Some(text) = text else { return };
                let secret = text.is_secret();
                let one = |part: &str| if secret { Word::masked(part, MASK) } else { Word::plain(part) };
                self.words.extend(text.value().split(BLANKS).filter(|part| !part.is_empty()).map(one));
            }
            "first" => self.first(section, depth),
            "args" => self.take_arguments(section, depth),
            _ => {
                if let Some(items) = section.list("then") {
                    self.items(&items, section.path(), depth);
                }
            }
        }
        if !holds {
            self.words.truncate(before);
            self.took_arguments = took_before;
        }
    }

    /// The words of the first group whose `when` holds; nothing when none does.
    fn first(&mut self, section: &Section<'c>, depth: Depth) {
        let Some(name) = section.text("first").map(|text| text.value()) else { return };
        let groups = self.groups.clone();
        let Some(node) = groups.as_ref().and_then(|groups| groups.node(&name)) else {
            let known: Vec<&str> =
                groups.as_ref().map(|groups| groups.entries().map(|entry| entry.key.as_str()).collect()).unwrap_or_default();
            section.problem("first", format!("names the unknown group `{name}`{}", suggest(&name, known.iter().copied())));
            return;
        };
        let path = groups.as_ref().map(|groups| groups.below(&name)).unwrap_or_default();
        let mut found = false;
        for candidate in self.context.list(node, &format!("[{path}]")).unwrap_or_default() {
            let Some(section) = self.context.open(&candidate, &path, Some(THEN), depth) else { continue };
            let chosen = !found && condition::holds(self.context, section.node("when"), &path, depth);
            let (before, took_before) = (self.words.len(), self.took_arguments);
            if let Some(items) = section.list("then") {
                let nested = self.groups.take();
                self.items(&items, &path, if chosen { depth } else { Depth::Form });
                self.groups = nested;
            } else if !section.has("then") {
                section.problem("then", "is missing: it lists the arguments of this case");
            }
            if chosen {
                found = depth == Depth::Whole;
            } else {
                self.words.truncate(before);
                self.took_arguments = took_before;
            }
        }
    }

    fn take_arguments(&mut self, section: &Section<'c>, depth: Depth) {
        let least = section.integer("min_args", 0..=1000).unwrap_or_default();
        if section.boolean("args") == Some(false) {
            return;
        }
        self.took_arguments = true;
        if depth == Depth::Whole && i64::try_from(self.arguments.len()).unwrap_or(i64::MAX) < least {
            let given = self.arguments.len();
            self.context.problem(Problem::usage(format!(
                "[{}] wants at least {least} arguments behind the options, and got {given}",
                section.path()
            )));
        }
        self.words.extend(self.arguments.iter().map(Word::plain));
    }

    fn refuse(&self, item: &Node, path: &str) {
        let problem = format!(
            "[{path}] has {} where an argument is wanted: a string, `{{ split = … }}`, `{{ first = … }}`, `{{ args = true }}` or `{{ when = …, then = […] }}`",
            item.value.kind()
        );
        self.context.problem(Problem::at(&item.origin, problem));
    }
}
