//! What `[migrations]` says: the command that runs once across replicas, and its lock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::argument::Command;
use crate::config::interpolate::Text;
use crate::config::step::Around;
use crate::config::values::{Deferred, Maybe, Number, Span, YEAR};

/// What happens to a migration whose lock is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnLockLost {
    /// It is stopped, and the exit code is 76.
    #[default]
    Terminate,
    /// It goes on.
    Continue,
}

/// What is done about database sessions of a migration whose portcullis is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Orphans {
    /// They are waited for half a minute, then ended where it is sure whose they are.
    #[default]
    Terminate,
    /// They are waited for.
    Wait,
    /// They are not looked for.
    Ignore,
}

/// Asks how the schema of the database stands.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub enum SchemaCheckKey {
    /// A statement; the first value of its first row answers.
    Statement(Text),
    /// A command; its exit status answers.
    Command(Command),
}

/// What the migration has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrationKeys {
    /// Whether it runs; by default, where there is a `[migrations]`.
    pub enabled: Deferred<bool>,
    /// The command that migrates.
    pub command: Command,
    /// Asks whether there is anything to do: a statement, whose first value answers, or a command, whose exit status does. 0 (`true`,
    /// `current`): nothing; 2 (`ahead`): the schema is newer than this replica; anything else: work.
    pub check: Deferred<SchemaCheckKey>,
    /// The same, asked after the command and under the lock: whether it has done what it should.
    pub verify: Deferred<SchemaCheckKey>,
    /// What keeps other replicas out: `auto` (the one database among the checks), the name of a database or redis check,
    /// `file:///PATH`, or `none`.
    pub lock: Option<Text>,
    /// Tells services apart that share a database and not their migrations.
    pub lock_name: Maybe<Text>,
    /// The key of another tool's advisory lock, in PostgreSQL, in place of `lock_name`.
    pub lock_key: Option<Number<{ i64::MIN }, { i64::MAX }>>,
    /// A table that holds the lock as a row, for servers like PostgreSQL without advisory locks: `locks` or `schema.locks`.
    pub lock_table: Maybe<Text>,
    /// A key in Redis that is held as well, as redis-py's `Lock` takes it.
    pub also_redis_lock: Maybe<Text>,
    /// The redis check that holds `also_redis_lock`, where there are several.
    pub also_redis_check: Maybe<Text>,
    /// How long to queue for the lock; then the exit code is 75.
    pub lock_timeout: Span<1000, YEAR>,
    /// How long the command may run; then the exit code is 124. `0s`: no limit.
    pub timeout: Span<0, YEAR>,
    /// What happens when the lock is lost while the command runs.
    pub on_lock_lost: OnLockLost,
    /// What is done about sessions that an earlier migration left in the database.
    pub orphans: Orphans,
    /// How often a command that failed is run again, under the same lock.
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

/// The command that runs once across all replicas before the process starts.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "migrations", deny_unknown_fields)]
pub struct Migrations {
    /// What the migration has.
    #[serde(flatten)]
    pub own: MigrationKeys,
    /// When it runs, and what it finds around it.
    #[serde(flatten)]
    pub around: Around,
}
crate::union!(Migrations { own: MigrationKeys, around: Around });
