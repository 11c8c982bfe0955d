//! Names of types, modules, functions and files: retired names do not come back, and no two public types share one.

use std::collections::BTreeMap;

use super::imports::tokens_with_tests;
use super::{Source, below, none};

/// A retired name, what stands in its place, and the paths where the word means something else.
type Retired = (&'static str, &'static str, &'static [&'static str]);

/// Names that are refused as identifiers anywhere in the code, and as the name of a file or folder.
const RETIRED: &[Retired] = &[
    ("registry", "heartbeat, heartbeat_reader", &[]),
    ("Registry", "HeartbeatReader", &[]),
    ("Pen", "HeartbeatWriter", &[]),
    ("pen", "writer", &[]),
    ("Duty", "HeartbeatContext", &[]),
    ("Leaving", "Shutdown", &[]),
    ("Course", "RunState", &[]),
    ("At", "RunState", &[]),
    ("errand", "exec_probe", &[]),
    ("errands", "exec_probes", &[]),
    ("Errand", "ExecProbe", &[]),
    ("Errands", "ExecProbes", &[]),
    ("upward", "systemd_notifier", &[]),
    ("Upward", "SystemdNotifier", &[]),
    ("wedge", "stall_detector", &[]),
    ("wedged", "stalled", &[]),
    ("Wedged", "Stall", &[]),
    ("Finding", "Stall, ClockGap", &[]),
    ("Class", "ErrorKind", &["src/names/message.rs"]),
    ("Cause", "Detail", &[]),
    ("Why", "Reason", &[]),
    (
        "authority",
        "authorized",
        &[
            // Of a URL.
            "src/config/interpolate.rs",
            "src/plan/resolve/target_url.rs",
            "src/probe/grpc.rs",
            "src/secret.rs",
            "src/server/hosts.rs",
            "fuzz/targets/target.rs",
            // Of certificates.
            "src/probe/tls",
        ],
    ),
    ("surroundings", "inherited", &[]),
    ("Surroundings", "InheritedEnvironment", &[]),
    ("Conditions", "ProcessAttributes", &[]),
    ("spaced", "rate_limited", &[]),
    ("narrator", "event_log", &[]),
    ("Narrator", "EventLog", &[]),
    ("streak", "stability", &[]),
    ("Streak", "Stability", &[]),
    ("answering", "dispatch, response_failure", &["tests/it"]),
    ("hooked", "hooked_stream", &[]),
    ("Hooked", "HookedStream", &[]),
    ("seeing_off", "survivors", &[]),
    ("SeeingOff", "SurvivorSignals", &[]),
    ("seen_off", "signalled", &[]),
    ("Sayings", "CommandCapture", &[]),
    ("Said", "the result's own noun, as DnsResult", &[]),
    ("Told", "the result's own noun", &[]),
    ("Heard", "QueryOutcome", &[]),
    ("Room", "ByteSize", &[]),
    ("Rooms", "OrderLimits", &[]),
    ("Form", "the noun of what it is, as RandomFormat", &[]),
    ("Part", "Deferred, EndpointResult", &[]),
    ("Place", "ServerLocation, PinnedPath", &[]),
    ("Kind", "FileKind, TargetKind, MetricKind, OrderKind", &[]),
];

/// Names that no file or folder has any more; as words of the code they are common.
const RETIRED_FILES: &[(&str, &str)] = &[
    ("answers", "response_cache, last_results"),
    ("ask", "http_client, command"),
    ("asked", "url_targets"),
    ("leaving", "shutdown"),
    ("left", "remaining"),
    ("pages", "renderer"),
    ("question", "schema_query"),
    ("saying", "capture"),
    ("why", "reason"),
];

/// Words that no function is named with, and no variable, field or module of `src` is called: they do not tell what it does or holds.
const RIDDLES: [&str; 4] = ["told", "said", "asked", "heard"];

/// Names that several public types may share, because they are only used behind their module: `redis::Session`.
const SHARED: &[(&str, &str)] = &[
    ("Options", "the options of a subcommand: `status::Options`"),
    ("Session", "a connection to one kind of server: `postgres::Session`"),
];

/// Where a source has a retired name, and what to call it.
fn retired(source: &Source, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let names = || RETIRED.iter().filter(|(_, _, elsewhere)| !elsewhere.iter().any(|other| path.starts_with(other)));
    let mut is_function = false;
    for (line, word) in tokens_with_tests(&source.text) {
        found.extend(names().filter(|(old, ..)| *old == word).map(|(old, new, _)| format!("{path}:{line}: {old}, now {new}")));
        let is_riddle = if is_function { word.split('_').any(|part| RIDDLES.contains(&part)) } else { RIDDLES.contains(&word.as_str()) };
        if is_riddle && (is_function || path.starts_with("src/")) {
            found.push(format!("{path}:{line}: {word}, a riddle: name what it does or holds"));
        }
        is_function = word == "fn";
    }
    let files = names().map(|(old, new, _)| (*old, *new)).chain(RETIRED_FILES.iter().copied());
    for (old, new) in files {
        if path.split('/').any(|part| part.strip_suffix(".rs").unwrap_or(part) == old) {
            found.push(format!("{path}: {old}, now {new}"));
        }
    }
    found
}

fn path_of(source: &Source) -> String {
    source.path.strip_prefix(super::root()).unwrap_or(&source.path).display().to_string()
}

#[test]
fn retired_names_do_not_come_back() {
    let all: Vec<Source> = ["src", "tests", "fuzz/src", "fuzz/targets"].into_iter().flat_map(below).collect();
    none("retired names", &all.iter().flat_map(|source| retired(source, &path_of(source))).collect::<Vec<_>>());
    let idle = RETIRED.iter().flat_map(|(old, _, elsewhere)| elsewhere.iter().map(move |path| (*old, *path))).filter(|(old, path)| {
        let has = |source: &Source| tokens_with_tests(&source.text).iter().any(|(_, word)| word == old);
        !all.iter().any(|source| path_of(source).starts_with(path) && has(source))
    });
    none("exceptions that are no longer needed", &idle.map(|(old, path)| format!("{old} in {path}")).collect::<Vec<_>>());
}

#[test]
fn retired_names_are_recognised() {
    let found = |path: &str, text: &str| retired(&Source::example("a.rs", text), path);
    assert_eq!(
        found("src/a.rs", "struct Pen;\nfn f(errands: u8) {}"),
        ["src/a.rs:1: Pen, now HeartbeatWriter", "src/a.rs:2: errands, now exec_probes"]
    );
    assert_eq!(
        found("tests/it/a.rs", "fn who_is_told() {\n    let said = 1;\n}"),
        ["tests/it/a.rs:1: who_is_told, a riddle: name what it does or holds"]
    );
    assert_eq!(found("src/a.rs", "let asked = 1;").len(), 1);
    assert_eq!(found("src/a.rs", "#[cfg(test)]\nmod tests {\n    use super::Why;\n}").len(), 1);
    assert_eq!(found("src/registry/beat.rs", ""), ["src/registry/beat.rs: registry, now heartbeat, heartbeat_reader"]);
    assert_eq!(found("tests/it/answers.rs", ""), ["tests/it/answers.rs: answers, now response_cache, last_results"]);
    for (path, text) in [("src/a.rs", "// Pen\nconst C: &str = \"Pen\";"), ("src/names/message.rs", "Class::IN"), ("src/a.rs", "OpenPen")] {
        assert_eq!(found(path, text), Vec::<String>::new(), "{text}");
    }
}

/// The public types of a source with their lines.
fn public_types(text: &str) -> Vec<(usize, String)> {
    let tokens = tokens_with_tests(text);
    let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
    let declared = |index: &usize| word(*index) == "pub" && matches!(word(index + 1), "struct" | "enum" | "trait" | "type" | "union");
    (0..tokens.len()).filter(declared).map(|index| (tokens[index].0, word(index + 2).to_owned())).collect()
}

#[test]
fn no_two_public_types_have_one_name() {
    assert_eq!(
        public_types("pub struct A;\npub(super) struct B;\npub enum C {}\n// pub struct D;"),
        [(1, "A".to_owned()), (3, "C".to_owned())]
    );
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in below("src") {
        for (line, name) in public_types(&source.text) {
            by_name.entry(name).or_default().push(source.at(line));
        }
    }
    by_name.retain(|_, places| places.len() > 1);
    let idle: Vec<&str> = SHARED.iter().map(|(name, _)| *name).filter(|name| by_name.remove(*name).is_none()).collect();
    none("names that are not shared: take them off the list", &idle);
    none("public types of one name", &by_name.iter().map(|(name, places)| format!("{name}: {}", places.join(", "))).collect::<Vec<_>>());
}
