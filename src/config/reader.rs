//! Reading of a tree that collects every problem and stops at none.

mod declared;
mod engine;
mod faults;
mod values;

use std::cell::RefCell;
use std::fmt::Display;

use crate::config::interpolate::{Findings, Template, Text};
use crate::config::node::{Entry, Node, Origin, Table, Value, parse_inline};
use crate::config::problem::{Problem, Problems};
use crate::config::source::Environment;
use faults::Faults;

pub use engine::{SHOWN, own_way};
pub use values::truth;

/// What all sections of one reading share: the environment, and what was found.
pub struct Context<'e> {
    /// Where variables come from.
    pub environment: &'e Environment,
    /// Whether the command line has arguments for the command.
    pub has_arguments: bool,
    faults: Faults,
    notices: RefCell<Vec<String>>,
    remarks: RefCell<Vec<String>>,
}

/// How a part of the tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Names, types and syntax alone, for what this run does not use: variables in it may be unset.
    Form,
    /// Everything.
    Whole,
}

/// Which keys a section knows.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Keys that mean something.
    pub known: &'static [&'static str],
}

/// A table under reading; every getter answers none for an absent key, and for a wrong one after saying so.
#[derive(Clone)]
pub struct Section<'c> {
    context: &'c Context<'c>,
    table: Table,
    path: String,
    origin: Option<Origin>,
    depth: Depth,
}

impl<'e> Context<'e> {
    /// A reading that has found nothing yet.
    pub fn new(environment: &'e Environment) -> Self {
        Self { environment, has_arguments: false, faults: Faults::default(), notices: RefCell::default(), remarks: RefCell::default() }
    }

    /// The same, with or without arguments for the command.
    #[must_use]
    pub fn with_arguments(self, has_arguments: bool) -> Self {
        Self { has_arguments, ..self }
    }

    /// Adds a notice, once.
    pub fn notice(&self, notice: impl Into<String>) {
        let notice = crate::visible::line(&crate::secret::scrub(&notice.into())).into_owned();
        let mut notices = self.notices.borrow_mut();
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// Adds a remark: nothing is amiss, and somebody may wonder all the same.
    pub fn remark(&self, remark: &str) {
        self.remarks.borrow_mut().push(remark.to_owned());
    }

    /// The remarks so far.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().clone()
    }

    /// Takes over what another reading has found, of a part of the same tree.
    pub fn absorb(&self, other: Context<'_>) {
        self.faults.problems.borrow_mut().extend(other.faults.problems.into_inner());
        other.notices.into_inner().into_iter().for_each(|notice| self.notice(notice));
    }

    /// The notices, or the problems when there are any.
    pub fn finish(self) -> Result<Vec<String>, Problems> {
        Problems::new(self.faults.problems.into_inner()).map_or(Ok(self.notices.into_inner()), Err)
    }

    /// The interpolated text of a string; none when `node` is none, or at [`Depth::Form`] when it holds a variable.
    pub fn text(&self, node: &Node, what: &dyn Display, depth: Depth) -> Option<Text> {
        let Value::String(text) = &node.value else {
            self.problem(Problem::at(&node.origin, format!("{what} is {}; a string is wanted", node.value.kind())));
            return None;
        };
        if node.origin.verbatim() {
            return Some(Text::literal(text));
        }
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(why) => {
                self.problem(Problem::at(&node.origin, format!("{what}: {why}")));
                return None;
            }
        };
        if depth == Depth::Form && !template.is_literal() {
            return None;
        }
        let mut findings = Findings::default();
        let text = template.expand(self.environment, &mut findings);
        findings.notices.into_iter().for_each(|notice| self.notice(notice));
        let failed = !findings.problems.is_empty();
        for why in findings.problems {
            self.problem(Problem::at(&node.origin, format!("{what}: {why}")));
        }
        (!failed).then_some(text)
    }

    /// The items of a list; a variable or an option may write it as text. None for anything else, without a word.
    pub fn list_quietly(&self, node: &Node) -> Option<Vec<Node>> {
        match &node.value {
            Value::List(items) => Some(items.clone()),
            Value::String(text) if node.origin.verbatim() => match parse_inline(text, &node.origin) {
                Some(Node { value: Value::List(items), .. }) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items of a list, as [`list_quietly`](Self::list_quietly); anything else is a problem.
    pub fn list(&self, node: &Node, what: &dyn Display) -> Option<Vec<Node>> {
        let items = self.list_quietly(node);
        if items.is_none() {
            self.problem(Problem::at(&node.origin, format!("{what} is {}; a list is wanted, as `[\"a\", \"b\"]`", node.value.kind())));
        }
        items
    }

    /// Opens a table as the section `path`; a variable or an option may write it as text.
    pub fn open(&'e self, node: &Node, path: &str, keys: Option<Keys>, depth: Depth) -> Option<Section<'e>> {
        let table = match &node.value {
            Value::Table(table) => table.clone(),
            Value::String(text) if node.origin.verbatim() => {
                let Some(Node { value: Value::Table(table), .. }) = parse_inline(text, &node.origin) else {
                    self.problem(Problem::at(&node.origin, format!("[{path}] wants a table, as `{{ key = \"value\" }}`")));
                    return None;
                };
                table
            }
            value => {
                self.problem(Problem::at(&node.origin, format!("[{path}] is {}; a table is wanted", value.kind())));
                return None;
            }
        };
        Some(self.section(table, path, Some(node.origin.clone()), keys, depth))
    }

    /// The section `path` over a table that is at hand; without `keys` it may hold any name.
    pub fn section(&'e self, table: Table, path: &str, origin: Option<Origin>, keys: Option<Keys>, depth: Depth) -> Section<'e> {
        if let Some(Keys { known }) = keys {
            self.refuse_unknown(&table, path, known);
        }
        Section { context: self, table, path: path.to_owned(), origin, depth }
    }
}

impl<'c> Section<'c> {
    /// What all sections share.
    pub const fn context(&self) -> &'c Context<'c> {
        self.context
    }

    /// How this section is read.
    pub const fn depth(&self) -> Depth {
        self.depth
    }

    /// The dotted name, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it holds, with its place: to lay something over it.
    pub fn into_parts(self) -> (Table, Option<Origin>) {
        (self.table, self.origin)
    }

    /// Whether `key` was written.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where the value of `key` was written.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.table.get(key).map(|entry| &entry.node.origin)
    }

    /// What was written for `key`; none where it was wrong and has been reported.
    pub fn node(&self, key: &str) -> Option<&Node> {
        self.table.get(key).map(|entry| &entry.node).filter(|node| !matches!(node.value, Value::Hole))
    }

    /// Whether the value of `key` was wrong and has been reported: what depends on it says nothing more.
    pub fn is_broken(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|entry| matches!(entry.node.value, Value::Hole))
    }

    /// Every entry, in order, for sections whose keys are names.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// The same without these keys.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Self {
        let mut rest = self.clone();
        rest.table.retain(|entry| !keys.contains(&entry.key.as_str()));
        rest
    }

    /// `key` and its section, as messages name it.
    pub fn what(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in [{}]", self.path) }
    }

    /// The name of the section below `key`.
    pub fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::parse_document;
    use std::time::Duration;

    const KEYS: Keys = Keys { known: &["wait", "count", "flag", "word", "list", "port", "text"] };

    fn problems(toml: &str, read: impl Fn(&Section<'_>)) -> Vec<String> {
        let environment = Environment::new([("SECRET_WAIT", "not-a-duration"), ("API_PORT", "tcp://10.0.0.1:80"), ("MY_FLAG", "maybe\r")]);
        let (tree, broken) = parse_document(toml, &|line, column| Origin::File { path: "p.toml".into(), line, column });
        assert_eq!(broken, []);
        let context = Context::new(&environment);
        read(&context.open(&tree.get("s").unwrap().node, "s", Some(KEYS), Depth::Whole).unwrap());
        context.faults.problems.into_inner().iter().map(Problem::to_string).collect()
    }

    #[test]
    fn every_problem_says_where_and_what_is_wanted() {
        let hour = || Duration::ZERO..=Duration::from_secs(3600);
        for (line, problem) in [
            ("waits = '1s'", "p.toml:2:1: unknown key `waits` in [s]; did you mean `wait`?"),
            ("wait = 5", "p.toml:2:8: `wait` in [s] is a bare number; write it with its unit, as `60s` or `500ms`"),
            ("wait = '5'", "p.toml:2:8: `wait` in [s] is the bare number `5`; write it with its unit, as `60s` or `500ms`"),
            ("wait = '2h'", "p.toml:2:8: `wait` in [s] is `2h`; from 0s to 1h is possible"),
            ("wait = 'soon'", "p.toml:2:8: `wait` in [s] is `soon`, not a duration as `60s`, `500ms` or `30m`"),
            ("wait = '${SECRET_WAIT}'", "p.toml:2:8: `wait` in [s], from SECRET_WAIT, is `***`, not a duration as `60s`, `500ms` or `30m`"),
            ("wait = '${UNSET}'", "p.toml:2:8: `wait` in [s]: UNSET is not set; set it, or give a default: `${UNSET:-…}`"),
            ("wait = []", "p.toml:2:8: `wait` in [s] is a list; a string is wanted"),
            ("count = 0", "p.toml:2:9: `count` in [s] is `0`; a whole number from 1 to 9 is wanted"),
            ("count = 'x'", "p.toml:2:9: `count` in [s] is `x`; a whole number from 1 to 9 is wanted"),
            ("count = true", "p.toml:2:9: `count` in [s] is a boolean; a number is wanted"),
            ("flag = 'tru'", "p.toml:2:8: `flag` in [s] is `tru`; `true` or `false` is wanted"),
            ("flag = '${MY_FLAG}'", "p.toml:2:8: `flag` in [s], from MY_FLAG, is `maybe\\r`; `true` or `false` is wanted"),
            ("flag = 1", "p.toml:2:8: `flag` in [s] is a number; `true` or `false` is wanted"),
            ("word = 'c'", "p.toml:2:8: `word` in [s] is `c`; one of `able`, `b` is wanted"),
            ("word = 'Abel'", "p.toml:2:8: `word` in [s] is `Abel` (did you mean `able`?); one of `able`, `b` is wanted"),
            ("list = 'a b'", "p.toml:2:8: `list` in [s] is a string; a list is wanted, as `[\"a\", \"b\"]`"),
            ("port = 70000", "p.toml:2:8: `port` in [s] is `70000`; a whole number from 1 to 65535 is wanted"),
            ("text = 1979-05-27", "p.toml:2:8: `text` in [s] is a date; a string is wanted"),
        ] {
            let found = problems(&format!("[s]\n{line}\n"), |section| {
                section.duration("wait", hour());
                section.integer("count", 1..=9);
                section.boolean("flag");
                section.word("word", &[("able", 1), ("b", 2)]);
                section.list("list");
                section.port("port");
                section.text("text");
            });
            assert_eq!(found, [problem], "{line}");
        }
    }

    #[test]
    fn right_values_are_read_in_each_way_of_writing_them() {
        let toml = "[s]\nwait = '1m 30s'\ncount = '3'\nflag = 'true'\nword = 'b'\nlist = [1]\nport = '${API_PORT}'\ntext = ''\n";
        let found = problems(toml, |section| {
            assert_eq!(section.duration("wait", Duration::ZERO..=Duration::MAX), Some(Duration::from_secs(90)));
            assert_eq!(section.integer("count", 1..=9), Some(3));
            assert_eq!(section.boolean("flag"), Some(true));
            assert_eq!(section.word("word", &[("a", 1), ("b", 2)]), Some(2));
            assert_eq!(section.list("list").map(|items| items.len()), Some(1));
            assert_eq!(section.port("port"), Some(80));
            assert!(section.nonempty("text").is_none() && section.text("text").is_some());
            assert_eq!(section.context().notices.borrow().len(), 1);
        });
        assert_eq!(found, Vec::<String>::new());
    }
}
