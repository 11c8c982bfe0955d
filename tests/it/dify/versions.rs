//! Every version's preset compared with the script of that version.
//!
//! `recorded.jsonl` was recorded from the scripts, with stand-ins for their programs: the calls of a start, and the variables that it sets
//! for them. A version has lines only for its differences to the one before it in the file, which is the newer one, and one for its name.
//! `·` is a space in a word.

use super::{PROGRAMS, Variables, start};
use crate::support::{Exit, Portcullis, StandIns};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line {
    preset: String,
    case: usize,
    env: Option<Variables>,
    args: Option<Vec<String>>,
    calls: Vec<String>,
    sets: Variables,
}

/// One start: the variables, the arguments, the calls and what these get beside the variables.
#[derive(Clone, Debug)]
struct Case {
    env: Variables,
    args: Vec<String>,
    calls: Vec<Vec<String>>,
    sets: Variables,
}

/// Every version, from the newest to the oldest, with all of its cases.
fn recorded() -> Vec<(String, Vec<Case>)> {
    let mut cases: BTreeMap<usize, Case> = BTreeMap::new();
    let mut versions: Vec<(String, Vec<Case>)> = Vec::new();
    for line in include_str!("recorded.jsonl").lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let calls = line.calls.iter().map(|call| call.split(' ').map(|word| word.replace('·', " ")).collect()).collect();
        let before = cases.get(&line.case).cloned();
        let given = line.env.zip(line.args).or_else(|| before.map(|case| (case.env, case.args)));
        let (env, args) = given.unwrap_or_else(|| panic!("case {} of {}", line.case, line.preset));
        cases.insert(line.case, Case { env, args, calls, sets: line.sets });
        if versions.last().is_none_or(|(preset, _)| *preset != line.preset) {
            versions.push((line.preset, Vec::new()));
        }
        versions.last_mut().unwrap().1 = cases.values().cloned().collect();
    }
    versions
}

/// Whether the mode came later, and is refused where the script serves by mistake.
fn is_refused(preset: &str, mode: Option<&str>) -> bool {
    let older = ["dify@1.7.0", "dify@1.6.0", "dify@1.3.1"].contains(&preset) || preset.starts_with("dify@0.");
    older && matches!(mode, Some("job" | "migration"))
}

/// Each start of every sixth version.
fn every_sixth(first: usize) {
    for (preset, cases) in recorded().into_iter().skip(first).step_by(6) {
        assert_eq!(cases.len(), 12, "{preset}");
        for case in cases {
            let arguments: Vec<&str> = case.args.iter().map(String::as_str).collect();
            let (outcome, output) = start(&preset, &case.env, &arguments, &StandIns::new(&PROGRAMS));
            if is_refused(&preset, case.env.get("MODE").map(String::as_str)) {
                assert_eq!((outcome.calls.len(), outcome.exit), (0, Exit::Code(78)), "{preset} {case:?}");
                continue;
            }
            assert_eq!((&outcome.calls, &outcome.exit), (&case.calls, &Exit::Code(0)), "{preset} {:?} {output:?}", case.env);
            let mut expected = case.env.clone();
            expected.extend(case.sets);
            assert!(outcome.environments.iter().all(|found| *found == expected), "{preset} {expected:?} {:?}", outcome.environments);
        }
    }
}

/// In parts that run beside each other.
macro_rules! parts {
    ($($name:ident $first:literal)*) => { $(#[test] fn $name() { every_sixth($first); })* };
}

parts!(
    a_version_does_what_its_script_did_0 0
    a_version_does_what_its_script_did_1 1
    a_version_does_what_its_script_did_2 2
    a_version_does_what_its_script_did_3 3
    a_version_does_what_its_script_did_4 4
    a_version_does_what_its_script_did_5 5
);

#[test]
fn every_preset_of_dify_is_recorded_and_listed_in_its_document() {
    let listed = Portcullis::new().args(["preset"]).output().exits(0).stdout;
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next().filter(|name| name.starts_with("dify"))).collect();
    let own = |wanted: &str| Portcullis::new().args(["preset", wanted]).output().exits(0).stdout.lines().next().map(str::to_owned);
    let firsts: Vec<_> = recorded().iter().map(|(preset, _)| own(preset)).collect();
    assert_eq!(firsts, listed.iter().map(|name| own(name)).collect::<Vec<_>>());
    let document = include_str!("../../../docs/dify.md");
    let rows: Vec<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).filter(|name| name.starts_with("dify")).collect();
    assert_eq!(rows, listed);
}

/// The version that `/app/api` says is another's: one plain sentence, and nothing where it is the preset's own.
#[test]
fn a_preset_in_another_version_is_reported_once() {
    let programs = StandIns::new(&PROGRAMS);
    let file = |pyproject: &str, extends: &str, least: &str| {
        let place = programs.path();
        std::fs::write(place.join("pyproject.toml"), pyproject).unwrap();
        std::fs::create_dir_all(place.join("lib/python3.12/gunicorn-23.0.0.dist-info")).unwrap();
        let place = place.display();
        format!(
            "extends = \"{extends}\"\n[preset]\nversion_files = [{{ file = \"{place}/none\", after = \"x\" }}, {{ file = \"{place}/pyproject.toml\", after = \"version\" }}]\n\
             needs = [{{ file = \"{place}/lib/*/gunicorn-*.dist-info\", least = \"{least}\" }}]\n"
        )
    };
    for (pyproject, extends, least, message) in [
        (
            "name = 'a'\nversion = \"1.13.2\"\n",
            "dify@1.9.1",
            "1",
            Some("says version 1.13.2, and the preset dify@1.9.0 is another's: take dify@1.13.2"),
        ),
        ("version = \"1.13.2\"\n", "dify", "1", Some("says version 1.13.2, and the preset dify is another's: take dify@1.13.2")),
        ("version = '0.6.9'\n", "dify@1.9.1", "1", Some("is another's: there is no preset `dify@0.6.9`; the first one is `dify@0.6.16`")),
        ("version = \"1.9.0\"\n", "dify@1.9.1", "1", None),
        ("version = { attr = 'x' }\n", "dify@1.9.1", "1", None),
        (
            "",
            "dify@1.9.1",
            "25.1",
            Some("/lib/python3.12/gunicorn-23.0.0.dist-info is version 23.0.0, and the preset dify@1.9.0 needs 25.1 or newer"),
        ),
    ] {
        let run = Portcullis::new().config(&file(pyproject, extends, least)).without("PATH").env("PATH", programs.path());
        let output = run.env("PORTCULLIS_BARE", "true").args(["run", "--"]).output().exits(0);
        match message {
            Some(message) => assert_eq!(output.stderr.matches(message).count(), 1, "{message}: {}", output.stderr),
            None => assert!(!output.stderr.contains("another's") && !output.stderr.contains("needs"), "{}", output.stderr),
        }
    }
}

/// A file may lie over a preset and leave parts of it out; a flag names another preset all the same.
#[test]
fn a_file_extends_a_preset_as_presets_extend_each_other() {
    let file = "extends = \"dify@1.9.2\"\nwithout = [\"modes.beat\"]\n[modes.api]\ncommand = [\"gunicorn\", \"mine\"]\n";
    let run = |mode: &str, more: &[&str]| {
        let programs = StandIns::new(&PROGRAMS);
        let run = Portcullis::new().config(file).without("PATH").env("PATH", programs.path()).env("PORTCULLIS_BARE", "true");
        let output = run.env("MODE", mode).args([&["run"], more, &["--"]].concat()).output();
        (programs.calls().into_iter().map(|call| call.words.join(" ")).collect::<Vec<_>>(), output)
    };
    assert_eq!(run("api", &[]).0, ["gunicorn mine"]);
    assert!(run("worker", &[]).0[0].ends_with(" --prefetch-multiplier=1"));
    assert!(!run("worker", &["--preset", "dify@1.9.0"]).0[0].contains("prefetch"), "the flag wins");
    run("beat", &[]).1.exits(78).says(&["beat", "worker"]);
    for (file, why) in [
        ("extends = \"dfy\"\nwithout = [\"modes.beat\"]\n", ":1:11: unknown preset `dfy`; did you mean `dify`?"),
        ("extends = [\"dify\"]\n", ":1:11: `extends` is a list; expected a string"),
        ("extends = \"dify@0.5\"\n", "the first one is `dify@0.6.16`"),
        (
            "extends = \"dify\"\nwithout = [\"modes.bet\"]\n",
            ":2:12: `without` names `modes.bet`, which does not exist in the extended preset",
        ),
        ("extends = \"dify\"\nwithout = \"modes.beat\"\n", ":2:11: `without` is a string; expected a list"),
        ("extends = \"dify\"\n[preset]\nneed = []\n", ":3:1: unknown key `need` in [preset]; did you mean `needs`?"),
        ("extends = \"dify\"\n[preset]\nneeds = [{ file = \"x\" }]\n", ":3:10: [preset.needs] lacks `least`"),
    ] {
        let output = Portcullis::new().config(file).args(["plan"]).output().exits(78);
        assert!(output.stderr.contains(why), "{why}: {}", output.stderr);
        assert_eq!(output.stderr.matches("portcullis.toml:").count(), 1, "reported once: {}", output.stderr);
    }
}
