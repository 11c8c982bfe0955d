//! The steps of one time of the start, a sentence each.

use humantime::format_duration;

use super::environment;
use crate::plan::{ConditionPlan, OnFailure, Plan, ProcessPlan, StepAction, StepAt, StepPlan};

/// What is done at this time.
pub(super) fn at(plan: &Plan, at: StepAt) -> impl Iterator<Item = String> {
    plan.steps.iter().filter(move |step| step.at == at).map(sentence)
}

fn sentence(step: &StepPlan) -> String {
    let (what, process) = match &step.action {
        StepAction::Commands(commands) => {
            (commands.iter().map(|command| command.argv.to_string()).collect::<Vec<_>>().join(", then "), commands.first())
        }
        StepAction::Hooks(hooks) => (format!("the programs in {}", hooks.directory.display()), Some(&hooks.process)),
        StepAction::File(file) => return format!("file {file}{}", condition(step)),
    };
    let what = if what.is_empty() { "nothing, for `each` has no item".to_owned() } else { what };
    let around = process.map(|process| format!("{}; {}", user(process), environment(process))).unwrap_or_default();
    let check = step.check.as_ref().map(|check| format!("; unless {} ends with 0", check.argv)).unwrap_or_default();
    let lock = if step.locked { "; under the lock" } else { "" };
    let limit = if step.timeout.is_zero() { String::new() } else { format!("; stopped after {}", format_duration(step.timeout)) };
    let again = if step.retries == 0 { String::new() } else { format!("; tried again up to {} times", step.retries) };
    let failure = if step.on_failure == OnFailure::Continue { "; the start goes on should it fail" } else { "" };
    format!("step {}: {what}{around}{check}{lock}{limit}{again}{failure}{}", step.name, condition(step))
}

const fn condition(step: &StepPlan) -> &'static str {
    if matches!(step.condition, ConditionPlan::Always) { "" } else { "; where its condition holds then" }
}

fn user(process: &ProcessPlan) -> String {
    process.conditions.user.as_ref().map(|who| format!(" as user {}", who.uid)).unwrap_or_default()
}
