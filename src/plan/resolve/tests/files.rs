//! `[[files]]`: the action, the owner and the refused combinations of an entry.

use super::*;
use crate::plan::file::{FileAction, FilePlan, FileText};
use crate::plan::step::{StepAction, StepAt};

fn files(plan: &Plan) -> Vec<&FilePlan> {
    plan.steps.iter().filter_map(|step| if let StepAction::File(file) = &step.action { Some(file.as_ref()) } else { None }).collect()
}

const MODES: &str = "mode = 'web'\n[modes.web]\ncommand = ['serve']\n[modes.worker]\ncommand = ['work']\n";

#[test]
fn each_action_is_read() {
    let toml = format!(
        "{MODES}
[[files]]
path = '/conf/app.yaml'
template = '/conf/app.yaml.template'
variables = ['DB_HOST', 'APP_*']
mode = '0640'
owner = '4711:4712'
[[files]]
path = '/conf/secret'
content = \"password: ${{DB_PASSWORD}}\\n\"
append = true
at = 'ready'
[[files]]
path = '/conf/verbatim'
content = 'server $host ${{DB_HOST}};'
variables = ['DB_HOST']
[[files]]
path = '/srv/'
copy = '/usr/src/app/'
delete = true
exclude = ['/data']
replace = [{{ from = 'a', to = '${{DB_HOST}}', optional = true }}]
[[files]]
path = '/data'
directory = true
mode = 'u+rwX'
recursive = true
on_failure = 'continue'
[[files]]
path = '/conf/link'
link = '../x'
[[files]]
path = '/run/pid'
remove = true
modes = ['web']
[[files]]
path = '/data'
owner = '4711'
recursive = true
[[files]]
path = '/not/here'
directory = true
modes = ['worker']
[[files]]
path = '/not/${{UNSET}}'
directory = true
when = {{ var = 'UNSET', nonempty = true }}
"
    );
    let plan = with(&toml, &[("DB_HOST", "db"), ("DB_PASSWORD", "planned-file-secret")], &[]);
    let shown: Vec<String> = files(&plan).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/conf/app.yaml: rendered from /conf/app.yaml.template, owner 4711:4712, mode 0640",
            "/conf/verbatim: a text of the configuration",
            "/srv: a copy of /usr/src/app, and nothing else",
            "/data: a directory, mode u+rwX, with everything below it",
            "/conf/link: a link to ../x",
            "/run/pid: removed",
            "/data, owner 4711, with everything below it",
            "/conf/secret: gets a text of the configuration at its end",
        ]
    );
    let steps: Vec<(&str, StepAt)> = plan.steps.iter().map(|step| (step.name.as_str(), step.at)).collect();
    assert!(steps.contains(&("/conf/secret", StepAt::Ready)) && steps.contains(&("/data (2)", StepAt::Files)), "{steps:?}");
    let text = |index: usize| match &files(&plan)[index].action {
        FileAction::Write { text: FileText::Content(text), .. } => text.value(),
        other => panic!("{other:?}"),
    };
    let verbatim = files(&plan).iter().position(|file| file.path.ends_with("verbatim")).unwrap();
    assert_eq!(text(verbatim), "server $host db;");
    assert!(!format!("{plan:?}").contains("planned-file-secret"));
}

#[test]
fn a_command_of_ones_own_gets_those_that_are_for_it() {
    let toml = format!("{MODES}[[files]]\npath = '/a'\ndirectory = true\n[[files]]\npath = '/b'\ndirectory = true\nown = true\n");
    let names = |exec: bool| {
        let file = File::new(&toml);
        let request = RunOptions {
            file: Some(file.0.clone()),
            exec,
            arguments: if exec { vec!["sh".into()] } else { vec![] },
            ..RunOptions::default()
        };
        let plan = resolve(&request, &Environment::new([("X", "")])).unwrap();
        plan.steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!((names(false), names(true)), (vec!["/a".to_owned(), "/b".to_owned()], vec!["/b".to_owned()]));
}

#[test]
fn impossible_combinations_are_reported() {
    for (entry, problem) in [
        ("directory = true", "p:6:1: `path` in [files] is missing: it is the path of the file"),
        ("path = '/a'", "is not enough; say what to do with the file"),
        ("path = '/a/../b'\nremove = true", "is `/a/../b`; expected a path without `..`"),
        ("path = '/'\nremove = true", "is the root directory, which cannot be removed"),
        ("path = '${EMPTY:-}'\nremove = true", "`path` in [files] is empty; expected a path"),
        ("path = '/a'\ncopy = '${EMPTY:-}'", "`copy` in [files] is empty; expected a path"),
        ("path = '/a'\ncopy = '/b'\nlink = '/c'", "`link` in [files] excludes `copy`; a file has only one of them"),
        ("path = '/a'\ncopy = '/a/b/c'\ndelete = true", "`delete` in [files] would delete the source: /a/b/c lies in /a"),
        ("path = '/a'\nlink = '/c'\nmode = '0600'", "`mode` in [files] means nothing for a link (`link`)"),
        ("path = '/a'\ncopy = '/c'\nunset_variables = 'empty'", "`unset_variables` in [files] means nothing for a copy (`copy`)"),
        (
            "path = '/a'\ntemplate = '/c'\nvariables = ['A']\nunset_variables = 'empty'",
            "`unset_variables` in [files] means nothing for listed variables, which become empty (`variables`)",
        ),
        ("path = '/a'\ndirectory = true\nmode = 640", "is a number; write it in octal and in quotes, as \"0640\""),
        ("path = '/a'\ndirectory = true\nmode = 'rw'", "is `rw`; expected a mode such as \"0640\" or \"u+rwX,g-w\""),
        ("path = '/a'\ndirectory = true\nowner = 'no-such-user'", "knows no user `no-such-user` in /etc/passwd"),
        ("path = '/a'\ncontent = 'x'\nvariables = ['${A}']", "A is not set"),
        ("path = '/a'\ncontent = 'x'\nvariables = ['$$A']", "has `$A`; expected names of variables"),
        ("path = '/a'\ncontent = '${UNSET}'", "`content` in [files]: UNSET is not set"),
        ("path = '/a'\ncopy = '/b'\nreplace = [{ to = 'x' }]", "[files.replace] needs `from`"),
        ("path = '/a'\nremove = true\nmodes = ['webb']", "names the unknown mode `webb`; did you mean `web`?"),
        ("path = '/a'\ndirectory = true\nrecursive = true", "applies to `owner` and `mode`, and neither is set"),
        ("path = '/a'\ndirectory = false", "is `false`, which has no effect; remove it"),
        ("path = '/a'\ntemplat = '/b'", "unknown key `templat` in [files]; did you mean `template`?"),
    ] {
        let found = problems(&format!("{MODES}[[files]]\n{entry}\n"), &[], &[]);
        assert!(found.iter().any(|found| found.contains(problem)), "{entry}: {found:?}");
    }
}

#[test]
fn a_template_sees_what_env_says_by_default_and_replaced_texts_may_be_marked_secret() {
    let toml = format!(
        "{MODES}[env]\nOWN = 'own'\n[env.default]\nLEVEL = 'info'\n[[files]]\npath = '/c'\ntemplate = '/t'\n\
         [[files]]\npath = '/n'\nreplace = [{{ from = 'a', to = 'b' }}]\nsecret = false\n"
    );
    for (given, level) in [(&[][..], "info"), (&[("LEVEL", "")], "info"), (&[("LEVEL", "debug")], "debug")] {
        let plan = with(&toml, given, &[]);
        let files = files(&plan);
        let FileAction::Write { text: FileText::Template { values, .. }, .. } = &files[0].action else { panic!("{:?}", files[0]) };
        let rendered = crate::config::substitute::every("${OWN} ${LEVEL}", &values.0, crate::config::file::Unset::Error).unwrap();
        assert_eq!(rendered.value(), format!("own {level}"));
        assert_eq!(files[1].secret, Some(false));
    }
    let none = format!("{MODES}[[files]]\npath = '/n'\nmode = '0600'\nsecret = false\n");
    let found = problems(&none, &[], &[]);
    // The key's own name may be masked: another test of this process has a password that is the same word.
    assert!(found[0].contains("in [files] means nothing for an existing file"), "{found:?}");
}
