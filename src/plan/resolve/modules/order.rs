//! `after`: resolves the names, and reports all unknown names and cycles at once.

use std::collections::BTreeMap;

use super::Written;
use crate::config::problem::{Problem, suggest};
use crate::config::reader::Context;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::resolve::process::Predecessors;
use crate::plan::{ModuleId, ModulePlan};

/// The main process' name in `after`.
const MAIN: &str = "main";

/// The `after` of each module, by configured names, without unknown names and cycles.
pub(super) type After = BTreeMap<String, Vec<String>>;

/// Reads all `after` keys, and reports errors.
pub(super) fn resolve(context: &Context<'_>, written: &[Written<'_>]) -> After {
    let mut after = After::new();
    for module in written {
        let known = || written.iter().map(|other| other.entry.key.as_str()).chain([MAIN]);
        let mut names = Vec::new();
        for (name, node) in &module.after.names {
            let what = &module.after.what;
            if !known().any(|other| other == name) {
                let text = format!("{what} names the unknown module `{name}`{}", suggest(name, known()));
                context.problem(Problem::at(&node.origin, text));
            } else if module.start == ModuleStart::First
                && !written.iter().any(|other| other.entry.key == *name && other.start == ModuleStart::First)
            {
                let text = format!("{what} names `{name}`, which is started later than a module with `start = \"first\"`");
                context.problem(Problem::at(&node.origin, text));
            } else {
                names.push(name.clone());
            }
        }
        after.insert(module.entry.key.clone(), names);
    }
    let mut named: Vec<&str> = Vec::new();
    for module in written {
        let Some(circle) = circle(&after, &module.entry.key) else { continue };
        let again = circle.iter().any(|name| named.contains(&name.as_str()));
        if !again {
            let shown = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" after ");
            context.problem(Problem::at(&module.entry.origin, format!("modules wait for each other in a circle: {shown}")));
        }
        named.push(&module.entry.key);
    }
    after
}

/// The cycle from a module back to itself; none if there is none.
fn circle(after: &After, from: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = Vec::new();
    while let Some(way) = ways.pop() {
        for next in way.last().and_then(|last| after.get(last)).into_iter().flatten() {
            if next == from {
                return Some(way);
            }
            if !seen.contains(next) {
                seen.push(next.clone());
                ways.push(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

/// The modules in the `after` of the process, with errors reported. Modules that this run does not use are ignored.
pub(super) fn before_main(
    context: &Context<'_>,
    of_main: &Predecessors,
    written: &[Written<'_>],
    after: &After,
    plans: &[ModulePlan],
) -> Vec<ModuleId> {
    let what = &of_main.what;
    let mut ids = Vec::new();
    for (name, node) in &of_main.names {
        let known = || written.iter().map(|module| module.entry.key.as_str());
        let fault = match written.iter().find(|module| module.entry.key == *name) {
            None => format!("{what} names the unknown module `{name}`{}", suggest(name, known())),
            Some(module) if module.start == ModuleStart::OnDemand => {
                format!("{what} names `{name}`, which is started only on demand")
            }
            Some(_) if is_behind_main(after, name, written.len()) => format!("{what} names `{name}`, which itself comes after the process"),
            Some(_) => {
                ids.extend(plans.iter().filter(|plan| plan.table == *name).map(|plan| plan.id));
                continue;
            }
        };
        context.problem(Problem::at(&node.origin, fault));
    }
    ids
}

/// Whether this module comes after the process, directly or through another module; `depth` limits the recursion.
fn is_behind_main(after: &After, name: &str, depth: usize) -> bool {
    let names = after.get(name).into_iter().flatten();
    names.into_iter().any(|other| other == MAIN || (depth > 0 && is_behind_main(after, other, depth - 1)))
}

/// Gives every instance its predecessors. Modules that this run does not use are ignored.
pub(super) fn apply(plans: &mut [ModulePlan], written: &[Written<'_>], after: &After) {
    let family = |plan: &ModulePlan| {
        let of = |module: &&Written<'_>| match &module.instances {
            None => plan.name == module.entry.key,
            Some(_) => plan.name.rsplit_once('-').is_some_and(|(name, number)| name == module.entry.key && number.parse::<u32>().is_ok()),
        };
        written.iter().find(of).map(|module| module.entry.key.clone()).unwrap_or_default()
    };
    let families: Vec<(String, _)> = plans.iter().map(|plan| (family(plan), plan.id)).collect();
    for plan in plans {
        let own = family(plan);
        for name in after.get(&own).into_iter().flatten() {
            if name == MAIN {
                plan.after.push(Predecessor::Main);
            }
            let members = families.iter().filter(|(family, id)| family == name && *id != plan.id);
            plan.after.extend(members.map(|(_, id)| Predecessor::Module(*id)));
        }
    }
}
