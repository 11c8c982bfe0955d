//! `[options]`: the options among the arguments that set variables and are removed.

use crate::config::arguments::OptionKeys;
use crate::config::interpolate::Text;
use crate::config::node::{Entry, Value};
use crate::config::problem::Problem;
use crate::config::reader::{Depth, Section};

/// A known option.
struct Known {
    name: String,
    variable: String,
    /// The value of a flag; none for an option with a value.
    flag: Option<String>,
}

/// The arguments without the known options, and the variables that these set. Arguments after a `--` are not changed.
pub(in crate::plan::resolve) fn options(root: &Section<'_>, arguments: &[String]) -> (Vec<String>, Vec<(String, String)>) {
    let Some(section) = root.table("options") else { return (arguments.to_vec(), Vec::new()) };
    let known: Vec<Known> = section.entries().filter_map(|entry| read(&section, entry)).collect();
    let (mut rest, mut variables) = (Vec::new(), Vec::new());
    let mut arguments = arguments.iter();
    let usage = |text: String| root.context().problem(Problem::usage(text));
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rest.push(argument.clone());
            rest.extend(arguments.cloned());
            break;
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some(option) = known.iter().find(|known| known.name == name) else {
            rest.push(argument.clone());
            continue;
        };
        match (&option.flag, value) {
            (Some(flag), None) => variables.push((option.variable.clone(), flag.clone())),
            (Some(_), Some(_)) => usage(format!("the option {name} takes no value")),
            (None, value) => match value.or_else(|| arguments.next().cloned()) {
                Some(value) => variables.push((option.variable.clone(), value)),
                None => usage(format!("the option {name} wants a value, for example `{name} VALUE` or `{name}=VALUE`")),
            },
        }
    }
    (rest, variables)
}

/// One option, if it has no errors.
fn read(section: &Section<'_>, entry: &Entry) -> Option<Known> {
    let context = section.context();
    let path = section.below(&entry.key);
    let wrong = |why: &str| {
        context.problem(Problem::at(&entry.origin, format!("[{path}] {why}")));
        None
    };
    if !entry.key.starts_with('-') || entry.key == "--" || entry.key.contains(['=', ' ']) {
        return wrong("is not an option: options begin with `-`, such as `--workers`, and contain neither `=` nor blanks");
    }
    let keys = if let Value::Table(_) = entry.node.value {
        let mut keys = context.open(&entry.node, &path, section.depth())?;
        let before = context.faults_so_far();
        let declared: OptionKeys = keys.declared();
        if context.faults_so_far() > before || section.depth() == Depth::Syntax {
            return None;
        }
        declared
    } else {
        OptionKeys { variable: crate::config::values::Maybe(Some(section.text(&entry.key)?)), ..OptionKeys::default() }
    };
    let value = keys.value.as_ref().map(|value| value.0.value());
    let (variable, flag) = match (&keys.variable.0, &keys.flag.0) {
        (Some(_), None) if value.is_some() => return wrong("has a `value`, which is only for a `flag`"),
        (Some(variable), None) => (variable, None),
        (None, Some(flag)) => (flag, Some(value.unwrap_or_else(|| "true".to_owned()))),
        _ => return wrong("needs either `variable` or `flag`: the variable that it sets"),
    };
    let variable = Text::value(variable);
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return wrong("names no variable");
    }
    Some(Known { name: entry.key.clone(), variable, flag })
}
