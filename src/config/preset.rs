//! The configurations that are built in, as TOML that a person can print and start from.

use crate::config::node::{Origin, Table, parse_document};

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

/// What drives a run that has neither file nor preset.
const WITHOUT_FILE: (&str, &str) = ("environment", include_str!("../presets/environment.toml"));

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
