//! The built-in configurations, as TOML that users can print and change.

mod environment;
mod lay;
pub mod version;

use crate::config::node::{Table, parse_document};
use crate::config::origin::{ENVIRONMENT, Origin};
use crate::config::problem::suggest;
use crate::config::source::Environment;

use version::Version;

pub use lay::{Differences, take};

/// The built-in presets: for each name the file of the same name.
macro_rules! presets {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../presets/", $name, ".toml")))),*] };
}

/// All presets by name; the versions of a family from the newest to the oldest.
const PRESETS: [(&str, &str); 29] = presets!(
    "celery" "dify" "dify@1.16.0" "dify@1.15.0" "dify@1.14.0" "dify@1.13.1" "dify@1.13.0" "dify@1.11.3" "dify@1.11.2" "dify@1.10.1"
    "dify@1.10.0" "dify@1.9.2" "dify@1.9.0" "dify@1.8.0" "dify@1.7.1" "dify@1.7.0" "dify@1.4.0" "dify@0.15.3" "dify@0.15.0" "dify@0.14.0"
    "dify@0.11.2" "dify@0.7.2" "dify@0.6.16" "django" "gunicorn" "laravel" "node" "ragflow" "rails"
);

/// The families that have versions, each with the version from which on the preset without a version is used: the first one after the newest version.
const FAMILIES: [(&str, &str); 1] = [("dify", "1.17.0")];

/// The names of the presets.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The preset's own name and its TOML text. `family@X.Y.Z` is the nearest version at or below that one.
///
/// # Errors
///
/// If there is none of this name, with the nearest one; or if this version is older than the first, which is named.
pub fn find(name: &str) -> Result<(&'static str, &'static str), String> {
    if let Some(preset) = PRESETS.into_iter().find(|(present, _)| *present == name) {
        return Ok(preset);
    }
    let version = name.split_once('@').and_then(|(family, wanted)| {
        FAMILIES.into_iter().find(|(versioned, _)| *versioned == family).map(|(family, newest)| (family, newest, wanted))
    });
    let Some((family, newest, wanted)) = version else { return Err(format!("unknown preset `{name}`{}", suggest(name, names()))) };
    let Some(wanted) = Version::parse(wanted) else {
        return Err(format!("unknown preset `{name}`; after `{family}@` comes a version, such as `{family}@{newest}`"));
    };
    let of = |name: &str| name.strip_prefix(family)?.strip_prefix('@').and_then(Version::parse);
    let versions = || PRESETS.into_iter().filter_map(|preset| Some((of(preset.0)?, preset)));
    if Version::parse(newest).is_some_and(|newest| newest <= wanted) {
        return find(family);
    }
    match versions().filter(|(version, _)| *version <= wanted).max_by_key(|(version, _)| *version) {
        Some((_, preset)) => Ok(preset),
        None => {
            let first = versions().min_by_key(|(version, _)| *version).map_or(family, |(_, (name, _))| name);
            Err(format!("there is no preset `{name}`; the first one is `{first}`"))
        }
    }
}

/// The TOML text of a preset.
fn text(name: &str) -> Option<&'static str> {
    find(name).ok().map(|(_, text)| text)
}

/// A preset as a tree, merged over everything that it extends.
///
/// # Errors
///
/// Those of [`find`].
pub fn read(name: &str) -> Result<Table, String> {
    lay::lay(name, &find)
}

/// The tree of a run without file and preset, which only `DB_*`, `REDIS_*`, `MODE` and `MIGRATION_ENABLED` configure.
pub fn without_file() -> Table {
    environment::tree()
}

/// The origin to report for a problem at `origin`: the variables that are set and used in that line of a preset, because the operator does not have
/// the file of the preset.
pub fn blamed(origin: Origin, environment: &Environment) -> Origin {
    let Origin::Preset { name, line, .. } = &origin else { return origin };
    let of_text = || text(name)?.lines().nth((*line as usize).saturating_sub(1));
    let written = if **name == *ENVIRONMENT { environment::text(*line) } else { of_text().unwrap_or_default() };
    let is_set = |name: &&str| environment.nonempty(name) || environment.nonempty(&format!("{name}_FILE"));
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let named: Vec<&str> = written.split("${").skip(1).map(|rest| &rest[..end(rest)]).filter(is_set).collect();
    if named.is_empty() { origin } else { Origin::Variable(named.join(", ").into()) }
}

/// The origin to report if the key `path` is missing at `origin`: without a file only a variable can set it.
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
        for (name, text) in PRESETS {
            let (_, problems) = parse_document(text, &|line, column| Origin::Preset { name: name.into(), line, column });
            assert_eq!(problems, []);
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("# ") && first.ends_with('.') && first.len() < 110, "{name}");
            assert!(read(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_version_is_the_nearest_one_at_or_below_it() {
        for (wanted, found) in [
            ("dify", "dify"),
            ("dify@0.6.16", "dify@0.6.16"),
            ("dify@0.7.1", "dify@0.6.16"),
            ("dify@v0.8.3-fix1", "dify@0.7.2"),
            ("dify@0.15.7", "dify@0.15.3"),
            ("dify@1.0.0-beta.1", "dify@0.15.3"),
            ("dify@1", "dify@0.15.3"),
            ("dify@1.9.1", "dify@1.9.0"),
            ("dify@1.10.1-fix.1", "dify@1.10.1"),
            ("dify@1.11.4", "dify@1.11.3"),
            ("dify@1.16.0-rc1", "dify@1.15.0"),
            ("dify@1.16.1", "dify@1.16.0"),
            ("dify@1.17.0", "dify"),
            ("dify@2.3", "dify"),
        ] {
            assert_eq!(find(wanted).map(|(name, _)| name), Ok(found), "{wanted}");
        }
        for (wanted, why) in [
            ("dify@0.6.15", "there is no preset `dify@0.6.15`; the first one is `dify@0.6.16`"),
            ("dify@0.6.16-beta.1", "there is no preset `dify@0.6.16-beta.1`; the first one is `dify@0.6.16`"),
            ("dify@main", "unknown preset `dify@main`; after `dify@` comes a version, such as `dify@1.17.0`"),
            ("dify@", "unknown preset `dify@`; after `dify@` comes a version, such as `dify@1.17.0`"),
            ("gunicorn@20", "unknown preset `gunicorn@20`; did you mean `gunicorn`?"),
            ("gunicon", "unknown preset `gunicon`; did you mean `gunicorn`?"),
        ] {
            assert_eq!(find(wanted), Err(why.to_owned()), "{wanted}");
        }
    }
}
