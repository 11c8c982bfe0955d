//! The migration's part of a plan: the command, the questions about it, and the lock that keeps other replicas out.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::migration::Orphans;

use super::target::{MysqlTarget, PostgresTarget, RedisPlace, RedisTarget};
use super::{ConditionPlan, Plan, ProcessPlan};

/// Run this command once across all replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationPlan {
    /// The command.
    pub process: ProcessPlan,
    /// Whether there is a migration at all, as it turns out when its turn has come.
    pub condition: ConditionPlan,
    /// Whether this mode only waits until another one has migrated; there is a check then.
    pub waits: bool,
    /// Asks whether there is anything to do, before and under the lock.
    pub check: Option<SchemaCheck>,
    /// Asks under the lock whether the command has done what it should.
    pub verify: Option<SchemaCheck>,
    /// What keeps other replicas out meanwhile.
    pub lock: LockPlan,
    /// A key in Redis that is held as well, to keep out containers that migrate by themselves.
    pub second: Option<SecondLock>,
    /// How long to queue for the lock (exit 75 after it).
    pub lock_timeout: Duration,
    /// How long the command may run (exit 124 after it); zero: no limit.
    pub timeout: Duration,
    /// Whether a command that has lost its lock goes on; else it is stopped (exit 76).
    pub unlocked: bool,
    /// What is done about sessions that an earlier migration left in the database.
    pub orphans: Orphans,
    /// How often a command that failed is run again, under the same lock.
    pub retries: u32,
}

impl MigrationPlan {
    /// A command under the defaults.
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

/// Asks how the schema stands: 0 is as it should be, 2 is ahead of this replica, anything else is work to do.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaCheck {
    /// A statement; the first value of its first row answers.
    Sql(String),
    /// A command; its exit status answers.
    Command(Box<ProcessPlan>),
}

/// What keeps other replicas out while one migrates.
#[derive(Clone, Debug, PartialEq)]
pub enum LockPlan {
    /// A PostgreSQL advisory lock with this key, on a connection of its own.
    Postgres {
        /// The database that holds the lock.
        target: PostgresTarget,
        /// The 64-bit key: derived from the lock's name, or another tool's.
        key: i64,
        /// What the names of the lock's sessions bear, so that those of one lock can be told from another's.
        tag: u32,
        /// The database that is migrated, where it may not be there yet and the lock is in another one.
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
        /// The lock's name, which is the whole server's.
        name: String,
        /// The database that is migrated, where it may not be there yet and the lock's session names none.
        migrated: Option<MysqlTarget>,
    },
    /// A lock on this file (`flock(2)`): replicas of one host, one volume.
    File(PathBuf),
    /// A key in Redis that expires: not fenced, so only where nothing better is to be had.
    Redis {
        /// The Redis that holds the lock.
        target: RedisTarget,
        /// The key.
        key: String,
    },
    /// Nothing: the operator knows that there is one replica.
    None,
}

/// The lock of steps, where there is no migration that has the same.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldPlan {
    /// What keeps other replicas out.
    pub lock: LockPlan,
    /// A key in Redis that is held as well.
    pub second: Option<SecondLock>,
    /// How long to queue for the lock (exit 75 after it).
    pub lock_timeout: Duration,
    /// Whether a command that has lost its lock goes on; else it is stopped (exit 76).
    pub unlocked: bool,
    /// What is done about sessions that an earlier command left in the database.
    pub orphans: Orphans,
}

/// What the keeper of the one lock of a start is to know.
#[derive(Clone, Debug, PartialEq)]
pub struct KeeperPlan {
    /// The lock.
    pub hold: HoldPlan,
    /// Whether the migration is another mode's.
    pub waits: bool,
    /// The statement that says whether there is anything to migrate.
    pub check: Option<String>,
    /// The statement that says whether the migration has done what it should.
    pub verify: Option<String>,
}

impl MigrationPlan {
    /// What keeps its lock.
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
    /// What keeps the one lock of this start; none where nothing wants one.
    pub fn keeper(&self) -> Option<KeeperPlan> {
        let of_migration = self.migration.as_ref().map(MigrationPlan::keeper);
        match (of_migration, self.step_lock.clone()) {
            (Some(keeper), Some(hold)) => Some(KeeperPlan { hold, ..keeper }),
            (None, Some(hold)) => Some(KeeperPlan { hold, waits: false, check: None, verify: None }),
            (keeper, None) => keeper,
        }
    }

    /// Whether what has lost its lock goes on; else it is stopped.
    pub fn goes_on_unlocked(&self) -> bool {
        self.migration.as_ref().map_or_else(|| self.step_lock.as_ref().is_some_and(|hold| hold.unlocked), |migration| migration.unlocked)
    }
}

/// A key in Redis as redis-py's `Lock` takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondLock {
    /// The Redis that holds it.
    pub target: RedisPlace,
    /// The key.
    pub key: String,
}

impl LockPlan {
    /// The kind's word in health answers; none without a lock.
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
