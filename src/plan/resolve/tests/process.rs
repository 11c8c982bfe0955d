//! `[process]` and the settings of a mode for its process.

use super::*;

/// Every key of the process at once, in `[process]` and in a mode above it.
const PROCESS: &str = r#"
[process]
user = "4711:4712"
working_directory = "/srv"
umask = "0027"
limits = { nofile = 65536, core = "0:unlimited" }
no_new_privileges = true
parent_death_signal = "KILL"
signal_scope = "group"
rewrite = { TERM = "QUIT", sigint = "15" }
ignore_signals = ["HUP", "RTMIN+3"]
stop_on = ["QUIT"]
success_codes = [143, "0"]
restart = "on-failure"
restart_delay = "2s"
restart_max_delay = "1m"
restart_reset = "5m"
restart_limit = 3
watchdog = "30s"
on_startup_failure = "hold"
grace_period = "1h"
[modes.api]
command = ["serve"]
[modes.worker]
command = ["work"]
umask = "0077"
limits = { core = 1 }
signal_scope = "child"
restart = "never"
ignore_signals = []
started = { notify = true, within = "5s" }
env = { HOME = "/elsewhere" }
"#;

#[test]
fn the_process_and_its_mode_are_read_whole() {
    let plan = with(PROCESS, &[("MODE", "api")], &[]);
    let main = plan.main.clone().unwrap();
    let who = main.command.attributes.user.clone().unwrap();
    assert_eq!((who.uid, who.gid, who.groups), (4711, 4712, vec![4712]));
    assert_eq!(main.command.env.iter().map(|(name, value)| (name.as_str(), value.value())).collect::<Vec<_>>(), [("HOME", "/")]);
    assert_eq!((main.command.attributes.directory, main.command.attributes.umask), (Some("/srv".into()), Some(0o027)));
    assert_eq!(main.command.attributes.limits, [(4, 0, u64::MAX), (7, 65536, 65536)]);
    assert_eq!((main.command.attributes.no_new_privileges, main.command.attributes.parent_death_signal), (true, 9));
    assert!(main.signals.group && plan.hold);
    assert_eq!(main.signals.rewrite.into_iter().collect::<Vec<_>>(), [(2, 15), (15, 3)]);
    assert_eq!(main.signals.ignore.into_iter().collect::<Vec<_>>(), [1, 37]);
    assert_eq!(main.signals.stop_on.into_iter().collect::<Vec<_>>(), [3]);
    assert_eq!(main.success_codes.into_iter().collect::<Vec<_>>(), [0, 143]);
    let seconds = [main.restart.delay, main.restart.longest_delay, main.restart.healthy_after].map(|pause| pause.as_secs());
    assert_eq!((main.restart.policy, seconds, main.restart.limit), (crate::plan::process::RestartPolicy::OnFailure, [2, 60, 300], 3));
    assert_eq!(main.watchdog, Some(Duration::from_secs(30)));

    let main = with(PROCESS, &[("MODE", "worker")], &[]).main.unwrap();
    assert_eq!((main.command.attributes.umask, main.command.attributes.limits), (Some(0o077), vec![(4, 1, 1), (7, 65536, 65536)]));
    assert_eq!(main.command.env.iter().map(|(name, value)| (name.as_str(), value.value())).collect::<Vec<_>>(), [("HOME", "/elsewhere")]);
    assert!(!main.signals.group && main.signals.ignore.is_empty());
    assert!(matches!(main.started.unwrap().sign, StartSign::Notifies));
    let overridden =
        [("MODE", "worker"), ("PORTCULLIS_PROCESS__REWRITE", "{ USR1 = \"USR2\" }"), ("PORTCULLIS_PROCESS__STOP_ON", "[\"HUP\"]")];
    let main = with(PROCESS, &overridden, &[]).main.unwrap();
    assert_eq!(main.signals.rewrite.get(&10), Some(&12));
    assert_eq!(main.signals.stop_on.into_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn wrong_values_of_the_process_are_each_named() {
    for (line, problem) in [
        (
            "user = 'no-such-user'",
            "p:2:8: `user` in [process] knows no user `no-such-user` in /etc/passwd of this image; add it, or write numbers as `1000:1000`",
        ),
        ("umask = 27", "p:2:9: `umask` in [process] is a number; write it in octal and in quotes, as \"0027\""),
        ("umask = '0999'", "p:2:9: `umask` in [process] is `0999`; expected an octal mask up to \"0777\""),
        ("limits = { nofile = 'many' }", "p:2:21: `nofile` in [process.limits] is `many`; expected a number, `unlimited` or `soft:hard`"),
        ("limits = { nofile = '9:3' }", "p:2:21: `nofile` in [process.limits] is `9:3`, a soft limit above the hard one"),
        ("limits = { files = 3 }", "p:2:12: unknown key `files` in [process.limits]; did you mean `nofile`?"),
        ("ignore_signals = ['TREM']", "p:2:19: an item of `ignore_signals` in [process] is `TREM`, not a signal as `TERM` or `15`"),
        ("rewrite = { TREM = 'QUIT' }", "p:2:1: `rewrite` in [process] names `TREM`, which is no signal as `TERM` or `15`"),
        ("rewrite = { TERM = 'QUTI' }", "p:2:20: `TERM` in [process.rewrite] is `QUTI`, not a signal as `TERM` or `15`"),
        ("success_codes = [256]", "p:2:18: an item of `success_codes` in [process] is `256`; expected a whole number from 0 to 255"),
        (
            "restart = 'allways'",
            "p:2:11: `restart` in [process] is `allways` (did you mean `always`?); expected one of `never`, `on-failure`, `always`",
        ),
    ] {
        assert_eq!(problems(&format!("[process]\n{line}\n"), &[], &["serve"]), [problem], "{line}");
    }
    let both = "[modes.a]\ncommand = ['x']\nstarted = { notify = true, notify_fd = 3, url = 'tcp://x:1' }\n";
    assert_eq!(problems(both, &[], &[]).len(), 2);
}

#[test]
fn an_error_of_the_process_is_reported_once_and_at_its_place_in_every_layer() {
    let toml = "[process]\nstop_timeout = '5'\nuser = 'no-such-user'\nlimits = { nofile = 'x' }\n\
                [modes.api]\ncommand = ['serve']\nlimits = { core = 0 }\n[modules.beat]\ncommand = ['beat']\n";
    let found = problems(toml, &[("MODE", "api")], &[]);
    let places: Vec<&str> = found.iter().filter_map(|problem| problem.split(" is ").next()?.split(" knows ").next()).collect();
    assert_eq!(
        places,
        ["p:2:16: `stop_timeout` in [process]", "p:3:8: `user` in [process]", "p:4:21: `nofile` in [process.limits]"],
        "{found:?}"
    );
}

#[test]
fn a_stop_that_outlasts_the_grace_is_reported_with_the_grace_to_set() {
    let notices =
        |toml: &str| with(toml, &[], &["serve"]).notices.into_iter().filter(|notice| notice.contains("grace")).collect::<Vec<_>>();
    assert_eq!(notices("[process]\n").len(), 0);
    assert_eq!(notices("[process]\nstop_timeout = '10s'\n").len(), 0);
    let long = "[process]\nstop_timeout = '10s'\ndrain_delay = '500ms'\n";
    let notices_of_run = notices(long);
    assert!(notices_of_run[0].contains("10s 500ms") && notices_of_run[0].contains("stop_grace_period: 12s"), "{notices_of_run:?}");
    assert_eq!(notices(&format!("{long}grace_period = '30s'\n")).len(), 0);
    let prefix = notices(&format!("{long}output = 'prefix'\n"));
    assert!(prefix[0].contains("11s") && prefix[0].contains("stop_grace_period: 12s"), "the last lines take their half second: {prefix:?}");
    assert!(notices(&format!("{long}grace_period = '10s'\n"))[0].contains("the 10s of grace_period"));
}

#[test]
fn a_template_whose_user_was_refused_makes_no_process() {
    use crate::config::node::parse_document;
    use crate::config::origin::Origin;
    use crate::config::process::{MainKeys, ProcessKeys};
    use crate::plan::argv::{Argv, Word};
    use crate::plan::resolve::process::Template;

    let environment = Environment::new([("HOME", "/")]);
    for (user, makes_one) in [("root", true), ("nosuch", false), ("${UNSET}", false)] {
        let text = format!("user = '{user}'\ndrop = 'always'\n");
        let (tree, _) = parse_document(&text, &|line, column| Origin::File { path: "p".into(), line, column });
        let context = Context::new(&environment);
        let mut section = context.section(tree, "process", None, Depth::Whole);
        let keys: ProcessKeys = section.declared();
        let template = Template::of(Some(&mut section), keys, MainKeys::default(), VariableChanges::default());
        let process = template.process(Argv::new(vec![Word::plain("id")]).unwrap(), None);
        assert_eq!((process.is_some(), context.finish().is_ok()), (makes_one, makes_one), "{user}");
    }
}
