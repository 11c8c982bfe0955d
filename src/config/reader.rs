//! Reads a tree and collects all problems instead of stopping at the first.

mod declared;
mod engine;
mod faults;
mod keys;
mod named;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use crate::config::effective::Effective;
use crate::config::interpolate::{Findings, Template, Text};
use crate::config::node::{Entry, Node, Table, Value, dotted, parse_inline};
use crate::config::origin::Origin;
use crate::config::problem::{Problem, Problems};
use crate::config::source::Environment;
use faults::Faults;

pub use engine::{SHOWN, own_way};
pub use keys::keys_of;
pub use named::NamedCondition;
pub use values::{TRUTHS, truth};

/// The state that all sections of one reading share: the environment and the results.
pub struct Context<'e> {
    /// Where variables come from.
    pub environment: &'e Environment,
    faults: Faults,
    named: RefCell<BTreeMap<String, NamedCondition>>,
    notices: RefCell<Vec<String>>,
    remarks: RefCell<Vec<String>>,
    effective: Option<RefCell<Effective>>,
}

/// How a part of the tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Only names, types and syntax, for parts that this run does not use: variables in them may be unset.
    Syntax,
    /// Everything.
    Whole,
}

/// A table that is being read; every getter returns none for a missing key, and for a wrong one after reporting it.
#[derive(Clone)]
pub struct Section<'c> {
    context: &'c Context<'c>,
    table: Table,
    path: String,
    origin: Option<Origin>,
    depth: Depth,
}

impl<'e> Context<'e> {
    /// A new reading.
    pub fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            named: RefCell::default(),
            faults: Faults::default(),
            notices: RefCell::default(),
            remarks: RefCell::default(),
            effective: None,
        }
    }

    /// The same; also records the effective value of every section, for `plan`.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { effective: Some(RefCell::default()), ..self }
    }

    /// The recorded values.
    pub fn effective(&self) -> Effective {
        self.effective.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Adds a notice, once.
    pub fn notice(&self, notice: impl Into<String>) {
        let notice = crate::visible::line(&crate::secret::scrub(&notice.into())).into_owned();
        let mut notices = self.notices.borrow_mut();
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// Adds a remark: nothing is wrong, but the operator may wonder about it.
    pub fn remark(&self, remark: &str) {
        self.remarks.borrow_mut().push(remark.to_owned());
    }

    /// The remarks so far.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().clone()
    }

    /// A reading of a part of the same tree, in another environment.
    pub fn of_part<'p>(&self, environment: &'p Environment) -> Context<'p> {
        let effective = self.effective.as_ref().map(|_| RefCell::default());
        Context { effective, named: self.named.clone(), faults: self.faults.of_part(), ..Context::new(environment) }
    }

    /// The same reading in another environment from here on.
    #[must_use]
    pub fn in_environment(self, environment: &Environment) -> Context<'_> {
        Context {
            environment,
            faults: self.faults,
            named: self.named,
            notices: self.notices,
            remarks: self.remarks,
            effective: self.effective,
        }
    }

    /// Adds the results of another reading of a part of the same tree.
    pub fn absorb(&self, other: Context<'_>) {
        self.faults.problems.borrow_mut().extend(other.faults.problems.into_inner());
        if let (Some(effective), Some(other)) = (&self.effective, other.effective) {
            effective.borrow_mut().extend(other.into_inner());
        }
        other.notices.into_inner().into_iter().for_each(|notice| self.notice(notice));
        self.remarks.borrow_mut().extend(other.remarks.into_inner());
    }

    /// Adds the results of a part that is read once for each item or instance, the first of which has number 0. Of a further one only the errors
    /// and notices count, and what several have is reported once.
    pub fn absorb_part(&self, number: usize, mut part: Context<'_>) {
        if number > 0 {
            part.effective = None;
            part.remarks.get_mut().clear();
        }
        self.absorb(part);
    }

    /// The notices, or the problems if there are any.
    pub fn finish(self) -> Result<Vec<String>, Problems> {
        Problems::new(self.faults.problems.into_inner()).map_or(Ok(self.notices.into_inner()), Err)
    }

    /// The interpolated text of a string; none at [`Depth::Syntax`] if it contains a variable.
    pub fn text(&self, node: &Node, what: &dyn Display, depth: Depth) -> Option<Text> {
        let Value::String(text) = &node.value else {
            self.problem(Problem::at(&node.origin, format!("{what} is {}; expected a string", node.value.kind())));
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
        if depth == Depth::Syntax && !template.is_literal() {
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

    /// The items of a list; a variable or an option may write it as text. None for anything else, without a problem.
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
            self.problem(Problem::at(&node.origin, format!("{what} is {}; expected a list such as `[\"a\", \"b\"]`", node.value.kind())));
        }
        items
    }

    /// Opens a table as the section `path`; a variable or an option may give it as text.
    pub fn open(&'e self, node: &Node, path: &str, depth: Depth) -> Option<Section<'e>> {
        let table = match &node.value {
            Value::Table(table) => table.clone(),
            Value::String(text) if node.origin.verbatim() => {
                let Some(Node { value: Value::Table(table), .. }) = parse_inline(text, &node.origin) else {
                    self.problem(Problem::at(&node.origin, format!("[{path}] has to be a table such as `{{ key = \"value\" }}`")));
                    return None;
                };
                table
            }
            value => {
                self.problem(Problem::at(&node.origin, format!("[{path}] is {}; expected a table", value.kind())));
                return None;
            }
        };
        Some(self.section(table, path, Some(node.origin.clone()), depth))
    }

    /// The section `path` for an existing table.
    pub fn section(&'e self, table: Table, path: &str, origin: Option<Origin>, depth: Depth) -> Section<'e> {
        Section { context: self, table, path: path.to_owned(), origin, depth }
    }
}

impl<'c> Section<'c> {
    /// The shared state.
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

    /// Its contents, with their place: to merge something over them.
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

    /// The value of `key`; none if it was wrong and has been reported.
    pub fn node(&self, key: &str) -> Option<&Node> {
        self.table.get(key).map(|entry| &entry.node).filter(|node| !matches!(node.value, Value::Hole))
    }

    /// Whether the value of `key` was wrong and has been reported; keys that depend on it then report nothing.
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

    /// `key` and its section, in the form used in messages.
    pub fn what(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in [{}]", self.path) }
    }

    /// The name of the section below `key`, in TOML syntax.
    pub fn below(&self, key: &str) -> String {
        dotted(&self.path, key)
    }
}
