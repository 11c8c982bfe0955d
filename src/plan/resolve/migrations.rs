//! `[migrations]`: the command that runs once across replicas, and the lock that keeps it to once.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::node::{Origin, Value};
use crate::config::problem::suggest;
use crate::config::reader::{Depth, Keys, Section, truth};
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::argv::Builder;
use crate::plan::resolve::process::Template;
use crate::plan::resolve::{YEAR, heartbeat};
use crate::plan::target::{MysqlTarget, PostgresTarget, Target};
use crate::plan::{CheckPlan, LockPlan, MigrationPlan, Orphans, Question, SecondLock};

pub(super) const KEYS: Keys = Keys {
    known: &[
        "enabled",
        "command",
        "check",
        "verify",
        "lock",
        "lock_name",
        "lock_key",
        "lock_table",
        "also_redis_lock",
        "also_redis_check",
        "lock_timeout",
        "timeout",
        "on_lock_lost",
        "orphans",
        "retries",
    ],
};

/// Whether migrations are switched on; what is written but not named counts as on.
///
/// The preset `dify` takes what the script that it replaces takes: exactly `true`. What means it and is not written so is said loudly.
pub(super) fn enabled(root: &Section<'_>) -> bool {
    let Some(section) = root.table_at("migrations", None, root.depth()) else { return false };
    let Some(node) = section.node("enabled") else { return true };
    if !matches!(&node.origin, Origin::Preset { name, .. } if name.split('@').next() == Some("dify")) {
        return section.boolean("enabled").unwrap_or_default();
    }
    let value = section.text("enabled").map(|text| text.value()).unwrap_or_default();
    if value != "true" && truth(&value) != Some(false) {
        section.context().notice(format!(
            "MIGRATION_ENABLED is `{value}`, so no migration runs: the preset `dify` takes exactly `true`, as Dify's own script does"
        ));
    }
    value == "true"
}

/// The migration; none when `wanted` is not so, which still has the form looked at, or when it is wrong.
pub(super) fn read(
    root: &Section<'_>,
    wanted: bool,
    waits: bool,
    bare: bool,
    checks: &[CheckPlan],
    template: &Template,
) -> Option<MigrationPlan> {
    let depth = if wanted { Depth::Whole } else { Depth::Form };
    let section = root.table_at("migrations", Some(KEYS), depth)?;
    let lock_timeout = section.duration("lock_timeout", Duration::from_secs(1)..=YEAR);
    let timeout = section.duration("timeout", Duration::ZERO..=YEAR);
    let lock_name = section.nonempty("lock_name").map_or_else(|| "default".to_owned(), |text| text.value());
    let unlocked = section.word("on_lock_lost", &[("terminate", false), ("continue", true)]);
    let orphans = section.word("orphans", &[("terminate", Orphans::Terminate), ("wait", Orphans::Wait), ("ignore", Orphans::Ignore)]);
    let retries = section.integer("retries", 0..=1000).and_then(|number| u32::try_from(number).ok());
    let command = command(&section, "command", depth);
    if wanted && !section.has("command") && !waits {
        section.problem("command", "is missing: migrations are on; name the command that migrates, as `[\"flask\", \"db\", \"upgrade\"]`");
    }
    let [check, verify] = ["check", "verify"].map(|key| question(&section, key, depth, template));
    let lock = section.text("lock").map_or_else(|| "auto".to_owned(), |text| text.value());
    if !wanted {
        return None;
    }
    let by_command = |question: &Option<Question>| !matches!(question, Some(Question::Sql(_)));
    if waits && !section.has("check") {
        section.problem("check", "is missing: a mode with `migrate = \"wait\"` asks it until another one has migrated");
    }
    let lock_key = section.integer("lock_key", i64::MIN..=i64::MAX);
    let second = second(&section, checks, bare || waits);
    let lock = if bare || (waits && by_command(&check)) { LockPlan::None } else { choose_lock(&section, &lock, &lock_name, checks)? };
    let lock = match (lock, lock_key) {
        (LockPlan::Postgres { target, migrated, .. }, Some(key)) => LockPlan::Postgres { target, key, tag: tag_of_key(key), migrated },
        (lock @ LockPlan::None, Some(_)) | (lock, None) => lock,
        (lock, Some(_)) => {
            section.problem("lock_key", "is the key of an advisory lock of PostgreSQL, and the lock is of another kind; use `lock_name`");
            lock
        }
    };
    let lock = in_table(&section, lock, lock_key.is_some(), &lock_name);
    if !matches!(lock, LockPlan::Postgres { .. } | LockPlan::Table { .. } | LockPlan::Mysql { .. }) {
        for (key, _) in [("check", &check), ("verify", &verify)].into_iter().filter(|(_, question)| !by_command(question)) {
            section.problem(key, "is a statement, and the lock is in no database that could be asked; write a command, as a list");
        }
    }
    let argv = if waits { command.or_else(|| Argv::new(vec![Word::plain("true")])) } else { command };
    let mut process = template.process(argv?, None);
    // Without its portcullis nobody keeps the lock for it.
    process.conditions.parent_death_signal = libc::SIGKILL;
    let defaults = MigrationPlan::new(process, lock);
    Some(MigrationPlan {
        waits,
        check,
        verify,
        second,
        lock_timeout: lock_timeout.unwrap_or(defaults.lock_timeout),
        timeout: timeout.unwrap_or_default(),
        unlocked: unlocked.unwrap_or_default(),
        orphans: orphans.unwrap_or_default(),
        retries: retries.unwrap_or_default(),
        ..defaults
    })
}

/// A command line; none when there is none, or when it is wrong.
fn command(section: &Section<'_>, key: &str, depth: Depth) -> Option<Argv> {
    let node = section.node(key)?;
    let mut builder = Builder { context: section.context(), arguments: &[], groups: None, words: Vec::new(), took_arguments: false };
    let understood = builder.command(node, section.path(), depth);
    let argv = Argv::new(builder.words);
    if argv.is_none() && understood && depth == Depth::Whole {
        section.problem(key, "has no word");
    }
    argv
}

/// A text is a statement, a list is a command.
fn question(section: &Section<'_>, key: &str, depth: Depth, template: &Template) -> Option<Question> {
    let node = section.node(key)?;
    match &node.value {
        Value::String(text) if !(node.origin.verbatim() && text.trim_start().starts_with('[')) => {
            section.nonempty(key).map(|text| Question::Sql(text.value()))
        }
        _ => {
            let mut process = template.process(command(section, key, depth)?, None);
            process.conditions.parent_death_signal = libc::SIGKILL;
            Some(Question::Command(Box::new(process)))
        }
    }
}

fn choose_lock(section: &Section<'_>, lock: &str, lock_name: &str, checks: &[CheckPlan]) -> Option<LockPlan> {
    if let Some(path) = lock.strip_prefix("file://") {
        if !path.starts_with('/') {
            section.problem("lock", "names no absolute path; `file:///data/app.db.portcullis-lock` is one");
            return None;
        }
        return Some(LockPlan::File(path.into()));
    }
    if !["none", "auto"].contains(&lock) && checks.iter().all(|check| check.name != lock) && !section.context().checks_are_right() {
        return None;
    }
    let databases: Vec<&CheckPlan> = checks.iter().filter(|check| of_check(check, lock_name).is_some()).collect();
    let own: Vec<&CheckPlan> = databases.iter().copied().filter(|check| !matches!(check.target, Target::Redis(_))).collect();
    let names = |checks: &[&CheckPlan]| checks.iter().map(|check| format!("`{}`", check.name)).collect::<Vec<_>>().join(", ");
    match lock {
        "none" => Some(LockPlan::None),
        "auto" => match own.as_slice() {
            [check] => of_check(check, lock_name),
            // The database may be that of a check that is wrong; without a lock there would be nothing to hold it together.
            [] if !section.context().checks_are_right() => None,
            [] => {
                section.problem("lock", "finds no postgres or mysql check whose database could hold the lock; configure one, or write `lock = \"none\"` where one replica is all");
                None
            }
            _ => {
                section.problem("lock", format!("finds several databases; name the one whose database is migrated: {}", names(&own)));
                None
            }
        },
        name => {
            let found = checks.iter().find(|check| check.name == name);
            match found.map(|check| of_check(check, lock_name)) {
                Some(Some(lock)) => return Some(lock),
                Some(None) => {
                    section.problem("lock", format!("names `{name}`, which is no database or redis check and cannot hold the lock"));
                }
                None => {
                    let known = databases.iter().map(|check| check.name.as_str()).chain(["auto", "none"]);
                    section.problem("lock", format!("names the unknown check `{name}`{}", suggest(name, known)));
                }
            }
            None
        }
    }
}

/// The database that every PostgreSQL has from the start (initdb).
const MAINTENANCE: &str = "postgres";

/// The longest name of PostgreSQL's, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

/// The same lock, or a row of the table that is named.
fn in_table(section: &Section<'_>, lock: LockPlan, keyed: bool, lock_name: &str) -> LockPlan {
    let Some(named) = section.nonempty("lock_table") else { return lock };
    let Some(table) = quoted(&named.value()) else {
        section.problem("lock_table", "is no name of a table: `locks` or `schema.locks`, each part of 1 to 63 bytes");
        return lock;
    };
    match lock {
        _ if keyed => {
            section.problem("lock_table", "and `lock_key` are two kinds of lock: leave one of them out");
            lock
        }
        LockPlan::Postgres { migrated: Some(_), .. } => {
            let why = "cannot be in a database that may not be there yet (`missing_database`); name a check of another one by `lock`";
            section.problem("lock_table", why);
            lock
        }
        LockPlan::Postgres { target, .. } => LockPlan::Table { target, table, row: lock_name.to_owned() },
        LockPlan::None => lock,
        _ => {
            section.problem("lock_table", "is a table of PostgreSQL or of a server like it, and the lock is of another kind");
            lock
        }
    }
}

/// A table's name with or without its schema, quoted as SQL has it; none when it is none.
fn quoted(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let fits = |part: &&str| (1..=LONGEST_IDENTIFIER).contains(&part.len()) && !part.chars().any(char::is_control);
    (parts.len() <= 2 && parts.iter().all(fits))
        .then(|| parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join("."))
}

/// The lock in what a check asks; none where it can hold none.
fn of_check(check: &CheckPlan, lock_name: &str) -> Option<LockPlan> {
    match &check.target {
        Target::Postgres(target) => {
            // A lock is of one database: where the one that is migrated may not be there yet, all replicas take it in the one that always
            // is, under a key that tells the services of a server apart.
            let elsewhere = check.creates_database && target.database != MAINTENANCE;
            let migrated = elsewhere.then(|| target.clone());
            let key = if elsewhere { lock_key(&format!("{}\0{lock_name}", target.database)) } else { lock_key(lock_name) };
            let database = if elsewhere { MAINTENANCE.to_owned() } else { target.database.clone() };
            let target = PostgresTarget { database, ..target.clone() };
            Some(LockPlan::Postgres { target, key, tag: (key as u64 >> 32) as u32, migrated })
        }
        Target::Mysql(target) => {
            let name = lock_name_in(target.database.as_deref().unwrap_or_default(), lock_name);
            let migrated = check.creates_database.then(|| target.clone());
            let database = target.database.clone().filter(|_| !check.creates_database);
            Some(LockPlan::Mysql { target: MysqlTarget { database, ..target.clone() }, name, migrated })
        }
        Target::Redis(target) => Some(LockPlan::Redis { target: target.clone(), key: format!("portcullis:{{migrate:{lock_name}}}:lock") }),
        _ => None,
    }
}

/// The key of a lock's name: the first eight bytes, big endian and signed, of a SHA-256 over a prefix of our own and the name.
///
/// Without the database's name, because PostgreSQL scopes advisory locks by database already and poolers rename it.
fn lock_key(name: &str) -> i64 {
    let digest = Sha256::new().chain_update(b"portcullis:migrate:v1\0").chain_update(name.as_bytes()).finalize();
    digest.iter().take(8).fold(0, |key: i64, byte| (key << 8) | i64::from(*byte))
}

/// What names bear of a key that another tool chose: its own bits are often small numbers, which many keys would share.
fn tag_of_key(key: i64) -> u32 {
    let digest = Sha256::new().chain_update(b"portcullis:key:v1\0").chain_update(key.to_be_bytes()).finalize();
    digest.iter().take(4).fold(0, |tag: u32, byte| (tag << 8) | u32::from(*byte))
}

/// The key in Redis that is held as well; none where nothing is locked.
fn second(section: &Section<'_>, checks: &[CheckPlan], unlocked: bool) -> Option<SecondLock> {
    let key = section.nonempty("also_redis_lock").map(|text| text.value());
    let named = section.nonempty("also_redis_check").map(|text| text.value());
    let Some(key) = key else {
        if named.is_some() {
            section.problem("also_redis_check", "names the Redis of `also_redis_lock`, which is missing");
        }
        return None;
    };
    if unlocked {
        return None;
    }
    let places: Vec<_> = checks.iter().filter_map(|check| Some((check.name.as_str(), heartbeat::place(&check.target)?))).collect();
    let mut fitting = places.iter().filter(|(name, _)| named.as_ref().is_none_or(|named| named == name));
    let found = fitting.next();
    if found.is_none() && !section.context().checks_are_right() {
        return None;
    }
    if found.is_none() || fitting.next().is_some() {
        let known = places.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {known}") };
        section.problem("also_redis_lock", format!("wants one redis check that holds the key; name it by `also_redis_check`, {known}"));
        return None;
    }
    // So that `${REDIS_KEY_PREFIX:-}:db_upgrade_lock` is right without a prefix, too.
    found.map(|(_, target)| SecondLock { target: target.clone(), key: key.trim_start_matches(':').to_owned() })
}

/// The name of a lock of MySQL, whose locks are the whole server's: the same digest over database and name, 43 characters.
fn lock_name_in(database: &str, name: &str) -> String {
    let digest = Sha256::new().chain_update(b"portcullis:migrate:v1\0").chain_update(database).chain_update(name).finalize();
    digest.iter().take(16).fold("portcullis:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_name_never_changes() {
        // sha256sum over the same bytes, its first 16 hexadecimal digits.
        assert_eq!(lock_key("default").cast_unsigned(), DEFAULT_KEY);
        assert_ne!(lock_key("default"), lock_key("other"));
        let name = lock_name_in("app", "default");
        assert_eq!(name.len(), 43, "64 characters is MySQL's limit");
        assert_ne!(name, lock_name_in("other", "default"), "its names are the whole server's");
        assert_ne!(tag_of_key(1), tag_of_key(2));
    }

    #[test]
    fn a_tables_name_is_quoted() {
        for (name, expected) in [
            ("locks", Some("\"locks\"")),
            ("Ops.locks", Some("\"Ops\".\"locks\"")),
            ("l\"; DROP TABLE x; --", Some("\"l\"\"; DROP TABLE x; --\"")),
            ("", None),
            (".locks", None),
            ("a.b.c", None),
            ("a\0b", None),
        ] {
            assert_eq!(quoted(name).as_deref(), expected, "{name}");
        }
    }

    const DEFAULT_KEY: u64 = 0x45c9_5949_fdb7_a39a;
}
