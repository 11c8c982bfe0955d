//! `mode`, `[modes.NAME]` and `[process]`: which process is started, and how it is stopped.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::node::{Entry, Origin};
use crate::config::problem::{Problem, suggest};
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::argv::{Argv, Word};
use crate::plan::process::StartSign;
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::variables::Variables;
use crate::plan::resolve::{DAY, Request, YEAR, condition, target};
use crate::plan::{ProcessPlan, StartedPlan};
use crate::sys;

const MODE: Keys = Keys {
    known: &["command", "groups", "migrate", "started", "variants", "env", "stop_signal", "stop_timeout", "drain_delay"],
    later: &["wait", "checks", "user"],
};
const VARIANT: Keys = Keys { known: &["when", "set", "command"], later: &[] };
const STARTED: Keys = Keys {
    known: &[
        "url",
        "kind",
        "host",
        "port",
        "user",
        "username",
        "password",
        "database",
        "path",
        "tls",
        "ca",
        "client_certificate",
        "client_key",
        "insecure",
        "service",
        "role",
        "free",
        "sslmode",
        "headers",
        "method",
        "expect",
        "bearer",
        "within",
        "timeout",
    ],
    later: &["notify", "interval"],
};
const PROCESS: Keys = Keys {
    known: &["stop_signal", "stop_timeout", "drain_delay"],
    later: &["restart", "user", "stop_on", "signal_scope", "success_codes", "parent_death_signal"],
};

/// What was decided about the process.
pub(super) struct Chosen {
    /// The mode's name, known or not; none when nothing names one.
    pub mode: Option<String>,
    /// The process; none when the mode has none, or when it is wrong.
    pub main: Option<ProcessPlan>,
    /// Whether this mode migrates.
    pub migrates: bool,
    /// Whether the mode says itself that it has no process.
    pub ends_after_migration: bool,
    /// Environment and stop of this mode, for the migration too.
    pub template: Template,
}

/// What all children of a mode share.
#[derive(Clone, Default)]
pub(super) struct Template {
    pub variables: Variables,
    stop_signal: Option<i32>,
    stop_timeout: Option<Duration>,
    drain_delay: Option<Duration>,
}

impl Template {
    /// A process of this mode that runs `argv`.
    pub(super) fn process(&self, argv: Argv, started: Option<StartedPlan>) -> ProcessPlan {
        ProcessPlan {
            env: self.variables.set.clone(),
            env_remove: self.variables.remove.clone(),
            started,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout.unwrap_or(ProcessPlan::STOP_TIMEOUT),
            drain_delay: self.drain_delay.unwrap_or_default(),
            ..ProcessPlan::new(argv)
        }
    }

    /// Takes what `section` says about the stop; an option of the command line stays above it.
    fn read_stop(&mut self, section: &Section<'_>, general: Option<&Section<'_>>) {
        let from_flag = |key| general.and_then(|general| general.origin(key)).is_some_and(|origin| matches!(origin, Origin::Flag(_)));
        let signal = section.text("stop_signal").and_then(|text| {
            let number = signal_number(&text.value());
            if number.is_none() {
                section.problem("stop_signal", format!("is `{}`, not a signal as `TERM` or `15`", text.shown()));
            }
            number
        });
        let stop_timeout = section.duration("stop_timeout", Duration::ZERO..=YEAR);
        let drain_delay = section.duration("drain_delay", Duration::ZERO..=DAY);
        self.stop_signal = signal.filter(|_| !from_flag("stop_signal")).or(self.stop_signal);
        self.stop_timeout = stop_timeout.filter(|_| !from_flag("stop_timeout")).or(self.stop_timeout);
        self.drain_delay = drain_delay.filter(|_| !from_flag("drain_delay")).or(self.drain_delay);
    }
}

/// What Docker and glibc call SIGRTMIN; musl's own is 35, and a container's STOPSIGNAL must not depend on our libc.
const FIRST_REAL_TIME: i32 = 34;

/// The number of `TERM`, `SIGTERM`, `15` or `RTMIN+3`.
fn signal_number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = name.parse::<i32>() {
        return Some(number).filter(|number| (1..=64).contains(number));
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<i32>().ok()? };
        return Some(FIRST_REAL_TIME + offset).filter(|number| *number <= sys::LAST_SIGNAL);
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// Chooses the mode, reads it whole, and looks at the form of all others.
pub(super) fn read(root: &Section<'_>, request: &Request, variables: Variables, bare: bool) -> Chosen {
    let context = root.context();
    let mode = if root.has("mode") {
        root.nonempty("mode").map(|text| text.value())
    } else {
        let found = context.environment.lookup("MODE").map_err(|why| context.problem(Problem::missing(why)));
        found.ok().flatten().map(|found| found.value).filter(|mode| !mode.is_empty())
    };
    let fallback = root.nonempty("mode_fallback").map(|text| text.value());
    let ignore_extra = root.word("extra_args", &[("error", false), ("ignore", true)]).unwrap_or_default();
    let mut template = Template { variables, ..Template::default() };
    let process = root.table("process", Some(PROCESS));
    if let Some(process) = &process {
        template.read_stop(process, None);
    }
    let modes = root.table("modes", None);
    let known: Vec<&Entry> = modes.as_ref().map(|modes| modes.entries().collect()).unwrap_or_default();
    if let (Some(fallback), Some(modes)) = (&fallback, &modes)
        && modes.node(fallback).is_none()
    {
        let names = known.iter().map(|entry| entry.key.as_str());
        root.problem("mode_fallback", format!("names the unknown mode `{fallback}`{}", suggest(fallback, names)));
    }
    if let Some(modes) = &modes {
        for entry in &known {
            Reading { modes, entry, request, bare, depth: Depth::Form }.read(&mut template.clone(), None);
        }
    }
    let mut chosen = Chosen { mode, main: None, migrates: true, ends_after_migration: false, template };
    let (Some(modes), false, false) = (&modes, known.is_empty(), request.exec) else {
        let words = request.arguments.iter().map(Word::plain).collect();
        match Argv::new(words) {
            Some(argv) => chosen.main = Some(chosen.template.process(argv, None)),
            None => context.problem(Problem::missing(
                "no command to run: give it behind the options, as `portcullis run -- COMMAND`, or configure [modes]",
            )),
        }
        return chosen;
    };
    let names = || known.iter().map(|entry| entry.key.as_str());
    let given = chosen.mode.clone().filter(|mode| modes.node(mode).is_some());
    let only = || if let (None, [only]) = (&chosen.mode, known.as_slice()) { Some(only.key.clone()) } else { None };
    let Some(name) = given.or(fallback.filter(|name| modes.node(name).is_some())).or_else(only) else {
        let list = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = match &chosen.mode {
            Some(mode) => format!("unknown mode `{mode}`; known: {list}"),
            None => format!("no mode is given: set MODE or use --mode; known: {list}"),
        };
        context.problem(root.origin("mode").map_or_else(|| Problem::missing(&problem), |origin| Problem::at(origin, &problem)));
        return chosen;
    };
    let Some(entry) = known.iter().find(|entry| entry.key == name) else { return chosen };
    chosen.mode = Some(name);
    let reading = Reading { modes, entry, request, bare, depth: Depth::Whole };
    if let Some(read) = reading.read(&mut chosen.template, process.as_ref()) {
        chosen.migrates = read.migrates;
        chosen.ends_after_migration = read.ends_after_migration;
        chosen.main = read.main;
        if !request.arguments.is_empty() && !read.took_arguments && !ignore_extra {
            let extra = request.arguments.iter().map(|argument| Word::plain(argument).shown().to_owned()).collect::<Vec<_>>().join(" ");
            let problem = format!(
                "mode `{}` takes no arguments and got `{extra}`: use `run --exec -- COMMAND` to run a command of your own, or extra_args = \"ignore\"",
                entry.key
            );
            context.problem(Problem::usage(problem));
        }
    }
    chosen
}

/// One mode under reading.
struct Reading<'s, 'c> {
    modes: &'s Section<'c>,
    entry: &'s Entry,
    request: &'s Request,
    bare: bool,
    depth: Depth,
}

struct Read {
    main: Option<ProcessPlan>,
    migrates: bool,
    ends_after_migration: bool,
    took_arguments: bool,
}

impl Reading<'_, '_> {
    fn read(&self, template: &mut Template, process: Option<&Section<'_>>) -> Option<Read> {
        let context = self.modes.context();
        let path = self.modes.below(&self.entry.key);
        if self.entry.key.is_empty() {
            context.problem(Problem::at(&self.entry.origin, "a mode's name is empty"));
        }
        let section = context.open(&self.entry.node, &path, Some(MODE), self.depth)?;
        template.read_stop(&section, process);
        if let Some(env) = section.table("env", None) {
            template.variables.set_all(&env);
        }
        // A variant is one of the process; the migration before it is the same in all of them.
        let mut of_main = template.clone();
        let command = self.variants(&section, &mut of_main).or_else(|| section.node("command").cloned());
        let mut builder = Builder {
            context,
            arguments: &self.request.arguments,
            groups: section.table_at("groups", None, self.depth),
            words: Vec::new(),
            took_arguments: false,
        };
        let understood = command.as_ref().is_some_and(|command| builder.command(command, &path, self.depth));
        if command.is_none() {
            section.problem("command", "is missing; `[]` says that the mode ends after the migration");
        }
        let ends_after_migration = command.and_then(|command| context.list_quietly(&command)).is_some_and(|items| items.is_empty());
        let started = self.started(&section);
        let argv = Argv::new(builder.words);
        if self.depth == Depth::Whole && argv.as_ref().is_some_and(|argv| argv.program().is_empty()) {
            section.problem("command", "begins with an empty word, which names no program");
        }
        if ends_after_migration && section.has("started") {
            section.problem("started", "means nothing to a mode without a command");
        }
        let migrates = section.text("migrate").is_none_or(|text| match text.value().as_str() {
            "run" => true,
            "off" => false,
            "wait" => {
                section.problem("migrate", "is `wait`, which is not supported yet; there are `run` and `off`");
                true
            }
            _ => {
                section.problem("migrate", format!("is `{}`; one of `run`, `off` is wanted", text.shown()));
                true
            }
        });
        if argv.is_none() && !ends_after_migration && understood && self.depth == Depth::Whole {
            section.problem("command", "has no word left after interpolation");
        }
        Some(Read {
            main: argv.map(|argv| of_main.process(argv, started)),
            migrates,
            ends_after_migration,
            took_arguments: builder.took_arguments,
        })
    }

    /// Applies the first variant whose `when` holds; its command when it has one.
    fn variants(&self, section: &Section<'_>, template: &mut Template) -> Option<crate::config::node::Node> {
        let context = self.modes.context();
        let path = format!("{}.variants", section.path());
        let mut command = None;
        let mut found = false;
        for node in section.list("variants").unwrap_or_default() {
            let Some(form) = context.open(&node, &path, Some(VARIANT), Depth::Form) else { continue };
            if !form.has("when") {
                form.problem("when", "is missing: it says in which case the variant is taken");
            }
            let holds = condition::holds(context, form.node("when"), &path, self.depth) && self.depth == Depth::Whole && !found;
            let Some(variant) = context.open(&node, &path, Some(VARIANT), if holds { self.depth } else { Depth::Form }) else { continue };
            let mut ignored = Variables::default();
            if let Some(set) = variant.table("set", None) {
                if holds { &mut template.variables } else { &mut ignored }.set_all(&set);
            }
            if holds {
                found = true;
                command = variant.node("command").cloned();
            }
        }
        command
    }

    fn started(&self, section: &Section<'_>) -> Option<StartedPlan> {
        let started = section.table_at("started", Some(STARTED), if self.bare { Depth::Form } else { self.depth })?;
        let within = started.duration("within", Duration::from_millis(100)..=YEAR);
        let timeout = started.duration("timeout", Duration::from_millis(10)..=Duration::from_secs(600));
        let target = target::read(&started)?;
        let sign = StartSign::Answers { target: Box::new(target), timeout: timeout.unwrap_or(Duration::from_secs(2)) };
        Some(StartedPlan { sign, within: within.unwrap_or(Duration::from_secs(120)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_in_each_usual_way() {
        for (text, number) in [("TERM", 15), ("sigterm", 15), ("15", 15), ("QUIT", 3), ("64", 64), ("WINCH", 28)] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        assert_eq!(signal_number("RTMIN+3"), Some(37));
        for text in ["", "0", "65", "TERMS", "RTMIN+99", "RTMINx"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
