//! `mode`, `[modes.NAME]` and `[process]`: which process is started, and how it is stopped.

mod own;
mod variant;

use std::time::Duration;

use crate::config::configuration::Configuration;
use crate::config::interpolate::Text;
use crate::config::mode::{Migrate, Mode};
use crate::config::node::Entry;
use crate::config::origin::Origin;
use crate::config::problem::{Problem, nearest, suggest};
use crate::config::process::{MainKeys, ProcessKeys};
use crate::config::reader::{Depth, Section, keys_of};
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::arguments::{Given, Rest};
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::process::{General, Predecessors, Template};
use crate::plan::resolve::variables::VariableChanges;
use crate::plan::resolve::{checks, started};
use crate::plan::{CheckPlan, ProcessPlan, StartRefusal, StartedPlan};

/// The decisions about the process.
pub(super) struct Chosen<'c> {
    /// The mode's name, known or not; none if nothing names one.
    pub mode: Option<String>,
    /// The process; none if the mode has none, or if it has errors.
    pub main: Option<ProcessPlan>,
    /// Whether this mode migrates.
    pub migrates: bool,
    /// Whether it only waits until another replica has migrated.
    pub waits: bool,
    /// Whether the mode declares that it has no process.
    pub ends_after_migration: bool,
    /// Why there is no process, if that is an error.
    pub refusal: Option<StartRefusal>,
    /// The checks of this mode only.
    pub checks: Vec<CheckPlan>,
    /// Environment and stop settings of this mode, also for the migration.
    pub template: Template,
    /// The settings of every process, for modules.
    pub general: General<'c>,
    /// The known grace period of the orchestrator.
    pub grace: Option<Duration>,
}

/// Selects the mode, reads it completely, and checks the form of all others. `looks` is whether checks are probed at all.
pub(super) fn read<'c>(
    root: &Section<'c>,
    configuration: &Configuration,
    given: &Given,
    variables: VariableChanges,
    looks: bool,
) -> Chosen<'c> {
    let (context, own) = (root.context(), given.own);
    let (mode, is_known) = if root.has("mode") {
        (configuration.mode.0.as_ref().map(Text::value), !root.is_broken("mode"))
    } else {
        let found = context.environment.lookup("MODE");
        let found = found.map_err(|why| context.problem(Problem::at(&Origin::Variable("MODE".into()), why)));
        let is_known = found.is_ok();
        (found.ok().flatten().map(|found| found.value).filter(|mode| !mode.is_empty()), is_known)
    };
    let fallback = configuration.mode_fallback.0.as_ref().map(Text::value);
    let (general, template, process) = General::read(root, variables);
    let modes = root.table("modes");
    let known: Vec<&Entry> = modes.as_ref().map(|modes| modes.entries().collect()).unwrap_or_default();
    if let (Some(fallback), Some(modes)) = (&fallback, &modes)
        && modes.node(fallback).is_none()
    {
        let names = known.iter().map(|entry| entry.key.as_str());
        root.problem("mode_fallback", format!("names the unknown mode `{fallback}`{}", suggest(fallback, names)));
    }
    if let Some(modes) = &modes {
        for entry in &known {
            Reading { modes, entry, given, looks, depth: Depth::Syntax, general: &general }.read();
        }
    }
    let mut chosen = Chosen {
        mode,
        main: None,
        migrates: true,
        waits: false,
        ends_after_migration: false,
        refusal: None,
        checks: Vec::new(),
        template,
        general: general.clone(),
        grace: process.orchestrator.grace_period.map(|grace| grace.0),
    };
    let Some(modes) = modes.as_ref().filter(|_| !known.is_empty()) else {
        if own.is_some() {
            (chosen.migrates, chosen.waits) = (false, false);
            chosen.template.is_own_command();
        }
        chosen.main = own::process(context, &mut chosen.template, given);
        return chosen;
    };
    let names = || known.iter().map(|entry| entry.key.as_str());
    let known_mode = chosen.mode.clone().filter(|mode| modes.node(mode).is_some());
    let only = || if let (None, [only]) = (&chosen.mode, known.as_slice()) { Some(only.key.clone()) } else { None };
    let name = known_mode.or(fallback.filter(|name| modes.node(name).is_some())).or_else(only);
    if own.is_some() {
        if let (None, Some(mode)) = (&name, &chosen.mode) {
            // A shell is needed most when something is wrong.
            context.notice(format!(
                "unknown mode `{mode}`: the command gets the settings of [process] and [env], and no user or variables of a mode"
            ));
        }
        if let Some(entry) = known.iter().find(|entry| Some(&entry.key) == name.as_ref()) {
            let reading = Reading { modes, entry, given, looks, depth: Depth::Whole, general: &general };
            if let Some((template, checks)) = reading.around_the_command() {
                (chosen.template, chosen.checks) = (template, checks);
            }
        }
        (chosen.mode, chosen.migrates) = (name, false);
        chosen.template.is_own_command();
        chosen.main = own::process(context, &mut chosen.template, given);
        return chosen;
    }
    let Some(name) = name else {
        let list = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = match &chosen.mode {
            Some(mode) => match nearest(mode, names()) {
                Some(near) => format!("unknown mode `{mode}`; did you mean `{near}`? known: {list}"),
                None => format!("unknown mode `{mode}`; known: {list}"),
            },
            None => format!("no mode is given: set MODE or use --mode; known: {list}"),
        };
        // A mode that cannot be read is not missing.
        if is_known && context.is_complete() {
            let by_variable = || Problem::at(&Origin::Variable("MODE".into()), &problem);
            let by_nobody = || if chosen.mode.is_some() { by_variable() } else { Problem::missing(&problem) };
            context.problem(root.origin("mode").map_or_else(by_nobody, |origin| Problem::at(origin, &problem)));
        }
        // No message about a name that comes from it.
        chosen.mode = None;
        return chosen;
    };
    let Some(entry) = known.iter().find(|entry| entry.key == name) else { return chosen };
    chosen.mode = Some(name);
    let reading = Reading { modes, entry, given, looks, depth: Depth::Whole, general: &general };
    if let Some(read) = reading.read() {
        chosen.template = read.template;
        (chosen.migrates, chosen.waits) = (read.migrate != Migrate::Off, read.migrate == Migrate::Wait);
        chosen.ends_after_migration = read.ends_after_migration;
        (chosen.main, chosen.refusal, chosen.checks) = (read.main, read.refusal, read.checks);
        if !given.arguments.is_empty() && !read.took_arguments && given.rest != Rest::Ignored {
            let problem = format!(
                "mode `{}` takes no arguments and got `{}`: remove the image's CMD, because the mode has the command; or use `run --exec -- COMMAND` to run a command of your own, or handle them by a rule in [[arguments]]",
                entry.key,
                given.shown()
            );
            context.problem(Problem::usage(problem));
        }
    }
    chosen
}

/// One mode that is being read.
struct Reading<'s, 'c> {
    modes: &'s Section<'c>,
    entry: &'s Entry,
    given: &'s Given,
    looks: bool,
    depth: Depth,
    general: &'s General<'c>,
}

struct Read {
    template: Template,
    main: Option<ProcessPlan>,
    refusal: Option<StartRefusal>,
    checks: Vec<CheckPlan>,
    migrate: Migrate,
    ends_after_migration: bool,
    took_arguments: bool,
}

impl<'c> Reading<'_, 'c> {
    /// The mode merged over the settings of every process.
    fn open(&self) -> Option<(Section<'c>, Template, Migrate)> {
        let (context, path) = (self.modes.context(), self.modes.below(&self.entry.key));
        let keys = [keys_of::<ProcessKeys>(), keys_of::<MainKeys>()].concat();
        let node = if self.depth == Depth::Whole { self.general.below(&self.entry.node, &keys, true) } else { self.entry.node.clone() };
        let mut section = context.open(&node, &path, self.depth)?;
        let mode: Mode = section.declared();
        section.note(&mode);
        let Mode { own, process, main } = mode;
        let mut template = Template::of(Some(&mut section), process, main, self.general.variables.clone());
        template.after = Predecessors::read(&section);
        template.variables.set_all(section.table("env"));
        Some((section, template, own.migrate))
    }

    /// The environment of an ad-hoc command in this mode, and its checks; the mode's own command is not read.
    fn around_the_command(&self) -> Option<(Template, Vec<CheckPlan>)> {
        let (section, mut template, _) = self.open()?;
        self.variant(&section, &mut template);
        Some((template, checks::read(&section, if self.looks { self.depth } else { Depth::Syntax })))
    }

    fn read(&self) -> Option<Read> {
        let context = self.modes.context();
        if self.entry.key.is_empty() {
            context.problem(Problem::at(&self.entry.origin, "a mode's name is empty"));
        }
        let (section, template, migrate) = self.open()?;
        // Variants concern only the process; the migration is the same in all of them.
        let mut of_main = template.clone();
        let (variant, refusal) = self.variant(&section, &mut of_main).unzip();
        let refusal = refusal.flatten();
        let own = |key| variant.as_ref().filter(|variant: &&Section<'_>| variant.has(key)).unwrap_or(&section);
        let command = own("command").node("command").filter(|_| refusal.is_none()).cloned();
        let mut builder = Builder {
            context,
            arguments: &self.given.arguments,
            groups: section.table_at("groups", self.depth),
            words: Vec::new(),
            took_arguments: false,
        };
        let understood = command.as_ref().is_some_and(|command| builder.command(command, section.path(), self.depth));
        if command.is_none() && refusal.is_none() {
            section.problem("command", "is missing; write `[]` if the mode ends after the migration");
        }
        if self.given.rest == Rest::Appended && self.depth == Depth::Whole && !builder.took_arguments && !builder.words.is_empty() {
            builder.words.extend(self.given.arguments.iter().map(Word::plain));
            builder.took_arguments = true;
        }
        let no_words = command.and_then(|command| context.list_quietly(&command)).is_some_and(|items| items.is_empty());
        let ends_after_migration = no_words || refusal.is_some();
        let started = self.started(own("started"));
        let argv = Argv::new(builder.words);
        if self.depth == Depth::Whole && argv.as_ref().is_some_and(|argv| argv.program().is_empty()) {
            section.problem("command", "begins with an empty word, which is not a program");
        }
        if no_words && section.has("started") {
            section.problem("started", "has no effect in a mode without a command");
        }
        if argv.is_none() && !ends_after_migration && understood && self.depth == Depth::Whole {
            section.problem("command", "has no word left after interpolation");
        }
        Some(Read {
            template,
            main: argv.and_then(|argv| of_main.process(argv, started)),
            refusal,
            checks: checks::read(&section, if self.looks { self.depth } else { Depth::Syntax }),
            migrate,
            ends_after_migration,
            took_arguments: builder.took_arguments,
        })
    }

    fn started(&self, section: &Section<'_>) -> Option<StartedPlan> {
        started::read(section, if self.looks { section.depth() } else { Depth::Syntax })
    }
}
