//! How a configuration depends on variables: tests, variants of checks and modes, refusals, checks of one mode.

use super::*;
use crate::plan::StartRefusal;
use crate::plan::target::SslMode;

/// Whether the words `then` are in the command if `when` is evaluated with these variables and arguments.
fn holds(when: &str, variables: &[(&str, &str)], arguments: &[&str]) -> bool {
    let toml = format!("arguments = [{{ ignore = true }}]\n[modes.api]\ncommand = ['serve', {{ when = {when}, then = ['yes'] }}]\n");
    argv(&with(&toml, variables, arguments)) == ["serve", "yes"]
}

#[test]
fn any_of_the_arguments_may_hold() {
    for (when, held) in [
        ("{ argument = 'any', eq = '-p' }", true),
        ("{ argument = 'any', prefix = '--' }", false),
        ("{ not = { argument = 'any', one_of = ['--help', '--version'] } }", true),
    ] {
        let toml = format!("arguments = [{{ ignore = true }}]\n[modes.api]\ncommand = ['serve', {{ when = {when}, then = ['yes'] }}]\n");
        assert_eq!(argv(&with(&toml, &[], &["server", "-p"])).len(), if held { 2 } else { 1 }, "{when}");
    }
}

#[test]
fn each_test_holds_when_it_should() {
    let url = [("URL", "redis://cache"), ("FLAG", "True"), ("EMPTY", "")];
    for (when, held) in [
        ("{ var = 'URL', prefix = 'redis://' }", true),
        ("{ var = 'URL', prefix = '' }", true),
        ("{ var = 'URL', prefix = 'rediss://' }", false),
        ("{ var = 'UNSET', prefix = 'redis://' }", false),
        ("{ var = 'FLAG', ieq = 'true' }", true),
        ("{ var = 'FLAG', eq = 'true' }", false),
        ("{ var = 'EMPTY', nonempty = false }", true),
        ("{ var = 'UNSET', eq = '' }", true),
        ("{ args = true }", false),
        ("{ args = false }", true),
        ("[{ var = 'UNSET', nonempty = true }, { var = 'FLAG', nonempty = true }]", true),
        ("{ all = [{ var = 'UNSET', nonempty = true }, { var = 'FLAG', nonempty = true }] }", false),
        ("{ any = [{ var = 'UNSET', nonempty = true }, { var = 'FLAG', nonempty = true }] }", true),
        ("{ not = { var = 'FLAG', nonempty = true } }", false),
        ("{ not = [{ var = 'UNSET', nonempty = true }, { var = 'EMPTY', nonempty = true }] }", true),
        ("{ var = 'FLAG', ne = 'true' }", true),
        ("{ var = 'URL', suffix = 'cache' }", true),
        ("{ var = 'URL', contains = '://c' }", true),
        ("{ var = 'FLAG', truthy = true }", true),
        ("{ var = 'UNSET', truthy = false }", true),
        ("{ var = 'URL', truthy = true }", false),
        ("{ var = 'EMPTY', set = true }", true),
        ("{ var = 'UNSET', set = true }", false),
        ("{ var = 'UNSET', set = false }", true),
        ("{ var = 'FLAG', one_of = ['x', 'True'] }", true),
        ("{ var = 'FLAG', one_of = ['x', 'true'] }", false),
        ("{ argument = 1, eq = '' }", true),
        ("{ file = '/etc/passwd', exists = true }", true),
        ("{ file = '/etc', exists = true }", false),
        ("{ directory = '/etc', exists = true }", true),
        ("{ directory = '/etc', empty = false }", true),
        ("{ directory = '/etc', contains = 'passwd' }", true),
        ("{ file = '/etc/passwd', contains = 'root:' }", true),
        ("{ file = '/etc/passwd', executable = false }", true),
        ("{ file = '/nonexistent', exists = false }", true),
        ("{ all = [{ args = false }, [{ var = 'UNSET', eq = 'x' }, { var = 'FLAG', eq = 'True' }]] }", true),
    ] {
        assert_eq!(holds(when, &url, &[]), held, "{when}");
    }
    assert!(holds("{ args = true }", &[], &["x"]) && !holds("{ args = false }", &[], &["x"]));
    for (when, held) in [
        ("{ argument = 1, eq = 'server' }", true),
        ("{ argument = 2, prefix = '-' }", true),
        ("{ argument = -1, eq = '-p' }", true),
        ("{ argument = -2, one_of = ['server'] }", true),
        ("{ argument = -3, nonempty = true }", false),
        ("{ argument = 3, nonempty = true }", false),
    ] {
        assert_eq!(holds(when, &[], &["server", "-p"]), held, "{when}");
    }
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(holds("{ root = true }", &[], &[]), root);
    assert_eq!(holds("{ user = 'root' }", &[], &[]), root);
    assert!(holds(&format!("{{ user = '{}' }}", nix::unistd::geteuid()), &[], &[]) && !holds("{ user = '54321' }", &[], &[]));
    let odd = with("[modes.api]\ncommand = ['x', { when = { var = 'A', truthy = true }, then = ['y'] }]\n", &[("A", "maybe")], &[]);
    assert_eq!(odd.notices, ["A is `maybe`, which is neither `true` nor `false`; it counts as not true"]);
    for (when, expected) in
        [("{ var = 'A', eqq = 'x' }", "unknown key `eqq`"), ("{ all = { var = 'A' } }", "`all` in [modes.api.when] is a table")]
    {
        let toml = format!("[modes.api]\ncommand = ['serve', {{ when = {when}, then = ['yes'] }}]\n");
        let found = problems(&toml, &[], &[]);
        assert!(found.len() == 1 && found[0].contains(expected), "{when}: {found:?}");
    }
    for (when, problem) in [
        ("{ args = true, var = 'A' }", "`args` in [modes.api.when] stands beside another test"),
        ("{ all = [], var = 'A', eq = 'x' }", "`all` in [modes.api.when] stands beside another test"),
        ("{ all = [] }", "[modes.api.when] lists no test"),
        ("{ var = 'A', one_of = [] }", "`one_of` in [modes.api.when] lists no text"),
        ("{ not = { args = true, root = true } }", "`args` in [modes.api.when.not] stands beside another test"),
        (
            "{ var = 'A', eq = 'x', prefix = 'y' }",
            "needs exactly one of `eq`, `ne`, `ieq`, `prefix`, `suffix`, `contains`, `lt`, `le`, `gt`, `ge`, `set`, `nonempty`, `truthy`, `one_of` beside `var`",
        ),
        ("{ var = 'A', exists = true }", "`one_of` beside `var`"),
        ("{ var = 'A' }", "`one_of` beside `var`"),
        (
            "{ file = '/x', eq = 'y' }",
            "needs exactly one of `exists`, `empty`, `executable`, `readable`, `writable`, `contains` beside `file`",
        ),
        (
            "{ directory = '/x', executable = true }",
            "needs exactly one of `exists`, `empty`, `readable`, `writable`, `contains` beside `directory`",
        ),
        ("{ root = true, eq = 'y' }", "`root` in [modes.api.when] stands beside another test"),
        (
            "{ argument = 'some', eq = 'y' }",
            "`argument` in [modes.api.when] is `some`; expected a whole number from -1000 to 1000, or `any`",
        ),
        ("{ argument = 0, eq = 'y' }", "`argument` in [modes.api.when] is 0; the first argument is 1, the last is -1"),
        ("{ user = 'no-such-user' }", "`user` in [modes.api.when] knows no user `no-such-user`"),
        ("{ command = ['true'] }", "`command` in [modes.api.when] is possible only in [conditions], [[files]] and [[steps]]"),
        ("{ prefix = 'y' }", "`var` in [modes.api.when] is missing"),
    ] {
        let toml = format!("[modes.api]\ncommand = ['serve', {{ when = {when}, then = ['yes'] }}]\n");
        let found = problems(&toml, &[], &[]).join("\n");
        assert!(found.contains(problem), "{when}: {found}");
    }
}

const CHECK: &str = "
[checks.db]
kind = 'mysql'
host = 'h'
user = 'u'
wait = '5s'
[[checks.db.variants]]
when = { var = 'KIND', eq = 'postgres' }
kind = 'postgres'
[[checks.db.variants]]
when = { var = 'KIND', prefix = 'p' }
url = 'tcp://other:${PORT}'
wait = '7s'
[modes.api]
command = ['serve']
";

#[test]
fn a_check_is_varied_by_the_first_variant_that_holds() {
    for (kind, shown, wait) in [("", "mysql://u@h:3306/", 5), ("postgres", "postgres://u@h:5432/u", 5), ("p", "tcp://other:9", 7)] {
        let plan = with(CHECK, &[("KIND", kind), ("PORT", "9")], &[]);
        let [check] = plan.checks.as_slice() else { panic!("one check") };
        assert_eq!((check.target.to_string().as_str(), check.wait), (shown, Duration::from_secs(wait)), "{kind}");
    }
    // What is not taken may have unset variables, but no unknown keys.
    assert_eq!(with(CHECK, &[("KIND", "")], &[]).checks.len(), 1);
    let wrong = CHECK.replace("kind = 'postgres'", "kinds = 'postgres'").replace("when = { var = 'KIND', prefix = 'p' }\n", "");
    let found = problems(&wrong, &[("KIND", "")], &[]).join("\n");
    assert!(found.contains("unknown key `kinds` in [checks.db.variants]; did you mean `kind`?"), "{found}");
    assert!(found.contains("`when` in [checks.db.variants] is missing"), "{found}");
}

#[test]
fn errors_of_a_check_or_a_variant_are_reported_where_they_were_written_whether_or_not_it_is_selected() {
    let wrong = "[checks.db]\nkind = 'mysql'\nhost = 'h'\nwait = 5\n\
                 [[checks.db.variants]]\nwhen = { var = 'KIND', eq = 'p' }\nwait = '7s'\naffects = 'all'\n\
                 [[checks.db.variants]]\nwhen = { var = 'KIND', eq = 'q' }\ntimeout = '1ms'\nport = '${UNSET}'\n";
    for kind in ["", "p"] {
        let found = problems(wrong, &[("KIND", kind)], &["app"]);
        let places: Vec<&str> = found.iter().filter_map(|line| line.split(" is ").next()).collect();
        assert_eq!(
            places,
            ["p:4:8: `wait` in [checks.db]", "p:8:11: `affects` in [checks.db.variants]", "p:11:11: `timeout` in [checks.db.variants]"],
            "{kind}: {found:#?}"
        );
    }
}

#[test]
fn no_check_is_lost_without_a_word() {
    for check in [
        "url = ''",
        "url = '://h:1'",
        "url = ':'",
        "url = '://'",
        "kind = ''",
        "kind = ''\nurl = '://h'",
        "variables = ''",
        "url = 'exec:'",
        "targets = []",
        "targets = ['x']",
        "targets = [{}]",
        "kind = 'exec'\ncommand = []",
        "kind = 'redis'\nhost = ''",
        "kind = 'tcp'\nhost = 'h'\nport = ''",
        "variants = []",
    ] {
        let found = problems(&format!("[checks.db]\n{check}\n"), &[], &["app"]);
        assert!(found.iter().any(|line| line.contains("checks.db")), "{check}: {found:?}");
    }
}

#[test]
fn a_query_stands_behind_the_parts_as_it_is() {
    let toml = "[checks.db]\nkind = 'postgres'\nhost = 'h'\nquery = '${EXTRAS:-}'\n[modes.api]\ncommand = ['serve']\n";
    let target = |extras: &str| match with(toml, &[("EXTRAS", extras)], &[]).checks.remove(0).target {
        Target::Postgres(target) => (target.sslmode, target.database),
        other => panic!("{other:?}"),
    };
    assert_eq!(target(""), (SslMode::Prefer, "postgres".to_owned()));
    assert_eq!(target("?sslmode=require&options=-c%20a%3Db"), (SslMode::Require, "postgres".to_owned()));
    assert_eq!(target("dbname=my%20db&sslmode=disable"), (SslMode::Disable, "my db".to_owned()));
    let beside = toml.replace("kind = 'postgres'\nhost = 'h'", "url = 'postgres://h/x?sslmode=allow'");
    assert!(
        matches!(&with(&beside, &[("EXTRAS", "connect_timeout=3")], &[]).checks[0].target, Target::Postgres(target) if target.sslmode == SslMode::Allow)
    );
    let other = toml.replace("'postgres'", "'tcp'");
    assert!(problems(&other, &[], &[]).join("\n").contains("`query` in [checks.db] has no effect for a target of kind tcp"));
}

const MODES: &str = "
arguments = [{ ignore = true }]
[checks.db]
url = 'tcp://general:1'
[modes.api]
command = ['serve']
third_stop = 'forward'
started = { url = 'tcp://127.0.0.1:80' }
checks = { own = { url = 'tcp://own:1' }, db = { url = 'tcp://of-the-mode:1', wait = '0s' } }
[[modes.api.variants]]
when = { var = 'DEBUG', eq = 'true' }
started = { url = 'tcp://127.0.0.1:81' }
[modes.job]
command = ['flask', { args = true }]
[[modes.job.variants]]
when = { args = false }
refuse = { code = 3, message = 'name a command' }
[migrations]
enabled = '${MIGRATE:-false}'
command = ['migrate']
lock = 'none'
";

#[test]
fn a_mode_has_its_own_checks_and_a_variant_its_own_start() {
    let checks = |mode: &str| -> Vec<String> {
        with(MODES, &[("MODE", mode)], &["x"]).checks.iter().map(|check| format!("{} {}", check.name, check.target)).collect()
    };
    assert_eq!(checks("job"), ["db tcp://general:1"]);
    assert_eq!(checks("api"), ["own tcp://own:1", "db tcp://of-the-mode:1"]);
    for (debug, port) in [("", "80"), ("true", "81")] {
        let main = with(MODES, &[("MODE", "api"), ("DEBUG", debug)], &[]).main.unwrap();
        assert!(main.signals.never_kills);
        let StartSign::Answers { target, .. } = main.started.unwrap().sign else { panic!("it answers") };
        assert_eq!(target.to_string(), format!("tcp://127.0.0.1:{port}"));
    }
    let wrong = MODES.replace("own = { url", "own = { ulr");
    assert!(problems(&wrong, &[("MODE", "job")], &["x"]).join("\n").contains("unknown key `ulr` in [modes.api.checks.own]"));
}

#[test]
fn a_mode_refuses_a_process_after_its_migration() {
    for migrates in ["true", "false"] {
        let plan = with(MODES, &[("MODE", "job"), ("MIGRATE", migrates)], &[]);
        assert_eq!(plan.refusal, Some(StartRefusal { code: 3, message: "name a command".to_owned() }));
        assert!(plan.main.is_none());
        assert_eq!(plan.migration.is_some(), migrates == "true");
    }
    let plan = with(MODES, &[("MODE", "job")], &["create"]);
    assert_eq!((argv(&plan), &plan.refusal), (vec!["flask", "create"], &None));
    for (from, to, problem) in [
        ("code = 3, ", "code = 0, ", "expected a whole number from 1 to 255"),
        (", message = 'name a command'", "", "`message` in [modes.job.variants.refuse] is missing"),
        ("refuse = {", "command = ['x']\nrefuse = {", "starts no process, so `command` and `started` have no effect"),
    ] {
        let found = problems(&MODES.replace(from, to), &[("MODE", "api")], &[]).join("\n");
        assert!(found.contains(problem), "{found}");
    }
}
