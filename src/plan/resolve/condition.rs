//! `when`: whether a test on one variable, or on the arguments, holds; or one of several, or all of them.

use crate::config::condition::{Comparison, Subject, Test};
use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Section};

/// Whether the test at `node` holds, or one of a list of them; true for no test at all, and at [`Depth::Form`], which only looks at how
/// it is written.
pub(super) fn holds<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth) -> bool {
    let Some(node) = node else { return true };
    if let Value::List(tests) = &node.value {
        return each(context, tests, node, path, depth).any(|holds| holds);
    }
    let Some(mut section) = context.open(node, &format!("{path}.when"), depth) else { return true };
    let keys = section.entries().count();
    let Test { subject, comparison } = section.declared();
    // What is missing may be what was misspelt, and that was told.
    let is_complete = section.entries().count() == keys;
    let (subjects, comparisons) = (section.written::<Subject>(), section.written::<Comparison>());
    let alone = subjects.iter().find(|key| **key != "var");
    if let Some(key) = alone.filter(|_| subjects.len() + comparisons.len() > 1) {
        section.problem(key, "stands beside another test; keep one of them, or list them in `all`");
    }
    if let Some(wanted) = subject.args {
        return depth == Depth::Form || context.has_arguments == wanted;
    }
    if section.has("all") {
        let Some(tests) = section.list("all") else { return true };
        return each(context, &tests, node, path, depth).all(|holds| holds);
    }
    if alone.is_some() {
        return true;
    }
    if is_complete && !section.has("var") {
        section.problem("var", "is missing: it names the variable");
    }
    if comparisons.len() > 1 || (is_complete && comparisons.is_empty()) {
        let known = context.keys_of::<Comparison>().join("`, `");
        context.problem(Problem::at(&node.origin, format!("[{}] wants exactly one of `{known}` beside `var`", section.path())));
    }
    let variable = subject.var.0.filter(|_| depth == Depth::Whole).map(|name| value(&section, &name.value()));
    variable.flatten().is_none_or(|value| comparison.holds(&value))
}

/// Each of them is read before any counts, so that every mistake is told.
fn each<'c>(context: &'c Context<'c>, tests: &[Node], node: &Node, path: &str, depth: Depth) -> std::vec::IntoIter<bool> {
    if tests.is_empty() {
        context.problem(Problem::at(&node.origin, format!("[{path}.when] lists no test")));
    }
    tests.iter().map(|test| holds(context, Some(test), path, depth)).collect::<Vec<_>>().into_iter()
}

/// The value of a variable, empty when it is unset; none when it cannot be read.
fn value(section: &Section<'_>, name: &str) -> Option<String> {
    match section.context().environment.lookup(name) {
        Ok(found) => Some(found.map(|found| found.value).unwrap_or_default()),
        Err(why) => {
            section.problem("var", format!("cannot be tested: {why}"));
            None
        }
    }
}
