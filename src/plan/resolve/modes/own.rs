//! The process that is given by the arguments: without modes, or as an ad-hoc command.

use crate::config::arguments::Rule;
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth};
use crate::plan::ProcessPlan;
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::arguments::Given;
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::process::Template;

/// The process that is given by the arguments, or by the rule that handles them.
pub(super) fn process<'c>(context: &'c Context<'c>, template: &mut Template, given: &Given) -> Option<ProcessPlan> {
    let mut words: Vec<Word> = given.arguments.iter().map(Word::plain).collect();
    if let Some(mut section) = given.rule.as_ref().and_then(|rule| context.open(rule, "arguments", Depth::Whole)) {
        let rule: Rule = section.declared();
        template.variables.set_all(section.table("env"));
        template.run_as(&mut section, &rule.ad_hoc.user);
        if let Some(command) = section.node("command") {
            let mut builder = Builder { context, arguments: &given.arguments, groups: None, words: Vec::new(), took_arguments: false };
            if !builder.command(command, section.path(), Depth::Whole) {
                return None;
            }
            words = builder.words;
            if words.is_empty() {
                section.problem("command", "has no word");
                return None;
            }
        }
    }
    of_words(context, template, words)
}

/// The process of these words.
fn of_words(context: &Context<'_>, template: &Template, words: Vec<Word>) -> Option<ProcessPlan> {
    match Argv::new(words) {
        Some(argv) if argv.program().is_empty() => {
            context.problem(Problem::usage("the command begins with an empty word, which is not a program; check the variable in it"));
            None
        }
        Some(argv) => template.process(argv, None),
        None => {
            context.problem(Problem::missing(
                "no command to run: write it after the options (`portcullis run -- COMMAND`), or configure [modes]",
            ));
            None
        }
    }
}
