//! The migration lock: takes it when requested, keeps it, and releases it.

mod any;
mod file;
mod keeper;
mod lock;
mod mysql;
mod name;
mod postgres;
mod redis;
mod schema_query;
mod second;
mod sockets;
mod table;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::mailbox::Mailbox;
use crate::plan::{KeeperPlan, LockPlan};
use crate::state::event::{Event, LockNews};
use any::AnyLock;
use keeper::Rules;
use name::Name;
use second::Both;

/// The supervisor's requests to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOrder {
    /// Wait for it, for at most the plan's `lock_timeout`, unless there is nothing to migrate; report whether there is.
    Acquire,
    /// The same, regardless of whether there is anything to migrate and which mode migrates.
    Take,
    /// Run the verification statement after the migration.
    Verify,
    /// Report whether it is still held, after a pause of this process.
    Confirm,
    /// Release it, or stop waiting.
    Release,
}

/// Handles the requests until they end; every request is answered, also if the database hangs.
///
/// Dropping the future closes the connection that holds the lock, which frees the lock.
pub async fn run(plan: KeeperPlan, instance: String, mut orders: UnboundedReceiver<LockOrder>, mailbox: Mailbox) {
    let tell = |news| mailbox.send(Event::Lock(news));
    let rules = Rules::of(&plan);
    let lock: Box<dyn AnyLock> = match plan.hold.lock {
        LockPlan::Postgres { target, key, tag, migrated } => Box::new(postgres::PostgresLock::new(target, key, tag, migrated, &instance)),
        LockPlan::Table { target, table, row } => Box::new(table::TableLock::new(target, table, row, &instance)),
        LockPlan::Mysql { target, name, migrated } => Box::new(mysql::MysqlLock::new(target, name, migrated)),
        LockPlan::File(path) => Box::new(file::FileLock::new(path, Name::new("file", &instance))),
        LockPlan::Redis { target, key } => Box::new(redis::RedisLock::new(target, key, Name::new("redis", &instance))),
        LockPlan::None => {
            while let Some(order) = orders.recv().await {
                tell(match order {
                    LockOrder::Acquire | LockOrder::Take => LockNews::Held,
                    LockOrder::Verify => LockNews::Verified(Err("there is no database to query".to_owned())),
                    LockOrder::Confirm => LockNews::Confirmed,
                    LockOrder::Release => LockNews::Released,
                });
            }
            return;
        }
    };
    let mut lock = match plan.hold.second {
        Some(second) => Box::new(Both::new(lock, second, &instance)),
        None => lock,
    };
    keeper::run(lock.as_mut(), &rules, &mut orders, tell).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::mailbox;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::{MigrationPlan, ProcessPlan};

    #[tokio::test]
    async fn without_a_lock_every_order_is_granted() {
        let process = ProcessPlan::new(Argv::new(vec![Word::plain("true")]).unwrap());
        let plan = MigrationPlan::new(process, LockPlan::None);
        let (sender, orders) = tokio::sync::mpsc::unbounded_channel();
        let (mailbox, inbox) = mailbox().unwrap();
        sender.send(LockOrder::Acquire).unwrap();
        sender.send(LockOrder::Release).unwrap();
        drop(sender);
        run(plan.keeper(), "one".to_owned(), orders, mailbox).await;
        let events = inbox.take(usize::MAX);
        assert!(matches!(&events[..], [Event::Lock(LockNews::Held), Event::Lock(LockNews::Released)]), "{events:?}");
    }
}
