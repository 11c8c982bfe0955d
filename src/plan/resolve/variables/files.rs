//! `expand_files`: variables from the files that `NAME_FILE` names.

use super::{VariableChanges, secret};
use crate::config::environment::{Conflict, Conflicts};
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::config::source::{Environment, read_secret};
use crate::config::substitute::matches;

impl VariableChanges {
    /// `NAME` from the file that `NAME_FILE` names, for each of `expand_files`; `NAME_FILE` itself is not passed on.
    pub(super) fn expand_files(&mut self, section: &Section<'_>, seen: &mut Environment) {
        let (context, key) = (section.context(), "expand_files");
        let conflict = section.clone().part::<Conflicts>().expand_files_conflict;
        let Some(node) = section.node(key) else { return };
        let Some(items) = context.list_quietly(node) else {
            let found = node.value.kind();
            let why =
                format!("is {found}; the variables that come from a file are listed by name, for example `{key} = [\"DB_PASSWORD\"]`");
            return section.problem(key, why);
        };
        for item in items {
            let Some(name) = context.text(&item, &section.what(key), section.depth()).map(|text| text.value()) else { continue };
            if let Some(name) = name.strip_suffix("_FILE") {
                let why = format!("{} names `{name}_FILE`; name the variable that gets its value, `{name}`", section.what(key));
                context.problem(Problem::at(&item.origin, why));
                continue;
            }
            let environment = context.environment;
            // The variables of portcullis set its keys; they are not passed to processes.
            let fits = |found: &&str| matches(&name, found) && !found.starts_with("PORTCULLIS_") && !found.is_empty();
            let names: Vec<String> = if name.contains('*') {
                environment.names().filter_map(|file| file.strip_suffix("_FILE")).filter(fits).map(str::to_owned).collect()
            } else {
                vec![name]
            };
            for name in names {
                if let Err(why) = self.expand_file(&name, conflict, environment, seen) {
                    context.problem(Problem::at(&item.origin, format!("{}: {why}", section.what(key))));
                }
            }
        }
    }

    fn expand_file(&mut self, name: &str, conflict: Conflict, environment: &Environment, seen: &mut Environment) -> Result<(), String> {
        let variable = format!("{name}_FILE");
        let both = environment.nonempty(name) && environment.nonempty(&variable);
        let value = match (both, conflict) {
            (true, Conflict::Variable) => {
                self.remove(&variable);
                let value = environment.get(name).ok_or_else(|| format!("the value of {name} is not UTF-8"))?;
                seen.set(name, value, crate::config::interpolate::looks_secret(name, value));
                return Ok(());
            }
            (true, Conflict::File) => {
                let path = environment.place(environment.get(&variable).unwrap_or_default());
                read_secret(&path).map_err(|why| format!("cannot read {}, which {variable} names: {why}", path.display()))?
            }
            _ => match environment.lookup(name)?.filter(|found| found.secret) {
                Some(found) => found.value,
                None => return Ok(()),
            },
        };
        seen.set(name, &value, true);
        self.set(name, secret(value));
        self.remove.push(variable);
        Ok(())
    }
}
