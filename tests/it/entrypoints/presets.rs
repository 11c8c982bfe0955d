//! Presets of frameworks beside the script that images of theirs have: the same calls in the cases that both know.

use super::case::Rule;
use super::{Cases, all, differs, recordings};
use crate::support::root;

/// Holds these cases of a script to a preset, which has `more` calls and variables of its own.
fn agrees(preset: &str, mut cases: Cases, names: &[&str], calls: &[&str], variables: &[&str]) {
    cases.all.retain(|case| names.contains(&case.name.as_str()));
    assert_eq!(cases.all.len(), names.len(), "{preset}: every case is one of the script");
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    cases.otherwise.with.extend(owned(calls));
    cases.otherwise.without.extend(owned(calls));
    cases.otherwise.env.extend(owned(variables));
    let recorded = recordings(preset);
    let reported = all(&cases, |case| {
        let recorded = recorded.iter().find(|outcome| outcome.case == case.name).expect("a recording").clone();
        differs(&cases, case, &format!("extends = \"{preset}\"\n"), recorded)
    });
    let reported: Vec<String> = reported.into_iter().flatten().collect();
    assert!(reported.is_empty(), "{preset}: {} cases differ\n{}", reported.len(), reported.join("\n"));
}

#[test]
fn the_preset_rails_does_what_the_script_that_rails_generates_does() {
    if !root("the_preset_rails_does_what_the_script_that_rails_generates_does") {
        return;
    }
    let mut cases = Cases::read("rails");
    // There is something to prepare.
    cases.image.does.push(Rule {
        call: "*db:abort_if_pending_migrations".to_owned(),
        exit: 1,
        says: String::new(),
        stays: false,
        first: 0,
    });
    let names = [
        "server",
        "server behind Thruster",
        "server that stays",
        "the database is not prepared",
        "server with options: not prepared",
        "console",
        "a task",
        "a task that fails",
        "jobs",
        "a shell",
        "as root",
    ];
    agrees("rails", cases, &names, &["*db:abort_if_pending_migrations"], &["MIGRATION_LOCK", "WEB_CONCURRENCY"]);
}

#[test]
fn the_preset_laravel_does_what_serversideups_image_does() {
    if !root("the_preset_laravel_does_what_serversideups_image_does") {
        return;
    }
    let names = [
        "php-fpm",
        "php-fpm that stays",
        "an artisan command",
        "an option goes to PHP",
        "automations",
        "automations for a command",
        "automations elsewhere",
        "storage is linked already",
        "no storage link",
        "no migration",
        "the migration fails",
        "the storage link fails",
        "optimize fails",
    ];
    let variables = ["MIGRATION_LOCK", "SERVERSIDEUP_DEFAULT_COMMAND"];
    agrees("laravel", Cases::read("laravel"), &names, &["php*test-db-connection*"], &variables);
}
