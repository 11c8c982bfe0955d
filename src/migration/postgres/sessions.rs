//! The sessions of earlier migrations that are at work in a PostgreSQL, and which of them certainly belong to no other program.
//!
//! The name alone is not enough: a pooler that reuses a server session may keep the name of the last client (pgbouncer 1.18 does so for a
//! client that sends none), and keeps an idle session under it for an hour.

use tokio_postgres::SimpleQueryRow;

use super::Link;
use super::seen::{Seen, SessionId};
use crate::migration::lock::Leftover;
use crate::migration::sockets;
use crate::outcome::Failure;

/// The maximum number of examined sessions of one migration.
const MOST: usize = 100;

/// How to find the sessions of migrations under one lock.
#[derive(Debug)]
pub(super) struct SessionFilter<'a> {
    /// The part of the lock's key in session names.
    pub(super) tag: u32,
    /// The migrated database; none: the one that holds the lock.
    pub(super) database: Option<&'a str>,
}

impl SessionFilter<'_> {
    fn rows(&self, columns: &str, also: &str) -> String {
        let database = self.database.map_or_else(|| "current_database()".to_owned(), quoted);
        format!(
            "SELECT pid, extract(epoch FROM backend_start)::text, {columns} FROM pg_stat_activity WHERE datname = {database} \
             AND usename = current_user AND pid <> pg_backend_pid() AND {also} ORDER BY pid LIMIT {MOST}"
        )
    }

    /// The sessions whose current work began before this replica took the lock; later work does not belong to an earlier migration. A
    /// confirmed session counts whatever it does, because its migration may still be alive.
    pub(super) async fn leftovers(&self, held: &Link, seen: &Seen) -> Result<Vec<Leftover>, Failure> {
        let began = "extract(epoch FROM coalesce(xact_start, query_start))";
        let columns = format!(
            "application_name, extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start))::int, \
             state <> 'idle' AND {began} < {}",
            held.since
        );
        let named = format!("application_name LIKE 'portcullis-mig:{:08x}:%'", self.tag);
        let rows = held.look(&self.rows(&columns, &named)).await?;
        Ok(rows.iter().filter_map(|row| leftover(row, held.pooled, seen)).collect())
    }

    /// Ends those that certainly belong to an earlier migration.
    pub(super) async fn end(&self, held: &Link, seen: &Seen) -> Result<(), Failure> {
        let left = self.leftovers(held, seen).await?;
        for (pid, began) in left.iter().filter(|left| left.certain).filter_map(|left| left.id.split_once('@')) {
            // In the same statement as the test, so that it cannot be another session meanwhile.
            let also = format!("pid = {pid} AND extract(epoch FROM backend_start)::text = '{began}'");
            held.look(&self.rows("pg_terminate_backend(pid)", &also)).await?;
        }
        Ok(())
    }

    /// The sessions of our own migration `name` that are sockets of its processes, without a pooler in between.
    pub(super) async fn proven(&self, held: &Link, name: &str) -> Result<Vec<SessionId>, Failure> {
        let named = format!("application_name = {} AND client_port > 0", quoted(name));
        let rows = held.look(&self.rows("host(client_addr), client_port", &named)).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let variable = format!("PGAPPNAME={name}");
        let own = tokio::task::spawn_blocking(move || sockets::of_processes_with(&variable)).await.unwrap_or_default();
        let direct = rows.iter().filter(|row| {
            let end = column(row, 2).zip(column(row, 3)).and_then(|(address, port)| Some((address.parse().ok()?, port.parse().ok()?)));
            end.is_some_and(|end| own.contains(&end))
        });
        Ok(direct.filter_map(id).collect())
    }

    /// Whether there is a session of our own migration, and whether there is any other session of this role.
    pub(super) async fn own_and_any(&self, held: &Link, name: &str) -> Result<(bool, bool), Failure> {
        let rows = held.look(&self.rows("application_name", "true")).await?;
        Ok((rows.iter().any(|row| column(row, 2) == Some(name)), !rows.is_empty()))
    }
}

fn column(row: &SimpleQueryRow, index: usize) -> Option<&str> {
    row.try_get(index).ok().flatten()
}

fn id(row: &SimpleQueryRow) -> Option<SessionId> {
    Some(SessionId::new(column(row, 0)?, column(row, 1)?))
}

fn leftover(row: &SimpleQueryRow, pooled: bool, seen: &Seen) -> Option<Leftover> {
    let session = id(row)?;
    let certain = !pooled && seen.is_proven(&session);
    if !certain && column(row, 4) != Some("t") {
        return None;
    }
    let name = column(row, 2).unwrap_or_default();
    let pid = column(row, 0).unwrap_or_default();
    let since = column(row, 3).map(|seconds| format!(", at work for {seconds} s")).unwrap_or_default();
    Some(Leftover { words: format!("{name} (pid {pid}{since})"), id: session.0, certain })
}

/// A text as a literal of SQL.
pub(in crate::migration) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
