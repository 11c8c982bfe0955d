//! Real entrypoint scripts and the configurations that replace them: each start makes the calls that were recorded from the script.
//!
//! `entrypoints/NAME.toml` has the cases, `NAME.jsonl` the recordings of the script, `docker/entrypoints/NAME/portcullis.toml` the
//! configuration. `scripts/record-entrypoints` makes the recordings from the scripts, which are not in this repository.

mod case;
mod image;
mod outcome;
mod plans;
mod presets;
mod waits;

use crate::support::portcullis::Exit;
use crate::support::{Dir, Portcullis, Running, Stopwatch, root, secs, variable};
use case::{Case, Cases, Otherwise, Script};
use image::Tree;
use outcome::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Each script, with a test of its name.
macro_rules! scripts {
    ($($test:ident $name:literal,)*) => {
        const NAMES: &[&str] = &[$($name,)*];
        $(
            #[test]
            fn $test() {
                held(stringify!($test), $name);
            }
        )*
    };
}

scripts! {
    airflow "airflow",
    authentik "authentik",
    cookiecutter_django "cookiecutter-django",
    immich "immich",
    label_studio "label-studio",
    langfuse "langfuse",
    laravel "laravel",
    netbox "netbox",
    nextcloud "nextcloud",
    odoo "odoo",
    open_webui "open-webui",
    paperless "paperless",
    plane "plane",
    ragflow "ragflow",
    rails "rails",
    redash "redash",
    taiga "taiga",
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn beside(name: &str) -> PathBuf {
    repository("tests/it/entrypoints").join(name)
}

/// A program of the harness.
fn helper(name: &str) -> String {
    std::fs::read_to_string(beside(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn configuration(name: &str) -> PathBuf {
    repository("docker/entrypoints").join(name).join("portcullis.toml")
}

/// `UID:GID` as numbers.
fn ids(user: &str) -> (u32, u32) {
    let (uid, gid) = user.split_once(':').expect("uid:gid");
    (uid.parse().expect("a uid"), gid.parse().expect("a gid"))
}

/// How a case is run: by the script, or by portcullis with a configuration.
#[derive(Clone, Copy, Debug)]
enum By<'a> {
    Script(&'a Path),
    Portcullis(&'a str),
    /// The same with its checks, where no server is.
    Waits(&'a str),
    /// What portcullis says that it would do.
    Plan(&'a str),
}

/// Starts a case in its image.
fn start(cases: &Cases, case: &Case, by: By<'_>, tree: &Tree, mounts: &Dir) -> Running {
    let user = case.user.as_ref().unwrap_or(&cases.image.user);
    let (programs, mut words): (_, Vec<String>) = match by {
        By::Script(dir) => {
            tree.script(&cases.script, dir);
            ("yes", cases.script.start.iter().map(|word| word.replace("{dir}", "/box/script")).collect())
        }
        By::Portcullis(text) | By::Waits(text) | By::Plan(text) => {
            tree.text("portcullis.toml", text);
            let bare = matches!(by, By::Portcullis(_)) && case.bare.unwrap_or(cases.image.bare);
            let bare = if bare { &["--bare"][..] } else { &[] };
            let command = if matches!(by, By::Plan(_)) { "plan" } else { "run" };
            let words = [&["/portcullis", command], bare, &["-c", "/portcullis.toml", "--"]].concat();
            ("no", words.into_iter().map(str::to_owned).collect())
        }
    };
    let here = case.here.as_ref().filter(|_| !matches!(by, By::Script(_)));
    words.extend(here.unwrap_or(&case.args).iter().cloned());
    let enter = mounts.file("enter.sh", &helper("enter.sh"));
    let (root, shared) = (tree.root().display(), image::shared().display());
    let directory = cases.image.directory.display();
    let mut run = Portcullis::new().in_pid_namespace().through("unshare --uts bash").program(&enter).without("PATH");
    if matches!(by, By::Script(_)) {
        run = run.without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    } else if !matches!(by, By::Waits(_)) {
        for (key, value) in &cases.image.without_servers {
            run = run.env(&format!("PORTCULLIS_{key}"), value);
        }
    }
    let into = [root.to_string(), user.clone(), directory.to_string(), shared.to_string(), programs.to_owned()];
    for (name, value) in cases.env(case) {
        run = run.env(&name, value);
    }
    run.args(into.into_iter().chain(words)).start()
}

/// Runs a case to its end. `wanted` is what comes of it; unknown, a start that stays is ended once there is quiet.
fn run(cases: &Cases, case: &Case, by: By<'_>, wanted: Option<&Outcome>) -> (Outcome, String) {
    let (tree, mounts, given) = (Tree::new(cases, case), Dir::new(), cases.env(case));
    let mut running = start(cases, case, by, &tree, &mounts);
    let may_stay = case.does.iter().chain(&cases.image.does).any(|rule| rule.stays);
    let stays = wanted.map_or(may_stay, |wanted| wanted.exit.is_none());
    let wanted = wanted.map(Outcome::count);
    let calls = || outcome::calls(tree.root(), &given, &cases.image.random);
    let exit = if stays {
        stopped(&mut running, matches!(by, By::Portcullis(_)), wanted, || outcome::shared(&calls(), cases, case))
    } else {
        Some(ended(&mut running))
    };
    let files = tree.look(&cases.image.look, &cases.image.random_files);
    let (stdout, stderr) = running.streams();
    (Outcome { case: case.name.clone(), exit, calls: calls(), files }, format!("{stdout}{stderr}"))
}

fn ended(running: &mut Running) -> i32 {
    match running.wait_exit(secs(60)) {
        Exit::Code(code) => code,
        Exit::Signal(number) => 128 + number,
    }
}

/// Ends a start that stays, once it has come as far as it comes; None, unless it ended by itself.
fn stopped(running: &mut Running, portcullis: bool, wanted: Option<usize>, count: impl Fn() -> usize) -> Option<i32> {
    let (mut last, mut since, watch) = (0, Stopwatch::start(), Stopwatch::start());
    // A script sleeps between its parts for up to five seconds.
    let quiet = if wanted.is_some() { Duration::from_millis(100) } else { secs(7) };
    while running.runs() {
        let now = count();
        if now != last {
            (last, since) = (now, Stopwatch::start());
        }
        let enough = wanted.is_none_or(|wanted| now >= wanted) || watch.elapsed() > secs(40);
        if enough && since.elapsed() > quiet {
            // The end of a script is none of the facts: dropped, it is killed.
            if portcullis {
                running.stop();
            }
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Some(ended(running))
}

/// Holds each case of a script to its recording.
fn held(test: &str, name: &str) {
    if !root(test) {
        return;
    }
    let cases = Cases::read(name);
    let configured = std::fs::read_to_string(configuration(name)).unwrap();
    let recorded: BTreeMap<String, Outcome> = recordings(name).into_iter().map(|outcome| (outcome.case.clone(), outcome)).collect();
    let reported = all(&cases, |case| {
        let recorded = recorded.get(&case.name).unwrap_or_else(|| panic!("{name}: {} has no recording", case.name)).clone();
        differs(&cases, case, &configured, recorded)
    });
    let reported: Vec<_> = reported.into_iter().flatten().collect();
    assert!(reported.is_empty(), "{name}: {} of {} cases differ\n{}", reported.len(), cases.all.len(), reported.join("\n"));
    assert_eq!(recorded.len(), cases.all.len(), "{name} has recordings of cases that are none");
}

/// In what portcullis with this configuration differs from what was recorded.
fn differs(cases: &Cases, case: &Case, configuration: &str, recorded: Outcome) -> Option<String> {
    let expected = recorded.expected(cases, case);
    let (seen, said) = run(cases, case, By::Portcullis(configuration), Some(&expected));
    let difference = expected.difference(&seen.seen(cases, case))?;
    let said: Vec<_> = said.lines().map(|line| format!("  | {line}\n")).collect();
    Some(format!("{}:\n{difference}{}", case.name, said.concat()))
}

/// Does something with each case, four at a time, and hands back the results in the order of the cases.
fn all<T: Send>(cases: &Cases, each: impl Fn(&Case) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, case)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, cases.all.get(at)?))) {
            let result = each(case);
            done.lock().unwrap().push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn recordings(name: &str) -> Vec<Outcome> {
    let path = beside(&format!("{name}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"))).collect()
}

fn record(name: &str, dir: &Path) {
    let cases = Cases::read(name);
    let outcomes = all(&cases, |case| run(&cases, case, By::Script(dir), None));
    let mut text = String::new();
    for (mut outcome, said) in outcomes {
        outcome.order(&cases);
        if variable("PORTCULLIS_RECORD_SHOW").is_some() {
            eprintln!("{name}: {}\n{said}", outcome.case);
        }
        text.push_str(&serde_json::to_string(&outcome).unwrap());
        text.push('\n');
    }
    std::fs::write(beside(&format!("{name}.jsonl")), text).unwrap();
}

/// The page counts what is there, every configuration is held, and none starts a shell or is longer than its script.
#[test]
fn the_page_and_the_heads_say_what_is_there() {
    let page = std::fs::read_to_string(repository("docs/entrypoints.md")).unwrap();
    for name in NAMES {
        let (cases, text) = (Cases::read(name), std::fs::read_to_string(configuration(name)).unwrap());
        let Script { repository, paths, commit, lines, .. } = &cases.script;
        let (ours, commit) = (text.lines().count(), commit.get(..10).unwrap_or(commit));
        let count = cases.all.len();
        let row = format!(
            "| [{name}](../docker/entrypoints/{name}/portcullis.toml) | {repository} `{}` | {commit} | {lines} | {ours} | {count} |",
            paths[0]
        );
        assert!(page.contains(&row), "docs/entrypoints.md has no row\n{row}");
        assert!(text.contains(&format!("{repository} at {commit}, {lines} lines")), "{name} does not name its script");
        assert!(ours < *lines, "{name}: {ours} lines are no fewer than {lines}");
        let shells = ["sh\", \"-c\"", "sh\", \"-ec\""];
        let started = text.lines().filter(|line| shells.iter().any(|shell| line.contains(shell)));
        assert_eq!(started.collect::<Vec<_>>(), [""; 0], "{name} starts a shell");
        for case in &cases.all {
            let Otherwise { env, env_of, without, with, exit, calls, files, modes, why } = &case.otherwise;
            let any = exit.is_some() || calls.is_some() || ![env, without, with].iter().all(|list| list.is_empty());
            let any = any || !files.is_empty() || !modes.is_empty() || !env_of.is_empty();
            assert_eq!(any, !why.is_empty(), "{name}: {}: what is otherwise has a reason", case.name);
        }
    }
    let there = std::fs::read_dir(repository("docker/entrypoints")).into_iter().flatten();
    let there: BTreeSet<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, NAMES.iter().map(|name| (*name).to_owned()).collect());
}

/// Not a test but the recorder of `scripts/record-entrypoints`, which names the scripts' directory and the names.
#[test]
fn recordings_are_renewed_on_request() {
    let Some(dir) = variable("PORTCULLIS_RECORD") else { return };
    let names = variable("PORTCULLIS_RECORD_NAMES").expect("the names of the scripts").into_string().unwrap();
    for name in names.split(' ') {
        record(name, &Path::new(&dir).join(name));
    }
}

const EXAMPLE: &str = r#"#!/bin/bash
set -e
umask 027
export GREETING="${GREETING:-hello}"
unset SECRET
mkdir -p /data
migrate --all <<<"yes"
exec gosu app server --name "$GREETING" "$@"
"#;

const CASES: &str = r#"
cases = [
    { name = "plain" },
    { name = "a greeting and a flag", args = ["--flag", "a b"], env = { GREETING = "" } },
    { name = "a migration that fails", does = [{ call = "migrate*", exit = 7 }] },
    { name = "a server that stays", does = [{ call = "server*", stays = true }] },
]
otherwise = { without = ["migrate*"], env = ["SECRET"], files = ["/data"] }
[script]
repository = "example/example"
paths = ["entrypoint.sh"]
commit = "none"
lines = 8
start = ["/box/bash", "{dir}/entrypoint.sh"]
[image]
directory = "/srv/app"
env = { PATH = "/usr/local/bin:/usr/bin:/bin", SECRET = "s" }
accounts = ["app:1000:1000:/home/app"]
programs = ["server", "migrate"]
look = ["/data"]
"#;

/// The harness itself, on a script of our own: what is alike passes, and every kind of difference is seen.
#[test]
fn a_difference_of_any_kind_is_seen() {
    if !root("a_difference_of_any_kind_is_seen") {
        return;
    }
    let (dir, mut cases) = (Dir::new(), Cases::parse(CASES).unwrap());
    dir.file("entrypoint.sh", EXAMPLE);
    let (plain, flagged) = (&cases.all[0], &cases.all[1]);
    let script = run(&cases, plain, By::Script(dir.path()), None).0;
    assert_eq!(
        serde_json::to_string(&script).unwrap(),
        "{\"case\":\"plain\",\"exit\":0,\"calls\":[\
         {\"run\":[\"migrate\",\"--all\"],\"as\":\"0:0 0027 /srv/app\",\"set\":{\"GREETING\":\"hello\"},\"unset\":[\"SECRET\"],\"in\":\"yes\\n\"},\
         {\"run\":[\"server\",\"--name\",\"hello\"],\"as\":\"1000:1000 0027 /srv/app\",\"set\":{\"GREETING\":\"hello\",\"HOME\":\"/home/app\"},\"unset\":[\"SECRET\"]}],\
         \"files\":[[\"/data\",\"d 0750 0:0\"]]}"
    );
    assert_eq!(run(&cases, &cases.all[2], By::Script(dir.path()), None).0.exit, Some(7));
    assert_eq!(run(&cases, &cases.all[3], By::Script(dir.path()), None).0.exit, None);
    let right = "mode = \"app\"\n[env.default]\nGREETING = \"hello\"\n[modes.app]\nuser = \"app\"\numask = \"0027\"\n\
                 command = [\"server\", \"--name\", \"${GREETING:-hello}\", { args = true }]\n";
    for case in [plain, flagged, &cases.all[3]] {
        let recorded = run(&cases, case, By::Script(dir.path()), None).0;
        assert_eq!(differs(&cases, case, right, recorded), None);
    }
    for (from, to, reported) in [
        ("0027", "0022", "0022 /srv/app"),
        ("user = \"app\"", "user = \"1000:0\"", "1000:0 0027"),
        ("\"--name\"", "\"--nome\"", "--nome"),
        ("\"hello\"\n", "\"hullo\"\n", "hullo"),
        ("umask", "working_directory = \"/\"\numask", "0027 /\""),
        ("\"server\"", "\"migrate\"", "portcullis {\"run\":[\"migrate\""),
        ("\"server\"", "\"nothing\"", "exit Some(127)"),
    ] {
        let difference = differs(&cases, plain, &right.replacen(from, to, 1), script.clone()).unwrap();
        assert!(difference.contains(reported), "{reported:?} is not in\n{difference}");
    }
    cases.otherwise.without.clear();
    cases.otherwise.env.clear();
    let difference = differs(&cases, &cases.all[0], right, script).unwrap();
    assert!(difference.contains("\"migrate\"") && difference.contains("SECRET"), "{difference}");
}
