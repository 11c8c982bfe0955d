//! Probes a PostgreSQL by a login and `SELECT 1`.

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
use super::kept::{KeptSession, Server};
use crate::outcome::{ErrorKind, Failure, Reason};
use crate::plan::target::{PostgresTarget, ServerRole};
use binding::Spoken;
use login::LoggedIn;
use refusal::reason_of_state;

/// One logged-in connection; dropping it closes it.
#[derive(Debug)]
pub struct Session {
    number: u64,
    client: Client,
    allowance: Allowance,
    /// The task that transports the bytes; it ends with the session, and the session with it.
    driver: JoinSet<()>,
    /// Closed at the end of the driver's task.
    alive: watch::Receiver<()>,
    /// Notifications (`NOTIFY`) of other sessions on a channel that this one listens to.
    notes: mpsc::UnboundedReceiver<String>,
}

/// A statement that failed.
#[derive(Clone, Debug)]
pub struct StatementError {
    /// Its classification.
    pub failure: Failure,
    /// The SQLSTATE, if the server refused the statement.
    pub state: Option<String>,
}

impl StatementError {
    /// Whether the refusal is permanent: the server lacks the feature or function, cannot parse the statement, or denies the right
    /// (SQLSTATE classes 0A and 42).
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
    /// Connects and logs in under `application_name`, to the first suitable host, with or without TLS in libpq's order.
    ///
    /// With one host, only connecting is limited here; the caller limits the rest. Several hosts share `within`.
    pub async fn open(target: &PostgresTarget, application_name: &str, within: Duration) -> Result<Self, Failure> {
        hosts::open(target, application_name, within).await
    }

    fn new((client, mut connection, allowance): LoggedIn) -> Self {
        let (living, alive) = watch::channel(());
        let (notebook, notes) = mpsc::unbounded_channel();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // The user of the connection gets the reason of its end.
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(note) = message {
                    let _ = notebook.send(note.payload().to_owned());
                }
            }
            drop(living);
        });
        Self { number: session_number(), client, allowance, driver, alive, notes }
    }

    /// Runs one statement with the simple protocol, which every pooler supports, and returns its rows.
    pub async fn query(&self, statement: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        self.run_statement(statement).await.map_err(|refused| refused.failure)
    }

    /// Like [`query`](Self::query), with the server's code for a refusal.
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

    /// The next received notification, if any.
    pub fn next_notification(&mut self) -> Option<String> {
        self.notes.try_recv().ok()
    }

    /// Waits for the next notification; forever once the connection has ended. Safe to cancel.
    pub async fn notification(&mut self) -> String {
        match self.notes.recv().await {
            Some(word) => word,
            None => std::future::pending().await,
        }
    }

    /// Closes the session and returns once the connection has ended.
    pub async fn close(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        while driver.join_next().await.is_some() {}
    }

    /// The pid of the server process from the login (`BackendKeyData`); none if unknown.
    ///
    /// The driver keeps it only for cancel requests, so one is written into a buffer and parsed: length, code, pid and secret, four bytes
    /// each.
    pub async fn greeted_by(&self) -> Option<i32> {
        let (ours, mut nobodys) = tokio::io::duplex(64);
        self.client.cancel_token().cancel_query_raw(ours, Spoken::default()).await.ok()?;
        let mut request = Vec::new();
        nobodys.read_to_end(&mut request).await.ok()?;
        Some(i32::from_be_bytes(request.get(8..12)?.try_into().ok()?))
    }
}

/// Classifies an error of the driver or the server; SQLSTATE and the server's text become the details.
fn failure(error: &Error) -> Failure {
    if let Some(refusal) = error.as_db_error() {
        let Reason { kind, detail } = reason_of_state(refusal.code(), refusal.message());
        return Failure::new(kind, &format!("{} {}: {}", refusal.severity(), refusal.code().code(), refusal.message())).because(detail);
    }
    let kind = match kind_of_chain(error) {
        // The driver's text for a connection that ended in the middle of a response.
        Some(ErrorKind::Internal) if words_of_chain(error).contains("bytes remaining on stream") => ErrorKind::Refused,
        Some(kind) => kind,
        None if error.is_closed() => ErrorKind::Refused,
        None => ErrorKind::Protocol,
    };
    Failure::new(kind, &words_of_chain(error)).once_connected()
}

impl KeptSession for Session {
    fn number(&self) -> u64 {
        self.number
    }

    fn is_over(&mut self) -> bool {
        self.is_closed()
    }
}

impl Server for PostgresTarget {
    type Session = Session;

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
        other => return Err(Failure::new(ErrorKind::Protocol, &format!("SELECT 1 returned {other:?}"))),
    }
    has_role(session, role).await
}

/// Whether the server has the required role.
async fn has_role(session: &Session, role: ServerRole) -> Result<(), Failure> {
    let (question, wanted, words) = match role {
        ServerRole::Any | ServerRole::PreferStandby => return Ok(()),
        ServerRole::ReadWrite => ("SHOW transaction_read_only", "off", "the server accepts no writes"),
        ServerRole::ReadOnly => ("SHOW transaction_read_only", "on", "the server accepts writes"),
        ServerRole::Primary => ("SELECT pg_catalog.pg_is_in_recovery()", "f", "the server is a standby"),
        ServerRole::Standby => ("SELECT pg_catalog.pg_is_in_recovery()", "t", "the server is not a standby"),
    };
    if session.value(question).await?.as_deref() == Some(wanted) { Ok(()) } else { Err(Failure::new(ErrorKind::NotReady, words)) }
}
