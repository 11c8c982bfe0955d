//! The lock of a migration: where it is, and under which name.

use sha2::{Digest, Sha256};

use crate::config::interpolate::Text;
use crate::config::migration::MigrationKeys;
use crate::config::problem::suggest;
use crate::config::reader::Section;
use crate::plan::resolve::heartbeat;
use crate::plan::target::{MysqlTarget, PostgresTarget, Target};
use crate::plan::{CheckPlan, LockPlan, SecondLock};

/// The database that every PostgreSQL has from the start (initdb).
const MAINTENANCE: &str = "postgres";

/// The longest name in PostgreSQL, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

/// The keys of the lock, and the checks that could hold it.
pub(in crate::plan::resolve) struct Locks<'a> {
    pub section: &'a Section<'a>,
    pub declared: &'a MigrationKeys,
    pub checks: &'a [CheckPlan],
}

impl Locks<'_> {
    /// The lock; none if it has errors.
    pub(in crate::plan::resolve) fn lock(&self) -> Option<LockPlan> {
        let lock = self.keyed(self.place()?);
        Some(self.in_table(lock))
    }

    fn name(&self) -> String {
        self.declared.lock_name.0.as_ref().map_or_else(|| "default".to_owned(), Text::value)
    }

    /// In the database of a check, in a file, or nowhere.
    fn place(&self) -> Option<LockPlan> {
        let Self { section, checks, .. } = *self;
        let lock_name = &self.name();
        let lock = self.declared.lock.as_ref().map_or_else(|| "auto".to_owned(), Text::value);
        let lock = lock.as_str();
        if let Some(path) = lock.strip_prefix("file://") {
            if !path.starts_with('/') {
                section.problem("lock", "is not an absolute path such as `file:///data/app.db.portcullis-lock`");
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
                // The database may belong to a check with errors, which has been reported.
                [] if !section.context().checks_are_right() => None,
                [] => {
                    section.problem("lock", "finds no postgres or mysql check whose database could hold the lock; configure one, or write `lock = \"none\"` if there is only one replica");
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
                        section.problem("lock", format!("names `{name}`, which is not a database or redis check and cannot hold the lock"));
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

    /// The same lock under the key of another tool.
    fn keyed(&self, lock: LockPlan) -> LockPlan {
        match (lock, self.declared.lock_key) {
            (LockPlan::Postgres { target, migrated, .. }, Some(key)) => {
                LockPlan::Postgres { target, key: key.get(), tag: tag_of_key(key.get()), migrated }
            }
            (lock @ LockPlan::None, Some(_)) | (lock, None) => lock,
            (lock, Some(_)) => {
                self.section.problem("lock_key", "is for an advisory lock of PostgreSQL, but the lock is of another kind; use `lock_name`");
                lock
            }
        }
    }

    /// The same lock, or a row of the named table.
    fn in_table(&self, lock: LockPlan) -> LockPlan {
        let section = self.section;
        let Some(named) = &self.declared.lock_table.0 else { return lock };
        let Some(table) = quoted(&named.value()) else {
            section.problem("lock_table", "is not the name of a table such as `locks` or `schema.locks`, each part of 1 to 63 bytes");
            return lock;
        };
        match lock {
            _ if self.declared.lock_key.is_some() => {
                section.problem("lock_table", "and `lock_key` are two kinds of lock: remove one of them");
                lock
            }
            LockPlan::Postgres { migrated: Some(_), .. } => {
                let why = "cannot be in a database that may not exist yet (`missing_database`); name a check of another one by `lock`";
                section.problem("lock_table", why);
                lock
            }
            LockPlan::Postgres { target, .. } => LockPlan::Table { target, table, row: self.name() },
            LockPlan::None => lock,
            _ => {
                section.problem("lock_table", "is a table of PostgreSQL or a compatible server, but the lock is of another kind");
                lock
            }
        }
    }

    /// The key in Redis that is held as well.
    pub(in crate::plan::resolve) fn second(&self) -> Option<SecondLock> {
        let Self { section, checks, .. } = *self;
        let [key, named] = [&self.declared.also_redis_lock, &self.declared.also_redis_check].map(|text| text.0.as_ref().map(Text::value));
        let Some(key) = key else {
            if named.is_some() {
                section.problem("also_redis_check", "names the Redis of `also_redis_lock`, which is missing");
            }
            return None;
        };
        let places: Vec<_> = checks.iter().filter_map(|check| Some((check.name.as_str(), heartbeat::place(&check.target)?))).collect();
        let mut fitting = places.iter().filter(|(name, _)| named.as_ref().is_none_or(|named| named == name));
        let found = fitting.next();
        if found.is_none() && !section.context().checks_are_right() {
            return None;
        }
        if found.is_none() || fitting.next().is_some() {
            let known = places.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {known}") };
            section.problem("also_redis_lock", format!("needs a redis check to hold the key; name it by `also_redis_check`, {known}"));
            return None;
        }
        // So that `${REDIS_KEY_PREFIX:-}:db_upgrade_lock` also works without a prefix.
        found.map(|(_, target)| SecondLock { target: target.clone(), key: key.trim_start_matches(':').to_owned() })
    }
}

/// A table's name with or without its schema, quoted for SQL; none if it is invalid.
fn quoted(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let fits = |part: &&str| (1..=LONGEST_IDENTIFIER).contains(&part.len()) && !part.chars().any(char::is_control);
    (parts.len() <= 2 && parts.iter().all(fits))
        .then(|| parts.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join("."))
}

/// The lock in the target of a check; none if that kind cannot hold one.
fn of_check(check: &CheckPlan, lock_name: &str) -> Option<LockPlan> {
    match &check.target {
        Target::Postgres(target) => {
            // An advisory lock belongs to one database. If the migrated one may not exist yet, all replicas use the database that always exists, with
            // a key that distinguishes the services of a server.
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

/// The key of a lock's name: the first eight bytes, big endian and signed, of a SHA-256 over a fixed prefix and the name.
///
/// Without the database's name, because PostgreSQL scopes advisory locks by database already and poolers rename it.
fn lock_key(name: &str) -> i64 {
    let digest = Sha256::new().chain_update(b"portcullis:migrate:v1\0").chain_update(name.as_bytes()).finalize();
    digest.iter().take(8).fold(0, |key: i64, byte| (key << 8) | i64::from(*byte))
}

/// The part in session names for a key of another tool: a hash, because the keys themselves are often small numbers.
fn tag_of_key(key: i64) -> u32 {
    let digest = Sha256::new().chain_update(b"portcullis:key:v1\0").chain_update(key.to_be_bytes()).finalize();
    digest.iter().take(4).fold(0, |tag: u32, byte| (tag << 8) | u32::from(*byte))
}

/// The name of a MySQL lock, which is unique on the whole server: the same digest over database and name, 43 characters.
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
