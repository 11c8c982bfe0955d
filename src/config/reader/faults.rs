//! Collects the errors of a reading and suppresses their consequences: every error is reported once, at its cause.

use std::cell::{Cell, RefCell};

use super::{Context, Section};
use crate::config::interpolate::Template;
use crate::config::node::{Node, Value};
use crate::config::origin::Origin;
use crate::config::preset;
use crate::config::problem::Problem;

/// The problems of one reading.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Whether a part could not be read at all; then nothing is reported as missing.
    incomplete: Cell<bool>,
    /// Whether the file has a TOML syntax error, so that keys may be in the wrong table.
    garbled: Cell<bool>,
    checks: Cell<bool>,
    modules: Cell<bool>,
}

impl Faults {
    /// What is known of the whole, for who reads a part of it: no problem yet, and what says nothing.
    pub(super) fn of_part(&self) -> Self {
        let Self { incomplete, garbled, checks, modules, .. } = self;
        let [incomplete, garbled, checks, modules] = [incomplete, garbled, checks, modules].map(Cell::clone);
        Self { problems: RefCell::default(), incomplete, garbled, checks, modules }
    }
}

impl Context<'_> {
    /// Adds a problem. A missing value is not a problem if not everything could be read.
    pub fn problem(&self, problem: Problem) {
        if self.faults.incomplete.get() && problem.origin.is_none() {
            return;
        }
        let origin = problem.origin.map(|origin| preset::blamed(origin, self.environment));
        self.faults.problems.borrow_mut().push(Problem { origin, ..problem });
    }

    /// Adds an error that prevents a layer from being read; missing values are then not reported.
    pub fn unreadable(&self, problems: Vec<Problem>) {
        for problem in problems {
            self.faults.incomplete.set(true);
            self.faults.garbled.set(self.faults.garbled.get() || matches!(problem.origin, Some(Origin::File { .. })));
            self.faults.problems.borrow_mut().push(problem);
        }
    }

    /// The number of errors so far: if it has grown after a read, that part has errors.
    pub fn faults_so_far(&self) -> usize {
        self.faults.problems.borrow().len()
    }

    /// Whether a refusal applies to this start.
    pub fn is_refused(&self) -> bool {
        self.faults.problems.borrow().iter().any(|problem| problem.refusal.is_some())
    }

    /// Whether there are no errors so far.
    pub fn is_clean(&self) -> bool {
        self.faults.problems.borrow().is_empty()
    }

    /// Whether everything could be read, so that an absent value is really missing.
    pub fn is_complete(&self) -> bool {
        !self.faults.incomplete.get()
    }

    /// Whether keys may be in the wrong table.
    pub(super) fn is_garbled(&self) -> bool {
        self.faults.garbled.get()
    }

    /// Calls `read`, and records whether it found errors in checks.
    pub fn reading_checks<T>(&self, read: impl FnOnce() -> T) -> T {
        self.noting(&self.faults.checks, read)
    }

    /// Calls `read`, and records whether it found errors in modules.
    pub fn reading_modules<T>(&self, read: impl FnOnce() -> T) -> T {
        self.noting(&self.faults.modules, read)
    }

    /// Whether no check has errors; otherwise a check that is not found may be one of the wrong ones.
    pub fn checks_are_right(&self) -> bool {
        self.is_complete() && !self.faults.checks.get()
    }

    /// The same for modules.
    pub fn modules_are_right(&self) -> bool {
        self.is_complete() && !self.faults.modules.get()
    }

    fn noting<T>(&self, wrong: &Cell<bool>, read: impl FnOnce() -> T) -> T {
        let count = || self.faults.problems.borrow().len();
        let before = count();
        let found = read();
        wrong.set(wrong.get() || count() > before);
        found
    }
}

impl Section<'_> {
    /// Reports what is wrong with `key`, or with the whole section if `key` was not written.
    pub fn problem(&self, key: &str, text: impl AsRef<str>) {
        if self.is_broken(key) || (!self.has(key) && !self.context.is_complete()) {
            return;
        }
        let from = self.node(key).map(|node| self.context.variables_in(node)).unwrap_or_default();
        let text = format!("{}{from} {}", self.what(key), text.as_ref());
        let above = || self.origin.as_ref().map(|origin| preset::lacking(origin, &self.below(key)));
        self.context.problem(match self.origin(key).cloned().or_else(above) {
            Some(origin) => Problem::at(&origin, text),
            None => Problem::missing(text),
        });
    }
}

impl Section<'_> {
    /// Like [`problem`](Self::problem); `key` is then no longer read or reported.
    pub fn refuse(&mut self, key: &str, text: impl AsRef<str>) {
        self.problem(key, text);
        if let Some(entry) = self.table.get_mut(key) {
            entry.node.value = Value::Hole;
        }
    }
}

impl Context<'_> {
    /// The variables in a value, as a part of a sentence, because their values are not visible in the file.
    pub(super) fn variables_in(&self, node: &Node) -> String {
        let Value::String(text) = &node.value else { return String::new() };
        // For a line of a preset, its variables are named instead of the line.
        if node.origin.verbatim() || matches!(node.origin, Origin::Preset { .. }) {
            return String::new();
        }
        let Ok(template) = Template::parse(text) else { return String::new() };
        let names = template.set_variables(self.environment);
        if names.is_empty() { String::new() } else { format!(", from {},", names.join(" and ")) }
    }
}
