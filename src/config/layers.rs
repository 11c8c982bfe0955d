//! Merges flags over environment over file over preset; the highest layer that sets a key wins.

use std::path::Path;

use crate::config::configuration::Configuration;
use crate::config::fit;
use crate::config::interpolate::looks_secret;
use crate::config::node::{Entry, Node, Table, Value, merge, parse_document};
use crate::config::origin::Origin;
use crate::config::preset::{self, Differences};
use crate::config::problem::Problem;
use crate::config::reader::{Context, keys_of};
use crate::config::source::{Environment, open_file};

/// The prefix of all variables of portcullis.
pub const PREFIX: &str = "PORTCULLIS_";

/// Variables of portcullis that are not keys of the file.
const OWN_VARIABLES: [&str; 9] = [
    "PORTCULLIS_BARE",
    "PORTCULLIS_CONFIG",
    "PORTCULLIS_EXEC",
    "PORTCULLIS_HEALTH_TOKEN",
    "PORTCULLIS_INSTANCE_ID",
    // Variables that portcullis sets for a migration, in case the migration itself starts portcullis.
    "PORTCULLIS_LOCK_FENCE",
    "PORTCULLIS_LOG",
    "PORTCULLIS_LOG_FORMAT",
    "PORTCULLIS_PRESET",
];

/// Removed keys, and what replaces them.
const GONE: [(&str, &str); 1] = [(
    "extra_args",
    "no longer exists: rules in `[[arguments]]` handle the arguments; one with `ignore = true` drops those that a mode does not take",
)];

/// An option of the command line that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key with its sections, as `process.stop_timeout`.
    pub key: String,
    /// Its value as text.
    pub value: String,
    /// The option, as `--stop-timeout`, for messages.
    pub flag: String,
}

/// The sources of the layers.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The file that a flag names.
    pub file: Option<&'a Path>,
    /// The preset that a flag names.
    pub preset: Option<&'a str>,
    /// Keys that flags set.
    pub overrides: &'a [Override],
}

/// Reads all layers and merges them.
pub fn load(layers: Layers<'_>, environment: &Environment, problems: &mut Vec<Problem>) -> Table {
    let mut tree = lay(layers, environment, problems).0;
    take_gone(&mut tree);
    tree
}

/// Removes the keys that no longer exist; returns a message for each.
fn take_gone(tree: &mut Table) -> Vec<Problem> {
    let problems = GONE.iter().filter_map(|(key, why)| Some(Problem::at(&tree.get(key)?.origin, format!("`{key}` {why}")))).collect();
    tree.retain(|entry| GONE.iter().all(|(key, _)| entry.key != *key));
    problems
}

/// Reads `[mode.api]` as the intended `[modes.api]`, so that its content is validated, too; returns the problem to report.
fn take_misnamed(tree: &mut Table) -> Option<Problem> {
    let has_modes = tree.get("modes").is_some();
    let named = tree.get_mut("mode").filter(|entry| matches!(entry.node.value, Value::Table(_)))?;
    let problem = Problem::at(&named.origin, "`mode` is a table; did you mean `modes`? `mode` names the one that is started");
    if has_modes {
        tree.retain(|entry| entry.key != "mode");
    } else {
        "modes".clone_into(&mut named.key);
    }
    Some(problem)
}

/// Like [`load`] for a whole reading; adds a notice if the preset is for another version of the application.
pub fn load_and_look<'e>(layers: Layers<'_>, context: &'e Context<'e>) -> Table {
    let mut broken = Vec::new();
    let (mut tree, chosen, section) = lay(layers, context.environment, &mut broken);
    context.unreadable(broken);
    for problem in take_gone(&mut tree).into_iter().chain(take_misnamed(&mut tree)) {
        context.problem(problem);
    }
    if let Some(section) = section {
        fit::look(&section, chosen, context);
    }
    tree
}

/// The tree, the name of the preset below it, and `[preset]`.
fn lay(layers: Layers<'_>, environment: &Environment, problems: &mut Vec<Problem>) -> (Table, Option<&'static str>, Option<Entry>) {
    let file = environment.file(layers.file);
    let mut upper = file.as_deref().map(|path| read_file(path, problems)).unwrap_or_default();
    let differences = Differences::take(&mut upper, problems);
    let named = match layers.preset {
        Some(name) => Some((name.to_owned(), Origin::Flag("--preset".into()))),
        None => own_variable("PORTCULLIS_PRESET", environment, problems),
    };
    let named = named.or_else(|| Some((differences.name()?.to_owned(), differences.extends.as_ref()?.origin.clone())));
    let below = match &named {
        Some((name, origin)) => preset::read(name).map_err(|why| problems.push(Problem::at(origin, why))).ok(),
        None if file.is_none() => Some(preset::without_file()),
        None => Some(Table::default()),
    };
    // `without` does nothing if the preset is missing; that is not a second error.
    let mut tree = below.map(|below| differences.leave_out(below, problems)).unwrap_or_default();
    merge(&mut tree, upper);
    let mut keys = keys_of::<Configuration>().to_vec();
    keys.extend(GONE.map(|(key, _)| key));
    from_environment(&mut tree, &keys, environment, problems);
    for Override { key, value, flag } in layers.overrides {
        let path: Vec<&str> = key.split('.').collect();
        put(&mut tree, &path, value, &Origin::Flag(flag.as_str().into()));
    }
    let section = preset::take(&mut tree, "preset");
    let chosen = named.and_then(|(name, _)| preset::find(&name).ok()).map(|(name, _)| name);
    (tree, chosen, section)
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Table {
    let shown: std::sync::Arc<str> = path.display().to_string().into();
    match open_file(path).and_then(std::io::read_to_string) {
        Ok(text) => {
            let (table, broken) = parse_document(&text, &|line, column| Origin::File { path: shown.clone(), line, column });
            problems.extend(broken);
            table
        }
        Err(error) => {
            problems.push(Problem::missing(format!("cannot read the configuration {shown}: {error}")));
            Table::default()
        }
    }
}

/// The value of a variable of portcullis that is not empty; a problem if it cannot be read.
fn own_variable(name: &str, environment: &Environment, problems: &mut Vec<Problem>) -> Option<(String, Origin)> {
    let origin = Origin::Variable(name.into());
    match environment.lookup(name) {
        Ok(found) => found.filter(|found| !found.value.is_empty()).map(|found| (found.value, origin)),
        Err(why) => {
            problems.push(Problem::at(&origin, why));
            None
        }
    }
}

/// Merges `PORTCULLIS_SECTION__KEY` over the tree; any other variable that begins with `PORTCULLIS_` is a problem.
fn from_environment(tree: &mut Table, keys: &[&str], environment: &Environment, problems: &mut Vec<Problem>) {
    let names: Vec<&str> = environment.names().filter(|name| name.starts_with(PREFIX)).collect();
    for name in &names {
        // `NAME_FILE` gives the value of NAME.
        let plain = name.strip_suffix("_FILE").filter(|plain| !plain.ends_with('_')).unwrap_or(name);
        if OWN_VARIABLES.contains(&plain) || (plain == *name && is_service_link(name)) {
            continue;
        }
        let origin = Origin::Variable((*name).into());
        let path: Vec<&str> = plain[PREFIX.len()..].split("__").collect();
        let known_at_top = keys.iter().any(|key| key.eq_ignore_ascii_case(&plain[PREFIX.len()..]));
        if path.iter().any(|segment| segment.is_empty()) || (path.len() == 1 && !known_at_top) {
            let known: Vec<String> = keys.iter().map(|key| format!("{PREFIX}{}", key.to_ascii_uppercase())).collect();
            let known = || OWN_VARIABLES.into_iter().chain(known.iter().map(String::as_str));
            let hint = match (of_section(&plain[PREFIX.len()..], keys), crate::config::problem::nearest(plain, known())) {
                (Some(likely), _) => format!("; did you mean {PREFIX}{likely}?"),
                (None, Some(near)) => format!("; did you mean {near}?"),
                (None, None) => "; a key of a section is written PORTCULLIS_SECTION__KEY".to_owned(),
            };
            problems.push(Problem::at(&origin, format!("portcullis knows no such variable{hint}")));
            continue;
        }
        match environment.lookup(plain) {
            Ok(Some(found)) => {
                if found.secret || looks_secret("", &found.value) {
                    crate::config::interpolate::remember(&found.value);
                }
                put(tree, &path, &found.value, &origin);
            }
            Ok(None) => {}
            Err(why) => problems.push(Problem::at(&origin, why)),
        }
    }
}

/// The likely meaning of a section and a key that are joined by a single `_`; in a section of names there are two keys to separate.
fn of_section(written: &str, keys: &[&str]) -> Option<String> {
    let (section, key) = keys.iter().find_map(|section| {
        let (before, key) = written.split_at_checked(section.len())?;
        (before.eq_ignore_ascii_case(section)).then_some((before, key.strip_prefix('_')?.trim_start_matches('_')))
    })?;
    match section.to_ascii_lowercase().as_str() {
        _ if key.is_empty() || key.contains("__") => None,
        "checks" | "modes" | "modules" => key.rsplit_once('_').map(|(name, key)| format!("{section}__{name}__{key}")),
        "service" | "mode" => None,
        _ => Some(format!("{section}__{key}")),
    }
}

/// Whether Kubernetes set this variable for a Service whose name begins with `portcullis`.
fn is_service_link(name: &str) -> bool {
    !name.contains("__") && (name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT"))
}

/// Puts one value at `path`, creating tables on the way.
fn put(tree: &mut Table, path: &[&str], value: &str, origin: &Origin) {
    let mut names: Vec<String> = Vec::with_capacity(path.len());
    let mut below = Some(&*tree);
    for segment in path {
        let above: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = matching_key(below, segment, matches!(above.as_slice(), ["env", ..] | ["modes", _, "env"]));
        below = below
            .and_then(|table| table.get(&name))
            .and_then(|entry| if let Value::Table(table) = &entry.node.value { Some(table) } else { None });
        names.push(name);
    }
    let mut node = Node { value: Value::String(value.to_owned()), origin: origin.clone() };
    let mut layer = Table::default();
    for (index, key) in names.into_iter().rev().enumerate() {
        if index > 0 {
            node = Node { value: Value::Table(std::mem::take(&mut layer)), origin: origin.clone() };
        }
        layer = Table::default();
        layer.insert(Entry { key, origin: origin.clone(), node: node.clone() });
    }
    merge(tree, layer);
}

/// The existing key that matches `segment`, in any case and with `_` for `-` and `.`; else `segment` in lower case, or unchanged in `env`.
fn matching_key(table: Option<&Table>, segment: &str, keep_case: bool) -> String {
    if keep_case {
        let own = ["default", "expand_files", "expand_files_conflict", "files"].into_iter().find(|key| key.eq_ignore_ascii_case(segment));
        return own.unwrap_or(segment).to_owned();
    }
    let folded = |byte: u8| if matches!(byte, b'-' | b'.') { b'_' } else { byte.to_ascii_lowercase() };
    let is_it = |entry: &&Entry| entry.key.bytes().map(folded).eq(segment.bytes().map(folded));
    let present = table.and_then(|table| table.iter().find(is_it));
    present.map_or_else(|| segment.to_ascii_lowercase(), |entry| entry.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["mode", "service", "checks", "env"];

    fn lay(file: &str, variables: &[(&str, &str)], overrides: &[Override]) -> (String, Vec<String>) {
        let (mut tree, _) = parse_document(file, &|line, column| Origin::File { path: "p".into(), line, column });
        let mut problems = Vec::new();
        from_environment(&mut tree, &KEYS, &Environment::new(variables.iter().copied()), &mut problems);
        for Override { key, value, flag } in overrides {
            put(&mut tree, &key.split('.').collect::<Vec<_>>(), value, &Origin::Flag(flag.as_str().into()));
        }
        (show(&tree), problems.iter().map(Problem::to_string).collect())
    }

    fn show(table: &Table) -> String {
        let value = |node: &Node| match &node.value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Table(table) => format!("{{{}}}", show(table)),
            value => value.kind().to_owned(),
        };
        table.iter().map(|entry| format!("{}={}", entry.key, value(&entry.node))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn variables_lie_over_the_file_and_flags_over_variables() {
        let file = "mode = 'api'\n[checks.doc-engine]\nurl = 'a'\nwait = 1\n";
        let variables = [("PORTCULLIS_MODE", "worker"), ("PORTCULLIS_CHECKS__DOC_ENGINE__WAIT", "2s"), ("PORTCULLIS_ENV__Http_Proxy", "x")];
        assert_eq!(lay(file, &variables, &[]).0, "mode=worker checks={doc-engine={url=a wait=2s}} env={Http_Proxy=x}");
        let flag = Override { key: "mode".into(), value: "beat".into(), flag: "--mode".into() };
        assert_eq!(lay(file, &variables, &[flag]).0, "mode=beat checks={doc-engine={url=a wait=2s}} env={Http_Proxy=x}");
    }

    #[test]
    fn only_names_of_variables_keep_their_case() {
        let variables =
            [("PORTCULLIS_CHECKS__ENV__URL", "a"), ("PORTCULLIS_ENV__DEFAULT__Lang", "b"), ("PORTCULLIS_ENV__EXPAND_FILES", "c")];
        assert_eq!(lay("", &variables, &[]).0, "checks={env={url=a}} env={default={Lang=b} expand_files=c}");
        assert_eq!(lay("", &[("PORTCULLIS_MODE_", "x")], &[]).1.len(), 1);
    }

    #[test]
    fn a_new_address_replaces_the_whole_old_one() {
        let file = "[checks.db]\nkind = 'postgres'\nhost = 'a'\npassword = 'b'\nquery = 'c'\nwait = 1\n";
        assert_eq!(lay(file, &[("PORTCULLIS_CHECKS__DB__URL", "tcp://x:1")], &[]).0, "checks={db={wait=1 url=tcp://x:1}}");
        assert_eq!(lay("[checks.db]\nurl = 'a'\n", &[("PORTCULLIS_CHECKS__DB__HOST", "x")], &[]).0, "checks={db={url=a host=x}}");
    }

    #[test]
    fn a_table_that_says_what_something_is_replaces_another_one_whole() {
        let over = |lower: &str, upper: &str| {
            let read = |text: &str| parse_document(text, &|line, column| Origin::File { path: "p".into(), line, column }).0;
            let mut tree = read(lower);
            merge(&mut tree, read(upper));
            show(&tree)
        };
        for (lower, upper, result) in [
            ("[env]\nA = { command = 'x' }\nB = 'b'", "[env]\nA = { value = 'y' }", "env={A={value=y} B=b}"),
            ("[env.default]\nA = { glob = 'x', when = 'w' }", "[env.default]\nA = { file = 'y' }", "env={default={A={file=y}}}"),
            ("[modes.a.env]\nA = { file = 'x' }", "[modes.a.env]\nA = { unset = 1 }", "modes={a={env={A={unset=1}}}}"),
            (
                "[conditions]\nnew = { file = 'x', exists = 1 }",
                "[conditions]\nnew = { var = 'X', eq = 'y' }",
                "conditions={new={var=X eq=y}}",
            ),
            ("[migrations]\nwhen = { var = 'X', eq = '1' }", "[migrations]\nwhen = { args = 0 }", "migrations={when={args=0}}"),
            ("[process.limits]\nnofile = 1", "[process.limits]\nnproc = 2", "process={limits={nofile=1 nproc=2}}"),
            ("[env]\nurl = 'a'\nhost = 'b'", "[env]\nurl = 'c'", "env={url=c host=b}"),
        ] {
            assert_eq!(over(lower, upper), result, "{lower} | {upper}");
        }
    }

    #[test]
    fn a_table_given_as_text_is_merged_like_a_table() {
        let variables = [("PORTCULLIS_CHECKS__DB", r#"{"wait": 2}"#)];
        assert_eq!(lay("[checks.db]\nurl = 'a'\nwait = 1\n", &variables, &[]).0, "checks={db={url=a wait=2}}");
    }

    #[test]
    fn an_unknown_variable_is_a_problem_and_those_of_kubernetes_are_not() {
        let ignored =
            ["PORTCULLIS_PORT", "PORTCULLIS_SERVICE_HOST", "PORTCULLIS_PORT_80_TCP_ADDR", "PORTCULLIS_API_PORT", "PORTCULLIS_LOG"];
        let variables = ignored.map(|name| (name, "x"));
        assert_eq!(lay("", &variables, &[]), (String::new(), vec![]));
        for (name, problem) in [
            ("PORTCULLIS_CONFIGS", "portcullis knows no such variable; did you mean PORTCULLIS_CONFIG?"),
            ("PORTCULLIS_ENV_LANG", "portcullis knows no such variable; did you mean PORTCULLIS_ENV__LANG?"),
            ("PORTCULLIS_CHECKS_DB_URL", "portcullis knows no such variable; did you mean PORTCULLIS_CHECKS__DB__URL?"),
            ("PORTCULLIS_MOD", "portcullis knows no such variable; did you mean PORTCULLIS_MODE?"),
            ("PORTCULLIS_CHECKS__", "portcullis knows no such variable; did you mean PORTCULLIS_CHECKS?"),
        ] {
            assert_eq!(lay("", &[(name, "x")], &[]).1, [format!("environment variable {name}: {problem}")]);
        }
    }
}
