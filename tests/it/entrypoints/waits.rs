//! What is waited for, and before which call: the script's own loops, and the checks that stand for them here.

use super::case::Wait;
use super::{By, Cases, NAMES, Outcome, configuration, image::Tree, outcome, recordings, start};
use crate::support::{Dir, Stopwatch, eventually, root, secs};
use std::time::Duration;

#[test]
fn each_dependency_is_waited_for_before_the_same_call() {
    if !root("each_dependency_is_waited_for_before_the_same_call") {
        return;
    }
    let mut reported = Vec::new();
    for name in NAMES {
        let cases = Cases::read(name);
        let text = std::fs::read_to_string(configuration(name)).unwrap();
        assert!(!text.contains("\n[checks.") || !cases.waits.is_empty(), "{name} waits, and nothing says for what");
        let cases = &cases;
        let differences: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = cases.waits.iter().map(|wait| scope.spawn(|| held(name, cases, wait, &text))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        reported.extend(differences.into_iter().flatten());
    }
    assert!(reported.is_empty(), "{}", reported.join("\n"));
}

/// Holds one case to its recording, up to the wait: no server is there, so it goes no further.
fn held(name: &str, cases: &Cases, wait: &Wait, text: &str) -> Option<String> {
    let case = cases.all.iter().find(|case| case.name == wait.case).unwrap_or_else(|| panic!("{name}: no case {:?}", wait.case));
    let mut recorded = recordings(name).into_iter().find(|outcome| outcome.case == case.name).expect("a recording");
    let first = recorded.calls.iter().position(|call| call.is(&wait.calls));
    assert!(first.is_some() || wait.calls.is_empty(), "{name}: {}: the script does not call {:?}", case.name, wait.calls);
    recorded.calls.truncate(first.unwrap_or_default());
    let wanted = recorded.expected(cases, case);

    let (tree, mounts, given) = (Tree::new(cases, case), Dir::new(), cases.env(case));
    let mut running = start(cases, case, By::Waits(text), &tree, &mounts);
    for check in &wait.checks {
        let line = format!("waiting for {check}, ");
        running.until_stderr(&line, secs(30));
    }
    let calls = || outcome::calls(tree.root(), &given, &cases.image.random);
    // Whatever would be called too soon would be called by now.
    let watch = Stopwatch::start();
    eventually("nothing more is called", secs(30), || (watch.elapsed() > Duration::from_millis(700)).then_some(()));
    let stderr = running.streams().1;
    let waits = stderr.lines().filter(|line| line.contains(" info waiting for ") && line.ends_with(" at most")).count();
    let seen = Outcome { case: case.name.clone(), exit: wanted.exit, calls: calls(), files: wanted.files.clone() };
    running.stop();
    if waits != wait.checks.len() {
        return Some(format!("{name}: {}: {waits} dependencies are waited for, not {}\n{stderr}", case.name, wait.checks.len()));
    }
    let difference = wanted.difference(&seen.seen(cases, case))?;
    Some(format!("{name}: {}: before the wait\n{difference}{stderr}", case.name))
}
