//! The configurations that are built in, as TOML that a person can print and start from.

use crate::config::node::{Origin, Table, parse_document};
use crate::config::source::Environment;

/// Every preset by name.
const PRESETS: [(&str, &str); 8] = [
    ("celery", include_str!("../presets/celery.toml")),
    ("dify", include_str!("../presets/dify.toml")),
    ("dify@0.15.3", include_str!("../presets/dify@0.15.3.toml")),
    ("django", include_str!("../presets/django.toml")),
    ("gunicorn", include_str!("../presets/gunicorn.toml")),
    ("node", include_str!("../presets/node.toml")),
    ("ragflow", include_str!("../presets/ragflow.toml")),
    ("rails", include_str!("../presets/rails.toml")),
];

/// The name of what drives a run that has neither file nor preset; no preset that could be printed.
pub const ENVIRONMENT: &str = "environment";

/// What drives a run that has neither file nor preset.
const WITHOUT_FILE: (&str, &str) = (ENVIRONMENT, include_str!("../presets/environment.toml"));

/// The names of the presets.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The TOML text of a preset.
pub fn text(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(present, _)| *present == name).map(|(_, text)| *text)
}

/// A preset as a tree.
pub fn read(name: &str) -> Option<Table> {
    text(name).map(|text| parse(name, text))
}

/// The tree of a run that has neither file nor preset: `DB_*`, `REDIS_*`, `MODE` and `MIGRATION_ENABLED` alone drive it.
pub fn without_file() -> Table {
    parse(WITHOUT_FILE.0, WITHOUT_FILE.1)
}

/// Whom to name for a problem at `origin`: the variables that are set and stand in that line of a preset, because a line of a file that
/// the operator does not have is no place to look at.
pub fn blamed(origin: Origin, environment: &Environment) -> Origin {
    let Origin::Preset { name, line, .. } = &origin else { return origin };
    let text = if **name == *ENVIRONMENT { Some(WITHOUT_FILE.1) } else { text(name) };
    let written = text.and_then(|text| text.lines().nth((*line as usize).saturating_sub(1))).unwrap_or_default();
    let is_set = |name: &&str| environment.nonempty(name) || environment.nonempty(&format!("{name}_FILE"));
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let named: Vec<&str> = written.split("${").skip(1).map(|rest| &rest[..end(rest)]).filter(is_set).collect();
    if named.is_empty() { origin } else { Origin::Variable(named.join(", ").into()) }
}

/// Whom to name for the lack of the key `path` in what was written at `origin`: without a file only a variable can bring it.
pub fn lacking(origin: &Origin, path: &str) -> Origin {
    match origin {
        Origin::Preset { name, .. } if **name == *ENVIRONMENT => {
            Origin::Variable(format!("PORTCULLIS_{}", path.to_ascii_uppercase().replace('.', "__")).into())
        }
        origin => origin.clone(),
    }
}

fn parse(name: &str, text: &str) -> Table {
    let name: std::sync::Arc<str> = name.into();
    parse_document(text, &|line, column| Origin::Preset { name: name.clone(), line, column }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_toml_and_begins_with_what_it_is_for() {
        for (name, text) in PRESETS.into_iter().chain([WITHOUT_FILE]) {
            let (_, problems) = parse_document(text, &|line, column| Origin::Preset { name: name.into(), line, column });
            assert_eq!(problems, []);
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("# ") && first.ends_with('.') && first.len() < 110, "{name}");
        }
    }
}
