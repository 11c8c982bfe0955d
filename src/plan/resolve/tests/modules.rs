//! `[modules.NAME]`: the plan of each one, the order of their starts, and which runs have them.

use super::*;
use crate::plan::module::{ModuleStart, OnExit, Predecessor};
use crate::plan::process::RestartPolicy;
use crate::plan::{Affects, ModuleId, ModulePlan};

const BASE: &str = "mode = \"${MODE:-api}\"\n[modes.api]\ncommand = [\"serve\"]\nenv = { MODES = \"own\" }\n[modes.migration]\ncommand = []\n\
    [migrations]\ncommand = [\"migrate\"]\nenabled = true\nlock = \"none\"\n[env]\nALL = \"shared\"\n[process]\nstop_timeout = \"20s\"\nrestart = \"always\"\n\
    drain_delay = \"5s\"\nsignal_scope = \"group\"\nstop_on = [\"HUP\"]\n";

fn modules(toml: &str, variables: &[(&str, &str)]) -> Vec<ModulePlan> {
    with(&format!("{BASE}{toml}"), variables, &[]).modules
}

fn words(plan: &ModulePlan) -> Vec<&str> {
    plan.process.command.argv.words().iter().map(crate::plan::argv::Word::value).collect()
}

#[test]
fn a_module_has_the_defaults_of_how_it_starts_and_of_all_processes() {
    let all = modules(
        "[modules.beat]\ncommand = [\"beat\"]\n[modules.hot]\ncommand = [\"hot\"]\nstart = \"on-demand\"\non_exit = \"stop-all\"\n",
        &[],
    );
    let [beat, hot] = &all[..] else { panic!("two modules") };
    assert_eq!((beat.start, beat.counts, beat.affects, beat.on_exit), (ModuleStart::WithMain, true, Affects::Health, OnExit::Degrade));
    assert_eq!((hot.start, hot.counts), (ModuleStart::OnDemand, false));
    assert_eq!((beat.process.restart.policy, hot.process.restart.policy), (RestartPolicy::OnFailure, RestartPolicy::Never));
    let process = &beat.process;
    assert_eq!((process.stop_timeout, process.drain_delay, process.signals.group), (Duration::from_secs(20), Duration::ZERO, true));
    assert!(process.signals.stop_on.is_empty(), "signals are the main process'");
    assert!(process.command.attributes.aside && process.command.attributes.parent_death_signal == libc::SIGKILL);
    let names: Vec<&str> = process.command.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ALL"], "a mode's own variables are the mode's");
}

#[test]
fn instances_are_numbered_and_counted_by_a_variable() {
    let toml = "[modules.executor]\ncommand = [\"run\", \"-i\", \"${@instance}\"]\nenv = { NAME = \"e${@instance}\" }\ninstances = \"${WS:-1}\"\n\
                [modules.executor.checks.port]\nurl = \"tcp://127.0.0.1:900${@instance}\"\n\
                [modules.last]\ncommand = [\"last\"]\nafter = [\"executor\", \"main\"]\n";
    let plan = with(&format!("{BASE}{toml}"), &[("WS", "2")], &[]);
    let [first, second, last] = &plan.modules[..] else { panic!("three modules") };
    assert_eq!((first.name.as_str(), words(first)), ("executor-0", vec!["run", "-i", "0"]));
    assert_eq!((second.name.as_str(), words(second)), ("executor-1", vec!["run", "-i", "1"]));
    assert!(second.process.command.env.iter().any(|(name, word)| name == "NAME" && word.value() == "e1"));
    assert_eq!((first.id, second.id, last.id), (ModuleId(0), ModuleId(1), ModuleId(2)));
    assert_eq!(last.after, [Predecessor::Module(first.id), Predecessor::Module(second.id), Predecessor::Main]);
    let own = |module: &ModulePlan| module.checks.iter().map(|id| plan.checks[*id].target.to_string()).collect::<Vec<_>>();
    assert_eq!((own(first), own(second)), (vec!["tcp://127.0.0.1:9000".to_owned()], vec!["tcp://127.0.0.1:9001".to_owned()]));
    assert_eq!(plan.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), ["executor-0.port", "executor-1.port"]);
    assert!(plan.checks.iter().all(|check| check.wait.is_zero()));
    for (count, names) in [("0", &["last"][..]), ("5..7", &["executor-5", "executor-6", "last"]), ("5..5", &["last"])] {
        assert_eq!(modules(toml, &[("WS", count)]).iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), names, "{count}");
    }
    let wrong = problems(&format!("{BASE}{toml}"), &[("WS", "7..5")], &[]);
    let expected = "`instances` in [modules.executor], from WS, is `7..5`; expected a whole number from 0 to 1000, or a range such as `5..8` for 5, 6 and 7";
    assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}");
}

#[test]
fn a_run_without_a_process_or_bare_has_no_modules_and_a_disabled_one_is_not_waited_for() {
    let toml = "[modules.beat]\ncommand = [\"beat\", \"${UNSET_HERE}\"]\nwhen = { var = \"BEAT\", eq = \"true\" }\n\
                [modules.next]\ncommand = [\"next\"]\nafter = [\"beat\"]\n";
    assert_eq!(modules(toml, &[("BEAT", "true"), ("UNSET_HERE", "x")]).len(), 2);
    let [next] = &modules(toml, &[])[..] else { panic!("one module") };
    assert_eq!((next.name.as_str(), &next.after[..]), ("next", &[][..]));
    assert!(modules(toml, &[("MODE", "migration")]).is_empty());
    let file = File::new(&format!("{BASE}{toml}"));
    let request = RunOptions { file: Some(file.0.clone()), bare: true, ..RunOptions::default() };
    assert!(resolve(&request, &Environment::new([("BEAT", "true")])).unwrap().modules.is_empty());
}

#[test]
fn an_error_of_all_instances_is_reported_once() {
    let toml = "[modules.many]\ncommand = [\"x\", \"${NOT_SET}\"]\ninstances = 3\n[modules.one]\ncommand = [\"x\", \"${@instance}\"]\n";
    let found = problems(&format!("{BASE}{toml}"), &[], &[]);
    let of = |words: &str| found.iter().filter(|problem| problem.contains(words)).count();
    assert_eq!((of("NOT_SET is not set"), of("`${@instance}` is the number"), found.len()), (1, 1, 2), "{found:?}");
}

#[test]
fn every_cycle_is_reported_once() {
    let module = |name: &str, after: &str| format!("[modules.{name}]\ncommand = [\"x\"]\nafter = [{after}]\n");
    let toml =
        [module("a", "\"b\""), module("b", "\"c\", \"main\""), module("c", "\"a\""), module("d", "\"d\""), module("e", "\"a\"")].concat();
    let found = problems(&format!("{BASE}{toml}"), &[], &[]);
    let circles: Vec<&str> = found.iter().filter_map(|problem| problem.split_once("in a circle: ").map(|(_, circle)| circle)).collect();
    assert_eq!(circles, ["`a` after `b` after `c` after `a`", "`d` after `d`"], "{found:?}");
}
