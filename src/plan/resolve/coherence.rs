//! Checks that the parts of a plan fit together: names, references, and the time of a stop.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::problem::{Problem, suggest};
use crate::config::reader::Context;
use crate::plan::process::StartSign;
use crate::plan::target::Target;
use crate::plan::{CheckPlan, ModulePlan, Plan, ProcessPlan};

/// Docker's default time from TERM to KILL; in Kubernetes it is 30 s.
const DOCKER_GRACE: Duration = Duration::from_secs(10);

/// Checks and modules are listed together in every health response, so their names have to be unique; and references have to name existing modules.
pub(super) fn names(context: &Context<'_>, checks: &[CheckPlan], main: Option<&ProcessPlan>, modules: &[ModulePlan]) {
    let mut seen = BTreeSet::new();
    for name in checks.iter().map(|check| &check.name).chain(modules.iter().map(|module| &module.name)) {
        if !seen.insert(name) {
            context.problem(Problem::missing(format!("two of the checks and modules are named `{name}`")));
        }
    }
    let processes = modules.iter().map(|module| (module.name.as_str(), &module.process)).chain(main.map(|main| ("started", main)));
    let of_start = processes.filter_map(|(name, process)| match &process.started.as_ref()?.sign {
        StartSign::Answers { target, .. } => Some((name, target.as_ref())),
        _ => None,
    });
    for (asker, target) in checks.iter().map(|check| (check.name.as_str(), &check.target)).chain(of_start) {
        if let Target::Module(name) = target
            && !modules.iter().any(|module| module.name == *name)
            && context.modules_are_right()
        {
            let near = suggest(name, modules.iter().map(|module| module.name.as_str()).chain(["main"]));
            context.problem(Problem::missing(format!("`{asker}` refers to the module `{name}`, which does not exist{near}")));
        }
    }
}

/// Warns if a stop may take longer than the grace period of the orchestrator.
pub(super) fn advise(context: &Context<'_>, plan: &Plan, grace: Option<Duration>) {
    let budget = plan.stop_budget();
    if budget <= grace.unwrap_or(DOCKER_GRACE) {
        return;
    }
    let seconds = budget.as_millis().div_ceil(1000) + 1;
    let than = match grace {
        Some(grace) => format!("the {} of grace_period", humantime::format_duration(grace)),
        None => "the 10s until Docker kills it".to_owned(),
    };
    context.notice(format!(
        "a stop may take {}, more than {than}: set `docker stop --time {seconds}`, `stop_grace_period: {seconds}s` or \
         `terminationGracePeriodSeconds: {seconds}`, and say so by grace_period = \"{seconds}s\" in [process]",
        humantime::format_duration(budget)
    ));
}
