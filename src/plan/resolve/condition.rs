//! `when`: whether a test on one variable holds.

use crate::config::node::Node;
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Keys};

pub(super) const KEYS: Keys = Keys { known: &["var", "eq", "ieq", "nonempty"], later: &[] };

/// Whether the test at `node` holds; true for no test at all, and at [`Depth::Form`], which only looks at how it is written.
pub(super) fn holds<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth) -> bool {
    let Some(node) = node else { return true };
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
