//! Searches for the programs of a start before the waits, so that a misspelt one ends the start at once, and not after the migration.

use std::path::{Path, PathBuf};

use crate::plan::file::FileAction;
use crate::plan::module::ModuleStart;
use crate::plan::step::ItemPlan;
use crate::plan::{CommandPlan, OnFailure, Plan, SchemaCheck, StepAction, StepAt, StepPlan};
use crate::process::executable::near;
use crate::process::spawn::{InheritedEnvironment, places};
use crate::secret::scrub;

/// A missing program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Whether the start will certainly fail without it: no earlier step can create it, and what needs it has to succeed.
    pub certain: bool,
    /// What is missing, what needs it, and a similar name.
    pub sentence: String,
}

/// What needs a program, how many steps run before it, and whether the start can continue without it.
struct Wanted<'p> {
    command: &'p CommandPlan,
    who: String,
    before: usize,
    spared: bool,
}

/// The missing programs of the plan, in the order of the start. It reads the file system.
pub(super) fn missing(plan: &Plan, inherited: &InheritedEnvironment) -> Vec<Missing> {
    let mut found: Vec<Missing> = Vec::new();
    for Wanted { command, who, before, spared } in wanted(plan) {
        let places = places(command, inherited);
        let program = command.argv.program();
        if program.is_empty() || !places.iter().all(|place| is_nowhere(place)) {
            continue;
        }
        let maker = plan.steps.iter().take(before).find(|step| may_make(step, &places));
        let near = near(program, &places).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let later = maker.map(|maker| format!(", unless the step {} creates it", maker.name)).unwrap_or_default();
        let check = if near.is_empty() && maker.is_none() { "; check the name, PATH and the image" } else { "" };
        let sentence = scrub(&format!("cannot start {program}, the program of {who}: it was not found{later}{near}{check}"));
        if !found.iter().any(|other| other.sentence == sentence) {
            // A failed start may be held for inspection: then it has to begin.
            found.push(Missing { certain: maker.is_none() && !spared && !plan.hold, sentence });
        }
    }
    found
}

fn wanted(plan: &Plan) -> Vec<Wanted<'_>> {
    let mut wanted = Vec::new();
    // The steps are in their order of execution.
    let until = |at: StepAt| plan.steps.iter().take_while(|step| step.at <= at).count();
    for (index, step) in plan.steps.iter().enumerate() {
        let items: &[ItemPlan] = if let StepAction::Commands(items) = &step.action { items } else { &[] };
        // Where it may not be done at all, or may fail, its turn decides.
        let items = items.iter().filter(|item| step.condition.is_constant() && item.condition.is_constant());
        let commands = items.flat_map(|item| std::iter::once(&item.process).chain(item.check.as_deref()));
        let check = step.check.as_deref().filter(|_| step.condition.is_constant());
        wanted.extend(commands.chain(check).map(|process| Wanted {
            command: &process.command,
            who: format!("the step {}", step.name),
            before: index,
            spared: step.on_failure == OnFailure::Continue,
        }));
    }
    if let Some(migration) = plan.migration.as_ref().filter(|migration| migration.condition.is_constant()) {
        let questions = [&migration.check, &migration.verify].into_iter().flatten();
        let questions =
            questions.filter_map(|question| if let SchemaCheck::Command(process) = question { Some(process.as_ref()) } else { None });
        let own = Some(&migration.process).filter(|_| !migration.waits);
        let of = |command| Wanted { command, who: "the migration".to_owned(), before: until(StepAt::Ready), spared: false };
        wanted.extend(own.into_iter().chain(questions).map(|process| &process.command).map(of));
    }
    let before = until(StepAt::Migrated);
    wanted.extend(plan.main.iter().map(|process| Wanted {
        command: &process.command,
        who: "the process".to_owned(),
        before,
        spared: false,
    }));
    // Without a module that starts first there is no start; any other that cannot be started is visible in its health, and does not end the
    // start.
    wanted.extend(plan.modules.iter().filter(|module| module.start != ModuleStart::OnDemand).map(|module| {
        let is_first = module.start == ModuleStart::First;
        let before = if is_first { until(StepAt::First) } else { before };
        Wanted { command: &module.process.command, who: format!("the module {}", module.name), before, spared: !is_first }
    }));
    wanted
}

/// Whether nothing exists at this path. A path that cannot be examined may exist; starting the program reports the error.
fn is_nowhere(place: &Path) -> bool {
    place.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Whether a step may create one of these paths: a command may create anything, a file its path and everything below.
fn may_make(step: &StepPlan, places: &[PathBuf]) -> bool {
    match &step.action {
        StepAction::File(file) => match file.action {
            FileAction::Remove | FileAction::Change(_) | FileAction::Directory => false,
            _ => places.iter().any(|place| place.starts_with(&file.path)),
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::file::{FileAction, FilePlan};
    use crate::plan::{ModuleId, ModulePlan, ProcessPlan, Service};

    fn process(program: &str) -> ProcessPlan {
        ProcessPlan::new(Argv::new(vec![Word::plain(program)]).unwrap())
    }

    #[test]
    fn a_missing_program_is_reported_with_the_nearest_name_unless_a_step_may_create_it() {
        let home = std::env::temp_dir().join(format!("portcullis-executables-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("gunicorn"), "").unwrap();
        let inherited =
            InheritedEnvironment { environment: [("PATH".into(), home.clone().into())].into(), ..InheritedEnvironment::default() };
        let service = Service { name: "app".into(), mode: None, instance: "x".into(), host: String::new(), version: None, build: "0" };
        let mut plan = Plan { main: Some(process("gunicorn")), ..Plan::of(service) };
        assert_eq!(missing(&plan, &inherited), []);
        plan.main = Some(process("gunicron"));
        let sentence = "cannot start gunicron, the program of the process: it was not found; did you mean `gunicorn`?".to_owned();
        assert_eq!(missing(&plan, &inherited), [Missing { certain: true, sentence }]);
        // A file at another path cannot create it, one at this path can.
        let file = |path: PathBuf| {
            let action = FileAction::Copy { from: "/x".into(), delete: false, exclude: Vec::new(), replace: Vec::new() };
            let file = FilePlan { path, action, owner: None, mode: None, recursive: false, keep: false, secret: None, reader: None };
            StepPlan::new("the copy", StepAt::Files, StepAction::File(Box::new(file)))
        };
        plan.steps = vec![file("/elsewhere".into())];
        assert!(missing(&plan, &inherited).iter().all(|missing| missing.certain));
        plan.steps = vec![file(home.clone())];
        let found = missing(&plan, &inherited);
        assert!(
            found.iter().all(|missing| !missing.certain && missing.sentence.contains("unless the step the copy creates it")),
            "{found:?}"
        );
        // Later steps cannot create it, and a program that an earlier step may create is not an error.
        plan.steps = vec![StepPlan::new("late", StepAt::Up, StepAction::Commands(vec![process("sh").into()]))];
        assert!(missing(&plan, &inherited).iter().all(|missing| missing.certain || missing.sentence.contains("sh,")));
        let module = |start| ModulePlan { start, ..ModulePlan::new(ModuleId(0), "proxy", process("gunicron")) };
        for (start, certain) in [(ModuleStart::First, vec![true]), (ModuleStart::WithMain, vec![false]), (ModuleStart::OnDemand, vec![])] {
            let plan = Plan { main: None, modules: vec![module(start)], steps: Vec::new(), ..plan.clone() };
            let found = missing(&plan, &inherited);
            assert_eq!(found.iter().map(|missing| missing.certain).collect::<Vec<_>>(), certain, "{start:?}: {found:?}");
        }
        // What cannot be looked at is no business of this.
        plan = Plan { main: Some(process(home.join("gunicorn/below").to_str().unwrap())), steps: Vec::new(), ..plan };
        assert_eq!(missing(&plan, &inherited), []);
        std::fs::remove_dir_all(&home).unwrap();
    }
}
