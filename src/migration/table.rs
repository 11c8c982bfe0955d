//! A row of a table as the lock, for servers like PostgreSQL without advisory locks: only if `lock_table` names the table.
//!
//! Each statement is a separate transaction in plain SQL, so that it works through any pooler and with CockroachDB, YugabyteDB and Aurora
//! DSQL. The lease expires by the server's clock; a pause of this machine does not extend it.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::SimpleQueryRow;

use super::lock::{ANSWER, LEASE_SECONDS, Lock, Try};
use super::name::{Name, instance_in};
use super::postgres::quoted;
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::PostgresTarget;
use crate::probe::postgres::{Session, StatementError};
use crate::state::event::LockHolder;

/// The variable with the fencing number for the migration: it grows with each holder.
const FENCE: &str = "PORTCULLIS_LOCK_FENCE";

/// How often a statement is retried at once after a conflict with another one, or if its table or row did not exist yet.
const TRIES: u32 = 6;

/// The first pause before a retry; doubled each time.
const PAUSE: Duration = Duration::from_millis(20);

/// The row, and what was read from it.
#[derive(Debug)]
pub(super) struct TableLock {
    target: PostgresTarget,
    /// The table, quoted.
    table: String,
    /// The row's key.
    row: String,
    name: Name,
    waiting: Option<Session>,
    /// The fencing number of our hold, while it may still be valid: the lock is regained under this number or not at all.
    held: Option<String>,
    /// Whether the previous holder released the lock.
    clean: bool,
}

/// A hold of the row.
#[derive(Debug)]
pub(super) struct Hold {
    session: Session,
    fence: String,
}

impl TableLock {
    pub(super) fn new(target: PostgresTarget, table: String, row: String, instance: &str) -> Self {
        Self { target, table, row, name: Name::new("table", instance), waiting: None, held: None, clean: false }
    }

    /// Runs a statement, and retries it after a conflict (SQLSTATE 40001, 40P01).
    async fn run(&self, session: &Session, statement: &str) -> Result<Vec<SimpleQueryRow>, StatementError> {
        let mut tries = 0;
        loop {
            let answer = session.run_statement(statement).await;
            let collided = |refused: &StatementError| matches!(refused.state.as_deref(), Some("40001" | "40P01"));
            if tries + 1 < TRIES && answer.as_ref().is_err_and(collided) {
                sleep(PAUSE.saturating_mul(1 << tries).mul_f64(0.5 + fastrand::f64())).await;
                tries += 1;
                continue;
            }
            return answer;
        }
    }

    fn renewed() -> String {
        format!("expires_at = current_timestamp + interval '{LEASE_SECONDS} seconds'")
    }

    /// The condition for our row with this number.
    fn ours(&self, fence: &str) -> String {
        format!("name = {} AND owner = {} AND fence = {fence}", quoted(&self.row), quoted(&self.name.of_lock()))
    }

    /// Takes the row if it is free or its lease has expired, and increments the fencing number.
    fn take(&self) -> String {
        let (me, row) = (quoted(&self.name.of_lock()), quoted(&self.row));
        let which = match &self.held {
            Some(fence) => self.ours(fence),
            None => format!("name = {row} AND (owner = '' OR owner = {me} OR expires_at < current_timestamp)"),
        };
        format!(
            "UPDATE {} SET fence = CASE WHEN owner = {me} THEN fence ELSE fence + 1 END, previous_owner = owner, owner = {me}, {} \
             WHERE {which} RETURNING fence, previous_owner",
            self.table,
            Self::renewed()
        )
    }

    fn create(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (name varchar(255) PRIMARY KEY, owner varchar(255) NOT NULL, previous_owner varchar(255) NOT NULL, \
             fence bigint NOT NULL, expires_at timestamptz NOT NULL)",
            self.table
        )
    }

    async fn attempt_once(&mut self) -> Result<Try<Hold>, StatementError> {
        let session = match self.waiting.take() {
            Some(session) if !session.is_closed() => session,
            _ => Session::open(&self.target, &self.name.of_lock(), ANSWER).await?,
        };
        for _ in 0..TRIES {
            let taken = match self.run(&session, &self.take()).await {
                // Another replica may be creating it, and then the row, too.
                Err(refused) if refused.state.as_deref() == Some("42P01") => {
                    self.make(&session, &self.create()).await?;
                    continue;
                }
                taken => taken?,
            };
            if let Some(row) = taken.first() {
                let [fence, previous] = [0, 1].map(|index| row.try_get(index).ok().flatten().unwrap_or_default().to_owned());
                self.clean |= previous.is_empty();
                self.held = Some(fence.clone());
                return Ok(Try::Held(Hold { session, fence }));
            }
            let rows = self.run(&session, &format!("SELECT owner FROM {} WHERE name = {}", self.table, quoted(&self.row))).await?;
            let Some(row) = rows.first() else {
                let row = quoted(&self.row);
                let insert = format!(
                    "INSERT INTO {} (name, owner, previous_owner, fence, expires_at) VALUES ({row}, '', '', 0, current_timestamp)",
                    self.table
                );
                self.make(&session, &insert).await?;
                continue;
            };
            let owner = row.try_get(0).ok().flatten().unwrap_or_default().to_owned();
            if self.held.take().is_none() && owner.is_empty() {
                continue;
            }
            self.clean = false;
            self.waiting = Some(session);
            return Ok(Try::Taken(holder(&owner)));
        }
        Err(Failure::new(ErrorKind::NotReady, "other replicas were faster each time").into())
    }

    /// Creates the table or the row, unless another replica is doing it.
    async fn make(&self, session: &Session, statement: &str) -> Result<(), StatementError> {
        match self.run(session, statement).await {
            Err(refused) if matches!(refused.state.as_deref(), Some("23505" | "42P07" | "42710")) => Ok(()),
            made => made.map(drop),
        }
    }
}

fn holder(owner: &str) -> LockHolder {
    if owner.is_empty() {
        return "another replica, which has released it meanwhile".into();
    }
    LockHolder { words: owner.to_owned(), instance: instance_in(owner).map(str::to_owned), ..LockHolder::default() }
}

impl Lock for TableLock {
    type Held = Hold;

    fn shown(&self) -> String {
        format!("{} ({})", self.target, self.table)
    }

    async fn attempt(&mut self) -> Result<Try<Hold>, Failure> {
        match self.attempt_once().await {
            // A standby, which may be promoted before the next attempt, or the name may lead to another server.
            Err(refused) if refused.state.as_deref() == Some("25006") => {
                Err(Failure::new(ErrorKind::NotReady, "the database accepts no writes; name the primary"))
            }
            Err(refused) if refused.is_final() || refused.state.as_deref() == Some("3F000") => Ok(Try::Unusable(format!(
                "the migration lock in the table {} at {} cannot be used ({}); create it by `{}` and allow this role to SELECT, INSERT and UPDATE",
                self.table,
                self.target,
                refused.failure.private.as_str(),
                self.create()
            ))),
            tried => tried.map_err(|refused| refused.failure),
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        holder.words == self.name.of_lock()
    }

    async fn succeeds_cleanly(&mut self, _held: &mut Hold) -> bool {
        self.clean
    }

    fn environment(&self, held: &Hold) -> Vec<(String, String)> {
        vec![("PGAPPNAME".to_owned(), self.name.of_migration()), (FENCE.to_owned(), held.fence.clone())]
    }

    /// The check renews the lease.
    async fn holds(&self, held: &mut Hold) -> Result<bool, Failure> {
        let statement = format!("UPDATE {} SET {} WHERE {} RETURNING fence", self.table, Self::renewed(), self.ours(&held.fence));
        let rows = self.run(&held.session, &statement).await.map_err(|refused| refused.failure)?;
        Ok(!rows.is_empty())
    }

    async fn ended(&self, held: &mut Hold) {
        held.session.ended().await;
    }

    async fn give_back(&mut self, held: Hold) {
        self.held = None;
        self.clean = false;
        let statement = format!("UPDATE {} SET owner = '', expires_at = current_timestamp WHERE {}", self.table, self.ours(&held.fence));
        let _ = self.run(&held.session, &statement).await;
        held.session.close().await;
    }

    fn schema_query(&self) -> SchemaQuery {
        SchemaQuery::postgres(self.target.clone(), self.name.of_lock())
    }
}
