//! What is read several times: the items of a step's `each`, and the instances of a module.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::source::CommandRunner;
use crate::plan::StepAction;

const TOP: &str = "[modes.api]\ncommand = ['true']\n[process]\ndrop = 'always'\n";

fn step(keys: &str) -> String {
    format!("{TOP}[[steps]]\ncommand = ['work']\n{keys}")
}

#[test]
fn an_error_of_a_later_item_is_an_error() {
    let found = problems(&step("each = ['root', 'nosuch']\nuser = '${@each}'\n"), &[], &[]);
    assert!(found.len() == 1 && found[0].contains("knows no user `nosuch`"), "{found:?}");
    let there = File::new("x");
    let items = format!("each = ['{}', '/no/such/file']\nenv = {{ X = {{ file = '${{@each}}' }} }}\n", there.0.display());
    let found = problems(&step(&items), &[], &[]);
    assert!(found.len() == 1 && found[0].contains("it is /no/such/file"), "{found:?}");
}

#[test]
fn an_error_of_a_later_instance_is_an_error() {
    // 65534 is `nobody` everywhere, and 65535 is nobody's number.
    let toml = format!("{TOP}[modules.w]\ncommand = ['work']\ninstances = '4..6'\nuser = '6553${{@instance}}'\n");
    let found = problems(&toml, &[], &[]);
    assert!(found.len() == 1 && found[0].contains("`65535` has no entry in /etc/passwd"), "{found:?}");
}

#[test]
fn an_error_of_all_items_is_reported_once() {
    let found = problems(&step("each = ['a', 'b', 'c']\nenv = { X = '${NOT_SET}' }\nuser = 'nosuch'\n"), &[], &[]);
    let of = |words: &str| found.iter().filter(|problem| problem.contains(words)).count();
    assert_eq!((of("NOT_SET is not set"), of("knows no user `nosuch`"), found.len()), (1, 1, 2), "{found:?}");
}

#[test]
fn a_notice_of_all_instances_is_given_once() {
    let toml = format!("{TOP}[modules.w]\ncommand = ['work']\ninstances = 3\nstart = 'first'\n");
    let plan = with(&toml, &[], &[]);
    let notices: Vec<_> = plan.notices.iter().filter(|notice| notice.contains("has no startup check")).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
}

/// Answers with the variable `NAME`, as `sh -c 'lookup $NAME'` would, and counts.
#[derive(Default)]
struct Lookup(AtomicU32);

impl CommandRunner for Lookup {
    fn output(&self, _: &[String], variables: &BTreeMap<OsString, OsString>, _: Duration) -> Result<String, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let name = variables.get(OsStr::new("NAME")).ok_or("has no NAME")?;
        Ok(format!("db-of-{}", name.to_string_lossy()))
    }
}

#[test]
fn a_command_runs_once_for_each_item_and_each_instance() {
    let command = "DSN = { command = ['sh', '-c', 'lookup $$NAME'] }";
    let file = File::new(&format!(
        "{TOP}[[steps]]\ncommand = ['work']\neach = ['a', 'b']\nenv = {{ NAME = '${{@each}}', {command} }}\n\
         [modules.w]\ncommand = ['work']\ninstances = 2\nenv = {{ NAME = 'w${{@instance}}', {command} }}\n"
    ));
    let runner = Arc::new(Lookup::default());
    let environment = Environment::new([("HOME", "/")]).with_command_runner(runner.clone());
    let request = RunOptions { file: Some(file.0.clone()), ..RunOptions::default() };
    let values = |environment: &Environment| {
        let plan = resolve(&request, environment).unwrap();
        let StepAction::Commands(items) = &plan.steps[0].action else { panic!("commands") };
        let processes = items.iter().map(|item| &item.process).chain(plan.modules.iter().map(|module| &module.process));
        let dsn =
            |process: &crate::plan::ProcessPlan| process.command.env.iter().find(|(name, _)| name == "DSN").unwrap().1.value().to_owned();
        processes.map(dsn).collect::<Vec<_>>()
    };
    let expected = ["db-of-a", "db-of-b", "db-of-w0", "db-of-w1"];
    assert_eq!(values(&environment), expected);
    assert_eq!((values(&environment), runner.0.load(Ordering::Relaxed)), (expected.map(str::to_owned).to_vec(), 4), "read again");
    let reload = environment.recalling();
    assert_eq!(values(&reload), expected, "a reload");
    std::fs::write(&file.0, std::fs::read_to_string(&file.0).unwrap().replace("instances = 2", "instances = 3")).unwrap();
    let refused = resolve(&request, &reload).unwrap_err().to_string();
    assert!(refused.contains("`command` in [modules.w.env.DSN] runs only at a start"), "{refused}");
}

#[test]
fn a_generated_value_belongs_to_its_file() {
    let base = std::env::temp_dir().join(format!("portcullis-items-{}", std::process::id()));
    let keep = |item: &str| format!("{}-{item}", base.display());
    let toml = step(&format!("each = ['a', 'b']\nenv = {{ K = {{ generate = 'hex:16', keep = '{}' }} }}\n", keep("${@each}")));
    let file = File::new(&toml);
    let environment = Environment::new([("HOME", "/")]).with_command_runner(Arc::new(Lookup::default()));
    let plan = resolve(&RunOptions { file: Some(file.0.clone()), ..RunOptions::default() }, &environment).unwrap();
    let StepAction::Commands(items) = &plan.steps[0].action else { panic!("commands") };
    let key = |index: usize| items[index].process.command.env.iter().find(|(name, _)| name == "K").unwrap().1.value();
    assert_ne!(key(0), key(1));
}
