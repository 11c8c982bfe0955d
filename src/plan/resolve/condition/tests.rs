//! Which parts of a condition are decided at once, and which remain.

use super::*;
use crate::config::node::parse_document;
use crate::config::origin::Origin;
use crate::config::process::{MainKeys, ProcessKeys};
use crate::config::source::Environment;
use crate::plan::resolve::process::Template;
use crate::plan::resolve::variables::VariableChanges;

fn later(when: &str) -> String {
    let environment = Environment::new([("FLAG", "yes"), ("NAME", "a")]).with_arguments(vec!["web".to_owned()]);
    let (tree, broken) = parse_document(&format!("when = {when}"), &|line, column| Origin::File { path: "p".into(), line, column });
    assert_eq!(broken, []);
    let context = Context::new(&environment);
    let template = Template::of(None, ProcessKeys::default(), MainKeys::default(), VariableChanges::default());
    let plan = deferred(&context, Some(&tree.get("when").unwrap().node), "steps", Depth::Whole, &|argv| template.aside(argv));
    context.finish().map_or_else(|problems| panic!("{problems}"), |_| plan.to_string())
}

#[test]
fn known_parts_are_decided_and_files_and_commands_remain() {
    for (when, left) in [
        ("{ var = 'FLAG', truthy = true }", "always"),
        ("{ argument = 1, one_of = ['worker'] }", "never"),
        ("{ file = '/x', exists = false }", "the file /x does not exist"),
        ("{ not = { file = '/x', empty = true } }", "the file /x is not empty"),
        ("{ directory = '/x/${NAME}', exists = true }", "the directory /x/a exists"),
        ("{ all = [{ var = 'FLAG', truthy = true }, { file = '/x', executable = true }] }", "the file /x is executable"),
        ("[{ var = 'FLAG', truthy = true }, { file = '/x', executable = true }]", "always"),
        (
            "[{ command = ['test', '-e', '/${NAME}'] }, { file = '/x', contains = 'y' }]",
            "`test -e /a` ends with 0 or the file /x contains the expected text",
        ),
        ("{ all = [{ root = true }, { root = false }, { command = ['true'] }] }", "never"),
    ] {
        assert_eq!(later(when), left, "{when}");
    }
}
