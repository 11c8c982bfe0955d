//! `[env]`: what every child's environment has beyond portcullis' own.

use crate::config::environment;
use crate::config::interpolate::{looks_secret, remember};
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::plan::argv::Word;
use crate::secret::MASK;

/// Variables to set, and variables to take away, in order.
#[derive(Clone, Default)]
pub(super) struct Variables {
    pub set: Vec<(String, Word)>,
    pub remove: Vec<String>,
}

impl Variables {
    /// Sets `name`, over what was set before.
    fn set(&mut self, name: &str, value: Word) {
        self.set.retain(|(present, _)| present != name);
        self.set.push((name.to_owned(), value));
    }

    /// Takes `name` away.
    pub(super) fn remove(&mut self, name: &str) {
        self.set.retain(|(present, _)| present != name);
        self.remove.push(name.to_owned());
    }

    /// Sets every entry of a table of names; without a table nothing.
    pub(super) fn set_all(&mut self, section: Option<Section<'_>>) {
        self.set_where(section, |_| true);
    }

    fn set_where(&mut self, section: Option<Section<'_>>, wanted: impl Fn(&str) -> bool) {
        let Some(mut section) = section else { return };
        let declared: environment::Variables = section.declared();
        for (name, value) in &declared.0.0 {
            if name.is_empty() || name.contains(['=', '\0']) {
                section.problem(name, "cannot be a variable's name");
            } else if value.0.value().contains('\0') {
                section.problem(name, "holds a NUL, which no variable can");
            } else if wanted(name) {
                let text = value.0.value();
                let is_secret = looks_secret(name, &text) && !text.is_empty();
                self.set(name, if is_secret { secret(text) } else { Word::of(&value.0) });
            }
        }
    }

    /// `NAME` from the file that `NAME_FILE` names, for each of `expand_files`; `NAME_FILE` itself is not handed on.
    fn expand_files(&mut self, section: &Section<'_>) {
        let (context, key) = (section.context(), "expand_files");
        let Some(node) = section.node(key) else { return };
        let Some(items) = context.list_quietly(node) else {
            let found = node.value.kind();
            let why = format!("is {found}; the variables that come from a file are listed by name, as `{key} = [\"DB_PASSWORD\"]`");
            return section.problem(key, why);
        };
        for item in items {
            let Some(name) = context.text(&item, &section.what(key), section.depth()).map(|text| text.value()) else { continue };
            if let Some(name) = name.strip_suffix("_FILE") {
                let why = format!("{} names `{name}_FILE`; name the variable that gets its value, `{name}`", section.what(key));
                context.problem(Problem::at(&item.origin, why));
                continue;
            }
            match context.environment.lookup(&name) {
                Ok(found) => {
                    for found in found.into_iter().filter(|found| found.secret) {
                        self.set(&name, secret(found.value));
                        self.remove.push(format!("{name}_FILE"));
                    }
                }
                Err(why) => context.problem(Problem::at(&item.origin, format!("{}: {why}", section.what(key)))),
            }
        }
    }
}

fn secret(value: String) -> Word {
    remember(&value);
    Word::masked(value, MASK)
}

/// `[env]`, `expand_files` and `[env.default]`, in this order of precedence from high to low.
pub(super) fn read(root: &Section<'_>) -> Variables {
    let mut variables = Variables::default();
    let Some(section) = root.table("env") else { return variables };
    section.note(&serde_json::Map::new());
    variables.set_where(section.table("default"), |name| !section.context().environment.nonempty(name));
    variables.expand_files(&section);
    variables.set_all(Some(section.without(&["default", "expand_files"])));
    variables
}
