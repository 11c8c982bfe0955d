//! `[options]`, `[[refuse]]`, `[[warn]]` and `[[arguments]]`: evaluates the arguments of the container, before a mode is selected.

mod options;

use crate::config::arguments::{RefusalSection, Rule, WarningSection};
use crate::config::interpolate::Text;
use crate::config::node::{Entry, Node, Table, Value};
use crate::config::origin::Origin;
use crate::config::problem::Problem;
use crate::config::reader::{Depth, Section};
use crate::plan::argv::Word;
use crate::plan::resolve::condition;
use crate::plan::resolve::own::Own;
pub(super) use options::options;

/// What happens to arguments that the mode's command does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rest {
    /// The run ends with 64.
    #[default]
    Refused,
    /// They are dropped.
    Ignored,
    /// They are appended.
    Appended,
}

/// The result of the rules for arguments.
#[derive(Default)]
pub(super) struct Given {
    /// The remaining arguments.
    pub arguments: Vec<String>,
    /// The variables that options set.
    pub variables: Vec<(String, String)>,
    /// The mode that a rule selects, and the place of that rule.
    pub mode: Option<(String, Origin)>,
    /// The ad-hoc command.
    pub own: Option<Own>,
    /// The rule that says so; none if the command line does.
    pub rule: Option<Node>,
    pub rest: Rest,
    /// Which rule applied and why.
    pub why: Option<String>,
}

impl Given {
    /// Puts the mode that a rule selects into the configuration, unless an option of the command line names one.
    pub(super) fn select(&self, tree: &mut Table) {
        let Some((mode, origin)) = &self.mode else { return };
        let present = tree.get("mode").map(|entry| &entry.node.origin);
        if !matches!(present, Some(Origin::Flag(_))) {
            // Its variables are already replaced.
            let node = Node { value: Value::String(mode.replace('$', "$$")), origin: origin.clone() };
            tree.insert(Entry { key: "mode".into(), origin: origin.clone(), node });
        }
    }

    /// The message for arguments that no command takes.
    pub(super) fn shown(&self) -> String {
        self.arguments.iter().map(|argument| Word::plain(argument).shown().to_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// Reports every `[[refuse]]` that applies.
pub(super) fn refusals(root: &Section<'_>) {
    let context = root.context();
    for node in root.list("refuse").unwrap_or_default() {
        let Some(mut section) = context.open(&node, "refuse", Depth::Syntax) else { continue };
        let _: RefusalSection = section.declared();
        for key in ["when", "message"].into_iter().filter(|key| !section.has(key)) {
            let what = if key == "when" { "it is the condition of the refusal" } else { "it should say what to do instead" };
            section.problem(key, format!("is missing: {what}"));
        }
        let Some(when) = section.node("when") else { continue };
        let holds = condition::evaluated(context, when, "refuse").is_some_and(|(holds, _)| holds) && section.has("message");
        let whole = context.open(&node, "refuse", Depth::Whole).filter(|_| holds);
        if let Some(mut section) = whole {
            let refused: RefusalSection = section.declared();
            let message = refused.message.0.map(|text| text.shown()).unwrap_or_default();
            context.problem(Problem::refused(&node.origin, message, refused.code.to().unwrap_or(64)));
        }
    }
}

/// Logs the warning of every case of `[[warn]]` that holds.
pub(super) fn warnings(root: &Section<'_>) {
    let context = root.context();
    for node in root.list("warn").unwrap_or_default() {
        let Some(mut section) = context.open(&node, "warn", Depth::Syntax) else { continue };
        let _: WarningSection = section.declared();
        for key in ["when", "message"].into_iter().filter(|key| !section.has(key)) {
            let what = if key == "when" { "it says in which case something is to be said" } else { "it says what" };
            section.problem(key, format!("is missing: {what}"));
        }
        let Some(when) = section.node("when") else { continue };
        let holds = condition::evaluated(context, when, "warn").is_some_and(|(holds, _)| holds);
        if let Some(mut section) = context.open(&node, "warn", Depth::Whole).filter(|_| holds) {
            let warning: WarningSection = section.declared();
            warning.message.0.iter().for_each(|message| context.notice(message.shown()));
        }
    }
}

/// Applies the first matching rule of `[[arguments]]` to `given`; none if the command line itself says that they are an ad-hoc command. The
/// form of every rule is checked.
pub(super) fn rules(root: &Section<'_>, given: &mut Given, bare: bool) {
    let context = root.context();
    let mut is_decided = given.own.is_some();
    for (index, node) in root.list("arguments").unwrap_or_default().iter().enumerate() {
        let Some(mut section) = context.open(node, "arguments", Depth::Syntax) else { continue };
        let keys = section.entries().count();
        let rule: Rule = section.declared();
        form(&section, section.entries().count() == keys);
        let nothing_to_run = rule.ad_hoc.run && !section.has("command") && given.arguments.is_empty();
        let held = match section.node("when") {
            Some(when) if is_decided || nothing_to_run => {
                condition::holds(context, Some(when), "arguments", Depth::Syntax);
                None
            }
            Some(when) => condition::evaluated(context, when, "arguments").filter(|(holds, _)| *holds).map(|(_, words)| words),
            None => Some("it always holds".to_owned()).filter(|_| !is_decided && !nothing_to_run),
        };
        if let Some(words) = held {
            is_decided = true;
            apply(root, node, given, bare);
            given.why = Some(selection_notice(given, index + 1, &words));
        }
    }
}

/// Checks which keys of a rule may be combined.
fn form(section: &Section<'_>, is_complete: bool) {
    let written = |keys: &[&'static str]| keys.iter().copied().filter(|key| section.has(key)).collect::<Vec<_>>();
    let whats = written(&["mode", "run", "refuse"]);
    if let [first, second, ..] = whats.as_slice() {
        section.problem(second, format!("excludes `{first}`; a rule has only one of `mode`, `run` and `refuse`"));
    }
    let rests = written(&["ignore", "append"]);
    if let [_, second] = rests.as_slice() {
        section.problem(second, "excludes `ignore`; arguments are either dropped or appended");
    }
    for key in rests.iter().filter(|_| section.has("run") || section.has("refuse")) {
        section.problem(key, "applies to the command of a mode, and this rule starts none");
    }
    for key in written(&["command", "env", "wait", "user"]).into_iter().filter(|_| !section.has("run")) {
        section.problem(key, "applies to an ad-hoc command: add `run = true`");
    }
    if section.has("code") && !section.has("refuse") {
        section.problem("code", "is the exit code of `refuse`, and the rule has none");
    }
    if is_complete && whats.is_empty() && rests.is_empty() && written(&["drop", "prepend"]).is_empty() {
        section.problem("mode", "is missing: a rule needs one of `mode`, `run`, `refuse`, `ignore` and `append`");
    }
}

/// Applies the rule.
fn apply(root: &Section<'_>, node: &Node, given: &mut Given, bare: bool) {
    let Some(mut section) = root.context().open(node, "arguments", Depth::Whole) else { return };
    let rule: Rule = section.declared();
    if let Some(refuse) = &rule.refusal.refuse.0 {
        let origin = section.origin("refuse").unwrap_or(&node.origin);
        root.context().problem(Problem::refused(origin, refuse.shown(), rule.refusal.code.to().unwrap_or(64)));
        return;
    }
    if let (Some(mode), Some(origin)) = (&rule.own.mode.0, section.origin("mode")) {
        given.mode = Some((mode.value(), origin.clone()));
    }
    let dropped = rule.own.drop.to::<usize>().unwrap_or_default().min(given.arguments.len());
    given.arguments.drain(..dropped);
    drop(given.arguments.splice(0..0, rule.own.prepend.iter().map(Text::value)));
    if rule.ad_hoc.run {
        given.own = Some(Own { waits: rule.ad_hoc.wait && !bare });
        given.rule = Some(node.clone());
    }
    given.rest = match (rule.rest.ignore, rule.rest.append) {
        (true, _) => Rest::Ignored,
        (_, true) => Rest::Appended,
        _ => Rest::Refused,
    };
}

fn selection_notice(given: &Given, number: usize, words: &str) -> String {
    let what = match (&given.mode, given.own) {
        (_, Some(own)) if own.waits => "an ad-hoc command, after the waits".to_owned(),
        (_, Some(_)) => "an ad-hoc command".to_owned(),
        (Some((mode, _)), None) => format!("the mode {mode}"),
        (None, None) => "the default mode".to_owned(),
    };
    let left = if given.arguments.is_empty() { "none is left".to_owned() } else { format!("`{}` is left", given.shown()) };
    format!("the arguments select {what}, by rule {number} of [[arguments]] ({words}); {left}")
}
