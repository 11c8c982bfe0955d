//! `[[files]]`: each entry as a step of the start.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::config::accounts::Accounts;
use crate::config::file::{File, FileAccess, Replace, What};
use crate::config::interpolate::Text;
use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::Environment;
use crate::config::step::{OnFailure, StepAt};
use crate::config::substitute;
use crate::config::values::Maybe;
use crate::plan::file::{FileAction, FilePlan, FileText, Owner, Replacement, Values};
use crate::plan::resolve::condition;
use crate::plan::resolve::process::Template;
use crate::plan::step::{StepAction, StepPlan};

/// The keys of the action; at most one is allowed.
const ACTIONS: [&str; 6] = ["template", "content", "copy", "directory", "link", "remove"];

/// The keys that decide whether a file is applied in this run.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Scope {
    modes: Option<Vec<Text>>,
    own: bool,
}

/// All files of this run, in the order of the configuration; `mode` is the started mode, `own_command` whether it is an ad-hoc command.
pub(super) fn read(root: &Section<'_>, mode: Option<&str>, own_command: bool, template: &Template) -> Vec<StepPlan> {
    let context = root.context();
    let Some(nodes) = root.list("files") else { return Vec::new() };
    let values = Values(Arc::new(placed(context.environment)));
    let known = root.table("modes");
    let mut steps: Vec<StepPlan> = Vec::new();
    for node in &nodes {
        let wanted = wanted(context, node, mode, own_command, known.as_ref());
        let depth = if wanted { root.depth() } else { Depth::Syntax };
        let when = if let Value::Table(table) = &node.value { table.get("when").map(|entry| &entry.node) } else { None };
        let condition = condition::deferred(context, when, "files", depth, &|argv| template.aside(argv));
        let never = condition.constant() == Some(false);
        let Some(section) = context.open(node, "files", if never { Depth::Syntax } else { depth }) else { continue };
        let Some((file, at, on_failure)) = (Reading { section, values: &values, template }).read() else { continue };
        if wanted && !never {
            let name = file.path.display().to_string();
            // Two entries may change the same file.
            let count = steps.iter().filter(|step| matches!(&step.action, StepAction::File(other) if other.path == file.path)).count();
            let name = if count == 0 { name } else { format!("{name} ({})", count + 1) };
            steps.push(StepPlan { condition, on_failure, ..StepPlan::new(&name, at, StepAction::File(Box::new(file))) });
        }
    }
    steps
}

/// The environment for later, after the change of the working directory.
fn placed(environment: &Environment) -> Environment {
    let here = environment.place("");
    let here = if here.as_os_str().is_empty() { std::env::current_dir().unwrap_or_else(|_| "/".into()) } else { here };
    environment.clone().at(here)
}

/// Whether a file is applied in this run, by its `modes` and `own`.
fn wanted<'c>(context: &'c Context<'c>, node: &Node, mode: Option<&str>, own_command: bool, known: Option<&Section<'_>>) -> bool {
    let Some(mut section) = context.open(node, "files", Depth::Whole) else { return false };
    let Scope { modes, own } = section.part();
    let named: Option<Vec<String>> = modes.map(|modes| modes.iter().map(Text::value).collect());
    for name in named.iter().flatten() {
        if let Some(known) = known.filter(|known| !known.has(name)) {
            let near = crate::config::problem::suggest(name, known.entries().map(|entry| entry.key.as_str()).collect::<Vec<_>>());
            section.problem("modes", format!("names the unknown mode `{name}`{near}"));
        }
    }
    (own || !own_command) && named.is_none_or(|named| mode.is_some_and(|mode| named.iter().any(|name| name == mode)))
}

/// One file that is being read.
struct Reading<'s, 'c> {
    section: Section<'c>,
    values: &'s Values,
    template: &'s Template,
}

impl Reading<'_, '_> {
    fn read(mut self) -> Option<(FilePlan, StepAt, OnFailure)> {
        let File { what, access, turn } = self.section.declared();
        let section = &self.section;
        let is_whole = section.depth() == Depth::Whole;
        if !section.has("path") {
            section.problem("path", "is missing: it is the path of the file");
        }
        let replace = self.replacements();
        self.fit(&what, &access);
        let action = self.action(&what, replace);
        let owner = access.owner.value().filter(|_| is_whole).and_then(|owner| {
            let found = Accounts::read().owner(&owner).map_err(|why| section.problem("owner", why)).ok();
            found.map(|(uid, gid)| Owner { uid, gid })
        });
        let path = self.place("path", &what.path)?;
        if !is_whole {
            return None;
        }
        let at = turn.at.unwrap_or(StepAt::Files);
        let file = FilePlan {
            path,
            action: action?,
            owner,
            mode: access.mode,
            recursive: access.recursive,
            keep: access.keep,
            secret: access.secret,
            reader: self.template.user().map(|user| Owner { uid: Some(user.uid), gid: Some(user.gid) }),
        };
        Some((file, at, turn.on_failure.unwrap_or_else(|| OnFailure::default_at(at))))
    }

    /// An absolute path without `..`.
    fn place(&self, key: &str, text: &Maybe<Text>) -> Option<PathBuf> {
        let Some(text) = text.value() else {
            if self.section.has(key) && !self.section.is_broken(key) && self.section.depth() == Depth::Whole {
                self.section.problem(key, "is empty; expected a path");
            }
            return None;
        };
        let path = self.values.0.place(&text);
        if text.contains('\0') || key != "link" && path.components().any(|part| part == Component::ParentDir) {
            self.section.problem(key, format!("is `{text}`; expected a path without `..`"));
            return None;
        }
        Some(path.components().collect())
    }

    /// Which keys go with which action.
    fn fit(&self, what: &What, access: &FileAccess) {
        let section = &self.section;
        let written: Vec<&str> = ACTIONS.into_iter().filter(|key| section.has(key)).collect();
        let [action, other @ ..] = written.as_slice() else {
            if !["replace", "mode", "owner"].into_iter().any(|key| section.has(key)) && section.has("path") {
                let known = ACTIONS.join("`, `");
                section.problem(
                    "path",
                    format!("is not enough; say what to do with the file: one of `{known}`, or `mode`, `owner` or `replace`"),
                );
            }
            let none = ["variables", "unset_variables", "append", "delete", "exclude", "keep", "secret"];
            let none = none.into_iter().filter(|key| *key != "secret" || !section.has("replace"));
            return self.only(&none.collect::<Vec<_>>(), "an existing file", "");
        };
        if let Some(other) = other.first() {
            section.problem(other, format!("excludes `{action}`; a file has only one of them"));
        }
        for key in ["directory", "remove"] {
            if section.origin(key).is_some() && [("directory", what.directory), ("remove", what.remove)].contains(&(key, Some(false))) {
                section.problem(key, "is `false`, which has no effect; remove it");
            }
        }
        match *action {
            "template" => {
                self.only(&["delete", "exclude", "recursive"], "a text", action);
                if section.has("variables") {
                    self.only(&["unset_variables"], "listed variables, which become empty", "variables");
                }
            }
            "content" => self.only(&["unset_variables", "delete", "exclude", "recursive"], "a text", action),
            "copy" => self.only(&["variables", "unset_variables", "append"], "a copy", action),
            "directory" => {
                let none = ["variables", "unset_variables", "append", "replace", "delete", "exclude", "secret"];
                self.only(&none, "a directory", action);
            }
            "link" => {
                let none = ["variables", "unset_variables", "append", "replace", "delete", "exclude", "secret", "mode", "recursive"];
                self.only(&none, "a link", action);
            }
            _ => {
                let none = [
                    "variables",
                    "unset_variables",
                    "append",
                    "replace",
                    "delete",
                    "exclude",
                    "secret",
                    "mode",
                    "owner",
                    "recursive",
                    "keep",
                ];
                self.only(&none, "what is removed", action);
                if what.path.value().is_some_and(|path| self.values.0.place(path).components().count() < 2) {
                    section.problem("path", "is the root directory, which cannot be removed");
                }
            }
        }
        if access.recursive && access.mode.is_none() && !section.has("owner") && !section.is_broken("mode") {
            section.problem("recursive", "applies to `owner` and `mode`, and neither is set");
        }
    }

    fn only(&self, keys: &[&str], of: &str, action: &str) {
        let beside = if action.is_empty() { String::new() } else { format!(" (`{action}`)") };
        for key in keys.iter().filter(|key| self.section.has(key)) {
            self.section.problem(key, format!("means nothing for {of}{beside}"));
        }
    }

    fn action(&self, what: &What, replace: Vec<Replacement>) -> Option<FileAction> {
        let section = &self.section;
        let texts = |texts: &[Text]| texts.iter().map(Text::value).collect::<Vec<_>>();
        let variables = what.variables.as_deref().map(texts);
        if let Some(wrong) = variables.iter().flatten().find(|name| name.is_empty() || name.contains(['$', '{', '}', ' '])) {
            section.problem("variables", format!("has `{wrong}`; expected names of variables such as `[\"DB_HOST\"]`"));
        }
        let append = what.append;
        if section.has("template") {
            let from = self.place("template", &what.template)?;
            let text = FileText::Template { from, variables, unset: what.unset_variables, values: self.values.clone() };
            return Some(FileAction::Write { text, append, replace });
        }
        if section.has("content") {
            let text = FileText::Content(self.content(variables)?);
            return Some(FileAction::Write { text, append, replace });
        }
        if section.has("copy") {
            let from = self.place("copy", &what.copy)?;
            if let Some(path) = what.path.value().map(|path| self.values.0.place(path)).filter(|path| what.delete && from.starts_with(path))
            {
                section.problem("delete", format!("would delete the source: {} lies in {}", from.display(), path.display()));
            }
            return Some(FileAction::Copy { from, delete: what.delete, exclude: texts(&what.exclude), replace });
        }
        if section.has("link") {
            return self.place("link", &what.link).and(what.link.value()).map(|target| FileAction::Link(target.into()));
        }
        if section.has("directory") {
            return Some(FileAction::Directory);
        }
        Some(if section.has("remove") { FileAction::Remove } else { FileAction::Change(replace) })
    }

    /// The text of the configuration; if variables are listed, only those are replaced in it.
    fn content(&self, variables: Option<Vec<String>>) -> Option<Text> {
        let (section, context) = (&self.section, self.section.context());
        let node = section.node("content")?;
        let (Some(names), Value::String(text)) = (variables, &node.value) else {
            return context.text(node, &section.what("content"), section.depth());
        };
        if section.depth() == Depth::Syntax {
            return None;
        }
        substitute::listed(text, &names, context.environment).map_err(|why| section.problem("content", format!("has {why}"))).ok()
    }

    fn replacements(&self) -> Vec<Replacement> {
        let (section, context) = (&self.section, self.section.context());
        let read = |node: &Node| {
            let mut one = context.open(node, "files.replace", section.depth())?;
            let Replace { from, to, optional } = one.declared();
            let from = from.value();
            if from.is_none() && !one.is_broken("from") && one.depth() == Depth::Whole {
                context.problem(Problem::at(&node.origin, "[files.replace] needs `from`, the text to replace"));
            }
            Some(Replacement { from: from?, to, optional })
        };
        section.list("replace").unwrap_or_default().iter().filter_map(read).collect()
    }
}
