//! `[migrations]`: the command that runs once for all replicas, and its lock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::interpolate::Text;
use crate::config::step::Around;
use crate::config::values::{Deferred, Maybe, Number, Span, Switch, YEAR};

/// What happens to a migration that loses its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnLockLost {
    /// It is stopped, and the exit code is 76.
    #[default]
    Terminate,
    /// It continues.
    Continue,
}

/// What happens to database sessions of a migration whose portcullis has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Orphans {
    /// They are waited for for half a minute, then ended if it is certain that they belong to that migration.
    #[default]
    Terminate,
    /// They are waited for.
    Wait,
    /// They are ignored.
    Ignore,
}

/// A check of the database schema.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub enum SchemaCheckKey {
    /// A statement; the first value of its first row is the result.
    Statement(Text),
    /// A command; its exit status is the result.
    Command(Command),
}

/// The keys of the migration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrationKeys {
    /// Whether it runs; by default if there is a section `[migrations]`.
    pub enabled: Deferred<Switch>,
    /// The command that migrates.
    pub command: Command,
    /// Checks whether there is anything to do: a statement, whose first value is the result, or a command, whose exit status is the result. 0
    /// (`true`, `current`): nothing to do; 2 (`ahead`): the schema is newer than this replica; anything else: there is work.
    pub check: Deferred<SchemaCheckKey>,
    /// The same check after the command, under the lock: whether the command did what it should.
    pub verify: Deferred<SchemaCheckKey>,
    /// The lock against other replicas: `auto` (in the only database among the checks), the name of a database or redis check, `file:///PATH`, or
    /// `none`.
    pub lock: Option<Text>,
    /// The name of the lock: services that share a database but have different migrations need different names.
    pub lock_name: Maybe<Text>,
    /// The key of another tool's advisory lock in PostgreSQL, instead of `lock_name`.
    pub lock_key: Option<Number<{ i64::MIN }, { i64::MAX }>>,
    /// A table that holds the lock as a row, for servers like PostgreSQL without advisory locks: `locks` or `schema.locks`.
    pub lock_table: Maybe<Text>,
    /// A key in Redis that is held as well, in the way of redis-py's `Lock`.
    pub also_redis_lock: Maybe<Text>,
    /// The redis check for `also_redis_lock`, if there are several.
    pub also_redis_check: Maybe<Text>,
    /// How long to wait for the lock; after that the exit code is 75.
    pub lock_timeout: Span<1000, YEAR>,
    /// How long the command may run; after that the exit code is 124. `0s` means no limit.
    pub timeout: Span<0, YEAR>,
    /// What happens if the lock is lost while the command runs.
    pub on_lock_lost: OnLockLost,
    /// What happens to sessions that an earlier migration left in the database.
    pub orphans: Orphans,
    /// How often a failed command is run again, under the same lock.
    pub retries: Number<0, 1000>,
}

impl Default for MigrationKeys {
    fn default() -> Self {
        Self {
            enabled: Deferred::default(),
            command: Deferred::default(),
            check: Deferred::default(),
            verify: Deferred::default(),
            lock: None,
            lock_name: Maybe(None),
            lock_key: None,
            lock_table: Maybe(None),
            also_redis_lock: Maybe(None),
            also_redis_check: Maybe(None),
            lock_timeout: const { Span::of(30 * 60 * 1000) },
            timeout: const { Span::of(0) },
            on_lock_lost: OnLockLost::default(),
            orphans: Orphans::default(),
            retries: const { Number::of(0) },
        }
    }
}

/// The command that runs once for all replicas before the process starts.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "migrations", deny_unknown_fields)]
pub struct Migrations {
    /// The keys of the migration.
    #[serde(flatten)]
    pub own: MigrationKeys,
    /// When it runs, and in which environment.
    #[serde(flatten)]
    pub around: Around,
}
crate::union!(Migrations { own: MigrationKeys, around: Around });
