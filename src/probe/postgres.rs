//! Asks whether a PostgreSQL takes a login and answers `SELECT 1`.

mod binding;
mod guard;
mod hosts;
mod login;
mod refusal;

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, Error, SimpleQueryMessage, SimpleQueryRow};

use super::bounded::Allowance;
use super::dial::{kind_of_chain, session_number, words_of_chain};
use super::kept::Server;
use crate::outcome::{ErrorKind, Failure, Reason};
use crate::plan::target::{PostgresTarget, ServerRole};
use binding::Spoken;
use login::LoggedIn;
use refusal::reason_of_state;

/// One connection that is logged in; dropping it closes it.
#[derive(Debug)]
pub struct Session {
    number: u64,
    client: Client,
    allowance: Allowance,
    /// Moves the bytes; ends with the session, and the session with it.
    driver: JoinSet<()>,
    /// Closed by the driver's end.
    alive: watch::Receiver<()>,
    /// What other sessions said by `NOTIFY` on a channel that this one listens to.
    notes: mpsc::UnboundedReceiver<String>,
}

/// A statement that failed.
#[derive(Clone, Debug)]
pub struct StatementError {
    /// What it means.
    pub failure: Failure,
    /// The SQLSTATE, where it was the server that refused the statement.
    pub state: Option<String>,
}

impl StatementError {
    /// Whether the server refuses the statement by its nature, so that asking again is no use: it has no such feature or no such function,
    /// cannot parse it, or does not grant the right (SQLSTATE classes 0A and 42).
    pub fn is_final(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.starts_with("0A") || state.starts_with("42"))
    }
}

impl From<Failure> for StatementError {
    fn from(failure: Failure) -> Self {
        Self { failure, state: None }
    }
}

impl Session {
    /// Connects and logs in under `application_name`, to the first host that will do, with or without TLS in libpq's order.
    ///
    /// With one host nothing but connecting is bounded in time here: a server that accepts and stays silent is the caller's to give up.
    /// Several share `within`.
    pub async fn open(target: &PostgresTarget, application_name: &str, within: Duration) -> Result<Self, Failure> {
        hosts::open(target, application_name, within).await
    }

    fn new((client, mut connection, allowance): LoggedIn) -> Self {
        let (living, alive) = watch::channel(());
        let (notebook, notes) = mpsc::unbounded_channel();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How a connection ended is told to whoever uses it.
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(note) = message {
                    let _ = notebook.send(note.payload().to_owned());
                }
            }
            drop(living);
        });
        Self { number: session_number(), client, allowance, driver, alive, notes }
    }

    /// Runs one statement by the simple protocol, which every pooler takes, and returns its rows.
    pub async fn query(&self, statement: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        self.run_statement(statement).await.map_err(|refused| refused.failure)
    }

    /// As [`query`](Self::query), with the server's own code for a refusal.
    pub async fn run_statement(&self, statement: &str) -> Result<Vec<SimpleQueryRow>, StatementError> {
        self.allowance.renew();
        let messages = self
            .client
            .simple_query(statement)
            .await
            .map_err(|error| StatementError { failure: failure(&error), state: error.code().map(|state| state.code().to_owned()) })?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// The first column of a statement's first row; none for no row or NULL.
    pub async fn value(&self, statement: &str) -> Result<Option<String>, Failure> {
        Ok(self.query(statement).await?.first().and_then(|row| row.try_get(0).ok().flatten()).map(str::to_owned))
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns once the connection has ended.
    pub async fn ended(&self) {
        // Nothing is ever sent: the only change is the end.
        let _ = self.alive.clone().changed().await;
    }

    /// The next word that was heard by `LISTEN`; none yet.
    pub fn next_notification(&mut self) -> Option<String> {
        self.notes.try_recv().ok()
    }

    /// Waits for the next word that is heard by `LISTEN`; for ever once the connection has ended. Safe to cancel.
    pub async fn notification(&mut self) -> String {
        match self.notes.recv().await {
            Some(word) => word,
            None => std::future::pending().await,
        }
    }

    /// Takes leave of the server and returns once the connection has ended.
    pub async fn close(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        while driver.join_next().await.is_some() {}
    }

    /// The pid by which the server introduced itself at the login, `BackendKeyData`; none when the driver does not tell.
    ///
    /// The driver keeps it for cancelling only, so a cancel request is written to nobody and read:
    /// length, code, pid and secret, four bytes each.
    pub async fn greeted_by(&self) -> Option<i32> {
        let (ours, mut nobodys) = tokio::io::duplex(64);
        self.client.cancel_token().cancel_query_raw(ours, Spoken::default()).await.ok()?;
        let mut request = Vec::new();
        nobodys.read_to_end(&mut request).await.ok()?;
        Some(i32::from_be_bytes(request.get(8..12)?.try_into().ok()?))
    }
}

/// What an error of the driver or the server means; SQLSTATE and the server's words become the private text.
fn failure(error: &Error) -> Failure {
    if let Some(refusal) = error.as_db_error() {
        let Reason { kind, detail } = reason_of_state(refusal.code(), refusal.message());
        return Failure::new(kind, &format!("{} {}: {}", refusal.severity(), refusal.code().code(), refusal.message())).because(detail);
    }
    let kind = match kind_of_chain(error) {
        // The driver's words for a connection that ended in the middle of an answer.
        Some(ErrorKind::Internal) if words_of_chain(error).contains("bytes remaining on stream") => ErrorKind::Refused,
        Some(kind) => kind,
        None if error.is_closed() => ErrorKind::Refused,
        None => ErrorKind::Protocol,
    };
    Failure::new(kind, &words_of_chain(error)).once_connected()
}

impl Server for PostgresTarget {
    type Session = Session;

    fn number(session: &Session) -> u64 {
        session.number
    }

    fn is_closed(session: &mut Session) -> bool {
        session.is_closed()
    }

    async fn probe(&self, session: &mut Session) -> Result<(), Failure> {
        select_one(session, self.role).await
    }

    async fn open(&self, within: Duration) -> Result<Session, Failure> {
        let session = Session::open(self, "portcullis", within).await?;
        select_one(&session, self.role).await?;
        Ok(session)
    }
}

async fn select_one(session: &Session, role: ServerRole) -> Result<(), Failure> {
    match session.value("SELECT 1").await?.as_deref() {
        Some("1") => {}
        other => return Err(Failure::new(ErrorKind::Protocol, &format!("SELECT 1 was answered with {other:?}"))),
    }
    has_role(session, role).await
}

/// Whether the server is what it has to be.
async fn has_role(session: &Session, role: ServerRole) -> Result<(), Failure> {
    let (question, wanted, words) = match role {
        ServerRole::Any | ServerRole::PreferStandby => return Ok(()),
        ServerRole::ReadWrite => ("SHOW transaction_read_only", "off", "the server takes no writes"),
        ServerRole::ReadOnly => ("SHOW transaction_read_only", "on", "the server takes writes"),
        ServerRole::Primary => ("SELECT pg_catalog.pg_is_in_recovery()", "f", "the server is a standby"),
        ServerRole::Standby => ("SELECT pg_catalog.pg_is_in_recovery()", "t", "the server is no standby"),
    };
    if session.value(question).await?.as_deref() == Some(wanted) { Ok(()) } else { Err(Failure::new(ErrorKind::NotReady, words)) }
}
