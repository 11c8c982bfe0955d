//! `[modules.NAME]`: further processes beside the main one.

mod order;

use std::ops::Range;

use crate::config::module::{Family, ModuleSection, ModuleStart, OnExit};
use crate::config::node::Entry;
use crate::config::problem::Problem;
use crate::config::process::{MainKeys, ProcessKeys, RestartPolicy};
use crate::config::reader::{Context, Depth, Section, keys_of};
use crate::plan::argv::Argv;
use crate::plan::process::StartSign;
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::process::{General, Predecessors, Template};
use crate::plan::resolve::{checks, condition, started};
use crate::plan::target::Target;
use crate::plan::{CheckPlan, ModuleId, ModulePlan};

/// One module of the configuration: its instances, and the names in its `after`.
struct Written<'c> {
    entry: &'c Entry,
    path: String,
    /// Whether its `when` holds, and the run has modules with its `start`.
    used: bool,
    start: ModuleStart,
    /// Whether it is numbered, and the numbers of its instances.
    instances: Option<Range<u32>>,
    after: Predecessors,
}

/// Which modules a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None.
    None,
    /// Only those with `start = "first"`: there is no process.
    First,
    /// All of them.
    All,
}

/// The modules of a run.
#[derive(Default)]
pub(super) struct Modules {
    /// All whose `when` holds, in order.
    pub plans: Vec<ModulePlan>,
    /// The checks that belong to them.
    pub checks: Vec<CheckPlan>,
    /// Those that have to be up before the process is started.
    pub after: Vec<ModuleId>,
}

/// The modules of this run; the numbers of their checks begin at `first_check`. `of_main` is the `after` of the process.
pub(super) fn read(root: &Section<'_>, general: &General<'_>, wanted: Wanted, first_check: usize, of_main: &Predecessors) -> Modules {
    let depth = if wanted == Wanted::None { Depth::Syntax } else { root.depth() };
    let Some(section) = root.table_at("modules", depth) else {
        order::before_main(root.context(), of_main, &[], &order::After::new(), &[]);
        return Modules::default();
    };
    let written: Vec<Written<'_>> = section.entries().filter_map(|entry| write(&section, entry, depth, wanted)).collect();
    let after = order::resolve(section.context(), &written);
    let (mut plans, mut own) = (Vec::new(), Vec::new());
    for module in &written {
        // The form is checked even if the run has no modules.
        let some = !module.instances.as_ref().is_some_and(Range::is_empty);
        let depth = if module.used && some { depth } else { Depth::Syntax };
        let numbers: Vec<Option<u32>> = match &module.instances {
            Some(numbers) if some => numbers.clone().map(Some).collect(),
            _ => vec![None],
        };
        for (index, number) in numbers.into_iter().enumerate() {
            let name = number.map_or_else(|| module.entry.key.clone(), |number| format!("{}-{number}", module.entry.key));
            let environment = section.context().environment;
            let environment = number.map_or_else(|| environment.clone(), |number| environment.of_instance(number));
            // Each instance is read separately; an error in all of them is reported once.
            let context = section.context().of_part(&environment);
            let found = instance(&context, module.entry, &module.path, &name, general, depth);
            section.context().absorb_part(index, context);
            let Some((plan, checks)) = found.filter(|_| module.used && wanted != Wanted::None && some) else {
                continue;
            };
            let checks_from = first_check + own.len();
            own.extend(checks);
            plans.push(ModulePlan {
                id: ModuleId(u32::try_from(plans.len()).unwrap_or(u32::MAX)),
                table: module.entry.key.clone(),
                checks: (checks_from..first_check + own.len()).collect(),
                ..plan
            });
        }
    }
    order::apply(&mut plans, &written, &after);
    let before_main = order::before_main(section.context(), of_main, &written, &after, &plans);
    Modules { plans, checks: own, after: before_main }
}

/// The keys of a module that are the same for all its instances.
fn write<'c>(modules: &Section<'c>, entry: &'c Entry, depth: Depth, wanted: Wanted) -> Option<Written<'c>> {
    let context = modules.context();
    if let Err(why) = checks::check_name(&entry.key) {
        context.problem(Problem::at(&entry.origin, format!("a module cannot be named `{}`: {why}", entry.key)));
    }
    let path = modules.below(&entry.key);
    let form = context.open(&entry.node, &path, Depth::Syntax)?;
    let is_first =
        || context.open(&entry.node, &path, depth).is_some_and(|mut section| section.part::<Family>().start == ModuleStart::First);
    let used = condition::holds(context, form.node("when"), &path, depth) && (wanted != Wanted::First || is_first());
    let mut section = context.open(&entry.node, &path, if used { depth } else { Depth::Syntax })?;
    let Family { instances, start, .. } = section.part();
    // If `instances` is wrong, there is at least one instance, with a valid `${@instance}`.
    let instances = instances.map(|numbers| numbers.0).or_else(|| section.has("instances").then_some(0..1));
    Some(Written { entry, path, used, start, instances, after: Predecessors::read(&section) })
}

fn instance<'c>(
    context: &'c Context<'c>,
    entry: &Entry,
    path: &str,
    name: &str,
    general: &General<'_>,
    depth: Depth,
) -> Option<(ModulePlan, Vec<CheckPlan>)> {
    // A module has its own restart settings.
    let own_affair = ["restart", "restart_limit", "watchdog"];
    let keys = keys_of::<ProcessKeys>().iter().copied().filter(|key| !own_affair.contains(key)).collect::<Vec<_>>();
    let mut section = context.open(&general.below(&entry.node, &keys, false), path, depth)?;
    let module: ModuleSection = section.declared();
    section.note(&module);
    let ModuleSection { own, mut process, family: Family { start, .. } } = module;
    let counts = own.startup_affects_health.unwrap_or(general.with_all_modules || start != ModuleStart::OnDemand);
    let [version, web_path] = [own.version, own.web_path].map(|text| text.0.map(|text| text.value()).unwrap_or_default());
    let stops_all = own.on_exit == OnExit::StopAll;
    process.restart.get_or_insert(if stops_all { RestartPolicy::Never } else { RestartPolicy::OnFailure });
    let mut template = Template::of(Some(&mut section), process, MainKeys::default(), general.variables.clone());
    template.variables.set_all(section.table("env"));
    let mut started = started::read(&section, depth);
    if start == ModuleStart::First && started.is_none() && depth == Depth::Whole {
        let why = "it counts as ready as soon as it runs; add `started` to say when it is ready";
        context.notice(format!("module {} comes before the waits and has no startup check: {why}", entry.key));
    }
    let mut checks = checks::of_module(&section, name);
    let mut builder =
        Builder { context, arguments: &[], groups: section.table_at("groups", depth), words: Vec::new(), took_arguments: false };
    let understood = match section.node("command") {
        Some(command) => builder.command(command, path, depth),
        None => {
            section.problem("command", "is missing");
            false
        }
    };
    if builder.took_arguments {
        section.problem("command", "takes `args`, but the container's arguments are the main process'");
    }
    let argv = Argv::new(builder.words).filter(|argv| !argv.program().is_empty());
    if argv.is_none() && understood && depth == Depth::Whole {
        section.problem("command", "contains no program");
    }
    let of_start = started
        .as_mut()
        .and_then(|started| if let StartSign::Answers { target, .. } = &mut started.sign { Some(target.as_mut()) } else { None });
    for target in checks.iter_mut().map(|check| &mut check.target).chain(of_start) {
        if let Target::Exec(command) = target {
            **command = template.aside(command.argv.clone())?;
        }
    }
    let mut process = template.process(argv?, started)?.beside();
    process.label = template.is_labelled().then(|| name.to_owned());
    let plan = ModulePlan::new(ModuleId(0), name, process);
    Some((ModulePlan { version, web_path, start, counts, affects: own.affects, on_exit: own.on_exit, ..plan }, checks))
}
