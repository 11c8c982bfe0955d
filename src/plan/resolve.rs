//! From what an operator wrote to the orders of one run, or to everything that is wrong with it.

mod address;
mod argv;
mod around;
mod asked;
mod checks;
mod condition;
mod dify;
mod files;
mod given;
mod health;
mod heartbeat;
mod migrations;
mod modes;
mod modules;
mod process;
mod started;
mod steps;
mod target;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::configuration::Configuration;
use crate::config::effective::Effective;
use crate::config::interpolate::Text;
use crate::config::layers::{self, Layers, Override};
use crate::config::origin::Origin;
use crate::config::problem::{Problem, Problems, suggest};
use crate::config::reader::{Context, Depth, Section, truth};
use crate::config::source::Environment;
use crate::plan::process::StartSign;
use crate::plan::target::{RedisPlace, Target};
use crate::plan::{CheckPlan, ModulePlan, Plan, ProcessPlan, Retired, Service};

pub use crate::config::schema::document as schema;
pub use crate::config::values::process::limit_name;
pub use asked::{TlsFlags, targets, targets_with};
pub use health::{HealthAddress, health_address, health_token};

/// After TERM Docker waits this long before it kills, unless told otherwise; Kubernetes waits 30 s.
const DOCKER_GRACE: Duration = Duration::from_secs(10);

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `-c`.
    pub file: Option<PathBuf>,
    /// `--preset`.
    pub preset: Option<String>,
    /// `--mode`.
    pub mode: Option<String>,
    /// What follows the options.
    pub arguments: Vec<String>,
    /// `--exec`: the arguments are a command of one's own, whatever the mode.
    pub exec: bool,
    /// `--wait`: that command waits for the checks first.
    pub wait: bool,
    /// `--bare`: mode, migration command and init alone.
    pub bare: bool,
    /// Options that stand for keys.
    pub overrides: Vec<Override>,
}

/// Resolves where a reader of the readiness registry asks for `service`: the Redis and the shared key; none without a Redis.
///
/// The URL when there is one, else the configuration's heartbeat; without a file that is what `REDIS_HOST` names.
pub fn registry(
    file: Option<&Path>,
    url: Option<&str>,
    service: &str,
    environment: &Environment,
) -> Result<Option<(RedisPlace, String)>, Problems> {
    let url = url.map(|url| targets(&[url.to_owned()], environment)).transpose()?.and_then(|(targets, _)| targets.into_iter().next());
    let context = Context::new(environment);
    let layers = Layers { file: file.filter(|_| url.is_none()), preset: None, overrides: &[] };
    if let Some(target) = &url {
        let place = heartbeat::place(target);
        let key = if let Target::Ready(target) = target { target.key.clone() } else { format!("{service}_service_status") };
        return Ok(place.map(|place| (place, key)));
    }
    let tree = layers::load(layers, environment, &mut Vec::new());
    let mut root = context.section(tree, "", None, Depth::Whole);
    let configuration: Configuration = root.declared();
    let found = heartbeat::registry(&root, &configuration, service);
    // Without a Redis at all there is nothing wrong but that.
    if found.is_some() { Ok(found) } else { context.finish().map(|_| None) }
}

/// Resolves everything that one run is to do; reads files and the environment, changes nothing.
pub fn resolve(request: &Request, environment: &Environment) -> Result<Plan, Problems> {
    resolved(request, Context::new(environment)).map(|(plan, _)| plan)
}

/// The same with what the configuration comes to: every value and where it comes from.
pub fn explain(request: &Request, environment: &Environment) -> Result<(Plan, Effective), Problems> {
    resolved(request, Context::new(environment).recording())
}

fn resolved(request: &Request, context: Context<'_>) -> Result<(Plan, Effective), Problems> {
    let context = context.with_arguments(&request.arguments);
    let plan = read(request, &context);
    let effective = context.effective();
    Ok((Plan { remarks: context.remarks(), notices: context.finish()?, ..plan }, effective))
}

fn read(request: &Request, context: &Context<'_>) -> Plan {
    let mut overrides = request.overrides.clone();
    overrides.extend(request.mode.iter().map(|mode| Override { key: "mode".into(), value: mode.clone(), flag: "--mode".into() }));
    let layers = Layers { file: request.file.as_deref(), preset: request.preset.as_deref(), overrides: &overrides };
    let mut root = context.section(layers::load_and_look(layers, context), "", None, Depth::Whole);
    let configuration: Configuration = root.declared();
    root.note(&configuration);
    let bare = request.bare || flag(context, "PORTCULLIS_BARE");
    let own = own_command(request, context, bare);
    // What is not waited for need not be readable.
    let looks = !bare && own != Some(Own { waits: false });

    let mut checks = checks::read(&root, if looks { Depth::Whole } else { Depth::Form });
    let mut chosen = modes::read(&root, &configuration, request, variables::read(&root), own, looks);
    // What the mode says of a check stands above what is said for all of them.
    checks.retain(|check| !chosen.checks.iter().any(|own| own.name == check.name));
    checks.append(&mut chosen.checks);
    let wanted = migrations::enabled(&root);
    let started = chosen.main.as_mut().and_then(|main| main.started.as_mut()).map(|started| &mut started.sign);
    let of_start = started.and_then(|sign| if let StartSign::Answers { target, .. } = sign { Some(target.as_mut()) } else { None });
    for target in checks.iter_mut().map(|check| &mut check.target).chain(of_start) {
        if let Target::Exec(process) = target {
            // Their user and their variables are those of the mode.
            **process = chosen.template.process(process.argv.clone(), None).aside();
        }
    }
    let (mode, template) = (chosen.mode.as_deref(), &chosen.template);
    let migration = migrations::read(&root, wanted && chosen.migrates, chosen.waits, bare, &checks, (mode, template));
    let files = files::read(&root, mode, own.is_some(), template);
    let (own_command, migrating) = (own.is_some(), migration.as_ref());
    let steps = steps::Steps { root: &root, template, mode, own_command, locks: looks, checks: &checks, migration: migrating };
    let (steps, step_lock) = steps.read(files);
    if chosen.ends_after_migration && chosen.refusal.is_none() && !(wanted && chosen.migrates) {
        let mode = chosen.mode.as_deref().unwrap_or_default();
        let problem = format!(
            "mode `{mode}` has no command and migrations are off, so there is nothing to do; switch them on by `enabled` in [migrations]"
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
    checks.extend(dify::read(&root, if looks { Depth::Whole } else { Depth::Form }));
    if own.is_some() {
        checks.retain(|check| !check.wait.is_zero());
        context.remark("this is a command of one's own and not the service: no migration, heartbeat, startup check or health endpoint");
    }
    let (first, with_modules) = (checks.len(), !bare && !chosen.ends_after_migration && own.is_none());
    let (modules, of_modules) = context.reading_modules(|| modules::read(&root, &chosen.general, with_modules, first));
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
        own_command: own.is_some(),
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

/// Checks and modules stand beside each other in every answer, so no two may share a name; and who asks for a module has to name one.
fn names(context: &Context<'_>, checks: &[CheckPlan], main: Option<&ProcessPlan>, modules: &[ModulePlan]) {
    let mut seen = BTreeSet::new();
    for name in checks.iter().map(|check| &check.name).chain(modules.iter().map(|module| &module.name)) {
        if !seen.insert(name) {
            context.problem(Problem::missing(format!("two of the checks and modules are named `{name}`")));
        }
    }
    let processes = modules.iter().map(|module| (module.name.as_str(), &module.process)).chain(main.map(|main| ("started", main)));
    let of_start = processes.filter_map(|(name, process)| match &process.started.as_ref()?.sign {
        StartSign::Answers { target, .. } => Some((name, target.as_ref())),
        _ => None,
    });
    for (asker, target) in checks.iter().map(|check| (check.name.as_str(), &check.target)).chain(of_start) {
        if let Target::Module(name) = target
            && !modules.iter().any(|module| module.name == *name)
            && context.modules_are_right()
        {
            let near = suggest(name, modules.iter().map(|module| module.name.as_str()).chain(["main"]));
            context.problem(Problem::missing(format!("`{asker}` asks for the module `{name}`, and there is none of this name{near}")));
        }
    }
}

/// Says when a stop may take longer than the orchestrator waits before it kills everything.
fn advise(context: &Context<'_>, plan: &Plan, grace: Option<Duration>) {
    let budget = plan.stop_budget();
    if budget <= grace.unwrap_or(DOCKER_GRACE) {
        return;
    }
    let seconds = budget.as_millis().div_ceil(1000) + 1;
    let than = match grace {
        Some(grace) => format!("the {} of grace_period", humantime::format_duration(grace)),
        None => "the 10s after which Docker kills".to_owned(),
    };
    context.notice(format!(
        "a stop may take {}, more than {than}: give it `docker stop --time {seconds}`, `stop_grace_period: {seconds}s` or \
         `terminationGracePeriodSeconds: {seconds}`, and say so by grace_period = \"{seconds}s\" in [process]",
        humantime::format_duration(budget)
    ));
}

/// A command of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    /// Whether it waits for the checks first.
    waits: bool,
}

/// Whether the arguments are a command of one's own: `--exec`, or `PORTCULLIS_EXEC` where the entrypoint ends in `--`.
fn own_command(request: &Request, context: &Context<'_>, bare: bool) -> Option<Own> {
    let value = context.environment.lookup("PORTCULLIS_EXEC").ok().flatten().map(|found| found.value).unwrap_or_default();
    let (by_variable, waits) = match truth(&value) {
        Some(wanted) => (wanted, false),
        None if value.trim().eq_ignore_ascii_case("wait") => (true, true),
        None => {
            let origin = Origin::Variable("PORTCULLIS_EXEC".into());
            context.problem(Problem::at(&origin, format!("is `{value}`; `true`, `wait` or `false` is wanted")));
            (false, false)
        }
    };
    (request.exec || by_variable).then_some(Own { waits: (request.wait || waits) && !bare })
}

/// Whether a variable of portcullis' own is true.
fn flag(context: &Context<'_>, name: &str) -> bool {
    let value = context.environment.lookup(name).ok().flatten().map(|found| found.value).unwrap_or_default();
    truth(&value).unwrap_or_else(|| {
        let origin = Origin::Variable(name.into());
        context.problem(Problem::at(&origin, format!("is `{value}`; `true` or `false` is wanted")));
        false
    })
}

fn service(root: &Section<'_>, configuration: &Configuration, mode: Option<String>) -> Service {
    let environment = root.context().environment;
    let written = configuration.service.0.as_ref().map(Text::value);
    let key = if written.is_some() { "service" } else { "mode" };
    let name = written.or_else(|| mode.clone()).unwrap_or_else(|| "app".to_owned());
    let fits = |name: &str, more: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= 63
            && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !fits(&name, "_.-") {
        root.problem(
            key,
            format!(
                "gives the service name `{name}`; up to 63 letters, digits, `_`, `.` and `-` are wanted, the first a letter or a digit"
            ),
        );
    }
    let instance = match environment.lookup("PORTCULLIS_INSTANCE_ID") {
        Ok(found) => found.map(|found| found.value).filter(|id| !id.is_empty()).unwrap_or_else(|| environment.host_name().to_owned()),
        Err(_) => environment.host_name().to_owned(),
    };
    if instance.is_empty() || instance.len() > 255 || instance.chars().any(|c| c.is_control() || c.is_whitespace()) {
        root.context().problem(Problem::missing(
            "the instance id (PORTCULLIS_INSTANCE_ID, else the host's name) has to be 1 to 255 bytes without blanks",
        ));
    }
    let version = configuration.version.value().filter(|version| !version.is_empty());
    if version.as_ref().is_some_and(|version| version.len() > 128 || version.chars().any(char::is_control)) {
        root.problem("version", "is longer than 128 bytes, or holds a control character");
    }
    Service { name, mode, instance, host: environment.host_name().to_owned(), version, build: env!("CARGO_PKG_VERSION") }
}

#[cfg(test)]
mod tests;
