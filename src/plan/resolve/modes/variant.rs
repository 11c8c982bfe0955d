//! The variants of a mode: which one applies, and whether it refuses the start.

use super::Reading;
use crate::config::mode::{ModeVariant, Refuse};
use crate::config::node::Value;
use crate::config::reader::{Depth, Section};
use crate::exit::Exit;
use crate::plan::StartRefusal;
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::condition;
use crate::plan::resolve::process::Template;
use crate::plan::resolve::variables::VariableChanges;

impl<'c> Reading<'_, 'c> {
    /// The first variant whose `when` holds, with its refusal if it has one; its variables are applied.
    pub(super) fn variant(&self, section: &Section<'c>, template: &mut Template) -> Option<(Section<'c>, Option<StartRefusal>)> {
        let context = section.context();
        let path = format!("{}.variants", section.path());
        let mut chosen = None;
        for node in section.list("variants").unwrap_or_default() {
            let when = if let Value::Table(table) = &node.value { table.get("when").map(|entry| &entry.node) } else { None };
            let holds = condition::holds(context, when, &path, self.depth) && self.depth == Depth::Whole && chosen.is_none();
            let Some(mut variant) = context.open(&node, &path, if holds { self.depth } else { Depth::Syntax }) else { continue };
            let declared: ModeVariant = variant.declared();
            if !variant.has("when") {
                variant.problem("when", "is missing: it is the condition of the variant");
            }
            let refusal = declared.refuse.and_then(|refuse| refusal(&variant, refuse));
            if holds {
                template.variables.set_all(variant.table("set"));
                chosen = Some((variant, refusal));
            } else {
                VariableChanges::default().set_all(variant.table("set"));
                self.started(&variant);
                if let Some(command) = variant.node("command") {
                    let groups = section.table_at("groups", Depth::Syntax);
                    let mut builder = Builder { context, arguments: &[], groups, words: Vec::new(), took_arguments: false };
                    builder.command(command, &path, Depth::Syntax);
                }
            }
        }
        chosen
    }
}

/// `refuse` of a variant: no process, and why.
fn refusal(variant: &Section<'_>, refuse: Refuse) -> Option<StartRefusal> {
    if variant.has("command") || variant.has("started") {
        variant.problem("refuse", "starts no process, so `command` and `started` have no effect");
    }
    if let Some(section) = variant.table("refuse").filter(|section| !section.has("message")) {
        section.problem("message", "is missing: it should say what to do instead");
    }
    let message = refuse.message.0.map(|text| text.shown()).unwrap_or_default();
    (variant.depth() == Depth::Whole).then(|| StartRefusal { code: refuse.code.to().unwrap_or(Exit::Usage.code()), message })
}
