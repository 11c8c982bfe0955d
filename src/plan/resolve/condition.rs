//! `when`: whether a test on one variable, or on the arguments, holds; or one of several, or all of them.

use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Keys, Section};

pub(super) const KEYS: Keys = Keys { known: &["var", "eq", "ieq", "prefix", "nonempty", "args", "all"] };

/// What a variable's value may be asked.
const TESTS: [&str; 4] = ["eq", "ieq", "prefix", "nonempty"];

/// Whether the test at `node` holds, or one of a list of them; true for no test at all, and at [`Depth::Form`], which only looks at how
/// it is written.
pub(super) fn holds<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth) -> bool {
    let Some(node) = node else { return true };
    if let Value::List(tests) = &node.value {
        return each(context, tests, node, path, depth).any(|holds| holds);
    }
    let Some(section) = context.open(node, &format!("{path}.when"), Some(KEYS), depth) else { return true };
    for key in ["args", "all"].into_iter().filter(|key| section.has(key)) {
        if TESTS.iter().chain(&["var", "args", "all"]).any(|other| *other != key && section.has(other)) {
            section.problem(key, "stands beside another test; keep one of them, or list them in `all`");
        }
    }
    if let Some(wanted) = section.boolean("args") {
        return depth == Depth::Form || context.has_arguments == wanted;
    }
    if section.has("all") {
        let tests = section.list("all").unwrap_or_default();
        return each(context, &tests, node, path, depth).all(|holds| holds);
    }
    if section.has("args") { true } else { of_variable(&section, node) }
}

/// Each of them is read before any counts, so that every mistake is told.
fn each<'c>(context: &'c Context<'c>, tests: &[Node], node: &Node, path: &str, depth: Depth) -> std::vec::IntoIter<bool> {
    if tests.is_empty() {
        context.problem(Problem::at(&node.origin, format!("[{path}.when] lists no test")));
    }
    tests.iter().map(|test| holds(context, Some(test), path, depth)).collect::<Vec<_>>().into_iter()
}

fn of_variable(section: &Section<'_>, node: &Node) -> bool {
    let context = section.context();
    let variable = section.nonempty("var");
    let [exact, folded, prefix] = ["eq", "ieq", "prefix"].map(|key| section.text(key));
    let nonempty = section.boolean("nonempty");
    if !section.has("var") {
        section.problem("var", "is missing: it names the variable");
    }
    if TESTS.iter().filter(|key| section.has(key)).count() != 1 {
        let problem = format!("[{}] wants exactly one of `eq`, `ieq`, `prefix` and `nonempty`", section.path());
        context.problem(Problem::at(&node.origin, problem));
    }
    let Some(variable) = variable.filter(|_| section.depth() == Depth::Whole) else { return true };
    let value = match context.environment.lookup(&variable.value()) {
        Ok(found) => found.map(|found| found.value).unwrap_or_default(),
        Err(why) => {
            section.problem("var", format!("cannot be tested: {why}"));
            return true;
        }
    };
    match (exact, folded, prefix, nonempty) {
        (Some(text), _, _, _) => value == text.value(),
        (_, Some(text), _, _) => value.to_lowercase() == text.value().to_lowercase(),
        (_, _, Some(text), _) => value.starts_with(&text.value()),
        (_, _, _, Some(wanted)) => value.is_empty() != wanted,
        (None, None, None, None) => true,
    }
}
