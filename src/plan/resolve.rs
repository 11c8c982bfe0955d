//! Turns the configuration into the plan of one run, or into the list of its errors.

mod arguments;
mod argv;
mod around;
mod bare;
mod checks;
mod coherence;
mod condition;
mod dify;
mod files;
mod given;
mod health;
mod heartbeat;
mod items;
mod migrations;
mod modes;
mod modules;
mod own;
mod process;
mod started;
mod steps;
mod target;
mod target_url;
mod url_targets;
mod variables;

use std::path::PathBuf;

use crate::config::configuration::Configuration;
use crate::config::effective::Effective;
use crate::config::interpolate::{Text, looks_secret};
use crate::config::layers::{self, Layers, Override};
use crate::config::node::Table;
use crate::config::problem::{Problem, Problems};
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::Environment;
use crate::plan::process::StartSign;
use crate::plan::resolve::modules::{Modules, Wanted};
use crate::plan::resolve::variables::VariableChanges;
use crate::plan::target::Target;
use crate::plan::{Plan, Retired, Service};

use arguments::Given;
use coherence::{advise, names};
use own::{Own, flag, own_command};

pub use crate::config::schema::document as schema;
pub use crate::config::values::process::limit_name;
pub use health::{HealthAddress, health_address, health_token};
pub use url_targets::{TlsFlags, heartbeat_location, targets, targets_with};

/// The options of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `-c`.
    pub file: Option<PathBuf>,
    /// `--preset`.
    pub preset: Option<String>,
    /// `--mode`.
    pub mode: Option<String>,
    /// The arguments after the options.
    pub arguments: Vec<String>,
    /// `--exec`: the arguments are an ad-hoc command, whatever the mode.
    pub exec: bool,
    /// `--wait`: the ad-hoc command waits for the checks first.
    pub wait: bool,
    /// `--bare`: only mode, migration command and init.
    pub bare: bool,
    /// Options that set keys.
    pub overrides: Vec<Override>,
}

/// Resolves the plan of one run; reads files and the environment, changes nothing.
pub fn resolve(request: &RunOptions, environment: &Environment) -> Result<Plan, Problems> {
    if let Some(plan) = bare::plan(request, environment) {
        return Ok(plan);
    }
    resolved(request, Context::new(environment)).map(|(plan, _)| plan)
}

/// The same, with the effective configuration: every value and its origin.
pub fn explain(request: &RunOptions, environment: &Environment) -> Result<(Plan, Effective), Problems> {
    resolved(request, Context::new(environment).recording())
}

fn resolved(request: &RunOptions, context: Context<'_>) -> Result<(Plan, Effective), Problems> {
    let mut tree = tree(request, &context);
    let bare = request.bare || flag(&context, "PORTCULLIS_BARE");
    let mut given = Given { own: own_command(request, &context, bare), arguments: request.arguments.clone(), ..Given::default() };
    if given.own.is_none() {
        let root = context.section(tree.clone(), "", None, Depth::Whole);
        (given.arguments, given.variables) = arguments::options(&root, &request.arguments);
    }
    // Every `${}` can use the variables of options, which override `[env]`, and the arguments as `${@1}`.
    let before = context.environment.with_variables(&given.variables).with_arguments(given.arguments.clone());
    let context = context.in_environment(&before);
    condition::name_all(&context.section(tree.clone(), "", None, Depth::Whole));
    let (variables, mut seen) = variables::read(&context, &tree);
    for (name, value) in &given.variables {
        seen.set(name, value, looks_secret(name, value));
    }
    let context = context.in_environment(&seen);
    {
        let root = context.section(tree.clone(), "", None, Depth::Whole);
        condition::evaluate_all(&root);
        arguments::refusals(&root);
        arguments::warnings(&root);
        arguments::rules(&root, &mut given, bare);
    }
    given.select(&mut tree);
    let after = seen.with_arguments(given.arguments.clone());
    let context = context.in_environment(&after);
    // If the start is refused, nothing else is read.
    let plan = if context.is_refused() { Plan::of(Service::default()) } else { read(&context, tree, &given, variables, bare) };
    let mut effective = context.effective();
    if let Some(mode) = &plan.service.mode {
        effective.of_mode(mode);
    }
    Ok((Plan { remarks: context.remarks(), notices: context.finish()?, ..plan }, effective))
}

/// All layers of the configuration, merged.
fn tree(request: &RunOptions, context: &Context<'_>) -> Table {
    let mut overrides = request.overrides.clone();
    overrides.extend(request.mode.iter().map(|mode| Override { key: "mode".into(), value: mode.clone(), flag: "--mode".into() }));
    let layers = Layers { file: request.file.as_deref(), preset: request.preset.as_deref(), overrides: &overrides };
    layers::load_and_look(layers, context)
}

fn read(context: &Context<'_>, tree: Table, given: &Given, mut variables: VariableChanges, bare: bool) -> Plan {
    let mut root = context.section(tree, "", None, Depth::Whole);
    let configuration: Configuration = root.declared();
    root.note(&configuration);
    let own = given.own;
    // Checks that are not used need not be readable.
    let looks = !bare && own != Some(Own { waits: false });

    let mut checks = checks::read(&root, if looks { Depth::Whole } else { Depth::Syntax });
    variables.set_options(&given.variables);
    let mut chosen = modes::read(&root, &configuration, given, variables, looks);
    // The keys of a mode's check override those of the check for all modes.
    checks.retain(|check| !chosen.checks.iter().any(|own| own.name == check.name));
    checks.append(&mut chosen.checks);
    let wanted = migrations::enabled(&root);
    let started = chosen.main.as_mut().and_then(|main| main.started.as_mut()).map(|started| &mut started.sign);
    let of_start = started.and_then(|sign| if let StartSign::Answers { target, .. } = sign { Some(target.as_mut()) } else { None });
    // Commands have the user and the variables of the mode; without a valid user there are none.
    let is_possible = |target: &mut Target| {
        let Target::Exec(command) = target else { return true };
        chosen.template.aside(command.argv.clone()).map(|made| **command = made).is_some()
    };
    checks.retain_mut(|check| is_possible(&mut check.target));
    of_start.map(is_possible);
    let (mode, template) = (chosen.mode.as_deref(), &chosen.template);
    let migration = migrations::read(&root, wanted && chosen.migrates, chosen.waits, bare, &checks, (mode, template));
    let files = files::read(&root, mode, own.is_some(), template);
    let (own_command, migrating) = (own.is_some(), migration.as_ref());
    let steps = steps::Steps { root: &root, template, mode, own_command, locks: looks, checks: &checks, migration: migrating };
    let (steps, step_lock) = steps.read(files);
    let has_more = || ["steps", "files"].into_iter().any(|key| root.has(key));
    if chosen.ends_after_migration && chosen.refusal.is_none() && !(wanted && chosen.migrates) && !has_more() {
        let mode = chosen.mode.as_deref().unwrap_or_default();
        let problem = format!(
            "mode `{mode}` has no command, there is no step, and migrations are off, so there is nothing to do; enable them by `enabled` in [migrations]"
        );
        context.problem(Problem::missing(problem));
    }
    let service = service(&root, &configuration, chosen.mode);
    if let Some(main) = chosen.main.as_mut().filter(|_| chosen.template.is_labelled()) {
        main.label = Some(service.name.clone());
    }
    let heartbeat = if bare || own.is_some() { None } else { heartbeat::read(&root, &service.name, &checks) };
    let health = if own.is_some() { health::marker(&root, bare) } else { health::read(&root, bare) };
    let mut checks = if looks { checks } else { Vec::new() };
    checks.extend(dify::read(&root, if looks { Depth::Whole } else { Depth::Syntax }));
    if own.is_some() {
        checks.retain(|check| !check.wait.is_zero());
        context.remark("this is an ad-hoc command, not the service: no migration, heartbeat, startup check or health endpoint");
    }
    let wanted = match () {
        () if bare || own.is_some() => Wanted::None,
        () if chosen.ends_after_migration => Wanted::First,
        () => Wanted::All,
    };
    let read = || modules::read(&root, &chosen.general, wanted, checks.len(), &chosen.template.after);
    let Modules { plans: modules, checks: of_modules, after } = context.reading_modules(read);
    checks.extend(of_modules);
    names(context, &checks, chosen.main.as_ref(), &modules);
    let hold = chosen.template.holds();
    let plan = Plan {
        service,
        checks,
        steps,
        step_lock,
        migration,
        main: chosen.main,
        modules,
        after,
        own_command: own.is_some(),
        arguments: given.why.clone(),
        refusal: chosen.refusal,
        heartbeat,
        health,
        hold,
        notices: Vec::new(),
        remarks: Vec::new(),
        retired: Retired::default(),
    };
    if !plan.own_command {
        advise(context, &plan, chosen.grace);
    }
    plan
}

fn service(root: &Section<'_>, configuration: &Configuration, mode: Option<String>) -> Service {
    let environment = root.context().environment;
    let written = configuration.service.0.as_ref().map(Text::value);
    let key = if written.is_some() { "service" } else { "mode" };
    let name = written.or_else(|| mode.clone()).unwrap_or_else(|| Service::UNNAMED.to_owned());
    let fits = |name: &str, more: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= 63
            && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !fits(&name, "_.-") {
        root.problem(
            key,
            format!("gives the service name `{name}`; expected up to 63 letters, digits, `_`, `.` and `-`, the first a letter or a digit"),
        );
    }
    let instance = match environment.lookup("PORTCULLIS_INSTANCE_ID") {
        Ok(found) => found.map(|found| found.value).filter(|id| !id.is_empty()).unwrap_or_else(|| environment.host_name().to_owned()),
        Err(_) => environment.host_name().to_owned(),
    };
    if !is_instance(&instance) {
        root.context().problem(Problem::missing(
            "the instance id (PORTCULLIS_INSTANCE_ID, else the host's name) has to be 1 to 255 bytes without blanks",
        ));
    }
    let version = configuration.version.value().filter(|version| !version.is_empty());
    if version.as_ref().is_some_and(|version| version.len() > 128 || version.chars().any(char::is_control)) {
        root.problem("version", "is longer than 128 bytes, or contains a control character");
    }
    Service { name, mode, instance, host: environment.host_name().to_owned(), version, build: env!("CARGO_PKG_VERSION") }
}

/// Whether this can be the id of an instance.
fn is_instance(id: &str) -> bool {
    (1..=255).contains(&id.len()) && !id.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests;
