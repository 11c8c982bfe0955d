//! `when`: whether a test on one variable holds, or one of several.

use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Keys};

const KEYS: Keys = Keys { known: &["var", "eq", "ieq", "nonempty"], later: &[] };

/// Whether the test at `node` holds, or one of a list of them; true for no test at all, and at [`Depth::Form`], which only looks at how
/// it is written.
pub(super) fn holds<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth) -> bool {
    let Some(node) = node else { return true };
    if let Value::List(tests) = &node.value {
        if tests.is_empty() {
            context.problem(Problem::at(&node.origin, format!("[{path}.when] lists no test")));
        }
        // Each of them, so that every mistake is told.
        return tests.iter().map(|test| holds(context, Some(test), path, depth)).fold(false, |any, one| any | one);
    }
    let Some(section) = context.open(node, &format!("{path}.when"), Some(KEYS), depth) else { return true };
    let variable = section.nonempty("var");
    let [exact, folded] = ["eq", "ieq"].map(|key| section.text(key));
    let nonempty = section.boolean("nonempty");
    if !section.has("var") {
        section.problem("var", "is missing: it names the variable");
    }
    if ["eq", "ieq", "nonempty"].iter().filter(|key| section.has(key)).count() != 1 {
        let problem = format!("[{}] wants exactly one of `eq`, `ieq` and `nonempty`", section.path());
        context.problem(Problem::at(&node.origin, problem));
    }
    let Some(variable) = variable.filter(|_| depth == Depth::Whole) else { return true };
    let value = match context.environment.lookup(&variable.value()) {
        Ok(found) => found.map(|found| found.value).unwrap_or_default(),
        Err(why) => {
            section.problem("var", format!("cannot be tested: {why}"));
            return true;
        }
    };
    match (exact, folded, nonempty) {
        (Some(text), _, _) => value == text.value(),
        (_, Some(text), _) => value.to_lowercase() == text.value().to_lowercase(),
        (_, _, Some(wanted)) => value.is_empty() != wanted,
        (None, None, None) => true,
    }
}
