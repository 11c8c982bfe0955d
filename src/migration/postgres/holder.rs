//! Who holds the lock, as far as this role may see it, and the transaction that is the lock.

use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use super::Link;
use crate::migration::name::instance_in;
use crate::probe::postgres::StatementError;
use crate::state::event::LockHolder;

/// How often a pooled holder is looked at. Right after its begin and at its commit, a transaction is shown with its advisory lock and without
/// its id: PostgreSQL gives the id last, and takes it back first.
const LOOKS: usize = 3;

/// The holder of the lock with these attributes in `pg_locks`.
pub(super) async fn of_lock(link: &Link, row: &str) -> Result<(LockHolder, Option<String>), StatementError> {
    let mut found = look(link, row).await?;
    for _ in 1..LOOKS {
        let (LockHolder { gone, .. }, transaction) = &found;
        if *gone || transaction.is_some() || !link.pooled || !link.tells_ends {
            break;
        }
        found = look(link, row).await?;
    }
    Ok(found)
}

async fn look(link: &Link, row: &str) -> Result<(LockHolder, Option<String>), StatementError> {
    // The id of a transaction is shown as its lower half: it is one of the last 2^32 that were given.
    let full = "(SELECT txid_snapshot_xmax(txid_current_snapshot()) - ((txid_snapshot_xmax(txid_current_snapshot()) - \
                transactionid::text::bigint) & 4294967295) FROM pg_locks WHERE pid = held.pid AND locktype = 'transactionid' \
                AND mode = 'ExclusiveLock' AND granted LIMIT 1)";
    let transaction = if link.tells_ends { full } else { "NULL" };
    let statement = format!(
        "SELECT application_name, held.pid, host(client_addr), extract(epoch FROM clock_timestamp() - backend_start)::int, {transaction} \
         FROM pg_locks AS held LEFT JOIN pg_stat_activity AS who ON who.pid = held.pid WHERE {row} AND granted"
    );
    let rows = link.session.run_statement(&statement).await?;
    let Some(row) = rows.first() else { return Ok((LockHolder::gone("a session that has just ended"), None)) };
    Ok((read(row), row.try_get(4).ok().flatten().map(str::to_owned)))
}

fn read(row: &SimpleQueryRow) -> LockHolder {
    let column = |index| row.try_get(index).ok().flatten().filter(|value: &&str| !value.is_empty());
    let name = column(0);
    let mut words = name.unwrap_or("a session without a name").to_owned();
    words.extend([" (pid ", column(1).unwrap_or("unknown")]);
    words.extend(column(2).map(|address| format!(", at {address}")));
    words.push(')');
    LockHolder {
        words,
        instance: name.map(|name| instance_in(name).unwrap_or(name).to_owned()),
        address: column(2).map(str::to_owned),
        held: column(3).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        gone: false,
    }
}
