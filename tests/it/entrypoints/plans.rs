//! `portcullis plan` of each configuration in each case's image, which holds the named executables and no shell.

use super::{By, Cases, NAMES, all, configuration, ended, recordings, start};
use crate::support::{Dir, root};
use std::collections::BTreeMap;

/// Where a shell would be found.
const SHELLS: [&str; 4] = ["usr/bin/sh", "usr/bin/dash", "usr/bin/ash", "usr/bin/busybox"];

#[test]
fn every_configuration_is_planned_without_a_shell() {
    if !root("every_configuration_is_planned_without_a_shell") {
        return;
    }
    let mut wrong = Vec::new();
    for name in NAMES {
        let (mut cases, text) = (Cases::read(name), std::fs::read_to_string(configuration(name)).unwrap());
        let recorded: BTreeMap<String, _> = recordings(name).into_iter().map(|outcome| (outcome.case.clone(), outcome)).collect();
        // What a program does when it is called changes no plan.
        cases.all.retain(|case| case.does.is_empty());
        let reported = all(&cases, |case| {
            let (tree, mounts) = (super::image::Tree::new(&cases, case), Dir::new());
            // Its own stand-in for a shell, where a script calls one.
            let stands_in = |text: Vec<u8>| text.starts_with(b"#!/box/bash");
            assert!(SHELLS.iter().all(|shell| std::fs::read(tree.root().join(shell)).map_or(true, stands_in)), "{name} has a shell");
            let mut running = start(&cases, case, By::Plan(&text), &tree, &mounts);
            let code = ended(&mut running);
            let (stdout, stderr) = running.streams();
            let wanted = recorded[&case.name].clone().expected(&cases, case);
            // What is refused before anything is done may be refused by the plan, too; with 0 where nothing is to be started.
            let may_be_refused = wanted.calls.is_empty() && wanted.exit.is_some_and(|wanted| wanted != 0 || code == 0);
            let planned = code == 0 && stdout.contains("What happens, in this order:");
            (!planned && !may_be_refused).then(|| format!("{name}: {}: {code}, {:?} is recorded\n{stdout}{stderr}", case.name, wanted.exit))
        });
        wrong.extend(reported.into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{} plans are wrong\n{}", wrong.len(), wrong.join("\n"));
}
