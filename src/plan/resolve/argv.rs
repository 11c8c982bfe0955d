//! A command line from its items: strings, `split`, `words`, `first`, `args`, and lists under a `when`.

use crate::config::argument::{Arguments, Case, First, Split, Words};
use crate::config::interpolate::{Text, looks_secret};
use crate::config::node::{Node, Value};
use crate::config::problem::{Problem, suggest};
use crate::config::quoting;
use crate::config::reader::{Context, Depth, Section};
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::condition;
use crate::secret::MASK;

/// The keys that name the form of an item.
const FORMS: [&str; 5] = ["split", "words", "first", "args", "then"];

/// The characters at which a shell splits an unquoted value.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// A command line that is being built.
pub(super) struct Builder<'c, 'a> {
    pub context: &'c Context<'c>,
    /// The arguments of portcullis' own command line.
    pub arguments: &'a [String],
    /// `groups` of the mode, for `first`.
    pub groups: Option<Section<'c>>,
    /// The words so far.
    pub words: Vec<Word>,
    /// Whether an item has used the arguments.
    pub took_arguments: bool,
}

/// A command line; none if there is none, or if it is wrong.
pub(super) fn command(section: &Section<'_>, key: &str, depth: Depth) -> Option<Argv> {
    let node = section.node(key)?;
    let mut builder = Builder { context: section.context(), arguments: &[], groups: None, words: Vec::new(), took_arguments: false };
    let understood = builder.command(node, section.path(), depth);
    let argv = Argv::new(builder.words);
    if argv.is_none() && understood && depth == Depth::Whole {
        section.problem(key, "has no word");
    }
    argv
}

/// The words of an option's or a variable's text that is not a list: split at blanks, unless it contains shell syntax.
fn plain_words(node: &Node) -> Option<Vec<Word>> {
    let Value::String(text) = &node.value else { return None };
    let plain = node.origin.verbatim()
        && !text.trim_start().starts_with('[')
        && !text.contains(['"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '*', '?', '(']);
    plain.then(|| text.split(BLANKS).filter(|word| !word.is_empty()).map(Word::plain).collect())
}

impl<'c> Builder<'c, '_> {
    /// Adds the words of a whole command; returns whether it was written as one.
    pub(super) fn command(&mut self, node: &Node, path: &str, depth: Depth) -> bool {
        if let Some(words) = plain_words(node) {
            self.words.extend(words);
            return true;
        }
        let Some(items) = self.context.list_quietly(node) else {
            let problem = format!(
                "the command in [{path}] is {}; expected a list such as `[\"flask\", \"db\", \"upgrade\"]`: no shell splits a string",
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
                        self.words.push(Word::of(&text));
                    }
                }
                Value::Table(table) => match FORMS.into_iter().find(|key| table.get(key).is_some()) {
                    Some(form) => {
                        let holds = condition::holds(self.context, table.get("when").map(|entry| &entry.node), path, depth);
                        let depth = if holds { depth } else { Depth::Syntax };
                        // If the condition does not hold, only the form is checked and the words are dropped.
                        self.kept_if(holds, |builder| {
                            if let Some(section) = builder.context.open(item, path, depth) {
                                builder.item(form, section);
                            }
                        });
                    }
                    None => self.refuse(item, path),
                },
                _ => self.refuse(item, path),
            }
        }
    }

    /// Calls `read`, and drops its words unless `kept`.
    fn kept_if(&mut self, kept: bool, read: impl FnOnce(&mut Self)) {
        let before = (self.words.len(), self.took_arguments);
        read(self);
        if !kept {
            self.words.truncate(before.0);
            self.took_arguments = before.1;
        }
    }

    fn item(&mut self, form: &str, mut section: Section<'c>) {
        match form {
            "split" => {
                let Some(text) = section.declared::<Split>().split else { return };
                let secret = text.is_secret();
                let one = |part: &str| if secret { Word::masked(part, MASK) } else { Word::plain(part) };
                self.words.extend(text.value().split(BLANKS).filter(|part| !part.is_empty()).map(one));
            }
            "words" => {
                let Some(text) = section.declared::<Words>().words else { return };
                let environment = section.context().environment;
                let mut secret = text.is_secret();
                let words = quoting::words(&text.value(), &mut |name| {
                    let found = environment.lookup(name)?.unwrap_or_default();
                    secret |= found.secret || looks_secret(name, &found.value);
                    Ok(found.value)
                });
                match words {
                    Ok(words) => {
                        self.words.extend(words.iter().map(|word| if secret { Word::masked(word, MASK) } else { Word::plain(word) }))
                    }
                    Err(why) => section.problem("words", why),
                }
            }
            "first" => {
                let group = section.declared::<First>().first;
                self.first(&section, group);
            }
            "args" => {
                let arguments = section.declared();
                self.take_arguments(&section, &arguments);
            }
            _ => {
                section.declared::<Case>();
                let items = section.list("then").unwrap_or_default();
                self.items(&items, section.path(), section.depth());
            }
        }
    }

    /// The words of the first case of a group whose `when` holds; none if no case does.
    fn first(&mut self, section: &Section<'c>, group: Option<Text>) {
        let (Some(group), depth) = (group, section.depth()) else { return };
        let name = group.value();
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
            let Some(mut section) = self.context.open(&candidate, &path, depth) else { continue };
            section.declared::<Case>();
            let chosen = !found && condition::holds(self.context, section.node("when"), &path, depth);
            if !section.has("then") {
                section.problem("then", "is missing: it has the arguments of this case");
            }
            let items = section.list("then").unwrap_or_default();
            // A group cannot use groups.
            let nested = self.groups.take();
            self.kept_if(chosen, |builder| builder.items(&items, &path, if chosen { depth } else { Depth::Syntax }));
            self.groups = nested;
            found |= chosen && depth == Depth::Whole;
        }
    }

    fn take_arguments(&mut self, section: &Section<'c>, arguments: &Arguments) {
        if !arguments.args {
            return;
        }
        self.took_arguments = true;
        let (given, least) = (self.arguments.len(), arguments.min_args.to::<usize>().unwrap_or_default());
        if section.depth() == Depth::Whole && given < least {
            self.context.problem(Problem::usage(format!(
                "[{}] wants at least {least} arguments after the options, but there are only {given}",
                section.path()
            )));
        }
        self.words.extend(self.arguments.iter().map(Word::plain));
    }

    fn refuse(&self, item: &Node, path: &str) {
        let problem = format!(
            "[{path}] has {} where an argument is expected: a string, `{{ split = … }}`, `{{ words = … }}`, `{{ first = … }}`, `{{ args = true }}` or `{{ when = …, then = […] }}`",
            item.value.kind()
        );
        self.context.problem(Problem::at(&item.origin, problem));
    }
}
