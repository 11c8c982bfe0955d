//! `[conditions]`: each is evaluated once in a start, before anything else.

use std::time::Duration;

use super::{Commands, Reader};
use crate::config::children;
use crate::config::node::Node;
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, NamedCondition, Section};
use crate::plan::argv::Word;
use crate::sys::{self, command::Unanswered};

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Whether the condition `name` of `[conditions]` at `node` holds; it is evaluated once in a start, including its commands.
pub(super) fn decide<'c>(context: &'c Context<'c>, name: &str, node: &Node) -> bool {
    if let Some(known) = context.environment.answer(name) {
        return known;
    }
    let before = context.faults_so_far();
    context.name_condition(name, NamedCondition::Evaluating);
    let found = Reader { context, depth: Depth::Whole, commands: Commands::Run }.read(node, &format!("conditions.{name}"));
    let holds = found.plan.holds(&mut |command| {
        if context.environment.is_recalling() {
            let text = format!("`command` in [conditions.{name}] runs only at a start, so its result is not known now");
            context.problem(Problem::at(&node.origin, text));
            return false;
        }
        let words: Vec<&str> = command.argv.words().iter().map(Word::value).collect();
        sys::command::succeeds(&words, &children::variables(context.environment), COMMAND_LIMIT).unwrap_or_else(|why| {
            let why = match why {
                Unanswered::Because(why) => why,
                Unanswered::Stopped(number) => {
                    context.environment.note_stop(number);
                    "the start was stopped meanwhile".to_owned()
                }
            };
            let text = format!("`command` in [conditions.{name}] cannot be run: {}: {why}", command.argv.program());
            context.problem(Problem::at(&node.origin, text));
            false
        })
    });
    context.name_condition(name, NamedCondition::Written(node.clone()));
    if context.faults_so_far() == before {
        context.environment.note_answer(name, holds);
    }
    holds
}

/// Records `[conditions]`, so that each can be evaluated as soon as something refers to it.
pub(in crate::plan::resolve) fn name_all(root: &Section<'_>) {
    let Some(section) = root.table("conditions") else { return };
    section.entries().for_each(|entry| root.context().name_condition(&entry.key, NamedCondition::Written(entry.node.clone())));
}

/// Evaluates all `[conditions]` that were not evaluated before.
pub(in crate::plan::resolve) fn evaluate_all(root: &Section<'_>) {
    let Some(section) = root.table("conditions") else { return };
    for entry in section.entries() {
        decide(root.context(), &entry.key, &entry.node);
    }
}
