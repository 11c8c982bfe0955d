//! `[[steps]]`: the commands of a start, in the order in which they run.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::interpolate::Text;
use crate::config::migration::{MigrationKeys, OnLockLost};
use crate::config::node::{Node, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::Environment;
use crate::config::step::{OnFailure, StepAt, StepSection};
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::argv::command;
use crate::plan::resolve::around::is_for_mode;
use crate::plan::resolve::condition;
use crate::plan::resolve::items::{self, Item};
use crate::plan::resolve::migrations::Locks;
use crate::plan::resolve::process::Template;
use crate::plan::step::HooksPlan;
use crate::plan::{CheckPlan, ConditionPlan, HoldPlan, LockPlan, MigrationPlan, ProcessPlan, StepAction, StepPlan};

/// The run that the steps are read for.
pub(super) struct Steps<'a, 'c> {
    pub root: &'a Section<'c>,
    /// The environment of a command of this mode.
    pub template: &'a Template,
    pub mode: Option<&'a str>,
    /// Whether the process is an ad-hoc command.
    pub own_command: bool,
    /// Whether locks are taken.
    pub locks: bool,
    pub checks: &'a [CheckPlan],
    pub migration: Option<&'a MigrationPlan>,
}

/// The key that decides whether a step is run beside an ad-hoc command.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Scope {
    own: bool,
}

/// One step of the configuration.
struct Found {
    plan: StepPlan,
    lock: Option<HoldPlan>,
}

impl Steps<'_, '_> {
    /// All steps of this run, in the order in which they run, at each point files before commands; and the lock of steps if the migration has none.
    pub(super) fn read(&self, files: Vec<StepPlan>) -> (Vec<StepPlan>, Option<HoldPlan>) {
        let (mut plans, mut hold) = (files, None);
        for (index, node) in self.root.list("steps").unwrap_or_default().iter().enumerate() {
            let path = format!("steps.{}", index + 1);
            let Some(Found { mut plan, lock }) = self.step(node, &path) else { continue };
            if let Some(lock) = lock {
                self.take(&path, node, lock, &mut hold);
            }
            let taken = |name: &str| plans.iter().any(|other| other.name == name);
            if taken(&plan.name) {
                let numbered = (2..=plans.len() + 1).map(|number| format!("{} {number}", plan.name)).find(|name| !taken(name));
                plan.name = numbered.unwrap_or_default();
            }
            plans.push(plan);
        }
        plans.sort_by_key(|step| step.at);
        (plans, hold)
    }

    /// A start has only one lock: two locks could be taken in different orders and deadlock.
    fn take(&self, path: &str, node: &Node, lock: HoldPlan, hold: &mut Option<HoldPlan>) {
        let of_migration = self.migration.filter(|migration| !migration.waits && migration.lock != LockPlan::None);
        let differs = hold.as_ref().is_some_and(|hold| hold.lock != lock.lock);
        if differs || of_migration.is_some_and(|migration| migration.lock != lock.lock) {
            let problem = format!("`lock` in [{path}] differs from that of [migrations] or of another step; a start has only one lock");
            self.root.context().problem(Problem::at(&node.origin, problem));
        } else if of_migration.is_none() {
            hold.get_or_insert(lock);
        }
    }

    fn step(&self, node: &Node, path: &str) -> Option<Found> {
        let (context, depth) = (self.root.context(), self.root.depth());
        let form = context.open(node, path, Depth::Syntax)?;
        let when = form.node("when");
        let by_item = form.has("each") && when.is_some_and(names_item);
        let deferred = |context: &Context<'_>, depth| condition::deferred(context, when, path, depth, &|argv| self.template.aside(argv));
        let condition = if by_item { ConditionPlan::Always } else { deferred(context, depth) };
        let whole = context.open(node, path, depth)?;
        let is_used = is_for_mode(&whole, self.root, self.mode) && condition.constant() != Some(false);
        let items = || items::read(&whole, "each", if is_used { depth } else { Depth::Syntax }).into_iter().map(Some).collect();
        let items = if form.has("each") { items() } else { vec![None] };
        let scratch = context.of_part(context.environment);
        let own = || scratch.open(node, path, Depth::Syntax).is_some_and(|mut section| section.part::<Scope>().own);
        let is_used = is_used && (!self.own_command || own());
        let depth = if is_used && !items.is_empty() { depth } else { Depth::Syntax };
        let mut found: Option<Found> = None;
        let none_at_all = [None];
        for (number, item) in if items.is_empty() { none_at_all.iter() } else { items.iter() }.enumerate() {
            let environment = item_environment(context.environment, item.as_ref(), number + 1);
            // Each item is read separately; an error in all of them is reported once.
            let of_item = context.of_part(&environment);
            let condition = if by_item { deferred(&of_item, depth) } else { ConditionPlan::Always };
            let holds = condition.constant() != Some(false);
            let read = self.item(&of_item, node, path, if holds { depth } else { Depth::Syntax });
            context.absorb_part(number, of_item);
            let Some(mut read) = read else { continue };
            if let StepAction::Commands(commands) = &mut read.plan.action {
                for command in commands.iter_mut() {
                    command.condition = condition.clone();
                }
                commands.retain(|_| holds);
                if item.is_some() {
                    // The item is checked, not the step.
                    let check = read.plan.check.take();
                    for command in commands.iter_mut() {
                        command.check.clone_from(&check);
                    }
                }
            }
            match &mut found {
                Some(found) => {
                    if let (StepAction::Commands(commands), StepAction::Commands(more)) = (&mut found.plan.action, read.plan.action) {
                        commands.extend(more);
                    }
                }
                None => found = Some(read),
            }
        }
        // A step for no item has nothing to do.
        let found = found.filter(|found| {
            is_used && !items.is_empty() && !matches!(&found.plan.action, StepAction::Commands(commands) if commands.is_empty())
        })?;
        Some(Found { plan: StepPlan { condition, ..found.plan }, ..found })
    }

    /// The step, with one command for one item of its `each`; its keys see its variables.
    fn item(&self, context: &Context<'_>, node: &Node, path: &str, depth: Depth) -> Option<Found> {
        let mut variables = self.template.variables.clone();
        let environment = variables.set_all(context.open(node, path, depth)?.table("env"));
        let inner = context.of_part(environment.as_ref().unwrap_or(context.environment));
        let found = self.in_its_environment(&inner, node, path, depth, &self.template.with(variables));
        context.absorb(inner);
        found
    }

    fn in_its_environment(&self, context: &Context<'_>, node: &Node, path: &str, depth: Depth, template: &Template) -> Option<Found> {
        let mut section = context.open(node, path, depth)?;
        let StepSection { own, around } = section.declared();
        if own.at == StepAt::Files {
            section.problem("at", "is `files`, which is for [[files]]; a step has `first`, `ready`, `migrated` or `up`");
        }
        let template = template.around(&mut section, &around);
        let check = command(&section, "check", depth).and_then(|argv| of_step(&template, argv)).map(Box::new);
        let directory = own.directory.value();
        let names = [section.has("command"), section.has("directory")];
        match names {
            [false, false] => section.problem("command", "is missing; a step has a `command` or a `directory`"),
            [true, true] => section.problem("directory", "excludes `command`; a step has only one of them"),
            _ => {}
        }
        for key in ["pattern", "order", "interpreter", "descend"].into_iter().filter(|key| names == [true, false] && section.has(key)) {
            section.problem(key, "applies to the programs of a `directory`, and this step has a `command`");
        }
        if names[1] && section.has("each") {
            section.problem("each", "repeats a `command`, and this step has a `directory`");
        }
        let argv = command(&section, "command", depth).filter(|argv| !argv.program().is_empty());
        let interpreters = interpreters(&section, depth);
        let action = match (argv, directory) {
            (Some(argv), None) => {
                let mut process = of_step(&template, argv)?;
                process.command.attributes.input = own.input.0.as_ref().map(Word::of);
                StepAction::Commands(vec![process.into()])
            }
            (None, Some(directory)) => {
                let mut process = of_step(&template, Argv::new(vec![Word::plain("hook")])?)?;
                process.command.attributes.input = own.input.0.as_ref().map(Word::of);
                let pattern = own.pattern.value();
                let (order, descend) = (own.order, own.descend);
                StepAction::Hooks(Box::new(HooksPlan { directory: directory.into(), pattern, order, interpreters, descend, process }))
            }
            _ if depth == Depth::Syntax => StepAction::Commands(Vec::new()),
            _ => return None,
        };
        let lock = own.lock.value().filter(|lock| lock != "none");
        if lock.is_some() && own.at <= StepAt::First {
            section.problem("lock", "is not possible before the dependencies are ready; use `at = \"ready\"` or later");
            return None;
        }
        let lock = lock.filter(|_| self.locks && depth == Depth::Whole).and_then(|_| self.hold(&section, own.lock.0.clone()));
        let name = own.name.value().unwrap_or_else(|| default_name(&action));
        let plan = StepPlan {
            check,
            locked: lock.is_some(),
            timeout: own.timeout.0,
            retries: own.retries.to().unwrap_or_default(),
            retry_delay: own.retry_delay.0,
            success_codes: own.success_codes.iter().filter_map(|code| code.to()).collect(),
            on_failure: own.on_failure.unwrap_or(OnFailure::default_at(own.at)),
            ..StepPlan::new(&name, own.at, action)
        };
        Some(Found { plan, lock })
    }

    /// The lock that a step names, with the name and the timeout of `[migrations]`.
    fn hold(&self, section: &Section<'_>, lock: Option<Text>) -> Option<HoldPlan> {
        // Errors there are reported where it is read.
        let context = self.root.context().of_part(self.root.context().environment);
        let keys = self.root.node("migrations").and_then(|node| context.open(node, "migrations", Depth::Whole));
        let keys = MigrationKeys { lock, ..keys.map(|mut section| section.part::<MigrationKeys>()).unwrap_or_default() };
        let locks = Locks { section, declared: &keys, checks: self.checks };
        Some(HoldPlan {
            lock: locks.lock()?,
            second: locks.second(),
            lock_timeout: keys.lock_timeout.0,
            unlocked: keys.on_lock_lost == OnLockLost::Continue,
            orphans: keys.orphans,
        })
    }
}

/// A command of a step: with empty standard input, and killed if portcullis dies.
fn of_step(template: &Template, argv: Argv) -> Option<ProcessPlan> {
    template.process(argv, None).map(ProcessPlan::aside)
}

fn default_name(action: &StepAction) -> String {
    match action {
        StepAction::Commands(commands) => {
            let program = commands.first().and_then(|command| command.process.command.argv.words().first()).map_or("step", Word::shown);
            program.rsplit('/').find(|part| !part.is_empty()).unwrap_or("step").to_owned()
        }
        StepAction::Hooks(hooks) => hooks.directory.display().to_string(),
        StepAction::File(file) => file.path.display().to_string(),
    }
}

fn interpreters(section: &Section<'_>, depth: Depth) -> BTreeMap<String, Argv> {
    let Some(table) = section.table("interpreter") else { return BTreeMap::new() };
    let keys: Vec<String> = table.entries().map(|entry| entry.key.clone()).collect();
    keys.into_iter().filter_map(|key| command(&table, &key, depth).map(|argv| (key, argv))).collect()
}

/// Whether a condition refers to the item of the step's `each`.
fn names_item(node: &Node) -> bool {
    match &node.value {
        Value::String(text) => text.contains("${@each") || text.contains("${@index"),
        Value::List(nodes) => nodes.iter().any(names_item),
        Value::Table(table) => table.iter().any(|entry| names_item(&entry.node)),
        _ => false,
    }
}

fn item_environment(environment: &Environment, item: Option<&Item>, number: usize) -> Environment {
    item.map_or_else(|| environment.clone(), |(value, is_secret)| environment.of_item(value.as_str(), *is_secret, number))
}
