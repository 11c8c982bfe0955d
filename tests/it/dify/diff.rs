//! The changes to Dify's repository that docs/dify.md describes, applied to lines of the real files, and the result.

use super::PROGRAMS;
use crate::support::child::polite;
use crate::support::postgres::PASSWORD;
use crate::support::{Http, Postgres, Redis, StandIns, secs};
use std::collections::BTreeMap;

/// The Dockerfile of a version, and the context that it is built in.
const DOCKERFILES: [(&str, &str); 3] = [
    (include_str!("upstream/Dockerfile-0.15"), "api"),
    (include_str!("upstream/Dockerfile-1.14"), "api"),
    (include_str!("upstream/Dockerfile-1.15"), "."),
];
pub const NEWEST_DOCKERFILE: &str = DOCKERFILES[2].0;
pub const COMPOSE: &str = include_str!("upstream/docker-compose.yaml");

/// A block of docs/dify.md for Dify's repository, by its language.
pub fn block(language: &str) -> &'static str {
    let after = include_str!("../../../docs/dify.md").split_once(&format!("<!-- in Dify's repository -->\n```{language}\n"));
    after.unwrap_or_else(|| panic!("docs/dify.md has no {language} for Dify's repository")).1.split("\n```").next().unwrap()
}

/// The text of a file with the page's changes of it. Each line that goes has to be there once.
#[track_caller]
pub fn changed(path: &str, text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let diff = block("diff").split("--- ").find_map(|part| part.strip_prefix(path)?.strip_prefix('\n'));
    let mut at = None;
    for line in diff.unwrap_or_else(|| panic!("docs/dify.md changes nothing in {path}")).lines() {
        if let Some(gone) = line.strip_prefix('-') {
            let found: Vec<_> = (0..lines.len()).filter(|number| lines[*number] == gone).collect();
            assert_eq!(found.len(), 1, "{gone:?} in {path}:\n{text}");
            lines.remove(found[0]);
            at = Some(found[0]);
        } else {
            let place = at.as_mut().unwrap_or_else(|| panic!("{line:?} comes in no line's place"));
            lines.insert(*place, line.strip_prefix('+').unwrap_or_else(|| panic!("{line:?} is no change")));
            *place += 1;
        }
    }
    lines.join("\n") + "\n"
}

/// The words of portcullis' own command line in the one line that begins so.
#[track_caller]
fn words(text: &str, before: &str) -> Vec<String> {
    let lines: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix(before)).filter(|line| line.contains("/portcullis")).collect();
    assert_eq!(lines.len(), 1, "{before}: {text}");
    let words: Vec<String> = serde_json::from_str(lines[0]).unwrap_or_else(|error| panic!("{error}: {lines:?}"));
    words.into_iter().skip_while(|word| word != "/portcullis").skip(1).collect()
}

/// The variables that the compose file gives to all services, with its defaults.
fn shared() -> Vec<(&'static str, &'static str)> {
    let pairs = COMPOSE.lines().take_while(|line| *line != "services:").filter_map(|line| {
        let (name, value) = line.trim().split_once(": ${")?;
        Some((name, value.strip_prefix(name)?.strip_prefix(":-")?.strip_suffix('}')?))
    });
    pairs.collect()
}

#[test]
fn two_lines_take_the_place_of_one_in_every_dockerfile_of_dify() {
    for (dockerfile, context) in DOCKERFILES {
        let new = changed("api/Dockerfile", dockerfile);
        assert_eq!(new.lines().count(), dockerfile.lines().count() + 1, "{new}");
        assert!(new.ends_with(
            "\nCOPY --from=portcullis /portcullis /portcullis\nENTRYPOINT [\"/portcullis\", \"run\", \"--preset\", \"dify\", \"--\"]\n"
        ));
        // What it still copies is there in the context that the page names for it.
        assert_eq!(new.contains(" api/docker/entrypoint.sh /entrypoint.sh\n"), context == ".", "{new}");
    }
    assert!(block("sh").ends_with(" ."), "the newest context");
}

#[test]
fn one_line_of_the_compose_file_changes_and_the_image_is_built_under_its_name() {
    let new = changed("docker/docker-compose.yaml", COMPOSE);
    let differ: Vec<_> = new.lines().zip(COMPOSE.lines()).filter(|(new, old)| new != old).collect();
    assert_eq!((differ.len(), new.lines().count()), (1, COMPOSE.lines().count()), "{differ:?}");
    let name = block("sh").split_once("$(grep -om1 '").unwrap().1.split_once('\'').unwrap().0;
    let output = std::process::Command::new("grep").args(["-om1", name, "tests/it/dify/upstream/docker-compose.yaml"]).output().unwrap();
    let image = String::from_utf8(output.stdout).unwrap();
    let images: Vec<_> = COMPOSE.lines().filter_map(|line| line.strip_prefix("    image: ")).collect();
    assert_eq!(images.iter().filter(|named| **named == image.trim_end()).count(), 3, "{image} of {images:?}");
}

#[test]
fn with_the_changed_lines_each_service_of_the_compose_file_gets_healthy() {
    let entrypoint = words(&changed("api/Dockerfile", NEWEST_DOCKERFILE), "ENTRYPOINT ");
    let healthcheck = words(&changed("docker/docker-compose.yaml", COMPOSE), "test: ");
    let (server, redis, app) = (Postgres::start(), Redis::start(), Http::answering(200, "{}"));
    for mode in COMPOSE.lines().filter_map(|line| line.strip_prefix("      MODE: ")) {
        let programs = StandIns::new(&PROGRAMS);
        let mut variables: BTreeMap<_, _> = shared().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        assert_eq!((variables["DB_HOST"].as_str(), variables["MIGRATION_ENABLED"].as_str()), ("db_postgres", "true"));
        let broker = format!("redis://127.0.0.1:{}/1", redis.port);
        let (postgres, port, own) = (server.port.to_string(), redis.port.to_string(), app.port.to_string());
        for (name, value) in [
            ("DB_HOST", "127.0.0.1"),
            ("DB_PORT", &postgres),
            ("DB_USERNAME", "app"),
            ("DB_PASSWORD", PASSWORD),
            ("DB_DATABASE", "app"),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &port),
            ("REDIS_PASSWORD", ""),
            ("CELERY_BROKER_URL", &broker),
            ("DIFY_PORT", &own),
        ] {
            assert!(variables.insert(name, value.to_owned()).is_some(), "{name} is not in the compose file");
        }
        let run = programs.run_beside_others("dify", &[]).args(&entrypoint).env("MODE", mode);
        let run = variables.into_iter().fold(run, |run, (name, value)| run.env(name, value));
        let mut run = run.env("DO_gunicorn", polite()).env("DO_celery", polite()).start();
        run.until_status("/readyz", 200, secs(60));
        run.until_stdout("ready", secs(30));
        let reported = run.beside(healthcheck.iter().map(String::as_str)).exits(0);
        assert!(reported.stdout.starts_with("healthy"), "{mode}: {reported:?}");
        let calls: Vec<_> = programs.calls().into_iter().map(|call| call.words[..2].join(" ")).collect();
        let program = if mode == "api" { "gunicorn --no-control-socket" } else { "celery -A" };
        assert_eq!(calls, ["flask upgrade-db", program], "{mode}");
        run.signal(15);
        run.exits(0);
    }
}
