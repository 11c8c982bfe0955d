//! How `[env]` changes the environment, and who sees it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use super::*;
use crate::config::source::CommandRunner;

/// The value of a variable for the process; none if the plan does not set it.
fn value<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
    plan.main.as_ref()?.command.env.iter().find(|(set, _)| set == name).map(|(_, word)| word.value())
}

const TAIL: &str = "[modes.api]\ncommand = ['true']\n";

#[test]
fn each_entry_sees_those_before_it_and_the_whole_configuration_sees_all() {
    let toml = "[env]\nHOST = 'db'\nURL = 'http://${HOST}:${PORT:-1}/'\nPATH = '/x:${PATH}'\nPORT = 2\n[checks.web]\nurl = 'tcp://${HOST}:${PORT}'\n\
        [modes.api]\ncommand = ['echo', '${URL}', '${PATH}']\nenv = { A = '${HOST}-a', B = '${A}-b' }\n";
    let plan = with(toml, &[("PATH", "/bin"), ("HOST", "other")], &[]);
    assert_eq!(argv(&plan), ["echo", "http://db:1/", "/x:/bin"]);
    assert_eq!(plan.checks.first().unwrap().target.to_string(), "tcp://db:2");
    assert_eq!((value(&plan, "A"), value(&plan, "B")), (Some("db-a"), Some("db-a-b")));
}

#[test]
fn a_default_is_for_what_is_unset_or_empty_and_is_not_looked_at_otherwise() {
    let toml =
        format!("[env]\nOWN = 'own'\n[env.default]\nOWN = '${{UNSET}}'\nGIVEN = '${{UNSET}}'\nEMPTY = 'e-${{OWN}}'\nNONE = 'n'\n{TAIL}");
    let plan = with(&toml, &[("GIVEN", "g"), ("EMPTY", "")], &[]);
    assert_eq!(
        [value(&plan, "OWN"), value(&plan, "GIVEN"), value(&plan, "EMPTY"), value(&plan, "NONE")],
        [Some("own"), None, Some("e-own"), Some("n")]
    );
    let before = with("[env.default]\nA = 'd'\n[env]\nB = '${A}'\n[modes.api]\ncommand = ['true']\n", &[], &[]);
    assert_eq!(value(&before, "B"), Some("d"), "a table that is written first is seen first");
}

#[test]
fn the_first_case_that_holds_is_taken() {
    let toml = format!(
        "[env]\nA = [{{ value = 'one', when = {{ var = 'X', eq = '1' }} }}, {{ value = 'two', when = {{ var = 'X', eq = '2' }} }}]\n\
         B = {{ value = 'b', default = true }}\nC = {{ unset = true }}\n{TAIL}"
    );
    let plan = with(&toml, &[("X", "2"), ("B", "given"), ("C", "c")], &[]);
    assert_eq!((value(&plan, "A"), value(&plan, "B")), (Some("two"), None));
    assert_eq!(plan.main.as_ref().unwrap().command.env_remove, ["C"]);
    assert_eq!(value(&with(&toml, &[("X", "3")], &[]), "A"), None, "none holds: untouched");
    let without_tables = format!("[env]\nA = [{{ value = 'one', when = {{ var = 'X', eq = '1' }} }}, 7]\nB = [true]\n{TAIL}");
    let plan = with(&without_tables, &[], &[]);
    assert_eq!((value(&plan, "A"), value(&plan, "B")), (Some("7"), Some("true")), "as outside of a list");
}

#[test]
fn a_value_has_exactly_one_form() {
    for (entry, problem) in [
        ("A = { value = 'x', url = 'tcp://h:1' }", "excludes other forms: a variable has exactly one of"),
        ("A = { default = true }", "excludes other forms: a variable has exactly one of"),
        ("A = { value = 'x', keep = '/k' }", "is the file of a generated value"),
        ("A = { generate = 'hex' }", "is not one of `hex:N`"),
        ("A = { generate = 'alnum:0' }", "is not one of `hex:N`"),
        ("A = { vaule = 'x' }", "unknown key `vaule`"),
        ("A = { url = 'tcp://h:${P}' }", "has a variable for its port"),
        ("A = { file = '/no/such/file' }", "cannot be read"),
        ("A = [[1]]", "a case of [env.A] is a list"),
        ("A = []", "`A` in [env] lists no case"),
    ] {
        let found = problems(&format!("[env]\n{entry}\n{TAIL}"), &[("P", "x/y")], &[]);
        assert!(found.len() == 1 && found.first().unwrap().contains(problem), "{entry}: {found:?}");
    }
}

#[test]
fn files_stand_for_the_names_that_a_pattern_fits_and_a_conflict_goes_as_configured() {
    let file = File::new("from-the-file\n");
    let path = file.0.to_str().unwrap();
    let variables = [("PG_USER_FILE", path), ("PG_PASS_FILE", path), ("PG_PASS", "own"), ("OTHER_FILE", path)];
    let read = |conflict: &str| try_with(&format!("[env]\nexpand_files = ['PG_*']\n{conflict}\n{TAIL}"), &variables, &[]);
    assert!(read("").err().unwrap().to_string().contains("both PG_PASS and PG_PASS_FILE are set"));
    let by_file = read("expand_files_conflict = 'file'").unwrap();
    assert_eq!(
        [value(&by_file, "PG_USER"), value(&by_file, "PG_PASS"), value(&by_file, "OTHER")],
        [Some("from-the-file"), Some("from-the-file"), None]
    );
    let by_variable = read("expand_files_conflict = 'variable'").unwrap();
    assert_eq!((value(&by_variable, "PG_USER"), value(&by_variable, "PG_PASS")), (Some("from-the-file"), None));
    assert!(by_variable.main.unwrap().command.env_remove.contains(&"PG_PASS_FILE".to_owned()));
}

#[test]
fn nothing_is_created_if_no_step_creates_it() {
    let keep = std::env::temp_dir().join(format!("portcullis-kept-{}", std::process::id()));
    let toml = format!(
        "[env]\nK = {{ generate = 'hex:4', keep = '{}' }}\nC = {{ command = ['touch', '/no/such/place'] }}\n{TAIL}",
        keep.display()
    );
    let plan = with(&toml, &[], &[]);
    assert!(!keep.exists());
    assert_eq!(plan.notices.iter().filter(|notice| notice.contains("`run`")).count(), 2, "{:?}", plan.notices);
    std::fs::write(&keep, "abc\n").unwrap();
    let short = with(&toml, &[], &[]);
    assert_eq!(value(&short, "K"), Some("abc"));
    assert!(
        short.notices.iter().any(|notice| notice.contains("K has 3 characters") && notice.contains("and 8 would be")),
        "{:?}",
        short.notices
    );
    std::fs::write(&keep, "\n").unwrap();
    let empty = problems(&toml, &[], &[]);
    std::fs::remove_file(&keep).unwrap();
    assert!(empty.first().unwrap().contains("which is empty"), "{empty:?}");
}

proptest! {
    #[test]
    fn what_a_url_is_made_of_is_read_back_from_it(user in "\\PC+", password in "\\PC+", database in "\\PC+", option in "\\PC+", port in 1_u16..) {
        let number = port.to_string();
        let variables = [("U", user.as_str()), ("P", password.as_str()), ("D", database.as_str()), ("O", option.as_str()), ("N", number.as_str())];
        let toml = format!("[env]\nA = {{ url = 'pg+x://${{U}}:${{P}}@${{H:-::1}}:${{N}}/${{D}}?o=${{O}}' }}\n{TAIL}");
        let plan = with(&toml, &variables, &[]);
        let address = target_url::ParsedUrl::parse(value(&plan, "A").unwrap()).unwrap();
        prop_assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some(user.as_str()), Some(password.as_str())));
        prop_assert_eq!((address.host.as_str(), address.port), ("::1", Some(port)));
        prop_assert_eq!(address.database().unwrap(), database);
        prop_assert_eq!(address.parameters(), [("o".to_owned(), option)]);
    }
}

#[test]
fn files_of_lines_become_variables_that_everything_sees() {
    let one = File::new("export DB_HOST='db'\nDB_PASSWORD=\"s3cret word\"\nFROM=$GIVEN/${DB_HOST}\n");
    let wrong = File::new("A=1\nB=$(cat /x)\n");
    let files = format!("{},/no/such/file", one.0.display());
    let toml = format!("[env]\nfiles = {{ split = '${{FILES:-}}', at = ',' }}\nURL = 'tcp://${{DB_HOST}}:1'\n{TAIL}");
    let plan = with(&toml, &[("FILES", &files), ("GIVEN", "g"), ("DB_HOST", "other")], &[]);
    assert_eq!(
        ["DB_HOST", "DB_PASSWORD", "FROM", "URL"].map(|name| value(&plan, name)),
        [Some("db"), Some("s3cret word"), Some("g/db"), Some("tcp://db:1")]
    );
    let shown = |name: &str| plan.main.as_ref().unwrap().command.env.iter().find(|(set, _)| set == name).unwrap().1.shown().to_owned();
    assert_eq!((shown("DB_PASSWORD").as_str(), shown("FROM").as_str()), ("***", "g/db"));
    let remark = "/no/such/file, which `files` in [env] names, is no file that is there; it is passed over";
    assert!(plan.remarks.iter().any(|other| other == remark), "{:?}", plan.remarks);
    assert_eq!(value(&with(&toml, &[("DB_HOST", "own")], &[]), "URL"), Some("tcp://own:1"));
    let listed = toml.replace("{ split = '${FILES:-}', at = ',' }", &format!("['{}']", wrong.0.display()));
    let found = problems(&listed, &[("DB_HOST", "own")], &[]);
    assert!(found.len() == 1 && found[0].contains("cannot be taken: line 2 has a `$(`"), "{found:?}");
}

#[test]
fn words_of_a_command_line_need_no_shell_and_a_shell_is_named_where_one_is_needed() {
    let toml = "[modes.api]\ncommand = ['run', { words = '${LINE}' }, 'end']\n";
    let plan = with(toml, &[("LINE", "vault read -field='pass word' \"$HOST\" # why"), ("HOST", "a b")], &[]);
    assert_eq!(argv(&plan), ["run", "vault", "read", "-field=pass word", "a b", "end"]);
    let secret = with(toml, &[("LINE", "x $DB_PASSWORD"), ("DB_PASSWORD", "hunter2 hunter2")], &[]);
    assert_eq!(secret.main.unwrap().command.argv.to_string(), "run *** *** end");
    let found = problems(toml, &[("LINE", "cat /x | base64 -d")], &[]);
    assert!(found.len() == 1 && found[0].contains("`words` in [modes.api], from LINE, has a `|`, which only a shell can do"), "{found:?}");
}

/// Answers with the names of the variables of portcullis that it gets.
struct Names;

impl CommandRunner for Names {
    fn output(&self, _: &[String], variables: &BTreeMap<OsString, OsString>, _: Duration) -> Result<String, String> {
        let names: Vec<_> = variables.keys().filter_map(|name| name.to_str()).filter(|name| name.starts_with("PORTCULLIS_")).collect();
        Ok(names.join(" "))
    }
}

#[test]
fn commands_of_the_configuration_get_no_secret_of_portcullis() {
    let toml = format!(
        "[conditions.leaks]\ncommand = ['sh', '-c', 'test -n \"$$PORTCULLIS_HEALTH__TOKEN\"']\n\
         [conditions.sees]\ncommand = ['sh', '-c', 'test \"$$PORTCULLIS_MODE\" = api']\n\
         [env]\nOUTPUT = {{ command = ['names'] }}\nLEAKS = {{ value = 'yes', when = {{ condition = 'leaks' }} }}\n\
         SEES = {{ value = 'yes', when = {{ condition = 'sees' }} }}\nPORTCULLIS_OWN_TOKEN = 'set here'\nAGAIN = {{ command = ['names', 'again'] }}\n{TAIL}"
    );
    let file = File::new(&toml);
    let variables = [("PORTCULLIS_HEALTH__TOKEN", "x"), ("PORTCULLIS_MODE", "api"), ("PATH", "/usr/bin:/bin")];
    let environment = Environment::new(variables).with_command_runner(Arc::new(Names));
    let plan = resolve(&RunOptions { file: Some(file.0.clone()), ..RunOptions::default() }, &environment).unwrap();
    assert_eq!(["OUTPUT", "LEAKS", "SEES"].map(|name| value(&plan, name)), [Some("PORTCULLIS_MODE"), None, Some("yes")]);
    assert_eq!(value(&plan, "AGAIN"), Some("PORTCULLIS_MODE PORTCULLIS_OWN_TOKEN"), "what `[env]` sets is for children");
}

#[test]
fn an_error_of_a_case_leaves_no_later_case() {
    let toml = format!("[env]\nA = [{{ value = 'a', when = {{ condition = 'unknown' }} }}, 'b']\nB = '${{A}}'\n{TAIL}");
    let found = problems(&toml, &[("A", "own")], &[]);
    assert!(found.len() == 1 && found[0].contains("refers to `unknown`"), "{found:?}");
}
