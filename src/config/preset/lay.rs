//! Merges a preset over the presets that it extends, recursively.

use crate::config::node::merge;
use crate::config::node::{Entry, Node, Table, Value};
use crate::config::preset::parse;
use crate::config::problem::Problem;

/// The first keys of a document: the preset that it extends, and the parts that it leaves out.
#[derive(Default)]
pub struct Differences {
    /// The preset that it extends, and where it is named.
    pub extends: Option<Node>,
    /// Dotted names of the keys and tables that are left out.
    without: Vec<Node>,
}

impl Differences {
    /// Removes `extends` and `without` from a document. A wrong type is a problem.
    pub fn take(document: &mut Table, problems: &mut Vec<Problem>) -> Self {
        let extends = take(document, "extends").map(|entry| entry.node).filter(|node| {
            let right = matches!(node.value, Value::String(_));
            if !right {
                problems.push(Problem::at(&node.origin, format!("`extends` is {}; expected a string", node.value.kind())));
            }
            right
        });
        let without = match take(document, "without").map(|entry| entry.node) {
            None => Vec::new(),
            Some(Node { value: Value::List(items), .. }) => items,
            Some(Node { value, origin }) => {
                problems.push(Problem::at(&origin, format!("`without` is {}; expected a list such as `[\"a\", \"b\"]`", value.kind())));
                Vec::new()
            }
        };
        Self { extends, without }
    }

    /// The name of the extended preset.
    pub fn name(&self) -> Option<&str> {
        self.extends.as_ref().and_then(|node| if let Value::String(name) = &node.value { Some(name.as_str()) } else { None })
    }

    /// `lower` without the named parts; a name that does not exist is a problem.
    pub fn leave_out(&self, mut lower: Table, problems: &mut Vec<Problem>) -> Table {
        for Node { value, origin } in &self.without {
            let Value::String(path) = value else {
                problems.push(Problem::at(origin, format!("`without` holds {}; expected a string such as `modes.job`", value.kind())));
                continue;
            };
            if !remove(&mut lower, path) {
                problems.push(Problem::at(origin, format!("`without` names `{path}`, which does not exist in the extended preset")));
            }
        }
        lower
    }
}

/// Removes the entry of `key` from a table.
pub fn take(table: &mut Table, key: &str) -> Option<Entry> {
    let entry = table.get(key).cloned();
    table.retain(|entry| entry.key != key);
    entry
}

fn remove(table: &mut Table, path: &str) -> bool {
    match path.split_once('.') {
        None => take(table, path).is_some(),
        Some((first, rest)) => match table.get_mut(first).map(|entry| &mut entry.node.value) {
            Some(Value::Table(below)) => remove(below, rest),
            _ => false,
        },
    }
}

/// Finds the full name and the text of a preset.
type Find<'f, 'a> = dyn Fn(&str) -> Result<(&'a str, &'a str), String> + 'f;

/// The document `name` of `find`, merged over everything that it extends, or an error message.
pub(super) fn lay(name: &str, find: &Find<'_, '_>) -> Result<Table, String> {
    let mut names: Vec<&str> = Vec::new();
    let mut documents = Vec::new();
    let mut next = Some(name.to_owned());
    while let Some(wanted) = next {
        let (own, text) = find(&wanted)?;
        let circle = names.contains(&own);
        names.push(own);
        if circle {
            return Err(format!("the preset `{own}` extends itself: {}", names.join(" -> ")));
        }
        let mut document = parse(own, text);
        let mut problems = Vec::new();
        let differences = Differences::take(&mut document, &mut problems);
        next = differences.name().map(str::to_owned);
        documents.push((differences, document));
        fail_on_problem(&problems)?;
    }
    let mut tree = Table::default();
    for (differences, document) in documents.into_iter().rev() {
        let mut problems = Vec::new();
        tree = differences.leave_out(tree, &mut problems);
        fail_on_problem(&problems)?;
        merge(&mut tree, document);
    }
    Ok(tree)
}

/// The first problem; a test ensures that built-in presets have none.
fn fail_on_problem(problems: &[Problem]) -> Result<(), String> {
    problems.first().map_or(Ok(()), |problem| Err(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::origin::Origin;

    const FAMILY: [(&str, &str); 8] = [
        ("new", "mode = 'api'\n[modes.api]\ncommand = ['a', 'b']\n[modes.job]\ncommand = ['j']\n[env.default]\nA = '1'\nB = '2'\n"),
        ("middle", "extends = 'new'\nwithout = ['modes.job']\n[modes.api]\ncommand = ['a']\n"),
        ("old", "extends = 'middle'\nwithout = ['env.default.B']\n[env.default]\nA = '3'\n"),
        ("lost", "extends = 'nobody'\n"),
        ("one", "extends = 'two'\n"),
        ("two", "extends = 'one'\n"),
        ("wrong", "extends = 'new'\nwithout = ['modes.jobs']\n"),
        ("number", "extends = 7\n"),
    ];

    fn find(name: &str) -> Result<(&'static str, &'static str), String> {
        FAMILY.into_iter().find(|(present, _)| *present == name).ok_or_else(|| format!("unknown preset `{name}`"))
    }

    fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Node> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let node = &table.get(first)?.node;
        match (rest, &node.value) {
            (None, _) => Some(node),
            (Some(rest), Value::Table(below)) => at(below, rest),
            _ => None,
        }
    }

    #[test]
    fn a_preset_is_its_differences_to_the_one_it_extends_however_deep() {
        let tree = lay("old", &find).unwrap();
        let origin = |path: &str| at(&tree, path).map(|node| node.origin.clone());
        let of = |name: &str, line, column| Some(Origin::Preset { name: name.into(), line, column });
        assert_eq!(origin("mode"), of("new", 1, 8), "each value is of the preset that wrote it");
        assert_eq!(origin("modes.api.command"), of("middle", 4, 11));
        assert_eq!(origin("env.default.A"), of("old", 4, 5));
        for gone in ["modes.job", "env.default.B", "extends", "without"] {
            assert_eq!(origin(gone), None, "{gone}");
        }
        assert!(at(&lay("middle", &find).unwrap(), "env.default.B").is_some());
    }

    #[test]
    fn circles_and_unknown_names_are_refused() {
        for (name, why) in [
            ("lost", "unknown preset `nobody`"),
            ("one", "the preset `one` extends itself: one -> two -> one"),
            ("wrong", "line 2 of `portcullis preset wrong`: `without` names `modes.jobs`, which does not exist in the extended preset"),
            ("number", "line 1 of `portcullis preset number`: `extends` is a number; expected a string"),
        ] {
            assert_eq!(lay(name, &find).err().as_deref(), Some(why), "{name}");
        }
    }
}
