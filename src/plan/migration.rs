//! The migration's part of a plan: the command, its checks, and the lock against other replicas.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::migration::Orphans;

use super::target::{MysqlTarget, PostgresTarget, RedisPlace, RedisTarget};
use super::{ConditionPlan, Plan, ProcessPlan};

/// A command that runs once for all replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationPlan {
    /// The command.
    pub process: ProcessPlan,
    /// Whether there is a migration at all, as it turns out when its turn has come.
    pub condition: ConditionPlan,
    /// Whether this mode only waits until another replica has migrated; it then has a check.
    pub waits: bool,
    /// Checks whether there is anything to do, before and under the lock.
    pub check: Option<SchemaCheck>,
    /// Checks under the lock whether the command has done what it should.
    pub verify: Option<SchemaCheck>,
    /// The lock against other replicas.
    pub lock: LockPlan,
    /// A key in Redis that is held as well, against containers that migrate without portcullis.
    pub second: Option<SecondLock>,
    /// How long to wait for the lock (exit 75 afterwards).
    pub lock_timeout: Duration,
    /// How long the command may run (exit 124 afterwards); zero: no limit.
    pub timeout: Duration,
    /// Whether a command that has lost its lock continues; otherwise it is stopped (exit 76).
    pub unlocked: bool,
    /// What happens to sessions that an earlier migration left in the database.
    pub orphans: Orphans,
    /// How often a failed command is run again, under the same lock.
    pub retries: u32,
}

impl MigrationPlan {
    /// A command with the default settings.
    pub fn new(process: ProcessPlan, lock: LockPlan) -> Self {
        Self {
            process,
            condition: ConditionPlan::Always,
            waits: false,
            check: None,
            verify: None,
            lock,
            second: None,
            lock_timeout: Duration::from_secs(30 * 60),
            timeout: Duration::ZERO,
            unlocked: false,
            orphans: Orphans::Terminate,
            retries: 0,
        }
    }
}

/// Checks the schema: 0 is up to date, 2 is ahead of this replica, anything else is work to do.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaCheck {
    /// A statement; the first value of its first row is the result.
    Sql(String),
    /// A command; its exit status is the result.
    Command(Box<ProcessPlan>),
}

/// The lock against other replicas while one migrates.
#[derive(Clone, Debug, PartialEq)]
pub enum LockPlan {
    /// A PostgreSQL advisory lock with this key, on a separate connection.
    Postgres {
        /// The database that holds the lock.
        target: PostgresTarget,
        /// The 64-bit key: derived from the lock's name, or another tool's.
        key: i64,
        /// A part of the names of the lock's sessions, to distinguish those of different locks.
        tag: u32,
        /// The migrated database, if it may not exist yet and the lock is in another one.
        migrated: Option<PostgresTarget>,
    },
    /// A row of a table, for servers like PostgreSQL without advisory locks.
    Table {
        /// The database that holds the table.
        target: PostgresTarget,
        /// The table's name, quoted.
        table: String,
        /// The row's key.
        row: String,
    },
    /// A named lock of a MySQL or MariaDB server.
    Mysql {
        /// The database that is migrated.
        target: MysqlTarget,
        /// The lock's name, unique on the whole server.
        name: String,
        /// The migrated database, if it may not exist yet and the lock's session uses none.
        migrated: Option<MysqlTarget>,
    },
    /// A lock on this file (`flock(2)`): replicas of one host, one volume.
    File(PathBuf),
    /// A key in Redis that expires. It has no fencing, so use it only if nothing better is available.
    Redis {
        /// The Redis that holds the lock.
        target: RedisTarget,
        /// The key.
        key: String,
    },
    /// No lock: the operator guarantees that there is only one replica.
    None,
}

/// The lock of steps, if no migration has the same.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldPlan {
    /// The lock against other replicas.
    pub lock: LockPlan,
    /// A key in Redis that is held as well.
    pub second: Option<SecondLock>,
    /// How long to wait for the lock (exit 75 afterwards).
    pub lock_timeout: Duration,
    /// Whether a command that has lost its lock continues; otherwise it is stopped (exit 76).
    pub unlocked: bool,
    /// What happens to sessions that an earlier command left in the database.
    pub orphans: Orphans,
}

/// The settings for the keeper of a start's lock.
#[derive(Clone, Debug, PartialEq)]
pub struct KeeperPlan {
    /// The lock.
    pub hold: HoldPlan,
    /// Whether another mode runs the migration.
    pub waits: bool,
    /// The statement that checks whether there is anything to migrate.
    pub check: Option<String>,
    /// The statement that checks whether the migration has done what it should.
    pub verify: Option<String>,
}

impl MigrationPlan {
    /// The settings for the keeper of its lock.
    pub fn keeper(&self) -> KeeperPlan {
        let statement = |question: &Option<SchemaCheck>| match question {
            Some(SchemaCheck::Sql(statement)) => Some(statement.clone()),
            _ => None,
        };
        KeeperPlan {
            hold: HoldPlan {
                lock: self.lock.clone(),
                second: self.second.clone(),
                lock_timeout: self.lock_timeout,
                unlocked: self.unlocked,
                orphans: self.orphans,
            },
            waits: self.waits,
            check: statement(&self.check),
            verify: statement(&self.verify),
        }
    }
}

impl Plan {
    /// The settings for the keeper of this start's lock; none if nothing needs a lock.
    pub fn keeper(&self) -> Option<KeeperPlan> {
        let of_migration = self.migration.as_ref().map(MigrationPlan::keeper);
        match (of_migration, self.step_lock.clone()) {
            (Some(keeper), Some(hold)) => Some(KeeperPlan { hold, ..keeper }),
            (None, Some(hold)) => Some(KeeperPlan { hold, waits: false, check: None, verify: None }),
            (keeper, None) => keeper,
        }
    }

    /// Whether a command that has lost its lock continues; otherwise it is stopped.
    pub fn goes_on_unlocked(&self) -> bool {
        self.migration.as_ref().map_or_else(|| self.step_lock.as_ref().is_some_and(|hold| hold.unlocked), |migration| migration.unlocked)
    }
}

/// A key in Redis in the way of redis-py's `Lock`.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondLock {
    /// The Redis that holds it.
    pub target: RedisPlace,
    /// The key.
    pub key: String,
}

impl LockPlan {
    /// The name of the kind in health responses; none without a lock.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Postgres { .. } => Some("postgres"),
            Self::Table { .. } => Some("table"),
            Self::Mysql { .. } => Some("mysql"),
            Self::File(_) => Some("file"),
            Self::Redis { .. } => Some("redis"),
            Self::None => None,
        }
    }
}
