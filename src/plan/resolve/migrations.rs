//! `[migrations]`: the command that runs once across replicas, and the lock that keeps it to once.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::node::Value;
use crate::config::problem::suggest;
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::argv::Argv;
use crate::plan::resolve::YEAR;
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::process::Template;
use crate::plan::target::{PostgresTarget, Target};
use crate::plan::{CheckPlan, LockPlan, MigrationPlan};

const KEYS: Keys = Keys {
    known: &["enabled", "command", "lock", "lock_name", "lock_timeout", "timeout"],
    later: &["check", "verify", "on_lock_lost", "orphans", "retries"],
};

/// Whether migrations are switched on: exactly `true`, as a boolean or as text; what is written but not named counts as on.
pub(super) fn enabled(root: &Section<'_>) -> bool {
    let Some(section) = root.table_at("migrations", None, root.depth()) else { return false };
    match section.node("enabled").map(|node| &node.value) {
        None => true,
        Some(Value::Boolean(flag)) => *flag,
        Some(_) => {
            let Some(text) = section.text("enabled") else { return false };
            let value = text.value();
            let nearly = ["true", "1", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str());
            if nearly && value != "true" {
                section.context().notice(format!(
                    "migrations are off: {} is `{}`, and only `true` switches them on",
                    section.what("enabled"),
                    text.shown()
                ));
            }
            value == "true"
        }
    }
}

/// The migration; none when `wanted` is not so, which still has the form looked at, or when it is wrong.
pub(super) fn read(root: &Section<'_>, wanted: bool, bare: bool, checks: &[CheckPlan], template: &Template) -> Option<MigrationPlan> {
    let depth = if wanted { Depth::Whole } else { Depth::Form };
    let section = root.table_at("migrations", Some(KEYS), depth)?;
    let context = section.context();
    let lock_timeout = section.duration("lock_timeout", Duration::ZERO..=YEAR);
    let timeout = section.duration("timeout", Duration::ZERO..=YEAR);
    let lock_name = section.nonempty("lock_name").map_or_else(|| "default".to_owned(), |text| text.value());
    let mut builder = Builder { context, arguments: &[], groups: None, words: Vec::new(), took_arguments: false };
    let understood = section.node("command").is_some_and(|command| builder.command(command, section.path(), depth));
    if wanted && !section.has("command") {
        section.problem("command", "is missing: migrations are on; name the command, here or as PORTCULLIS_MIGRATIONS__COMMAND");
    }
    let lock = section.text("lock").map_or_else(|| "auto".to_owned(), |text| text.value());
    if !wanted {
        return None;
    }
    let argv = Argv::new(builder.words);
    if argv.is_none() && understood {
        section.problem("command", "has no word");
    }
    let lock = if bare { LockPlan::None } else { choose_lock(&section, &lock, &lock_name, checks)? };
    Some(MigrationPlan {
        process: template.process(argv?, None),
        lock,
        lock_timeout: lock_timeout.unwrap_or(Duration::from_secs(30 * 60)),
        timeout: timeout.unwrap_or_default(),
    })
}

fn choose_lock(section: &Section<'_>, lock: &str, lock_name: &str, checks: &[CheckPlan]) -> Option<LockPlan> {
    let databases: Vec<(&str, &PostgresTarget)> = checks
        .iter()
        .filter_map(|check| if let Target::Postgres(target) = &check.target { Some((check.name.as_str(), target)) } else { None })
        .collect();
    let names = || databases.iter().map(|(name, _)| *name);
    let target = match lock {
        "none" => return Some(LockPlan::None),
        "auto" => match databases.as_slice() {
            [(_, target)] => *target,
            [] => {
                section.problem("lock", "finds no postgres check whose database could hold the lock; configure one, or write `lock = \"none\"` where one replica is all");
                return None;
            }
            _ => {
                let names = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                section.problem("lock", format!("finds several postgres checks; name the one whose database is migrated: {names}"));
                return None;
            }
        },
        name => match databases.iter().find(|(present, _)| *present == name) {
            Some((_, target)) => target,
            None if checks.iter().any(|check| check.name == name) => {
                section.problem("lock", format!("names `{name}`, which is no postgres check and cannot hold the lock"));
                return None;
            }
            None => {
                section.problem("lock", format!("names the unknown check `{name}`{}", suggest(name, names().chain(["auto", "none"]))));
                return None;
            }
        },
    };
    Some(LockPlan::Postgres { target: target.clone(), key: lock_key(lock_name) })
}

/// The key of a lock's name: the first eight bytes, big endian and signed, of a SHA-256 over a prefix of our own and the name.
///
/// Without the database's name, because PostgreSQL scopes advisory locks by database already and poolers rename it.
fn lock_key(name: &str) -> i64 {
    let digest = Sha256::new().chain_update(b"portcullis:migrate:v1\0").chain_update(name.as_bytes()).finalize();
    digest.iter().take(8).fold(0, |key: i64, byte| (key << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_name_never_changes() {
        // sha256sum over the same bytes, its first 16 hexadecimal digits.
        assert_eq!(lock_key("default").cast_unsigned(), DEFAULT_KEY);
        assert_ne!(lock_key("default"), lock_key("other"));
    }

    const DEFAULT_KEY: u64 = 0x45c9_5949_fdb7_a39a;
}
